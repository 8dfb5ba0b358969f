"""Figure 8: POLCA clusters of a third basis vector."""

from matplotlib.figure import Figure

from polca.figures.panels import place_labels, skill_legend
from polca.figures.style import PAGE_WIDTH, new_figure
from polca.figures.vectors import shown_vectors, vector_row
from polca.results import Results


def draw(results: Results) -> Figure:
    """As Figure 4, for the third of `shown_vectors`."""
    figure = new_figure(PAGE_WIDTH, 2.4)
    row, bottom = figure.subfigures(2, 1, height_ratios=(1, 0.13))
    vectors = [*shown_vectors(results), None, None, None]
    vector_row(row, results, vectors[2], "abc")
    skill_legend(bottom)
    place_labels(figure)
    return figure
