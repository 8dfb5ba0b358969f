"""The paper's figures by number. Each only reads result files; `save_figure` writes one as PDF and PNG."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from polca.report.figures import addition, breakthroughs, directions, english, losses, schematic, separation, vectors
from polca.report.figures.style import encode, save, styled
from polca.report.numbered import Numbered
from polca.study.results import EnglishResults, PresetResults, Results

FIGURES: dict[int, Callable[[Results], Figure]] = {
    1: schematic.draw,
    2: addition.draw,
    3: losses.draw_clusters,
    4: partial(vectors.draw, first=0, count=2),
    6: losses.draw_digits,
    7: losses.draw_carries,
    8: partial(vectors.draw, first=2, count=1),
}
"""Figures of the arithmetic setting."""

ENGLISH_FIGURES: dict[int, Callable[[EnglishResults], Figure]] = {
    5: partial(english.draw, first=0, count=2),
    9: english.draw_loss,
    10: partial(english.draw, first=2, count=2),
    11: partial(english.draw, first=4, count=2),
}
"""Figures of the English setting."""

FURTHER: dict[str, Callable[[Results, Path | None], Figure]] = {
    "D1": separation.draw,
    "D2": directions.draw,
    "D4": breakthroughs.draw,
}
"""Figures of addition that are not the paper's; they may show what `make validity` found as well."""

FURTHER_ENGLISH: dict[str, Callable[[EnglishResults], Figure]] = {"D3": directions.draw_english}
"""The same of English."""

_FIGURES = Numbered("figure", "drawn", FIGURES, ENGLISH_FIGURES)


draw_figure = _FIGURES.make
"""A figure of either setting, by `Numbered.make`; call inside `styled()`."""


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
    return save(render_figure(number, results), directory / f"figure_{number:02d}")


def save_figures(results: PresetResults, directory: Path, validity: Path | None = None) -> list[Path]:
    """Draw and write all figures of the settings that the preset has, the paper's and those of `FURTHER`."""
    paths = [path for number, own in _FIGURES.sources(results) for path in save_figure(number, own, directory)]
    drawn: dict[str, Callable[[], Figure]] = {}
    if results.arithmetic is not None:
        drawn |= {name: partial(draw, results.arithmetic, validity) for name, draw in FURTHER.items()}
    if results.english is not None:
        drawn |= {name: partial(draw, results.english) for name, draw in FURTHER_ENGLISH.items()}
    for name, draw in drawn.items():
        with styled():
            contents = encode(draw())
        paths += save(contents, directory / f"figure_{name}")
    return paths
