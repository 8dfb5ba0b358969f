"""Figure 9: English, clusters of exact-loss trajectories."""

from matplotlib.figure import Figure

from polca.report.figures.english import (
    FOOT,
    HEAD,
    LEAST_HEIGHT,
    PANEL_LEFT,
    PANEL_WIDTH,
    TABLE_LEFT,
    TABLE_RIGHT,
    largest_clusters,
    loss_panel,
    nearest_contexts,
    place,
    place_table,
    row_height,
)
from polca.report.figures.panels import (
    Curve,
    all_tokens_curve,
    draw_curves,
    last_plotted_step,
    letter,
    loss_cluster_counts,
    place_labels,
    plotted,
    say,
)
from polca.report.figures.style import PAGE_WIDTH, heading, new_figure
from polca.study.results import EnglishResults

ANALYSIS = "loss"


def draw(results: EnglishResults) -> Figure:
    """(a) Mean exact loss of each cluster of exact-loss trajectories, and of all tokens; (b) names and contexts."""
    rows = results.clusters[results.clusters["analysis"] == ANALYSIS]
    shown = largest_clusters(rows)
    contexts = [nearest_contexts(results, ANALYSIS, 1, look.number) for look in shown]
    height = row_height(contexts)
    figure = new_figure(PAGE_WIDTH, height)
    figure.set_layout_engine("none")
    top, height = height - HEAD, height - HEAD
    axes = place(figure, PANEL_LEFT, top, PANEL_WIDTH, height - FOOT)
    last_step = last_plotted_step(results)
    all_tokens_curve(axes, results, last_step)
    curves = results.curves(ANALYSIS)
    cut = plotted(curves.loss_steps, last_step, results.setting)
    at = [results.cluster_row(curves, 1, look.number) for look in shown]
    draw_curves(
        axes,
        curves.loss_steps[cut],
        [Curve.of_cluster(look, curves.loss_mean[row, cut]) for look, row in zip(shown, at, strict=True)],
    )
    loss_panel(axes, "mean exact\nloss", int(curves.loss_steps[cut][-1]))
    axes.set_ylim(bottom=0)
    heading(axes, "Clusters of the exact loss", loss_cluster_counts(results, rows))
    letter(axes, "a")
    if shown:
        place_table(figure, "b", len(rows), shown, contexts, top, height)
    else:
        beside = place(figure, TABLE_LEFT, top, TABLE_RIGHT - TABLE_LEFT, LEAST_HEIGHT)
        say(beside, "HDBSCAN found no cluster among the exact-loss trajectories.")
    place_labels(figure)
    return figure
