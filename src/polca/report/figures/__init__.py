"""The paper's figures by number. Each only reads result files; `save_figure` writes one as PDF and PNG."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from polca.errors import PolcaError
from polca.report.figures import (
    figure_01,
    figure_02,
    figure_03,
    figure_04,
    figure_05,
    figure_06,
    figure_07,
    figure_08,
    figure_09,
    figure_10,
    figure_11,
)
from polca.report.figures.style import encode, save, styled
from polca.study.results import EnglishResults, Results

FIGURES: dict[int, Callable[[Results], Figure]] = {
    1: figure_01.draw,
    2: figure_02.draw,
    3: figure_03.draw,
    4: figure_04.draw,
    6: figure_06.draw,
    7: figure_07.draw,
    8: figure_08.draw,
}
"""Figures of the arithmetic setting."""

ENGLISH_FIGURES: dict[int, Callable[[EnglishResults], Figure]] = {
    5: figure_05.draw,
    9: figure_09.draw,
    10: figure_10.draw,
    11: figure_11.draw,
}
"""Figures of the English setting."""


def draw_figure(number: int, results: Results | EnglishResults) -> Figure:
    """A figure of either setting; call inside `styled()`.

    Raises:
        PolcaError: an unknown number, one of the other setting, or a result file is missing or damaged.
    """
    if isinstance(results, EnglishResults) and number in ENGLISH_FIGURES:
        return ENGLISH_FIGURES[number](results)
    if isinstance(results, Results) and number in FIGURES:
        return FIGURES[number](results)
    if number in FIGURES or number in ENGLISH_FIGURES:
        raise PolcaError(f"figure {number}: not of the {results.setting} setting: give the other setting's results")
    known = ", ".join(map(str, sorted([*FIGURES, *ENGLISH_FIGURES])))
    raise PolcaError(f"figure {number}: not drawn here (known: {known})")


def render_figure(number: int, results: Results | EnglishResults) -> dict[str, bytes]:
    """A figure as `{"pdf": …, "png": …}`; equal results give equal bytes.

    Raises:
        PolcaError: as `draw_figure`.
    """
    with styled():
        return encode(draw_figure(number, results))


def save_figure(number: int, results: Results | EnglishResults, directory: Path) -> list[Path]:
    """Draw a figure and write `figure_NN.pdf` and `figure_NN.png` to `directory`.

    Raises:
        PolcaError: as `draw_figure`, or the folder cannot be written.
    """
    with styled():
        return save(draw_figure(number, results), directory, number)


def save_figures(results: Results, english: EnglishResults, directory: Path) -> list[Path]:
    """Draw and write all figures."""
    return [
        path
        for number in sorted([*FIGURES, *ENGLISH_FIGURES])
        for path in save_figure(number, english if number in ENGLISH_FIGURES else results, directory)
    ]
