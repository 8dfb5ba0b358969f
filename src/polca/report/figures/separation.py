"""Figure D1: projected losses of tokens with and without a carry, before any clustering, and how far they differ."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from polca.machine.files import read_csv
from polca.report.figures.skills import GREYS, PLACE_TONES
from polca.report.figures.style import INK, MUTED, PAGE_WIDTH, heading, letter, new_figure, note, say
from polca.study.results import Results
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import ROWS

BASES = {"hessian": "Hessian", "shuffled_hessian": "shuffled", "random": "random"}
"""Bases whose vectors are compared, rows of Table 10, and what they are called."""
CLIP = 99.0
"""Per cent of the tokens that a density shows; a few far ones would leave it a line."""


def best_vectors(results: Results) -> dict[str, int]:
    """The vector (from 1) along which the last projected losses tell carries into a place apart best, by place."""
    own = results.vectors[results.vectors["analysis"] == "polca"]
    areas = {place: own[f"auc_{place}"].to_numpy(np.float64) for place in PLACES[:3]}
    return {place: int(np.nanargmax(a)) + 1 for place, a in areas.items() if np.isfinite(a).any()}


def draw(results: Results, validity: Path | None = None) -> Figure:
    """Above, densities along the best vector of each place; below, the AUC of every vector of each basis.

    Args:
        validity: the folder that `make validity` fills; where it has `seeds_values.csv`, the best vector of every seed
            is shown as well.
    """
    figure = new_figure(PAGE_WIDTH, 3.7, bottom=0.3)
    panels = figure.subplots(2, 3, height_ratios=(1.15, 1))
    seeds = None if validity is None or not (path := validity / "seeds_values.csv").is_file() else read_csv(path)
    best, letters = best_vectors(results), iter("abcdef")
    for axes, place in zip(panels[0], PLACES[:3], strict=True):
        if place in best:
            _densities(axes, results, place, best[place])
        else:
            say(axes, "no carries among\nthese tokens")
        letter(axes, next(letters))
    for axes, place in zip(panels[1], PLACES[:3], strict=True):
        _areas(axes, results, place, seeds)
        letter(axes, next(letters))
    panels[0][0].set_ylabel("density of tokens")
    for axes in panels[1][1:]:
        axes.set_yticklabels([])
    step = int(results.projected_losses["steps"][-1])
    about = f"projected loss of every token at step {step:,}, along one vector"
    heading(panels[0][0], "Carries without clusters", about)
    ring: dict[str, Any] = {"marker": "D", "linestyle": "", "markersize": 3.5, "markerfacecolor": "none"}
    keys = [
        Line2D([], [], color=GREYS.carry, label="carry (dark)"),
        Line2D([], [], color=GREYS.both, linestyle="--", label="no carry (light)"),
        Line2D([], [], color=GREYS.both, marker="o", linestyle="", markersize=3.5, label="a vector"),
        Line2D([], [], color=INK, label="best of a seed", **ring),
    ]
    shown = keys if seeds is not None else keys[:-1]
    figure.legend(handles=shown, loc="lower center", ncols=len(shown), handlelength=1.8, columnspacing=2)
    return figure


def _densities(axes: Axes, results: Results, place: str, vector: int) -> None:
    """Projected losses of a place's tokens by carry."""
    import seaborn as sns  # of the extra `repro`: figures of one's own model, beside this one, do without it

    last = results.projected_losses["polca"][-1, vector - 1].astype(np.float64)
    of_place, carry, tones = (
        results.evaluation.place == PLACES.index(place),
        results.evaluation.carry,
        PLACE_TONES[place],
    )
    low, high = np.percentile(last[of_place], [(100 - CLIP) / 2, (100 + CLIP) / 2])
    for has, color, style in ((True, tones.carry, "-"), (False, tones.no_carry, "--")):
        values = last[of_place & (carry == has)]
        sns.kdeplot(
            x=values, ax=axes, color=color, fill=True, alpha=0.35, linewidth=1.2, linestyle=style, clip=(low, high)
        )
    area = float(results.vectors.query("analysis == 'polca' and vector == @vector")[f"auc_{place}"].iloc[0])
    axes.set_yticks([])
    axes.set_ylabel("")
    axes.set_xlabel("projected loss (nats)")
    axes.locator_params(axis="x", nbins=4)
    axes.spines["left"].set_visible(False)
    name = note(axes, f"{place}, vector {vector}", (0, 1), (0, 3), va="bottom", color=tones.carry, fontweight="bold")
    note(axes, f"AUC {area:.2f}", (1, 0.5), (6, 0), name, va="center_baseline", color=INK)


def _areas(axes: Axes, results: Results, place: str, seeds: pd.DataFrame | None) -> None:
    """AUC of every vector of each basis, and of every seed's best vector."""
    tones, column = PLACE_TONES[place], f"auc_{place}"
    rows = results.vectors.dropna(subset=column)
    above: dict[str, Any] = {"zorder": 3, "clip_on": False}
    for line, basis in enumerate(BASES):
        areas = rows.loc[rows["analysis"] == ROWS[10][basis], column]
        if ROWS[10][basis] not in set(results.vectors["analysis"]):
            white: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            look: dict[str, Any] = {"ha": "center", "va": "center", "color": MUTED, "bbox": white}
            note(axes, "not in this run", (0.75, line), coords="data", **look)
        axes.scatter(areas, np.full(len(areas), line), s=14, color=tones.both, linewidth=0, alpha=0.8, **above)
        if seeds is not None:
            own = seeds.query("measure == @column and table == 10").drop_duplicates(["row", "seed"])
            found = own.loc[own["row"] == basis, "value"]
            places = np.full(len(found), line + 0.28)
            axes.scatter(found, places, s=12, marker="D", facecolor="none", edgecolor=INK, **above)
    axes.set_yticks(range(len(BASES)), list(BASES.values()))
    axes.set_ylim(len(BASES) - 0.4, -0.5)
    axes.set_xlim(0.5, 1)
    axes.set_xlabel(f"AUC, carries into the {place}")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#E5E5E5", linewidth=0.5, zorder=0)
