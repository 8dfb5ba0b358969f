"""Figures 4 and 8: which basis vectors are shown, and the three panels of each."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from polca.errors import PolcaError
from polca.figures.panels import (
    Curve,
    composition_bars,
    draw_curves,
    last_plotted_step,
    letter,
    plotted,
    rule_at,
    say,
)
from polca.figures.skills import ClusterLook, looks
from polca.figures.style import MUTED, SMALL, heading, step_axis
from polca.results import Results

ANALYSIS = "polca"
SHOWN_VECTORS = 3
MAXIMUM_CLUSTERS = 6
"""Clusters drawn per vector; more would not be told apart."""


def shown_vectors(results: Results) -> list[int]:
    """The vectors (counted from 1) of Figures 4 (the first two) and 8 (the third), at most three.

    The paper shows its first three with clusters. Here: those that `arithmetic.plots.vectors` lists, then the kept
    vectors ranked by the best carry homogeneity of an eligible cluster, vectors with clusters before those without, then
    by the best AUC of carry within a place, then by the number of clusters; ties by vector number.

    Raises:
        PolcaError: `arithmetic.plots.vectors` names a vector that does not exist, or one twice.
    """
    table = results.vectors[results.vectors["analysis"] == ANALYSIS].sort_values("vector")
    chosen = _override(results, [int(v) for v in table["vector"]])
    best = _best_eligible(results.clusters)
    kept = table[table["kept"].astype(bool)]

    def rank(row: pd.Series) -> tuple[float, bool, float, int, int]:
        auc = row[["auc_1000s", "auc_100s", "auc_10s"]].astype(float).max()
        vector, clusters = int(row["vector"]), int(row["n_clusters"])
        return (-best.get(vector, -1.0), clusters == 0, 0.0 if pd.isna(auc) else -float(auc), -clusters, vector)

    ranked = sorted(rank(row) for _, row in kept.iterrows())
    return [*chosen, *(r[-1] for r in ranked if r[-1] not in chosen)][:SHOWN_VECTORS]


def _override(results: Results, known: Sequence[int]) -> list[int]:
    value = results.param("plots").get("vectors") or []
    if not isinstance(value, list) or len(set(map(str, value))) != len(value) or not set(value) <= set(known):
        raise PolcaError(
            f"arithmetic.plots.vectors = {value!r}: expected a list of different vector numbers from 1 to {max(known, default=0)}"
        )
    return [int(v) for v in value]


def _best_eligible(clusters: pd.DataFrame) -> dict[int, float]:
    """Best carry homogeneity among the eligible clusters, by vector."""
    rows = clusters[(clusters["analysis"] == ANALYSIS) & (clusters["eligible"] == True)]  # noqa: E712
    return {int(vector): float(value) for vector, value in rows.groupby("vector")["homogeneity"].max().items()}


def drawn_clusters(clusters: pd.DataFrame) -> list[ClusterLook]:
    """The `MAXIMUM_CLUSTERS` largest of a vector's clusters, the last one making room for the best eligible one."""
    rows = clusters.sort_values("cluster")
    chosen = [int(c) for c in rows["cluster"].head(MAXIMUM_CLUSTERS)]
    eligible = rows[rows["eligible"] == True].sort_values(["homogeneity", "cluster"], ascending=[False, True])  # noqa: E712
    if len(eligible) and int(eligible["cluster"].iloc[0]) not in chosen:
        chosen[-1] = int(eligible["cluster"].iloc[0])
    return looks(rows[rows["cluster"].isin(chosen)])


def vector_row(part: SubFigure, results: Results, vector: int | None, letters: str) -> None:
    """One vector's panels: projected loss (median, quartiles), exact loss of the same clusters, skill composition."""
    if vector is None:
        axes = part.subplots()
        heading(part, "No further vector")
        say(axes, "Algorithm 1 kept no further basis vector: the mean projected loss of the others rises.")
        return
    table = results.vectors
    row = table[(table["analysis"] == ANALYSIS) & (table["vector"] == vector)].iloc[0]
    tokens = int(row["n_dropped"]) + int(row["n_clustered"]) + int(row["n_outliers"])
    name = f"Basis vector {vector}, sampled at step {int(row['vector_step']):,}"
    if not row["kept"]:
        heading(part, name)
        say(part.subplots(), "Dropped by the filter: its mean projected loss rises over training, so it has no clusters.")
        return
    rows = results.clusters[(results.clusters["analysis"] == ANALYSIS) & (results.clusters["vector"] == vector)]
    shown = drawn_clusters(rows) if len(rows) else []
    counts = (
        f"{tokens:,} tokens: {int(row['n_dropped']):,} dropped as rising, {int(row['n_outliers']):,} outliers, "
        f"{int(row['n_clustered']):,} in {len(rows)} cluster{'' if len(rows) == 1 else 's'}"
    )
    heading(part, name, counts + (f", {len(shown)} of them shown" if len(shown) < len(rows) else ""))
    if not shown:
        say(part.subplots(), "HDBSCAN found no cluster among this vector's projected losses: every token is an outlier.")
        return
    left, middle, right = part.subplots(1, 3, width_ratios=(1.15, 1.15, 1), gridspec_kw={"wspace": 0.09})
    last_step = last_plotted_step(results)
    curves = results.curves(ANALYSIS)
    of = {look.number: curves.row(vector - 1, look.number) for look in shown}
    for axes, quartiles, steps, ylabel in (
        (left, curves.projected_quartiles, curves.steps, "projected loss (nats)"),
        (middle, curves.loss_quartiles, curves.loss_steps, "exact loss (nats)"),
    ):
        cut = plotted(steps, last_step)
        draw_curves(
            axes,
            steps[cut],
            [
                Curve(
                    middle=quartiles[of[look.number], 1, cut],
                    label=str(look.number),
                    color=look.color,
                    text_color=look.text_color,
                    dashes=look.dashes,
                    low=quartiles[of[look.number], 0, cut],
                    high=quartiles[of[look.number], 2, cut],
                )
                for look in shown
            ],
        )
        step_axis(axes, last_step)
        axes.set_ylabel(ylabel)
    middle.set_ylim(bottom=0)
    _mark_sampling(left, int(row["vector_step"]), last_step)
    composition_bars(right, shown)
    for axes, text in zip((left, middle, right), letters, strict=True):
        letter(axes, text)


def _mark_sampling(axes: Axes, step: int, last_step: int) -> None:
    """The step at which the vector was computed, or where to look for it beyond the panel."""
    # Above the panel, where no curve can run through it.
    place: dict[str, Any] = {"va": "bottom", "fontsize": SMALL, "color": MUTED, "textcoords": "offset points"}
    if 0 <= step <= last_step:
        rule_at(axes, step)
        side = "right" if step > 0.75 * last_step else "left"
        axes.annotate("sampled", xy=(step, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, 2), ha=side, **place)
    elif step > last_step:
        axes.annotate("sampled later →", xy=(1, 1), xycoords="axes fraction", xytext=(0, 2), ha="right", **place)
