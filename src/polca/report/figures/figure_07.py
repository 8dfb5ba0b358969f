"""Figure 7: exact loss by digit and carry."""

from matplotlib.figure import Figure

from polca.report.figures.panels import Curve, draw_curves, last_plotted_step, place_labels, plotted, quartile_curve
from polca.report.figures.skills import PLACE_TONES
from polca.report.figures.style import DASHES, PAGE_WIDTH, loss_axis, new_figure, step_axis
from polca.study.results import Results
from polca.tasks.arithmetic.labels import PLACES


def draw(results: Results) -> Figure:
    """Four panels, one an output digit: median and quartiles of the exact loss with and without a carry into it."""
    figure = new_figure(PAGE_WIDTH, 2.0)
    panels = figure.subplots(1, len(PLACES), sharey=True)
    cut = plotted(results.losses.steps, last_plotted_step(results))
    evaluation = results.evaluation
    for index, (axes, place) in enumerate(zip(panels, PLACES, strict=True)):
        tones = PLACE_TONES[place]
        curves: list[Curve] = []
        for carry, label, color, dashes in (
            (True, "carry", tones.carry, DASHES[0]),
            (False, "no carry", tones.no_carry, DASHES[1]),
        ):
            members = (evaluation.place == index) & (evaluation.carry == carry)
            if members.any():
                curves.append(quartile_curve(results.losses.losses[cut][:, members], label, color, tones.carry, dashes))
        draw_curves(axes, results.losses.steps[cut], curves)
        step_axis(axes, int(results.losses.steps[cut][-1]), ticks=3)
        axes.set_title(f"{place} digit", loc="left", color=tones.carry, fontweight="bold")
    panels[0].set_ylim(bottom=0)
    loss_axis(panels[0], "exact loss")
    place_labels(figure)
    return figure
