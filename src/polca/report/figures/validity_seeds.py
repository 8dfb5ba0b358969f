"""Figures of the checks over seeds and against a treebank: all seeds, matched profiles, known constructions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from polca.report.figures.style import INK, MUTED, PAGE_WIDTH, RULE, SMALL, new_figure
from polca.validity.profiles import CELLS
from polca.validity.seeds import ROWS

SEED_COLOR, PUBLISHED_COLOR, WITHIN_COLOR = "#0E45DF", "#BC5C03", "#A651AC"

NAMES: Mapping[str, str] = {
    "loss": "exact loss",
    "loss_change": "change in loss",
    "fisher": "Fisher",
    "lca": "LCA",
    "polca_first_order": "POLCA, first order",
    "polca": "POLCA",
    "polca_random": "POLCA, random basis",
    "polca_shuffled_hessian": "POLCA, shuffled Hessian",
}
"""Analyses of Tables 8–11, from top to bottom."""

PANELS: tuple[tuple[str, str, tuple[int, int], tuple[float, float]], ...] = (
    ("homogeneity", "carry homogeneity,\nbest cluster", (8, 10), (0.0, 1.0)),
    ("auc_100s", "AUC of carries, 100s,\nbest vector", (8, 10), (0.5, 1.0)),
    ("auc_10s", "AUC of carries, 10s,\nbest vector", (8, 10), (0.5, 1.0)),
    ("fraction_hidden", "clusters with a\nhidden breakthrough", (9, 11), (0.0, 1.0)),
)


def _of_analysis(table: pd.DataFrame, analysis: str, measure: str, tables: tuple[int, int]) -> pd.DataFrame:
    """Rows of one analysis and measure, of the first of the two tables that has it."""
    for number in tables:
        for row, name in ROWS[number].items():
            if name == analysis:
                found = table[(table["table"] == number) & (table["row"] == row) & (table["measure"] == measure)]
                return found[found["rank"] <= 1]
    raise AssertionError(analysis)


def _rows_axis(axes: Axes, names: Sequence[str], labelled: bool) -> None:
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names if labelled else [""] * len(names))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for y in range(len(names)):
        axes.axhline(y, color=RULE, linewidth=0.4, zorder=0)


def draw_seeds(values: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Every seed's value of Tables 8–11, with mean, standard deviation, and what the paper published.

    Args:
        values, summary: `seeds_values.csv` and `seeds_summary.csv`.
    """
    figure = new_figure(PAGE_WIDTH, 3.0, bottom=0.28)
    panels = figure.subplots(1, len(PANELS), squeeze=False)[0]
    seeds = sorted(values["seed"].unique())
    offset = dict(zip(seeds, np.linspace(-0.22, 0.22, len(seeds)), strict=True))
    for index, (axes, (measure, label, tables, limits)) in enumerate(zip(panels, PANELS, strict=True)):
        _rows_axis(axes, list(NAMES.values()), labelled=index == 0)
        for y, analysis in enumerate(NAMES):
            points = _of_analysis(values, analysis, measure, tables).dropna(subset="value")
            axes.scatter(
                points["value"],
                [y + offset[seed] for seed in points["seed"]],
                s=11,
                color=SEED_COLOR,
                linewidths=0,
                clip_on=False,
                zorder=3,
            )
            (numbers,) = _of_analysis(summary, analysis, measure, tables).to_dict("records")
            if numbers["seeds_with_value"]:
                spread = 0.0 if np.isnan(numbers["sd"]) else float(numbers["sd"])
                low, high = np.clip([numbers["mean"] - spread, numbers["mean"] + spread], *limits)
                axes.plot([low, high], [y, y], color=INK, linewidth=1.1, zorder=2)
                axes.plot([numbers["mean"]] * 2, [y - 0.3, y + 0.3], color=INK, linewidth=1.6, zorder=2)
            if not np.isnan(numbers["published"]):
                axes.scatter(
                    numbers["published"], y, s=20, marker="D", facecolors="none", edgecolors=PUBLISHED_COLOR,
                    linewidths=0.9, clip_on=False, zorder=4,
                )  # fmt: skip
            if numbers["seeds_with_value"] < numbers["seeds"]:
                axes.annotate(
                    f"{numbers['seeds_with_value']} of {numbers['seeds']}",
                    xy=(1.04, y),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    fontsize=SMALL,
                    color=MUTED,
                )
        axes.set_xlim(*limits)
        axes.set_xlabel(label)
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=3.4, color=SEED_COLOR, label="one seed"),
        Line2D([], [], color=INK, linewidth=1.1, marker="|", markersize=6, markeredgewidth=1.6, label="mean ± sd"),
        Line2D([], [], linestyle="", marker="D", markersize=4.4, markerfacecolor="none",
               markeredgecolor=PUBLISHED_COLOR, label="published"),
        Line2D([], [], linestyle="", label="“k of n”: seeds that have a value"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="lower center", ncols=4, handletextpad=0.4, columnspacing=2)
    return figure


