"""Panels that several figures share: curves with quartile bands and direct labels, and skill composition bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Patch
from matplotlib.text import Annotation
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.report.figures.skills import GREYS, PLACE_TONES, ClusterLook
from polca.report.figures.style import INK, LARGE, MUTED, NORMAL, RULE, SMALL, Dashes, Look
from polca.study.results import SettingResults
from polca.tasks.arithmetic.labels import PLACES

LEGEND_HEIGHT = 0.38
"""Inches."""

FloatArray = NDArray[np.floating[Any]]


def last_plotted_step(results: SettingResults) -> int:
    """Where every figure of a setting is cut: its `plots.last_step`.

    Raises:
        PolcaError: it is not a positive whole number.
    """
    value = results.param("plots.last_step")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise PolcaError(f"{results.setting}.plots.last_step = {value!r}: expected a positive number of training steps")
    return value


def plotted(steps: NDArray[np.int64], last_step: int, setting: str = "arithmetic") -> slice:
    """The part of ascending `steps` up to `last_step`, which the parameters of `setting` give.

    Raises:
        PolcaError: fewer than two steps are left to draw.
    """
    count = int(np.searchsorted(steps, last_step, side="right"))
    if count < 2:
        raise PolcaError(
            f"{setting}.plots.last_step = {last_step}: leaves {count} of {len(steps)} points to draw: raise it"
        )
    return slice(0, count)


# --- Direct labels ----------------------------------------------------------------------------------------------------


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions nearest to the given ones (least squares) that keep their order and are at least `gap` apart.

    The result lies inside [low, high]; where that is too narrow, gaps shrink evenly.
    """
    n = len(positions)
    if n > 1:
        gap = min(gap, (high - low) / (n - 1))
    order = sorted(range(n), key=lambda i: (positions[i], i))
    # Isotonic regression of the positions less their share of gaps, by pooling adjacent violators.
    blocks: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        mean, size = positions[index] - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (mean * size + before * count) / (size + count), size + count
        blocks.append((mean, size))
    levels = [mean for mean, size in blocks for _ in range(size)]
    result = [0.0] * n
    for rank, index in enumerate(order):
        result[index] = min(max(levels[rank], low), high - (n - 1) * gap) + rank * gap
    return result


