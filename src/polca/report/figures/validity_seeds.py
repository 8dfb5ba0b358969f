"""Figures of the checks over seeds and against a treebank: all seeds, known constructions."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from polca.report.figures.style import INK, MUTED, PAGE_WIDTH, new_figure, note
from polca.report.figures.validity import ANALYSES, legend_below, row_marks, rows_axis
from polca.tasks.arithmetic.scores import ROWS

PUBLISHED_COLOR, WITHIN_COLOR = "#BC5C03", "#A651AC"

PANELS: tuple[tuple[str, str, tuple[int, int], tuple[float, float]], ...] = (
    ("homogeneity", "carry homogeneity,\nbest cluster", (8, 10), (0.0, 1.0)),
    ("auc_100s", "AUC of carries, 100s,\nbest vector", (8, 10), (0.5, 1.0)),
    ("auc_10s", "AUC of carries, 10s,\nbest vector", (8, 10), (0.5, 1.0)),
    ("fraction_hidden", "clusters with a\nhidden breakthrough", (9, 11), (0.0, 1.0)),
)
"""Measure, what it is, the tables that have it, and its limits."""


def _named(table: pd.DataFrame, measure: str, tables: tuple[int, int], *keys: str) -> pd.DataFrame:
    """The rows of a measure under the `name` of their analysis; one that both tables have comes from the first."""
    found = table[(table["measure"] == measure) & table["table"].isin(tables) & (table["rank"] <= 1)]
    names = [ANALYSES[ROWS[number][row]] for number, row in zip(found["table"], found["row"], strict=True)]
    return found.assign(name=names).sort_values("table", kind="stable").drop_duplicates(["name", *keys])


def draw_seeds(values: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Every seed's value of Tables 8–11, with mean, standard deviation, and what the paper published.

    Args:
        values, summary: `seeds_values.csv` and `seeds_summary.csv`.
    """
    figure = new_figure(PAGE_WIDTH, 3.0, bottom=0.28)
    panels = figure.subplots(1, len(PANELS), squeeze=False)[0]
    names = list(ANALYSES.values())
    seeds = values["seed"].nunique()
    for axes, (measure, label, tables, limits) in zip(panels, PANELS, strict=True):
        points = _named(values, measure, tables, "seed").dropna(subset="value")
        numbers = _named(summary, measure, tables)
        apart = 0.8 / seeds * (points["seed"].rank(method="dense") - (seeds + 1) / 2)
        row_marks(axes, points, "value", names, shift=apart, s=9, linewidth=0, label="one seed")
        spread = points.groupby("name")["value"].agg(["mean", "std"])
        lines = pd.Categorical(spread.index, names).codes
        look = {"markersize": 9, "markeredgewidth": 1.6, "elinewidth": 1.1}
        axes.errorbar(spread["mean"], lines, xerr=spread["std"], fmt="|", color=INK, label="mean ± sd", **look)
        diamond: dict[str, Any] = {"edgecolors": PUBLISHED_COLOR, "marker": "D", "s": 20, "linewidth": 0.9}
        row_marks(axes, numbers, "published", names, "none", zorder=4, label="published", **diamond)
        rows_axis(axes, names, label, limits, labelled=axes is panels[0])
        for row in numbers[numbers["seeds_with_value"] < numbers["seeds"]].to_dict("records"):
            text = f"{row['seeds_with_value']} of {row['seeds']}"
            place = (1.04, names.index(row["name"]))
            note(axes, text, place, coords=("axes fraction", "data"), va="center", color=MUTED)
    panels[0].plot([], linestyle="none", label="“k of n”: seeds that have a value")
    legend_below(figure, panels[0])
    return figure


def draw_constructions(table: pd.DataFrame) -> Figure:
    """Best cluster and best vector for each construction of a treebank, with what 95 % of permutations stay below.

    Args:
        table: `treebank.csv`, with rows.
    """
    table = table.assign(name=table["construction"].str.replace("_", " ") + " (" + table["tokens"].astype(str) + ")")
    names = list(dict.fromkeys(table["name"]))
    figure = new_figure(PAGE_WIDTH, 0.9 + 0.2 * len(names), bottom=0.28)
    panels = figure.subplots(1, 3, squeeze=False)[0]
    wanted = (
        ("polca_fine", "homogeneity", "homogeneity,\nbest finer cluster", (0.0, 1.0)),
        ("polca", "auc", "AUC, best POLCA vector", (0.5, 1.0)),
        ("loss", "auc", "AUC, exact loss at the end", (0.5, 1.0)),
    )
    for axes, (analysis, measure, label, limits) in zip(panels, wanted, strict=True):
        rows = table[(table["analysis"] == analysis) & (table["measure"] == measure)].dropna(subset="value")
        bar: dict[str, Any] = {"marker": "|", "linewidth": 1.4, "zorder": 2}
        row_marks(axes, rows, "value", names, s=16, linewidth=0, label="observed")
        row_marks(axes, rows, "null_95", names, MUTED, s=81, label="95 % of permutations among all tokens", **bar)
        among = "among tokens that are the same"
        row_marks(axes, rows, "within_null_95", names, WITHIN_COLOR, s=36, label=among, **bar)
        rows_axis(axes, names, label, limits, labelled=axes is panels[0])
    legend_below(figure, panels[0])
    return figure
