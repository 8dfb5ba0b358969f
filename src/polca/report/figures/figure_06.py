"""Figure 6: exact loss by digit."""

from matplotlib.figure import Figure

from polca.report.figures.panels import draw_curves, last_plotted_step, place_labels, plotted, quartile_curve
from polca.report.figures.skills import PLACE_TONES
from polca.report.figures.style import COLUMN_WIDTH, loss_axis, new_figure, step_axis
from polca.study.results import Results
from polca.tasks.arithmetic.labels import PLACES


def draw(results: Results) -> Figure:
    """Median and quartiles of the exact loss over the tokens of each output digit."""
    figure = new_figure(COLUMN_WIDTH, 2.3)
    axes = figure.subplots()
    cut = plotted(results.losses.steps, last_plotted_step(results))
    curves = []
    for index, place in enumerate(PLACES):
        losses = results.losses.losses[cut][:, results.evaluation.place == index]
        curves.append(quartile_curve(losses, place, PLACE_TONES[place].both, PLACE_TONES[place].carry))
    draw_curves(axes, results.losses.steps[cut], curves)
    step_axis(axes, int(results.losses.steps[cut][-1]))
    axes.set_ylim(bottom=0)
    loss_axis(axes, "exact loss")
    place_labels(figure)
    return figure