def label_ends(axes: Axes, ys: Sequence[float], texts: Sequence[str], colors: Sequence[str]) -> None:
    """Name curves at their right ends; call `place_labels` when the figure is complete."""
    for y, text, color in zip(ys, texts, colors, strict=True):
        label = axes.annotate(
            text,
            xy=(1, y),
            xycoords=axes.get_yaxis_transform(),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=SMALL,
            fontweight="bold",
            color=color,
            arrowprops={
                "arrowstyle": "-",
                "linewidth": 0.5,
                "color": color,
                "shrinkA": 0,
                "shrinkB": 1,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )
        label.set_gid("end-label")


def place_labels(figure: Figure, gap: float = SMALL * 1.15) -> None:
    """Move the labels of `label_ends` at least `gap` points apart; the figure must be complete but for that."""
    figure.draw_without_rendering()
    to_points = 72 / figure.dpi
    for axes in figure.axes:
        labels = [t for t in axes.texts if isinstance(t, Annotation) and t.get_gid() == "end-label"]
        if not labels:
            continue
        box = axes.get_window_extent()
        ends = [axes.transData.transform((0, label.xy[1]))[1] * to_points for label in labels]
        new = spread(ends, gap, box.y0 * to_points, box.y1 * to_points)
        for label, end, position in zip(labels, ends, new, strict=True):
            label.xyann = (9, position - end)


# --- Curves -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """One line: `middle [P]`, and where there is a band `low [P]` and `high [P]`."""

    middle: FloatArray
    label: str
    color: str
    text_color: str
    dashes: Dashes = "-"
    low: FloatArray | None = None
    high: FloatArray | None = None

    @classmethod
    def of_cluster(cls, look: Look, values: FloatArray) -> "Curve":
        """A cluster's line from `values [P]`, or its median and band from quartiles `[3, P]`."""
        low, middle, high = values if values.ndim == 2 else (None, values, None)
        return cls(middle, str(look.number), look.color, look.text_color, look.dashes, low, high)


def draw_curves(axes: Axes, steps: NDArray[np.int64], curves: Sequence[Curve]) -> None:
    """Lines over `steps [P]` with bands from `low` to `high`, labelled at their ends."""
    alpha = 0.2 if len(curves) <= 4 else 0.1
    for curve in curves:
        if curve.low is not None and curve.high is not None:
            axes.fill_between(steps, curve.low, curve.high, color=curve.color, alpha=alpha, linewidth=0)
    for curve in curves:
        axes.plot(steps, curve.middle, color=curve.color, linestyle=curve.dashes)
    label_ends(axes, [float(c.middle[-1]) for c in curves], [c.label for c in curves], [c.text_color for c in curves])


def quartile_curve(
    losses: NDArray[np.float32],
    label: str,
    color: str,
    text_color: str,
    dashes: Dashes = "-",
) -> Curve:
    """Median and quartiles over the tokens of `losses [C, n]`."""
    low, middle, high = np.quantile(losses.astype(np.float64), [0.25, 0.5, 0.75], axis=1)
    return Curve(middle, label, color, text_color, dashes, low, high)


def all_tokens_curve(axes: Axes, results: SettingResults, last_step: int) -> None:
    """Mean exact loss over all tokens, clustered or not, as a thin line."""
    exact = results.losses
    cut = plotted(exact.steps, last_step, results.setting)
    mean = exact.losses[cut].mean(axis=1, dtype=np.float64)
    axes.plot(exact.steps[cut], mean, color=INK, linewidth=0.7, zorder=1)
    label_ends(axes, [float(mean[-1])], ["all"], [INK])


def loss_cluster_counts(results: SettingResults, rows: pd.DataFrame) -> str:
    """Where the tokens of the exact-loss analysis went; `rows` are its clusters in `clusters.csv`."""
    tokens, clustered = results.losses.losses.shape[1], int(rows["size"].sum())
    return f"{tokens:,} tokens: {tokens - clustered:,} outliers" + in_clusters(clustered, len(rows))


def in_clusters(tokens: int, clusters: int) -> str:
    """The end of a sentence on where tokens went; nothing without clusters."""
    return f", {tokens:,} in {clusters} cluster{'' if clusters == 1 else 's'}" if clusters else ""


def say(axes: Axes, message: str, center: float | None = None) -> None:
    """Give a panel over to a sentence where there is nothing to draw; `center` is its place in the figure's width."""
    axes.set_axis_off()
    text = axes.annotate(
        message,
        xy=(0.5 if center is None else center, 0.5),
        xycoords=("axes fraction" if center is None else "figure fraction", "axes fraction"),
        ha="center",
        va="center",
        color=MUTED,
        fontsize=NORMAL,
        annotation_clip=False,
    )
    text.set_in_layout(False)


def letter(axes: Axes, text: str, x: float = -24) -> None:
    """A panel's letter at its upper left, `x` points from its left edge."""
    axes.annotate(
        text,
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(x, 3),
        textcoords="offset points",
        va="bottom",
        fontsize=LARGE,
        fontweight="bold",
        annotation_clip=False,
    )


# --- Skill composition ------------------------------------------------------------------------------------------------


def composition_bars(axes: Axes, clusters: Sequence[ClusterLook]) -> None:
    """Two bars a cluster: digit skill (hue, with the carry's lightness), and below it the carry skill in greys."""
    rows = np.arange(len(clusters), dtype=float)
    for row, look in zip(rows, clusters, strict=True):
        left = 0.0
        for place in PLACES:
            for key, tone in (("carry", PLACE_TONES[place].carry), ("nocarry", PLACE_TONES[place].no_carry)):
                width = 100 * look.counts[f"n_{place}_{key}"] / look.size
                axes.barh(row - 0.14, width, 0.42, left=left, color=tone, edgecolor="white", linewidth=0.4)
                left += width
        carry = 100 * look.carry_share
        axes.barh(row + 0.23, carry, 0.22, color=GREYS.carry, edgecolor="white", linewidth=0.4)
        axes.barh(row + 0.23, 100 - carry, 0.22, left=carry, color=GREYS.no_carry, edgecolor="white", linewidth=0.4)
        axes.annotate(
            f"{percent(carry)} carry",
            xy=(100, row + 0.23),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=INK,
            annotation_clip=False,
        )
    size = "\n{:,} tokens" if len(clusters) <= 4 else " ({:,})"
    axes.set_yticks(rows, [f"{look.number}: {look.name}{size.format(look.size)}" for look in clusters])
    for tick, look in zip(axes.get_yticklabels(), clusters, strict=True):
        tick.set_color(look.text_color)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    # A single cluster keeps the bar height that it would have among others.
    empty = max(0.0, (3 - len(clusters)) / 2)
    axes.set_ylim(len(clusters) - 0.5 + empty, -0.5 - empty)
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 50, 100])
    axes.set_xlabel("share of cluster (%)")


def percent(value: float) -> str:
    """Whole per cents that say 0 and 100 only where it is exactly so."""
    rounded = round(value)
    if rounded in (0, 100) and not math.isclose(value, rounded, abs_tol=1e-9):
        return "<1 %" if rounded == 0 else ">99 %"
    return f"{rounded} %"


def skill_legend(figure: Figure) -> None:
    """Key of the composition bars, in the strip of `LEGEND_HEIGHT` at the bottom: the places' tones, the greys."""
    middle = LEGEND_HEIGHT / 2 / figure.get_figheight()

    def swatch(color: str) -> Patch:
        return Patch(facecolor=color, edgecolor="white", linewidth=0.4)

    handles: list[Any] = [(swatch(PLACE_TONES[p].carry), swatch(PLACE_TONES[p].no_carry)) for p in PLACES[:-1]]
    # The 1s digit has no dark half: nothing carries into it.
    handles.append(swatch(PLACE_TONES["1s"].no_carry))
    greys: list[Any] = [swatch(GREYS.carry), swatch(GREYS.no_carry)]
    legends: tuple[tuple[str, list[Any], list[str], float, Literal["center left", "center right"]], ...] = (
        ("upper bar: digit (dark with a carry, light without)", handles, list(PLACES), 0.62, "center right"),
        ("lower bar: carry", greys, ["carry", "no carry"], 0.67, "center left"),
    )
    for title, keys, labels, x, anchor in legends:
        figure.legend(
            keys,
            labels,
            title=title,
            title_fontsize=SMALL,
            alignment="left",
            handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
            loc=anchor,
            bbox_to_anchor=(x, middle),
            ncols=len(labels),
            handlelength=1.8,
            handleheight=0.8,
            handletextpad=0.5,
            columnspacing=1.4,
        ).set_in_layout(False)


def rule_at(axes: Axes, x: float) -> None:
    """A thin vertical line behind the curves."""
    axes.axvline(x, color=RULE, linewidth=0.8, zorder=0)
