"""Figure 4: POLCA clusters of two basis vectors."""

from matplotlib.figure import Figure

from polca.figures.panels import place_labels, skill_legend
from polca.figures.style import PAGE_WIDTH, new_figure
from polca.figures.vectors import shown_vectors, vector_row
from polca.results import Results


def draw(results: Results) -> Figure:
    """A row of panels for each of the first two of `shown_vectors`: projected loss, exact loss, skill composition."""
    figure = new_figure(PAGE_WIDTH, 4.5)
    first, second, bottom = figure.subfigures(3, 1, height_ratios=(1, 1, 0.13))
    vectors = [*shown_vectors(results), None, None]
    vector_row(first, results, vectors[0], "abc")
    vector_row(second, results, vectors[1], "def")
    skill_legend(bottom)
    place_labels(figure)
    return figure
