"""Figures of the checks over seeds and against a treebank: all seeds, matched profiles, known constructions."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from polca.report.figures.style import INK, MUTED, PAGE_WIDTH, new_figure, note
from polca.report.figures.validity import ANALYSES, legend_below, row_marks, rows_axis
from polca.tasks.arithmetic.scores import ROWS
from polca.validity.profiles import CELLS

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


def draw_profiles(profiles: pd.DataFrame, matches: pd.DataFrame) -> Figure:
    """Skill profiles of every seed's vectors, in the order of the first seed's vectors that they are matched with.

    Args:
        profiles, matches: `seeds_profiles.csv` and `seeds_matches.csv`.
    """
    vectors = profiles[profiles["kind"] == "vector"]
    seeds = sorted(vectors["seed"].unique())
    figure = new_figure(PAGE_WIDTH, 2.6)
    panels = figure.subplots(1, len(seeds), squeeze=False)[0]
    first = vectors[vectors["seed"] == seeds[0]]["vector"]
    cells = [place if carry == "nocarry" else f"{place}, carry" for place, carry in (cell.split("_") for cell in CELLS)]
    for axes, seed in zip(panels, seeds, strict=True):
        pairs = matches[(matches["kind"] == "vector") & (matches["seed"] == seeds[0]) & (matches["other_seed"] == seed)]
        order = first if seed == seeds[0] else first.map(pairs.set_index("vector")["other_vector"])
        mine = vectors[vectors["seed"] == seed].set_index("vector").loc[order, list(CELLS)]
        sns.heatmap(
            mine, cmap="RdBu_r", vmin=-0.6, vmax=0.6, cbar=False, xticklabels=cells, yticklabels=list(order), ax=axes
        )
        axes.tick_params(length=0, pad=2)
        axes.tick_params(axis="y", rotation=0)
        axes.set_ylabel("")
        distance = "" if seed == seeds[0] else f"distance {pairs['distance'].mean():.2f}"
        axes.set_title(f"seed {seed}\n{distance}")
    panels[0].set_ylabel("vector")
    bar = figure.colorbar(panels[0].collections[0], ax=list(panels), pad=0.01, aspect=30, extend="both")
    bar.set_label("share of the vector's allocation,\na falling loss positive")
    bar.outline.set_visible(False)
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