def draw_profiles(profiles: pd.DataFrame, matches: pd.DataFrame) -> Figure:
    """Skill profiles of every seed's vectors, in the order of the first seed's vectors that they are matched with.

    Args:
        profiles, matches: `seeds_profiles.csv` and `seeds_matches.csv`.
    """
    vectors = profiles[profiles["kind"] == "vector"]
    seeds = sorted(vectors["seed"].unique())
    figure = new_figure(PAGE_WIDTH, 2.6)
    panels = figure.subplots(1, len(seeds), squeeze=False, sharey=False)[0]
    first = vectors[vectors["seed"] == seeds[0]]
    shown: Any = None
    for axes, seed in zip(panels, seeds, strict=True):
        mine = vectors[vectors["seed"] == seed].set_index("vector")
        pairs = matches[(matches["kind"] == "vector") & (matches["seed"] == seeds[0]) & (matches["other_seed"] == seed)]
        partner = dict(zip(pairs["vector"], pairs["other_vector"], strict=True))
        order = [v if seed == seeds[0] else int(partner[v]) for v in first["vector"]]
        shown = axes.imshow(
            mine.loc[order, list(CELLS)].to_numpy(), cmap="RdBu_r", vmin=-0.6, vmax=0.6, aspect="auto", rasterized=False
        )
        axes.set_yticks(range(len(order)), [str(v) for v in order])
        axes.set_xticks(range(len(CELLS)), [_cell(cell) for cell in CELLS], rotation=90)
        axes.tick_params(length=0, pad=2)
        for spine in axes.spines.values():
            spine.set_visible(False)
        distance = "" if seed == seeds[0] else f"\ndistance {pairs['distance'].mean():.2f}"
        axes.set_title(f"seed {seed}{distance or chr(10)}")
    panels[0].set_ylabel("vector")
    bar = figure.colorbar(shown, ax=list(panels), pad=0.01, aspect=30, extend="both")
    bar.set_label("share of the vector's allocation,\na falling loss positive")
    bar.outline.set_visible(False)
    return figure


def _cell(cell: str) -> str:
    place, carry = cell.split("_")
    return f"{place}, carry" if carry == "carry" else place


def draw_constructions(table: pd.DataFrame) -> Figure:
    """Best cluster and best vector for each construction of a treebank, with what 95 % of permutations stay below.

    Args:
        table: `treebank.csv`, with rows.
    """
    names = list(dict.fromkeys(table["construction"]))
    figure = new_figure(PAGE_WIDTH, 0.9 + 0.2 * len(names), bottom=0.28)
    panels = figure.subplots(1, 3, squeeze=False)[0]
    wanted = (
        ("polca_fine", "homogeneity", "homogeneity,\nbest finer cluster", (0.0, 1.0)),
        ("polca", "auc", "AUC, best POLCA vector", (0.5, 1.0)),
        ("loss", "auc", "AUC, exact loss at the end", (0.5, 1.0)),
    )
    counts = table.drop_duplicates("construction").set_index("construction")["tokens"]
    labels = [f"{name.replace('_', ' ')} ({counts[name]})" for name in names]
    for index, (axes, (analysis, measure, label, limits)) in enumerate(zip(panels, wanted, strict=True)):
        _rows_axis(axes, labels, labelled=index == 0)
        rows = table[(table["analysis"] == analysis) & (table["measure"] == measure)].set_index("construction")
        for y, name in enumerate(names):
            row = rows.loc[name]
            if np.isnan(row["value"]):
                continue
            for column, color, half in (("null_95", MUTED, 0.36), ("within_null_95", WITHIN_COLOR, 0.24)):
                axes.plot([row[column]] * 2, [y - half, y + half], color=color, linewidth=1.4, zorder=2)
            axes.scatter(row["value"], y, s=16, color=SEED_COLOR, linewidths=0, clip_on=False, zorder=3)
        axes.set_xlim(*limits)
        axes.set_xlabel(label)
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=4, color=SEED_COLOR, label="observed"),
        Line2D([], [], linestyle="", marker="|", markersize=8, markeredgewidth=1.4, color=MUTED,
               label="95 % of permutations among all tokens"),
        Line2D([], [], linestyle="", marker="|", markersize=6, markeredgewidth=1.4, color=WITHIN_COLOR,
               label="among tokens that are the same"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="lower center", ncols=3, handletextpad=0.4, columnspacing=2)
    return figure
