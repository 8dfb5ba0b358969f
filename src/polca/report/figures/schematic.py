"""Figure 1: why breakthroughs hide, as a schematic."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from numpy.typing import NDArray

from polca.report.figures.skills import PLACE_TONES
from polca.report.figures.style import INK, LARGE, MUTED, PAGE_WIDTH, RULE, letter, new_figure, note
from polca.study.results import Results

HEIGHT = 2.75
FIRST, SECOND = PLACE_TONES["1000s"].both, PLACE_TONES["10s"].both
"""Colours of the two directions, in both panels."""
INFLECTIONS = (0.28, 0.68)
"""When the loss breaks along the two directions, as fractions of training."""
WIDTH = 0.028
"""Width of a breakthrough, as a fraction of training."""
SKILLS = 40
"""Sigmoids of the right panel."""
DECAY = 0.3
"""Their inflections lie as those of an exponential distribution with this mean, as a fraction of training."""
SLOPE = LinearSegmentedColormap.from_list("slope", ["#F2F2F2", "#8C8C8C"])

Floats = NDArray[np.float64]


def falling(x: Floats, inflection: float, width: float = WIDTH) -> Floats:
    """A sigmoid that falls from 1 to 0, half of it at `inflection`."""
    return np.asarray(1 / (1 + np.exp((x - inflection) / width)))


def _surface(axes: Axes3D) -> None:
    """The loss over two directions, a falling sigmoid along each, and the path of training down both steps."""
    grid = np.linspace(0, 1, 61)
    u, v = np.meshgrid(grid, grid)
    loss = falling(u, INFLECTIONS[0], 2 * WIDTH) + falling(v, INFLECTIONS[1], 2 * WIDTH)
    axes.plot_surface(
        u, v, loss, rcount=61, ccount=61, cmap=SLOPE, vmin=-0.4, vmax=2.4, edgecolor="white", linewidth=0.2, alpha=0.9
    )
    # Along the diagonal both coordinates grow alike, and the loss breaks once along each.
    t = np.linspace(0.02, 0.98, 300)
    height = falling(t, INFLECTIONS[0], 2 * WIDTH) + falling(t, INFLECTIONS[1], 2 * WIDTH)
    axes.plot(t, t, height, color=INK, linewidth=1.6, zorder=10)
    for inflection, color in zip(INFLECTIONS, (FIRST, SECOND), strict=True):
        near = np.abs(t - inflection) < 5 * WIDTH
        axes.plot(t[near], t[near], height[near], color=color, linewidth=3, zorder=11)
    axes.set_zlim(0, 2)
    axes.view_init(elev=32, azim=28)
    axes.set_box_aspect((1, 1, 0.6), zoom=1.05)
    axes.set_xlabel("θ · b₁", color=PLACE_TONES["1000s"].carry, labelpad=-13)
    axes.set_ylabel("θ · b₂", color=PLACE_TONES["10s"].carry, labelpad=-13)
    axes.set_zlabel("loss", labelpad=-14)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_ticks([])
        axis.pane.set_facecolor("white")
        axis.pane.set_edgecolor(RULE)
        axis.line.set_color(MUTED)


def _sum(axes: Axes) -> None:
    """Many sigmoids, each at its own time, and their mean, which shows none of them."""
    t = np.linspace(0, 1, 400)
    inflections = -DECAY * np.log(1 - (np.arange(SKILLS) + 0.5) / SKILLS)
    curves = np.stack([falling(t, inflection) for inflection in inflections])
    for curve in curves:
        axes.plot(t, curve, color=RULE, linewidth=0.5)
    for inflection, color in zip(INFLECTIONS, (FIRST, SECOND), strict=True):
        nearest = int(np.argmin(np.abs(inflections - inflection)))
        axes.plot(t, curves[nearest], color=color, linewidth=1.6)
    axes.plot(t, curves.mean(axis=0), color=INK, linewidth=2)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.03, 1.06)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("training")
    axes.set_ylabel("loss")
    notes = (
        ("skill along b₁", INFLECTIONS[0], 0.83, PLACE_TONES["1000s"].carry),
        ("skill along b₂", INFLECTIONS[1], 0.83, PLACE_TONES["10s"].carry),
        ("mean of all", 0.31, 0.45, INK),
    )
    patch = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    for text, x, y, color in notes:
        note(axes, text, (x, y), (5, 0), "data", va="center", fontweight="bold", color=color, bbox=patch)


def draw(results: Results | None = None) -> Figure:
    """A loss that breaks along two directions at different times with a training path; the mean of many such breaks.

    A drawing: it reads no result file.
    """
    figure = new_figure(PAGE_WIDTH, HEIGHT)
    figure.set_layout_engine("none")
    left = figure.add_axes((0.01, 0.0, 0.5, 1.0), projection="3d")
    right = figure.add_axes((0.575, 0.12, 0.41, 0.78))
    assert isinstance(left, Axes3D)
    _surface(left)
    _sum(right)
    left.text2D(0.03, 0.9, "a", transform=left.transAxes, fontsize=LARGE, fontweight="bold")
    letter(right, "b")
    return figure
