"""Figures 3, 6 and 7: exact losses of addition, by cluster and by skill."""

from matplotlib.figure import Figure

from polca.report.figures.panels import (
    Curve,
    all_tokens_curve,
    cluster_panel,
    draw_curves,
    place_labels,
    plot_range,
)
from polca.report.figures.selection import all_tokens, loss_counts, of_vector, with_clusters
from polca.report.figures.skills import LEGEND_HEIGHT, PLACE_TONES, composition_bars, skill_legend
from polca.report.figures.style import (
    COLUMN_WIDTH,
    DASHES,
    PAGE_WIDTH,
    heading,
    letter,
    loss_axis,
    new_figure,
    say,
)
from polca.report.figures.vectors import ROW_HEIGHT, drawn_clusters
from polca.study.results import Results
from polca.tasks.arithmetic.labels import PLACES


def draw_clusters(results: Results) -> Figure:
    """Figure 3: (a) mean exact loss of each cluster of exact-loss trajectories, and of all tokens; (b) their skills."""
    results = with_clusters(results, ("loss",))
    rows = of_vector(results, results.clusters, 1)
    shown = drawn_clusters(rows, "loss") if len(rows) else []
    strip = LEGEND_HEIGHT if shown else 0.0
    figure = new_figure(PAGE_WIDTH, ROW_HEIGHT + strip, bottom=strip)
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1), gridspec_kw={"wspace": 0.06})
    all_tokens_curve(left, results)
    cluster_panel(left, results, results.curves("loss"), "loss_mean", 1, shown, "mean exact loss", intervals=4)
    if shown:
        composition_bars(right, shown)
        letter(right, "b")
        skill_legend(figure)
    else:
        say(right, "HDBSCAN found no cluster\namong the exact-loss\ntrajectories.")
    part = f" ({len(shown)} shown)" if len(shown) < len(rows) else ""
    heading(left, all_tokens(results), loss_counts(results, rows) + part)
    letter(left, "a")
    place_labels(figure)
    return figure


def draw_digits(results: Results) -> Figure:
    """Figure 6: median and quartiles of the exact loss over the tokens of each output digit."""
    figure = new_figure(COLUMN_WIDTH, 2.3)
    axes = figure.subplots()
    exact, cut = results.losses, plot_range(results.losses.steps, results)
    curves = []
    for index, place in enumerate(PLACES):
        losses, tones = exact.losses[cut][:, results.evaluation.place == index], PLACE_TONES[place]
        curves.append(Curve.of_tokens(losses, place, tones.both, tones.carry, DASHES[0]))
    draw_curves(axes, exact.steps[cut], curves)
    axes.set_ylim(bottom=0)
    loss_axis(axes, "exact loss")
    place_labels(figure)
    return figure


def draw_carries(results: Results) -> Figure:
    """Figure 7: one panel an output digit: as in Figure 6, with and without a carry into it."""
    figure = new_figure(PAGE_WIDTH, 2.0)
    panels = figure.subplots(1, len(PLACES), sharey=True)
    exact, cut = results.losses, plot_range(results.losses.steps, results)
    for index, (axes, place) in enumerate(zip(panels, PLACES, strict=True)):
        tones, curves = PLACE_TONES[place], []
        for carry, label, color, dashes in (
            (True, "carry", tones.carry, DASHES[0]),
            (False, "no carry", tones.no_carry, DASHES[1]),
        ):
            members = (results.evaluation.place == index) & (results.evaluation.carry == carry)
            if members.any():
                curves.append(Curve.of_tokens(exact.losses[cut][:, members], label, color, tones.carry, dashes))
        draw_curves(axes, exact.steps[cut], curves, intervals=3)
        axes.set_title(f"{place} digit", loc="left", color=tones.carry, fontweight="bold")
    panels[0].set_ylim(bottom=0)
    loss_axis(panels[0], "exact loss")
    place_labels(figure)
    return figure
