"""Figures D2 and D3: maps of tokens by what all vectors together say of them, beside those of controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from polca.machine.text import NEWLINE
from polca.report.figures.skills import PLACE_TONES
from polca.report.figures.style import INK, MUTED, PAGE_WIDTH, RULE, SMALL, letter, new_figure, note, shortened
from polca.study.results import EnglishResults, Results
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.probes import digit_values
from polca.tasks.english.patterns import SPACE, shown
from polca.tasks.task import Labels

MAPPED: Mapping[str, str] = {
    "polca": "Hessian directions",
    "polca_random": "random directions",
    "loss": "exact loss",
    "loss_change": "change of exact loss",
}
"""Analyses whose maps are shown, and what their panels are called."""
NAMED = 0.7
"""Share of a cluster of the map from which it is named after one label."""


WORDS: Mapping[str, str] = {
    **{".": "period", ",": "comma", ":": "colon", ";": "semicolon", "-": "hyphen", "_": "underscore"},
    **{"'": "apostrophe", '"': "quote", "`": "backquote", NEWLINE: "newline", SPACE: "space"},
}
"""Tokens that would hardly be seen on a map, in words."""
LETTERS = 10
"""Letters of a name on a map."""


@dataclass(frozen=True)
class TokenMap:
    """One map, coloured once or more.

    Attributes:
        name: title of its panels.
        coordinates: `[n, 2]`.
        clusters: `[n]`, −1 for outliers.
        labels: `[n]` what tokens are, by row of panels; islands of the first one are named.
        colors: `[n]` colours, by row of panels.
        agreement: per cent of neighbours with the same label, by row of panels.
    """

    name: str
    coordinates: NDArray[np.floating]
    clusters: NDArray[np.integer]
    labels: Sequence[NDArray[Any]]
    colors: Sequence[NDArray[np.str_]]
    agreement: Sequence[str]


def shades(count: int) -> list[str]:
    """So many colours in order, light to dark, that colour-blind readers tell apart by lightness."""
    steps = np.linspace(0.0, 0.93, count)
    return [mpl.colors.to_hex(c) for c in mpl.colormaps["viridis"](steps)]


def skill_colors(place: NDArray[np.integer], carry: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Of place and carry `[n]`, the tones of all figures."""
    tones = [PLACE_TONES[name] for name in PLACES]
    return np.array([tones[p].carry if c else tones[p].no_carry for p, c in zip(place, carry, strict=True)])


def _agreements(table: pd.DataFrame, analysis: str, labels: Sequence[str]) -> list[str]:
    own = table[table["analysis"] == analysis].set_index("label")
    found = own.loc[list(labels), ["agreement", "chance"]].to_numpy(np.float64)
    return [f"{100 * agreement:.0f} % (chance {100 * chance:.0f} %)" for agreement, chance in found]


def arithmetic_maps(
    maps: Mapping[str, Mapping[str, NDArray[Any]]], labels: Labels, scores: pd.DataFrame
) -> list[TokenMap]:
    """Maps of additions, by digit and by place and carry.

    Args:
        maps: coordinates and clusters of the mapped tokens by analysis; those of `MAPPED` are taken.
        labels: `tokens`, `place` and `carry` of all tokens.
        scores: the table `signatures`.
    """
    place = labels["place"].astype(np.int64)
    here = place != PLACES.index("1000s")
    digit, carry = digit_values(labels["tokens"])[here], labels["carry"].astype(bool)[here]
    by_digit = np.array(shades(10))[digit]
    by_skill = skill_colors(place[here], carry)
    return [
        TokenMap(
            title,
            maps[name]["coordinates"],
            maps[name]["clusters"],
            (digit, 2 * place[here] + carry),
            (by_digit, by_skill),
            _agreements(scores, name, ("digit", "place_carry")),
        )
        for name, title in MAPPED.items()
        if name in maps
    ]


