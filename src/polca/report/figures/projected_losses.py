"""Projected loss of the clusters of any analysis, one row a vector, with their sizes and most frequent tokens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from polca.method.clustering import RISING, Clusters
from polca.method.densities import OUTLIER
from polca.report.figures.panels import Curve, draw_curves, mark_sampling, place_labels
from polca.report.figures.selection import token_counts
from polca.report.figures.style import (
    INK,
    PAGE_WIDTH,
    SMALL,
    Look,
    encode,
    heading,
    loss_axis,
    new_figure,
    say,
    shortened,
    styled,
)

MAXIMUM_CLUSTERS = 6
"""Clusters drawn per vector; more would not be told apart."""
MAXIMUM_CLUSTERS_ALONE = 15
"""The same in a figure of one vector."""
MAXIMUM_VECTORS = 12
ROW_HEIGHT, SENTENCE_HEIGHT = 1.75, 0.75
LETTERS, SENTENCE_LETTERS = 40, 100
"""Letters of a line of tokens beside the panel, and of a sentence across the figure."""

# After Okabe and Ito, orange and purple darker, so that colour-blind readers tell all apart; the second of each is dark
# enough to read.
COLORS = (
    ("#0072B2", "#0072B2"),
    ("#C24E00", "#B14E00"),
    ("#009E73", "#007A59"),
    ("#882255", "#882255"),
    ("#E69F00", "#8A6000"),
    ("#56B4E9", "#1F76A8"),
)


@dataclass(frozen=True)
class Overall:
    """What there is without clusters.

    Attributes:
        steps: `[C]` training steps of the exact losses.
        losses: `[C]` mean exact loss over all tokens, nats.
        projected: `[K, P]` mean trajectory of each vector, at the steps of the clusters.
    """

    steps: NDArray[np.int64]
    losses: NDArray[np.float64]
    projected: NDArray[np.float64]


def look(row: Mapping[Any, Any]) -> Look:
    """Look of a cluster (a row of `clusters.csv`): by its number a colour, and where these run out other dashes."""
    again, rank = divmod(int(row["cluster"]), len(COLORS))
    return Look.of(row, str(row["top_tokens"]), *COLORS[rank], rank % 2 + 2 * again)


def _list(axes: Axes, looks: list[Look], total: int, spacing: float = 0.165) -> None:
    """The clusters in words, `spacing` of the panel's height apart."""
    axes.set_axis_off()
    for rank, cluster in enumerate(looks):
        y = 0.94 - rank * spacing
        size = f"{cluster.number}: {cluster.size:,} tokens"
        options: dict[str, Any] = {"transform": axes.transAxes, "va": "top", "fontsize": SMALL, "clip_on": False}
        axes.text(0.02, y, size, color=cluster.text_color, fontweight="bold", **options).set_in_layout(False)
        # A dollar sign would start mathematics.
        words = shortened(cluster.name, LETTERS).replace("$", r"\$")
        axes.text(0.27, y, words, color=INK, **options).set_in_layout(False)
    if total > len(looks):
        more = f"{total - len(looks)} smaller ones not shown"
        axes.text(0.02, 0.94 - len(looks) * spacing, more, transform=axes.transAxes, va="top", fontsize=SMALL)


def _draw_overall(left: Axes, right: Axes, overall: Overall, clusters: Clusters) -> None:
    """Mean exact loss, and the mean trajectory of each vector, dropped ones dashed."""
    heading(left, "All tokens", "mean exact loss; mean projected loss along each vector, dashed where it was dropped")
    draw_curves(left, overall.steps, [Curve(overall.losses, "all", INK, INK)], intervals=3)
    loss_axis(left, "loss")
    curves = []
    for k, values in enumerate(overall.projected[:MAXIMUM_VECTORS]):
        color, text = COLORS[k % len(COLORS)]
        curves.append(Curve(values, str(k + 1), color, text, "-" if clusters.vector_kept[k] else "--"))
    draw_curves(right, clusters.steps, curves, intervals=3)
    loss_axis(right, "projected loss" if (clusters.vector_steps >= 0).any() else "loss")


