"""Figure 5: English, POLCA clusters of two basis vectors."""

from matplotlib.figure import Figure

from polca.english_results import EnglishResults
from polca.figures.english import draw_pair


def draw(results: EnglishResults) -> Figure:
    """The first two of `ranked_vectors`: mean projected and exact loss of their clusters, names and contexts."""
    return draw_pair(results, 0)
