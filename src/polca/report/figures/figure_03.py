"""Figure 3: clusters of exact-loss trajectories."""

from matplotlib.figure import Figure

from polca.report.figures.panels import (
    LEGEND_HEIGHT,
    Curve,
    all_tokens_curve,
    composition_bars,
    draw_curves,
    last_plotted_step,
    letter,
    loss_cluster_counts,
    place_labels,
    plotted,
    say,
    skill_legend,
)
from polca.report.figures.style import PAGE_WIDTH, heading, loss_axis, new_figure, step_axis
from polca.report.figures.vectors import ROW_HEIGHT, drawn_clusters
from polca.study.results import Results


def draw(results: Results) -> Figure:
    """(a) Mean exact loss of each cluster of exact-loss trajectories, and of all tokens; (b) skill composition."""
    rows = results.clusters[results.clusters["analysis"] == "loss"]
    shown = drawn_clusters(rows, "loss") if len(rows) else []
    strip = LEGEND_HEIGHT if shown else 0.0
    figure = new_figure(PAGE_WIDTH, ROW_HEIGHT + strip, bottom=strip)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1), gridspec_kw={"wspace": 0.06})
    last_step = last_plotted_step(results)
    all_tokens_curve(left, results, last_step)
    curves = results.curves("loss")
    cut = plotted(curves.loss_steps, last_step)
    at = [results.cluster_row(curves, 1, look.number) for look in shown]
    draw_curves(
        left,
        curves.loss_steps[cut],
        [Curve.of_cluster(look, curves.loss_mean[row, cut]) for look, row in zip(shown, at, strict=True)],
    )
    step_axis(left, int(curves.loss_steps[cut][-1]))
    left.set_ylim(bottom=0)
    loss_axis(left, "mean exact loss")
    counts = loss_cluster_counts(results, rows)
    if shown:
        composition_bars(right, shown)
        letter(right, "b")
        skill_legend(figure)
    else:
        say(right, "HDBSCAN found no cluster\namong the exact-loss\ntrajectories.")
    heading(left, "Clusters of the exact loss", counts + (f" ({len(shown)} shown)" if len(shown) < len(rows) else ""))
    letter(left, "a")
    place_labels(figure)
    return figure