def _draw_vector(
    left: Axes, right: Axes, clusters: Clusters, table: pd.DataFrame, k: int, most: int, spacing: float
) -> None:
    """Curves and list of the largest `most` clusters of vector k (from 0)."""
    rows = table[table["vector"] == k + 1].sort_values("cluster")
    looks = [look(row) for row in rows.head(most).to_dict("records")]
    at = [m for m in range(len(clusters)) if clusters.cluster_vector[m] == k]
    name = f"Vector {k + 1}" if clusters.vector_steps[k] >= 0 else "All directions"
    sampled = f", sampled at step {clusters.vector_steps[k]:,}" if clusters.vector_steps[k] >= 0 else ""
    labels = clusters.labels[k]
    dropped, outliers = int((labels == RISING).sum()), int((labels == OUTLIER).sum())
    heading(left, name + sampled, token_counts(labels.size, dropped, outliers, len(rows)))
    curves = [Curve.of_cluster(each, clusters.projected_quartiles[at[each.number]]) for each in looks]
    draw_curves(left, clusters.steps, curves, intervals=3)
    left.set_xlim(int(clusters.steps[0]), int(clusters.steps[-1]))
    loss_axis(left, "projected loss" if sampled else "loss")
    mark_sampling(left, int(clusters.vector_steps[k]), named=False)
    _list(right, looks, len(rows), spacing)


def draw(clusters: Clusters, table: pd.DataFrame, overall: Overall | None = None, notes: Sequence[str] = ()) -> Figure:
    """Median and quartiles of the projected loss of each cluster of the vectors kept; call inside `styled()`.

    Args:
        clusters: of one analysis.
        table: its `analyze.cluster_table`.
        overall: drawn where no cluster is.
        notes: sentences below the panels.

    Vectors without a cluster are named in a sentence; of more than `MAXIMUM_VECTORS` the first are drawn.
    """
    kept = [k for k, keep in enumerate(clusters.vector_kept) if keep]
    drawn = [k for k in kept if (clusters.cluster_vector == k).any()][:MAXIMUM_VECTORS]
    rest = [k for k in kept if k not in drawn]
    alone = overall is not None and not drawn
    heights = [ROW_HEIGHT] * (len(drawn) + alone)
    heights += [SENTENCE_HEIGHT] * ((bool(rest) or not drawn) + len(notes))
    figure = new_figure(PAGE_WIDTH, sum(heights))
    grid = figure.subplots(
        len(heights), 2, squeeze=False, width_ratios=(1, 1.25), height_ratios=heights, gridspec_kw={"hspace": 0.06}
    )
    for (left, right), k in zip(grid, drawn, strict=False):
        _draw_vector(left, right, clusters, table, k, MAXIMUM_CLUSTERS, 0.165)
    said = [_sentence(clusters, [k + 1 for k in rest], bool(kept))] if rest or not drawn else []
    for (left, right), sentence in zip(grid[len(grid) - len(said) - len(notes) :], [*said, *notes], strict=True):
        right.set_axis_off()
        say(left, fill(sentence, SENTENCE_LETTERS), center=0.5)
    if alone and overall is not None:
        left, right = grid[0]
        _draw_overall(left, right, overall, clusters)
    place_labels(figure)
    return figure


def _sentence(clusters: Clusters, rest: list[int], any_kept: bool) -> str:
    if not any_kept:
        return "No vector is kept: along each the mean projected loss rises over training."
    dropped = int((~clusters.vector_kept).sum())
    text = f"No cluster drawn for vector{'s' if len(rest) > 1 else ''} {', '.join(map(str, rest))}"
    return text + (f"; {dropped} dropped as rising." if dropped else ".")


def render(
    clusters: Clusters, table: pd.DataFrame, overall: Overall | None = None, notes: Sequence[str] = ()
) -> dict[str, bytes]:
    """The figure of `draw` as `{"pdf": …, "png": …}`; equal results give equal bytes."""
    with styled():
        return encode(draw(clusters, table, overall, notes))


def render_vectors(clusters: Clusters, table: pd.DataFrame) -> Iterator[tuple[str, dict[str, bytes]]]:
    """A figure for each kept vector with clusters, of up to `MAXIMUM_CLUSTERS_ALONE`, by name such as `vector_03`.

    Args:
        clusters, table: as in `draw`.
    """
    for k in np.flatnonzero(clusters.vector_kept):
        count = min(int((clusters.cluster_vector == k).sum()), MAXIMUM_CLUSTERS_ALONE)
        if not count:
            continue
        height = max(ROW_HEIGHT, 0.26 * count + 0.6)
        with styled():
            figure = new_figure(PAGE_WIDTH, height)
            left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
            _draw_vector(left, right, clusters, table, int(k), MAXIMUM_CLUSTERS_ALONE, 0.29 / height)
            place_labels(figure)
            yield f"vector_{k + 1:02d}", encode(figure)
