"""Figures 4 and 8: POLCA clusters of basis vectors of addition, three panels a vector."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from polca.report.figures.panels import cluster_panel, mark_sampling, place_labels
from polca.report.figures.selection import (
    kept_vectors,
    no_panels,
    of_vector,
    places,
    ranked_rows,
    vector_facts,
    vector_heading,
    with_chosen,
)
from polca.report.figures.skills import LEGEND_HEIGHT, composition_bars, looks, skill_legend
from polca.report.figures.style import PAGE_WIDTH, Look, heading, letter, new_figure
from polca.study.results import Results
from polca.tasks.arithmetic.scores import best_clusters

MAXIMUM_CLUSTERS = 6
"""Clusters drawn per vector; more would not be told apart."""

ROW_HEIGHT, SENTENCE_HEIGHT = 2.1, 0.75
"""Inches: a row of panels, and one with a sentence in place of them."""


def ranked_vectors(results: Results) -> list[int]:
    """The vectors (counted from 1) of Figures 4 (the first two) and 8 (the third), and the others after them.

    Those that `arithmetic.plots.vectors` lists; then, as in the paper, the first two that have clusters, and of the
    others the one whose cluster holds the largest share of carries into the 1000s, which the paper's Figure 8 shows;
    then the first of the other kept ones. Taking the best-scoring ones instead would show a choice, not the method.

    Raises:
        PolcaError: `arithmetic.plots.vectors` names a vector that does not exist, or one twice.
    """
    kept = kept_vectors(results).assign(clustered=lambda t: t["n_clusters"] > 0)
    ranked = [int(v) for v in kept.sort_values(["clustered", "vector"], ascending=[False, True])["vector"]]
    clusters = results.clusters[results.clusters["analysis"] == results.shown_analysis]
    carries = clusters.assign(share=clusters["n_1000s_carry"] / clusters["size"])
    others = carries[carries["vector"].isin(ranked[2:])].sort_values(["share", "vector"], ascending=[False, True])
    eighth = [int(v) for v in others["vector"].head(1)]
    return with_chosen(results, list(dict.fromkeys([*ranked[:2], *eighth, *ranked])))


def drawn_clusters(clusters: pd.DataFrame, analysis: str) -> list[Look]:
    """The `MAXIMUM_CLUSTERS` largest of one vector's clusters; the last makes room for the best eligible one."""
    rows = clusters.sort_values("cluster")
    chosen = [int(c) for c in rows["cluster"].head(MAXIMUM_CLUSTERS)]
    best = [int(c) for c in best_clusters(rows, analysis)["cluster"]]
    if best and best[0] not in chosen:
        chosen[-1] = best[0]
    return looks(rows[rows["cluster"].isin(chosen)])


def draw(results: Results, first: int, count: int) -> Figure:
    """A row of panels for so many of `ranked_rows` from place `first` (from 0) on, or a sentence that says why not.

    The panels are projected loss, exact loss and skill composition of the vector's clusters.
    """
    chosen = [found or (results, None) for found in places(ranked_rows(results, ranked_vectors), first, count)]
    letters = iter("abcdefghi")
    clustered = [v is not None and len(of_vector(view, view.clusters, v)) > 0 for view, v in chosen]
    heights = [ROW_HEIGHT if panels else SENTENCE_HEIGHT for panels in clustered]
    strip = LEGEND_HEIGHT if any(clustered) else 0.0
    figure = new_figure(PAGE_WIDTH, sum(heights) + strip, bottom=strip)
    # One grid for all rows, so that their panels stand one below the other.
    panels = figure.subplots(
        len(chosen),
        3,
        squeeze=False,
        width_ratios=(1.15, 1.15, 1),
        height_ratios=heights,
        gridspec_kw={"wspace": 0.08, "hspace": 0.07},
    )
    for row, (view, vector), drawn in zip(panels, chosen, clustered, strict=True):
        if vector is not None and drawn:
            _vector_row(row, view, vector)
            for axes in row:
                letter(axes, next(letters))
        else:
            no_panels(row, view, vector)
    if strip:
        skill_legend(figure)
    place_labels(figure)
    return figure


def _vector_row(row: Sequence[Axes], results: Results, vector: int) -> None:
    """Projected loss (median, quartiles), exact loss of the same clusters, skill composition."""
    facts, rows = vector_facts(results, vector), of_vector(results, results.clusters, vector)
    shown = drawn_clusters(rows, results.shown_analysis)
    left, middle, right = row
    name, counts = vector_heading(results, facts, len(rows))
    heading(left, name, counts + (f" ({len(shown)} shown)" if len(shown) < len(rows) else ""))
    curves = results.curves(results.shown_analysis)
    cluster_panel(left, results, curves, "projected_quartiles", vector, shown, "projected loss")
    cluster_panel(middle, results, curves, "loss_quartiles", vector, shown, "exact loss")
    mark_sampling(left, int(facts["vector_step"]))
    composition_bars(right, shown)
