"""The specification curve: every way of reading what the paper leaves open, from the least to the greatest score."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from polca.report.figures.style import INK, MUTED, PAGE_WIDTH, RULE, new_figure, note, percent
from polca.report.figures.validity import BLUE, FORM_LOOKS, GREY
from polca.typing import Reading

PUBLISHED_COLOR, LOSS_COLOR, PALE = "#BC5C03", "#E69F00", "#E4E4E4"

FACTORS: Mapping[str, str] = {
    "form": "form",
    "reading": "trajectories",
    "interval": "interval\n(steps)",
    "length": "length",
    "min_samples": "min_samples\ncounted on",
    "seed": "seed",
}
"""Columns that name a cell, and how their group of lines is called."""
_WORDS: Mapping[Any, str] = {
    **{form: name for form, (name, _, _) in FORM_LOOKS.items()},
    **{reading: reading for reading in get_args(Reading)},
    "left": "tokens left by the filter",
    "all": "all tokens",
}
"""Names of values, from top to bottom; numbers stand in order."""
_LINE, _GAP = 0.135, 0.5
"""Height of a line of marks in inches, and the space between groups in lines."""


def _words(factor: str, value: Any) -> str:
    if factor == "length":
        return "all steps" if value == 1 else f"first {percent(100 * value)}"
    return _WORDS.get(value, str(value))


def _values(table: pd.DataFrame, factor: str) -> list[Any]:
    """The values of a factor, from top to bottom."""
    found = set(table[factor])
    return sorted(found) if pd.api.types.is_numeric_dtype(table[factor]) else [name for name in _WORDS if name in found]


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Cells as they are drawn: by homogeneity, those without an eligible cluster first; equal ones by what they are."""
    return table.sort_values(["homogeneity", *FACTORS], kind="stable", ignore_index=True)


def _draw_scores(axes: Axes, table: pd.DataFrame, published: float) -> None:
    """Each cell's best homogeneity, with the published one and the ranges of the exact loss and of the null."""
    # One filled and one hatched, since they lie over each other.
    bands: Mapping[str, dict[str, Any]] = {
        "null_95": {"facecolor": PALE, "edgecolor": GREY, "label": "95 % points of the nulls, least to largest"},
        "loss_homogeneity": {
            **{"facecolor": "none", "edgecolor": LOSS_COLOR, "hatch": "///", "hatch_linewidth": 0.5},
            "label": "exact loss, least to largest",
        },
    }
    for column, look in bands.items():
        known = table[column].dropna()
        if len(known):
            # With edges: where all values are the same, there is nothing between them.
            axes.axhspan(known.min(), known.max(), linewidth=0.8, zorder=0, clip_on=False, **look)
    axes.axhline(published, color=PUBLISHED_COLOR, linewidth=1.1, linestyle=(0, (4, 1.5)), label="published")
    at, found = np.arange(len(table)), table["homogeneity"] > 0
    above = found & (table["homogeneity"] > table["null_95"])
    size = 11 if len(table) <= 100 else 6
    point: dict[str, Any] = {"s": size, "linewidth": 0.8, "zorder": 3, "clip_on": False}
    kinds = (
        (above, BLUE, BLUE, "best cluster, above its null's 95 % point"),
        (found & ~above, INK, INK, "best cluster, not above"),
        (~found, "white", BLUE, "no eligible cluster"),
    )
    for chosen, face, edge, label in kinds:
        axes.scatter(at[chosen], table["homogeneity"][chosen], facecolors=face, edgecolors=edge, label=label, **point)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.set_ylabel("carry homogeneity of\nthe best eligible cluster")
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.spines["bottom"].set_visible(False)


def _draw_cells(axes: Axes, table: pd.DataFrame, groups: Mapping[str, list[Any]]) -> None:
    """Below each score a mark on one line of every group: what the cell is."""
    heights: list[float] = []
    names: list[str] = []
    top = 0.0
    for factor, values in groups.items():
        lines = top + np.arange(len(values))
        for line, value in zip(lines, values, strict=True):
            at = np.flatnonzero(table[factor] == value)
            axes.axhline(line, color=RULE, linewidth=0.4, zorder=0)
            axes.scatter(at, np.full(len(at), line), marker="|", s=20, color=INK, linewidth=1.0, clip_on=False)
        heights += lines.tolist()
        names += [_words(factor, value) for value in values]
        note(axes, FACTORS[factor], (1.012, lines.mean()), coords=("axes fraction", "data"), va="center", color=MUTED)
        top = lines[-1] + 1 + _GAP
    axes.set_yticks(heights, names)
    axes.set_ylim(top - _GAP - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks([])
    axes.set_xlabel(f"{len(table)} specifications, from the least homogeneity to the greatest")


def draw_specification(table: pd.DataFrame, published: float) -> Figure:
    """Every cell's best eligible cluster, sorted, and below it which cell it is.

    Args:
        table: `specification.csv`, of one seed or several.
        published: the paper's best homogeneity.
    """
    table = in_order(table)
    groups = {factor: values for factor in FACTORS if len(values := _values(table, factor)) > 1}
    lines = sum(map(len, groups.values())) + _GAP * len(groups)
    above, below = 2.1, max(1.0, lines) * _LINE
    figure = new_figure(PAGE_WIDTH, above + below + 0.85, bottom=0.5)
    scores, cells = figure.subplots(2, 1, sharex=True, height_ratios=(above, below))
    _draw_scores(scores, table, published)
    _draw_cells(cells, table, groups)
    scores.set_xlim(-1, len(table))
    keys, labels = scores.get_legend_handles_labels()
    figure.legend(keys, labels, loc="lower center", ncols=3, handlelength=1.6, columnspacing=1.4)
    return figure