def draw_maps(maps: Sequence[TokenMap], names: Sequence[str] = ("digit", "place and carry")) -> Figure:
    """One column a map, one row a label, and a key of digits and skills below."""
    rows = len(maps[0].labels)
    figure = new_figure(PAGE_WIDTH, 0.55 + 2.1 * rows, bottom=0.42)
    panels = figure.subplots(rows, len(maps), squeeze=False)
    letters = iter("abcdefghijkl")
    for row, line in enumerate(panels):
        for axes, drawn in zip(line, maps, strict=True):
            _scatter(axes, drawn, row, named=row == 0)
            letter(axes, next(letters), x=-2)
            note(axes, drawn.name, (0, 1), (10, 3), va="bottom", color=INK)
            note(axes, f"same {names[row]}:\n{drawn.agreement[row]}", (0, 0), (0, -2), va="top", color=MUTED)
    keys = [_dot(color, str(d)) for d, color in enumerate(shades(10))]
    figure.legend(
        handles=keys, title="digit to be written", title_fontsize=SMALL, alignment="left", loc="lower left", ncols=10,
        handletextpad=0, columnspacing=0.5, handlelength=1.2,
    ).set_in_layout(False)  # fmt: skip
    tones = [(f"{p}, carry", PLACE_TONES[p].carry) for p in PLACES[1:3]]
    tones += [(f"{p}, none" if p != "1s" else "1s", PLACE_TONES[p].no_carry) for p in PLACES[1:]]
    if rows > 1:
        figure.legend(
            handles=[_dot(color, name) for name, color in tones], title="place and carry", title_fontsize=SMALL,
            alignment="left", loc="lower right", ncols=5, handletextpad=0, columnspacing=0.8, handlelength=1.2,
        ).set_in_layout(False)  # fmt: skip
    return figure


def _dot(color: str, label: str) -> Line2D:
    return Line2D([], [], color=color, marker="o", linestyle="", markersize=4, label=label)


def _scatter(axes: Axes, drawn: TokenMap, row: int, named: bool) -> None:
    """The tokens; clusters that are `NAMED` alike bear their label."""
    x, y = drawn.coordinates.T.astype(np.float64)
    axes.scatter(x, y, s=5 if len(x) < 2000 else 1.5, c=list(drawn.colors[row]), linewidth=0, rasterized=len(x) > 2000)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color("#DDDDDD")
    axes.set_box_aspect(1)
    axes.margins(0.06)
    for cluster in range(int(drawn.clusters.max(initial=-1)) + 1 if named else 0):
        members = drawn.clusters == cluster
        values, counts = np.unique(drawn.labels[row][members], return_counts=True)
        if counts.max() >= NAMED * counts.sum():
            at = (float(np.median(x[members])), float(np.median(y[members])))
            halo: dict[str, Any] = {"boxstyle": "round,pad=0.12", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
            value = str(values[counts.argmax()])
            name = shortened(WORDS.get(value, value), LETTERS)
            note(axes, name, at, coords="data", ha="center", va="center", bbox=halo, fontweight="bold")


def draw_token_map(coordinates: NDArray[np.floating], clusters: NDArray[np.integer], names: Sequence[str]) -> Figure:
    """One map `[n, 2]` of anyone's tokens, coloured by its clusters `[n]`, each with a name; outliers are grey."""
    colors = np.array([*shades(max(1, len(names))), RULE])[np.where(clusters < 0, max(1, len(names)), clusters)]
    labels = np.array([*(shown(name) for name in names), ""])[np.where(clusters < 0, len(names), clusters)]
    figure = new_figure(PAGE_WIDTH, PAGE_WIDTH)
    axes = figure.subplots()
    _scatter(axes, TokenMap("", coordinates, clusters, (labels,), (colors,), ("",)), 0, named=True)
    note(axes, "tokens by all kept directions together", (0, 1), (0, 3), va="bottom", color=INK)
    return figure


def draw(results: Results, validity: Path | None = None) -> Figure:
    """Figure D2: additions; what `make validity` found is not shown."""
    evaluation = results.evaluation
    labels = {"tokens": evaluation.tokens, "place": evaluation.place, "carry": evaluation.carry}
    scores = results.signature_table("signatures")
    maps = {name: results.token_map(name) for name in MAPPED if name in set(scores["analysis"])}
    return draw_maps(arithmetic_maps(maps, labels, scores))


def draw_english(results: EnglishResults) -> Figure:
    """Figure D3: the most frequent tokens of the text."""
    values = results.mapped["values"]
    kinds, inverse = np.unique(values, return_inverse=True)
    colors, names = np.array(shades(len(kinds)))[inverse], np.array([shown(str(k)) for k in kinds])[inverse]
    scores = results.signature_table("signatures")
    maps = []
    for name, title in MAPPED.items():
        if name in set(scores["analysis"]):
            found = results.token_map(name)
            agreement = _agreements(scores, name, ("token",))
            maps.append(TokenMap(title, found["coordinates"], found["clusters"], (names,), (colors,), agreement))
    figure = new_figure(PAGE_WIDTH, 2.75)
    panels = figure.subplots(1, len(maps))
    for axes, drawn, name in zip(panels, maps, "abc", strict=False):
        _scatter(axes, drawn, 0, named=True)
        letter(axes, name, x=-2)
        note(axes, drawn.name, (0, 1), (10, 3), va="bottom", color=INK)
        note(axes, f"same token: {drawn.agreement[0]}", (0, 0), (0, -2), va="top", color=MUTED)
    return figure
