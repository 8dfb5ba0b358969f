"""Figure 5: English, POLCA clusters of two basis vectors."""

from matplotlib.figure import Figure

from polca.report.figures.english import draw_pair
from polca.study.results import EnglishResults


def draw(results: EnglishResults) -> Figure:
    """The first two of `ranked_vectors`: mean projected and exact loss of their clusters, names and contexts."""
    return draw_pair(results, 0)
