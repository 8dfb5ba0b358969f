"""Figures 4 and 8: which basis vectors are shown, and the three panels of each; what the English figures share."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from polca.errors import PolcaError
from polca.report.figures.panels import (
    LEGEND_HEIGHT,
    Curve,
    composition_bars,
    draw_curves,
    in_clusters,
    last_plotted_step,
    letter,
    place_labels,
    plotted,
    rule_at,
    say,
    skill_legend,
)
from polca.report.figures.skills import ClusterLook, looks
from polca.report.figures.style import MUTED, PAGE_WIDTH, SMALL, heading, loss_axis, new_figure, step_axis
from polca.study.results import Results, SettingResults
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


def kept_vectors(results: SettingResults) -> pd.DataFrame:
    """The rows of `vectors.csv` of the vectors that the filter kept."""
    return results.vectors[
        (results.vectors["analysis"] == results.shown_analysis) & results.vectors["kept"].astype(bool)
    ]


def with_chosen(results: SettingResults, ranked: Sequence[int]) -> list[int]:
    """Vectors with those that the setting's `plots.vectors` lists put first.

    Raises:
        PolcaError: `plots.vectors` names a vector that does not exist, or one twice.
    """
    known = [int(v) for v in results.vectors.loc[results.vectors["analysis"] == results.shown_analysis, "vector"]]
    value = results.param("plots").get("vectors") or []
    right = isinstance(value, list) and all(type(v) is int and v in known for v in value)
    if not right or len(set(value)) != len(value):
        raise PolcaError(
            f"{results.setting}.plots.vectors = {value!r}: expected different vector numbers from 1 to "
            f"{max(known, default=0)}"
        )
    return [*value, *(v for v in ranked if v not in value)]


def drawn_clusters(clusters: pd.DataFrame, analysis: str) -> list[ClusterLook]:
    """The `MAXIMUM_CLUSTERS` largest of one vector's clusters; the last makes room for the best eligible one."""
    rows = clusters.sort_values("cluster")
    chosen = [int(c) for c in rows["cluster"].head(MAXIMUM_CLUSTERS)]
    best = [int(c) for c in best_clusters(rows, analysis)["cluster"]]
    if best and best[0] not in chosen:
        chosen[-1] = best[0]
    return looks(rows[rows["cluster"].isin(chosen)])


def draw_vectors(results: Results, vectors: Sequence[int | None]) -> Figure:
    """One row of three panels a vector, or a sentence that says why there are none; None: too few were kept."""
    letters = iter("abcdefghi")
    clustered = [vector is not None and len(vector_clusters(results, vector)) > 0 for vector in vectors]
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
            _vector_row(row, results, vector, [next(letters) for _ in row])
        else:
            _sentence(row, results, vector)
    if strip:
        skill_legend(figure)
    place_labels(figure)
    return figure


def vector_clusters(results: SettingResults, vector: int) -> pd.DataFrame:
    """A vector's rows of `clusters.csv`."""
    return results.clusters[
        (results.clusters["analysis"] == results.shown_analysis) & (results.clusters["vector"] == vector)
    ]


def vector_facts(results: SettingResults, vector: int) -> "pd.Series[Any]":
    """A vector's row of `vectors.csv`."""
    table = results.vectors
    return table[(table["analysis"] == results.shown_analysis) & (table["vector"] == vector)].iloc[0]


def vector_name(vector: int, facts: "pd.Series[Any]") -> str:
    """What heads a vector's panels."""
    return f"Basis vector {vector}, sampled at step {int(facts['vector_step']):,}"


def why_no_panels(results: SettingResults, vector: int | None) -> tuple[str, str, str]:
    """What stands in place of a vector's panels: name, where its tokens went, and the reason in a sentence."""
    name, counts = "No further basis vector", ""
    sentence = "The filter of Algorithm 1 kept no other: the mean projected loss along the rest rises over training."
    if vector is not None:
        facts = vector_facts(results, vector)
        name = vector_name(vector, facts)
        if facts["kept"]:
            counts = token_counts(facts, 0)
            sentence = "HDBSCAN found no cluster among this vector's projected losses."
        else:
            sentence = "Dropped by the filter of Algorithm 1: the mean projected loss along it rises over training."
    return name, counts, sentence


def _sentence(row: Sequence[Axes], results: Results, vector: int | None) -> None:
    """Why a row has no panels."""
    name, counts, sentence = why_no_panels(results, vector)
    heading(row[0], name, counts)
    for axes in row:
        axes.set_axis_off()
    say(row[1], sentence, center=0.5)


def _vector_row(row: Sequence[Axes], results: Results, vector: int, letters: Sequence[str]) -> None:
    """Projected loss (median, quartiles), exact loss of the same clusters, skill composition."""
    facts, rows = vector_facts(results, vector), vector_clusters(results, vector)
    shown = drawn_clusters(rows, results.shown_analysis)
    left, middle, right = row
    part = f" ({len(shown)} shown)" if len(shown) < len(rows) else ""
    heading(left, vector_name(vector, facts), token_counts(facts, len(rows)) + part)
    last_step = last_plotted_step(results)
    curves = results.curves(results.shown_analysis)
    of = {look.number: results.cluster_row(curves, vector, look.number) for look in shown}
    for axes, quartiles, steps, label in (
        (left, curves.projected_quartiles, curves.steps, "projected loss"),
        (middle, curves.loss_quartiles, curves.loss_steps, "exact loss"),
    ):
        cut = plotted(steps, last_step)
        bands = {number: quartiles[at, :, cut] for number, at in of.items()}
        draw_curves(axes, steps[cut], [Curve.of_cluster(look, bands[look.number]) for look in shown])
        step_axis(axes, int(steps[cut][-1]), ticks=3)
        loss_axis(axes, label)
    middle.set_ylim(bottom=0)
    mark_sampling(left, int(facts["vector_step"]), left.get_xlim()[1])
    composition_bars(right, shown)
    for axes, text in zip(row, letters, strict=True):
        letter(axes, text)


def token_counts(facts: "pd.Series[Any]", clusters: int) -> str:
    """Where the tokens of a kept vector went."""
    dropped, outliers, clustered = (int(facts[f"n_{key}"]) for key in ("dropped", "outliers", "clustered"))
    tokens = dropped + outliers + clustered
    text = f"{tokens:,} tokens: {dropped:,} dropped as rising, {outliers:,} outliers"
    return text + in_clusters(clustered, clusters)


def mark_sampling(axes: Axes, step: int, end: float, named: bool = True) -> None:
    """The step at which the vector was computed, or where to look for it beyond the panel."""
    # Above the panel, where no curve can run through it.
    place: dict[str, Any] = {"va": "bottom", "fontsize": SMALL, "color": MUTED, "textcoords": "offset points"}
    inside = 0 <= step <= end
    if inside:
        rule_at(axes, step)
    if inside and named:
        side = "right" if step > 0.75 * end else "left"
        axes.annotate("sampled", xy=(step, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, 2), ha=side, **place)
    elif step > end and named:
        axes.annotate("sampled later →", xy=(1, 1), xycoords="axes fraction", xytext=(0, 2), ha="right", **place)
