"""Figure 10: English, POLCA clusters of two more basis vectors."""

from matplotlib.figure import Figure

from polca.report.figures.english import draw_pair
from polca.study.results import EnglishResults


def draw(results: EnglishResults) -> Figure:
    """As Figure 5, for the third and fourth of `ranked_vectors`."""
    return draw_pair(results, 1)
