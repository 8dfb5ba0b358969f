"""Figure D4: when the clusters of addition break through, and how pure the late ones are."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from polca.report.figures.panels import plot_range
from polca.report.figures.skills import GREYS, NEUTRALS, carry_share, looks
from polca.report.figures.style import (
    INK,
    LARGE,
    MUTED,
    PAGE_WIDTH,
    heading,
    letter,
    loss_axis,
    new_figure,
    note,
    percent,
    say,
    step_axis,
)
from polca.study.results import Results
from polca.tasks.arithmetic.scores import three_best

SHOWN = {
    "polca": "POLCA",
    "polca_first_order": "first order",
    "polca_random": "random basis",
    "loss": "exact loss",
}
"""Analyses in order of columns, and what they are called; those that a run lacks are left out."""
_SHADE = "#F1F1F1"


def draw(results: Results, validity: object = None) -> Figure:
    """Above, the purest eligible cluster of each analysis; below, purity and breakthrough of all its clusters.

    Args:
        validity: not looked at; the other figures of addition that are not the paper's are.
    """
    names = [name for name in SHOWN if name in set(results.vectors["analysis"])]
    flat = float(results.scalar("flat_step"))
    figure = new_figure(PAGE_WIDTH, 3.8, bottom=0.3)
    panels = figure.subplots(2, len(names), squeeze=False)
    for column, name in enumerate(names):
        own = results.clusters[results.clusters["analysis"] == name]
        above, below = panels[:, column]
        best = three_best(own, name)
        if len(best):
            _best_cluster(above, results, own, best.iloc[0], flat)
        else:
            say(above, "no cluster\nof carries")
        _all_clusters(below, own, results, flat)
        note(above, "abcd"[column], (0, 1), (-14, 15), va="bottom", fontsize=LARGE, fontweight="bold")
        letter(below, "efgh"[column], -14)
        note(above, SHOWN[name], (0, 1), (0, 15), va="bottom", fontweight="bold", color=INK)
    panels[1][0].set_ylabel("tokens with a carry (%)")
    for axes in panels[1][1:]:
        axes.set_yticklabels([])
    remark = f"grey: after step {flat:,.0f} the mean loss is flat, and a breakthrough is hidden"
    heading(panels[0][0], "When clusters break through", remark, rise=12)
    dot: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 4}
    keys = [
        Line2D([], [], color=INK, marker="v", linestyle="", markersize=4, label="breakthrough, mean over the tokens"),
        Line2D([], [], color=GREYS.both, label="eligible as the best cluster", **dot),
        Line2D([], [], color=GREYS.both, markerfacecolor="none", label="other cluster", **dot),
    ]
    figure.legend(handles=keys, loc="lower center", ncols=len(keys), handlelength=1.2, columnspacing=2)
    return figure


def _hidden(axes: Axes, flat: float) -> None:
    """Shade the steps after the mean loss has become flat."""
    axes.axvspan(min(flat, axes.get_xlim()[1]), axes.get_xlim()[1], color=_SHADE, linewidth=0, zorder=-1)


def _best_cluster(axes: Axes, results: Results, own: pd.DataFrame, best: "pd.Series[Any]", flat: float) -> None:
    """Median and quartiles of the purest cluster's curves, and where it breaks through."""
    name, vector, number = str(own["analysis"].iloc[0]), int(best["vector"]), int(best["cluster"])
    of_vector = own[own["vector"] == vector]
    look = next(look for look in looks(of_vector) if look.number == number)
    curves = results.curves(name)
    cut = plot_range(curves.steps, results)
    low, middle, high = curves.projected_quartiles[results.cluster_row(curves, vector, number), :, cut]
    steps = curves.steps[cut]
    axes.fill_between(steps, low, high, color=look.color, alpha=0.2, linewidth=0)
    axes.plot(steps, middle, color=look.text_color)
    step_axis(axes, int(steps[-1]), 2)
    _hidden(axes, flat)
    at = float(of_vector.loc[of_vector["cluster"] == number, "break_step"].iloc[0])
    if at <= steps[-1]:
        axes.axvline(at, color=look.text_color, linewidth=0.6, linestyle=":", zorder=0)
        top: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 4}
        axes.plot([at], [1], "v", color=look.text_color, markersize=4, **top)
    loss_axis(axes, "exact loss" if name == "loss" else "projected loss")
    axes.set_xlabel("")
    of = "" if name == "loss" else f"vector {vector}: "
    words = f"{of}{percent(100 * carry_share(look))} carry ({look.size:,})"
    note(axes, words, (0, 1), (0, 5), va="bottom", color=MUTED)


def _all_clusters(axes: Axes, own: pd.DataFrame, results: Results, flat: float) -> None:
    """Share of carries over the mean step of the breakthrough, a dot a cluster."""
    steps = results.losses.steps
    step_axis(axes, int(steps[plot_range(steps, results)][-1]), 2)
    _hidden(axes, flat)
    axes.set_ylim(-4, 104)
    axes.set_yticks([0, 50, 100])
    for _, rows in own.groupby("vector"):
        ordered = rows.sort_values("cluster")
        columns = (ordered[name].to_numpy() for name in ("break_step", "homogeneity", "eligible"))
        for look, step, share, eligible in zip(looks(rows), *columns, strict=True):
            # Clusters of no one place are told apart within a vector alone.
            mixed = look.color in {color for color, _ in NEUTRALS}
            color, edge = (GREYS.both, GREYS.carry) if mixed else (look.color, look.text_color)
            axes.scatter(step, 100 * share, s=16, facecolor=color if eligible else "none", edgecolor=edge)
    if own.empty:
        note(axes, "no clusters", (0.5, 0.5), ha="center", va="center", color=MUTED)
