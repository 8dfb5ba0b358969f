"""Figure 6: exact loss by digit."""

from matplotlib.figure import Figure

from polca.figures.panels import draw_curves, last_plotted_step, place_labels, plotted, quartile_curve
from polca.figures.skills import PLACE_TONES
from polca.figures.style import COLUMN_WIDTH, new_figure, step_axis
from polca.labels import PLACES
from polca.results import Results


def draw(results: Results) -> Figure:
    """Median and quartiles of the exact loss over the tokens of each output digit."""
    figure = new_figure(COLUMN_WIDTH, 2.3)
    axes = figure.subplots()
    last_step = last_plotted_step(results)
    cut = plotted(results.losses.steps, last_step)
    curves = []
    for index, place in enumerate(PLACES):
        losses = results.losses.losses[cut][:, results.evaluation.place == index]
        curves.append(quartile_curve(losses, place, PLACE_TONES[place].both, PLACE_TONES[place].carry))
    draw_curves(axes, results.losses.steps[cut], curves)
    step_axis(axes, last_step)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("exact loss (nats)")
    place_labels(figure)
    return figure
