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
    vector_facts,
    vector_heading,
    with_chosen,
)
from polca.report.figures.skills import LEGEND_HEIGHT, composition_bars, looks, skill_legend
from polca.report.figures.style import PAGE_WIDTH, Look, heading, letter, new_figure
from polca.study.results import Results
from polca.tasks.arithmetic.scores import best_clusters

SHOWN_VECTORS = 3
MAXIMUM_CLUSTERS = 6
"""Clusters drawn per vector; more would not be told apart."""

ROW_HEIGHT, SENTENCE_HEIGHT = 2.1, 0.75
"""Inches: a row of panels, and one with a sentence in place of them."""


def shown_vectors(results: Results) -> list[int]:
    """The vectors (counted from 1) of Figures 4 (the first two) and 8 (the third), at most three.

    Those that `arithmetic.plots.vectors` lists; then, as in the paper, the first that have clusters; then the first of
    the other kept ones. Taking the best-scoring ones instead would show a choice, not the method.

    Raises:
        PolcaError: `arithmetic.plots.vectors` names a vector that does not exist, or one twice.
    """
    kept = kept_vectors(results).assign(clustered=lambda t: t["n_clusters"] > 0)
    ranked = kept.sort_values(["clustered", "vector"], ascending=[False, True])
    return with_chosen(results, [int(v) for v in ranked["vector"]])[:SHOWN_VECTORS]


def drawn_clusters(clusters: pd.DataFrame, analysis: str) -> list[Look]:
    """The `MAXIMUM_CLUSTERS` largest of one vector's clusters; the last makes room for the best eligible one."""
    rows = clusters.sort_values("cluster")
    chosen = [int(c) for c in rows["cluster"].head(MAXIMUM_CLUSTERS)]
    best = [int(c) for c in best_clusters(rows, analysis)["cluster"]]
    if best and best[0] not in chosen:
        chosen[-1] = best[0]
    return looks(rows[rows["cluster"].isin(chosen)])


def draw(results: Results, first: int, count: int) -> Figure:
    """A row of panels for so many of `shown_vectors` from place `first` (from 0) on, or a sentence that says why not.

    The panels are projected loss, exact loss and skill composition of the vector's clusters.
    """
    vectors = places(shown_vectors(results), first, count)
    letters = iter("abcdefghi")
    clustered = [vector is not None and len(of_vector(results, results.clusters, vector)) > 0 for vector in vectors]
    heights = [ROW_HEIGHT if panels else SENTENCE_HEIGHT for panels in clustered]
    strip = LEGEND_HEIGHT if any(clustered) else 0.0
    figure = new_figure(PAGE_WIDTH, sum(heights) + strip, bottom=strip)
    # One grid for all rows, so that their panels stand one below the other.
    panels = figure.subplots(
        len(vectors),
        3,
        squeeze=False,
        width_ratios=(1.15, 1.15, 1),
        height_ratios=heights,
        gridspec_kw={"wspace": 0.08, "hspace": 0.07},
    )
    for row, vector, drawn in zip(panels, vectors, clustered, strict=True):
        if vector is not None and drawn:
            _vector_row(row, results, vector)
            for axes in row:
                letter(axes, next(letters))
        else:
            no_panels(row, results, vector)
    if strip:
        skill_legend(figure)
    place_labels(figure)
    return figure


def _vector_row(row: Sequence[Axes], results: Results, vector: int) -> None:
    """Projected loss (median, quartiles), exact loss of the same clusters, skill composition."""
    facts, rows = vector_facts(results, vector), of_vector(results, results.clusters, vector)
    shown = drawn_clusters(rows, results.shown_analysis)
    left, middle, right = row
    name, counts = vector_heading(facts, len(rows))
    heading(left, name, counts + (f" ({len(shown)} shown)" if len(shown) < len(rows) else ""))
    curves = results.curves(results.shown_analysis)
    cluster_panel(left, results, curves, "projected_quartiles", vector, shown, "projected loss")
    cluster_panel(middle, results, curves, "loss_quartiles", vector, shown, "exact loss")
    mark_sampling(left, int(facts["vector_step"]))
    composition_bars(right, shown)
