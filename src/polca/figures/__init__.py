"""The paper's figures by number. Each only reads result files; `save_figure` writes one as PDF and PNG."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from polca.errors import PolcaError
from polca.figures import figure_02, figure_03, figure_04, figure_06, figure_07, figure_08
from polca.figures.style import encode, save, styled
from polca.results import Results

FIGURES: dict[int, Callable[[Results], Figure]] = {
    2: figure_02.draw,
    3: figure_03.draw,
    4: figure_04.draw,
    6: figure_06.draw,
    7: figure_07.draw,
    8: figure_08.draw,
}


def _figure(number: int) -> Callable[[Results], Figure]:
    if number not in FIGURES:
        raise PolcaError(f"figure {number}: not drawn here (known: {', '.join(map(str, FIGURES))})")
    return FIGURES[number]


def render_figure(number: int, results: Results) -> dict[str, bytes]:
    """A figure as `{"pdf": …, "png": …}`; equal results give equal bytes.

    Raises:
        PolcaError: an unknown number, or a result file is missing or damaged.
    """
    with styled():
        return encode(_figure(number)(results))


def save_figure(number: int, results: Results, directory: Path) -> list[Path]:
    """Draw a figure and write `figure_NN.pdf` and `figure_NN.png` to `directory`.

    Raises:
        PolcaError: an unknown number, a result file is missing or damaged, or the folder cannot be written.
    """
    with styled():
        return save(_figure(number)(results), directory, number)


def save_figures(results: Results, directory: Path) -> list[Path]:
    """Draw and write all figures."""
    return [path for number in FIGURES for path in save_figure(number, results, directory)]
