"""Figure 3: clusters of exact-loss trajectories."""

import numpy as np
from matplotlib.figure import Figure

from polca.figures.panels import (
    Curve,
    composition_bars,
    draw_curves,
    label_ends,
    last_plotted_step,
    letter,
    place_labels,
    plotted,
    say,
    skill_legend,
)
from polca.figures.style import INK, PAGE_WIDTH, heading, new_figure, step_axis
from polca.figures.vectors import drawn_clusters
from polca.results import Results


def draw(results: Results) -> Figure:
    """(a) Mean exact loss of each cluster of exact-loss trajectories, and of all tokens; (b) skill composition."""
    figure = new_figure(PAGE_WIDTH, 2.45)
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, 0.13))
    left, right = top.subplots(1, 2, width_ratios=(1.5, 1), gridspec_kw={"wspace": 0.06})
    rows = results.clusters[results.clusters["analysis"] == "loss"]
    last_step = last_plotted_step(results)
    curves = results.curves("loss")
    cut = plotted(curves.loss_steps, last_step)
    shown = drawn_clusters(rows) if len(rows) else []
    everything = results.losses
    kept = plotted(everything.steps, last_step)
    mean = everything.losses[kept].mean(axis=1, dtype=np.float64)
    left.plot(everything.steps[kept], mean, color=INK, linewidth=0.7, zorder=1)
    label_ends(left, [float(mean[-1])], ["all"], [INK])
    draw_curves(
        left,
        curves.loss_steps[cut],
        [
            Curve(
                curves.loss_mean[curves.row(0, look.number), cut],
                str(look.number),
                look.color,
                look.text_color,
                look.dashes,
            )
            for look in shown
        ],
    )
    step_axis(left, last_step)
    left.set_ylim(bottom=0)
    left.set_ylabel("mean exact loss (nats)")
    tokens, clustered = everything.losses.shape[1], int(rows["size"].sum())
    heading(
        top,
        "Clusters of the exact loss",
        f"{tokens:,} tokens: {tokens - clustered:,} outliers, {clustered:,} in {len(rows)} cluster{'' if len(rows) == 1 else 's'}",
    )
    letter(left, "a")
    if shown:
        composition_bars(right, shown)
        letter(right, "b")
        skill_legend(bottom)
    else:
        say(right, "HDBSCAN found no cluster\namong the exact-loss trajectories.")
    place_labels(figure)
    return figure
