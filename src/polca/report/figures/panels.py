"""Panels that several figures share: curves with quartile bands, each named at its right end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from polca.errors import PolcaError
from polca.method.clustering import Clusters
from polca.report.figures.style import (
    MUTED,
    RULE,
    SMALL,
    Dashes,
    Look,
    loss_axis,
    note,
    step_axis,
)
from polca.study.results import TaskResults

FloatArray = NDArray[np.floating[Any]]


def plot_range(steps: NDArray[np.int64], results: TaskResults) -> slice:
    """The part of ascending `steps` up to `plots.last_step`, where every figure of a setting is cut.

    Raises:
        PolcaError: that is not a positive whole number, or fewer than two steps are left to draw.
    """
    name, last = f"{results.setting}.plots.last_step", results.param("plots.last_step")
    if not isinstance(last, int) or isinstance(last, bool) or last < 1:
        raise PolcaError(f"{name} = {last!r}: expected a positive number of training steps")
    count = int(np.searchsorted(steps, last, side="right"))
    if count < 2:
        raise PolcaError(f"{name} = {last}: leaves {count} of {len(steps)} points to draw: raise it")
    return slice(0, count)


# --- Direct labels ----------------------------------------------------------------------------------------------------


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions nearest to the given ones (least squares) that keep their order and are at least `gap` apart.

    The result lies inside [low, high]; where that is too narrow, gaps shrink evenly.
    """
    n = len(positions)
    if n < 2:
        return [min(max(position, low), high) for position in positions]
    gap = min(gap, (high - low) / (n - 1))
    order = np.argsort(positions, kind="stable")
    shares = gap * np.arange(n)
    # Without their shares of the gaps the positions only have to ascend.
    levels = isotonic_regression(np.asarray(positions, np.float64)[order] - shares).x
    result = np.empty(n)
    result[order] = np.clip(levels, low, high - shares[-1]) + shares
    return [float(position) for position in result]


def label_ends(axes: Axes, ys: Sequence[float], texts: Sequence[str], colors: Sequence[str]) -> None:
    """Name curves at their right ends; call `place_labels` when the figure is complete."""
    leader = {"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 1, "relpos": (0, 0.5)}
    for y, text, color in zip(ys, texts, colors, strict=True):
        look: dict[str, Any] = {"va": "center", "ha": "left", "fontweight": "bold", "color": color}
        edge = axes.get_yaxis_transform()
        note(axes, text, (1, y), (9, 0), edge, arrowprops={**leader, "color": color}, **look).set_gid("end-label")


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

    @classmethod
    def of_tokens(cls, losses: NDArray[np.float32], label: str, color: str, text_color: str, dashes: Dashes) -> "Curve":
        """Median and quartiles over the tokens of `losses [P, n]`."""
        low, middle, high = np.quantile(losses.astype(np.float64), [0.25, 0.5, 0.75], axis=1)
        return cls(middle, label, color, text_color, dashes, low, high)


def draw_curves(axes: Axes, steps: NDArray[np.int64], curves: Sequence[Curve], intervals: int = 4) -> None:
    """Lines over `steps [P]` with bands from `low` to `high`, named at their ends; training steps on the x axis."""
    alpha = 0.2 if len(curves) <= 4 else 0.1
    for curve in curves:
        if curve.low is not None and curve.high is not None:
            axes.fill_between(steps, curve.low, curve.high, color=curve.color, alpha=alpha, linewidth=0)
    for curve in curves:
        axes.plot(steps, curve.middle, color=curve.color, linestyle=curve.dashes)
    label_ends(axes, [float(c.middle[-1]) for c in curves], [c.label for c in curves], [c.text_color for c in curves])
    step_axis(axes, int(steps[-1]), intervals)


def cluster_panel(
    axes: Axes,
    results: TaskResults,
    clusters: Clusters,
    curves: str,
    vector: int,
    looks: Sequence[Look],
    name: str,
    intervals: int = 3,
) -> None:
    """The clusters in `looks` of one vector (from 1), from the field `curves` of `clusters`; `name` is of the y axis.

    Exact losses, which are fields that begin with `loss`, start at 0.
    """
    exact = curves.startswith("loss")
    steps = clusters.loss_steps if exact else clusters.steps
    cut = plot_range(steps, results)
    rows = [results.cluster_row(clusters, vector, look.number) for look in looks]
    values = getattr(clusters, curves)
    lines = [Curve.of_cluster(look, values[row, ..., cut]) for look, row in zip(looks, rows, strict=True)]
    draw_curves(axes, steps[cut], lines, intervals)
    if exact:
        axes.set_ylim(bottom=0)
    loss_axis(axes, name)


def all_tokens_curve(axes: Axes, results: TaskResults) -> None:
    """Mean exact loss over all tokens, clustered or not, as a thin line."""
    exact = results.losses
    cut = plot_range(exact.steps, results)
    mean = exact.losses[cut].mean(axis=1, dtype=np.float64)
    # Black and solid is a cluster.
    axes.plot(exact.steps[cut], mean, color=MUTED, linewidth=0.7, zorder=1)
    label_ends(axes, [float(mean[-1])], ["all"], [MUTED])


def mark_sampling(axes: Axes, step: int, named: bool = True) -> None:
    """The step at which the vector was computed, or where to look for it beyond the panel."""
    end = axes.get_xlim()[1]
    # Above the panel, where no curve can run through it.
    look: dict[str, Any] = {"va": "bottom", "color": MUTED}
    inside = 0 <= step <= end
    if inside:
        axes.axvline(step, color=RULE, linewidth=0.8, zorder=0)
    if inside and named:
        side = "right" if step > 0.55 * end else "left"
        note(axes, "sampled", (step, 1), (0, 2), axes.get_xaxis_transform(), ha=side, **look)
    elif step > end and named:
        note(axes, "sampled later →", (1, 1), (0, 2), ha="right", **look)
