"""Figure 8: POLCA clusters of a third basis vector."""

from matplotlib.figure import Figure

from polca.report.figures.vectors import draw_vectors, shown_vectors
from polca.study.results import Results


def draw(results: Results) -> Figure:
    """As Figure 4, for the third of `shown_vectors`."""
    return draw_vectors(results, [*shown_vectors(results), None, None, None][2:3])
