"""Figure 4: POLCA clusters of two basis vectors."""

from matplotlib.figure import Figure

from polca.report.figures.vectors import draw_vectors, shown_vectors
from polca.study.results import Results


def draw(results: Results) -> Figure:
    """A row of panels for each of the first two of `shown_vectors`: projected loss, exact loss, skill composition."""
    return draw_vectors(results, [*shown_vectors(results), None, None][:2])
