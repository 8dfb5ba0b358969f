"""Figures of the checks: completeness and integrators, nulls, sensitivity. They only read result tables."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from polca.report import names
from polca.report.figures.style import (
    DASHES,
    INK,
    LINE_SPACING,
    MUTED,
    PAGE_WIDTH,
    RULE,
    SMALL,
    Dashes,
    letter,
    new_figure,
    step_axis,
)

BLUE, GREY = "#0E45DF", "#A8A8A8"
FORM_LOOKS: Mapping[str, tuple[str, str, Dashes]] = {
    "none": ("first order", "#E69F00", DASHES[1]),
    "paper": ("eq. 4, λ fixed", "#C2410C", DASHES[2]),
    "paper_current": ("eq. 4, λ current", "#009E73", DASHES[3]),
    "exact": ("exact second order", "#63A9DC", DASHES[0]),
    "trapezoid": ("trapezoid", "#004B7A", DASHES[0]),
}
"""Name, colour and dashes of each form."""
PARTS: Mapping[str, tuple[str, str]] = {
    "allocated": ("allocated", "#004B7A"),
    "missed": ("missed inside", "#E69F00"),
    "outside": ("outside", GREY),
}
"""Name and colour of each part of the loss change."""

ANALYSES: Mapping[str, str] = {
    name: names.ANALYSES[name]
    for name in (
        *("loss", "loss_change", "fisher", "lca"),
        *("polca_first_order", "polca", "polca_random", "polca_shuffled_hessian"),
    )
}
"""Rows of Tables 8 to 11, from top to bottom."""

NULLS: Mapping[str, str] = {
    "labels": "tokens swap skills",
    "labels_within_place": "tokens of one digit\nswap carries",
    "vectors": "trajectories\nswap vectors",
}

FACTORS: Mapping[str, str] = {
    "interval": "interval (steps)",
    "vectors": "vectors",
    "second_order": "second order",
    "filters": "filters",
    "min_cluster_size": "least cluster size",
    "min_samples_divisor": "min. samples n / …",
}
HIDDEN_FACTORS: Mapping[str, str] = {"flat_step": "τ (steps)", "delta": "Δ (steps)", "sign": "sign of eq. 9"}
"""Factors on which hidden breakthroughs alone depend."""
OUTCOMES: Mapping[str, str] = {
    "best_homogeneity": "best carry\nhomogeneity",
    "hidden": "clusters\nhidden",
}
_SHORT = {"none": "first", "paper": "eq. 4", "paper_current": "eq. 4, λₜ", "trapezoid": "trap."}
"""Forms in few letters."""


# --- Parts that the figures share -------------------------------------------------------------------------------------


def legend_below(figure: Figure, axes: Axes) -> None:
    """One line of keys at the bottom of the figure: what a panel's artists say that they are."""
    keys, labels = axes.get_legend_handles_labels()
    figure.legend(keys, labels, loc="lower center", ncols=len(keys), handlelength=1.8, columnspacing=1.6)


def row_marks(
    axes: Axes, table: pd.DataFrame, x: str, names: Sequence[str], color: str = BLUE, shift: Any = 0, **look: Any
) -> None:
    """A mark at column `x` of every row of `table`, `shift` below the line of its column `name`."""
    rows = pd.Categorical(table["name"], list(names)).codes + shift
    axes.scatter(table[x], rows, facecolors=color, **{"clip_on": False, "zorder": 3, **look})


def rows_axis(axes: Axes, names: Sequence[str], label: str, limits: tuple[float, float], labelled: bool) -> None:
    """The axes of lines from top to bottom, named where they are `labelled`."""
    axes.set_xlim(*limits)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(label, linespacing=LINE_SPACING)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelleft=labelled)
    axes.spines["left"].set_visible(False)
    for y in range(len(names)):
        axes.axhline(y, color=RULE, linewidth=0.4, zorder=0)


def _title(axes: Axes, panel: str, title: str, y_label: str = "") -> None:
    axes.set_title(title, loc="left")
    axes.set_ylabel(y_label)
    letter(axes, panel)


# --- Figures ----------------------------------------------------------------------------------------------------------


def draw_completeness(curves: pd.DataFrame, errors: pd.DataFrame, forms: pd.DataFrame) -> Figure:
    """What the allocations add up to, where the rest of the loss change is, and each form's error.

    Args:
        curves, errors, forms: the tables `completeness_….csv` of these names.
    """
    figure = new_figure(PAGE_WIDTH, 4.3, bottom=0.3)
    panels = figure.subplot_mosaic([["a", "b"], ["c", "c"]])
    whole, error, parts = (panels[name] for name in "abc")
    shown = [form for form in FORM_LOOKS if form in curves]
    sums = curves.set_index("step")[["actual", *shown]].cumsum()
    sums = sums.reindex([0, *sums.index], fill_value=0)
    whole.plot(sums.index, sums["actual"], color=INK, linewidth=2, label="true change")
    for form, (name, color, dashes) in FORM_LOOKS.items():
        look: dict[str, Any] = {"color": color, "linestyle": dashes, "label": name}
        own = errors[errors["form"] == form]
        if form in shown:
            whole.plot(sums.index, sums[form], **look)
        elif len(own):  # known on the intervals of the path alone
            whole.plot([], [], **look)
        if len(own):
            error.plot(own["step"], own["relative_rmse"], marker="o", markersize=4, markeredgewidth=0, **look)
    _title(whole, "a", "Sum over vectors, mean over tokens", "change since step 0 (nats)")
    error.set_yscale("log")
    _title(error, "b", "Against the path integral", "relative RMS error")
    for axes, level in ((whole, 0), (error, 1)):
        axes.axhline(level, color=RULE, linewidth=0.6, zorder=0)
    for axes in (whole, error):
        step_axis(axes, int(curves["step"].max()))

    names = {form: FORM_LOOKS[form][0] for form in FORM_LOOKS} | {"path": "path integral"}
    bars = forms.set_index("form")[list(PARTS)].reindex([form for form in names if form in set(forms["form"])])
    bars.rename(index=names).plot.barh(ax=parts, color=[color for _, color in PARTS.values()], width=0.8)
    parts.invert_yaxis()
    parts.axvline(0, color=RULE, linewidth=0.6)
    parts.axvline(float(forms["actual"].iloc[0]), color=INK, linewidth=1.2)
    parts.tick_params(axis="y", length=0)
    parts.set_xlabel("mean over tokens, sum over the intervals of (b) (nats)")
    _title(parts, "c", "Three parts of the loss change")
    words = [name for name, _ in PARTS.values()]
    parts.legend(parts.containers, words, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1)
    legend_below(figure, whole)
    return figure


def draw_nulls(best: pd.DataFrame, hidden: pd.DataFrame) -> Figure:
    """Each strategy's best cluster, and its hidden breakthroughs, beside what chance gives.

    Args:
        best, hidden: `null_best.csv` and `null_hidden.csv`.
    """
    figure = new_figure(PAGE_WIDTH, 2.9, bottom=0.3)
    panels = figure.subplots(1, len(NULLS) + 1, squeeze=False)[0]
    tables = [best[best["null"] == null] for null in NULLS] + [hidden]
    titles = [*NULLS.values(), "increments\nswap times"]
    names = list(ANALYSES.values())
    ring: dict[str, Any] = {"edgecolors": BLUE, "linewidth": 1.1, "s": 20}
    for axes, table, title in zip(panels, tables, titles, strict=True):
        rows = table[table["analysis"].isin(ANALYSES)].dropna(subset="observed")
        rows = rows.assign(name=rows["analysis"].map(ANALYSES))
        above = rows["p_value"] <= 0.05
        row_marks(axes, rows[above], "observed", names, label="observed, p ≤ 0.05", **ring)
        row_marks(axes, rows[~above], "observed", names, "white", label="observed, p > 0.05", **ring)
        lines = pd.Categorical(rows["name"], names).codes
        axes.barh(lines, rows["null_95"], 0.3, color=GREY, label="up to 95 % of the null")
        row_marks(axes, rows, "null_mean", names, INK, marker="|", s=81, zorder=2, label="mean of the null")
        of = "best carry homogeneity" if axes is not panels[-1] else "clusters hidden"
        rows_axis(axes, names, of, (0, 1), labelled=axes is panels[0])
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_title(title, fontsize=SMALL, linespacing=LINE_SPACING)
    legend_below(figure, panels[0])
    return figure


def _factor(axes: Axes, factors: pd.DataFrame, factor: str, outcome: str) -> None:
    """One panel: an outcome over a factor's values, the preset's own filled, and joined where they are numbers."""
    own = factors[factors["factor"] == factor]
    own = own.assign(value=own["value"].astype(str).replace(_SHORT), default=own["default"].astype(bool))
    line = "-" if own["value"].str.lstrip("-").str.isdigit().all() else "none"
    axes.plot(own["value"], own[outcome], color=MUTED, linestyle=line, linewidth=0.9, zorder=1)
    faces = own["default"].map({True: BLUE, False: "white"})
    axes.scatter(own["value"], own[outcome], 16, faces, edgecolors=BLUE, linewidth=1, clip_on=False, zorder=2)
    axes.margins(x=0.15)


def draw_sensitivity(factors: pd.DataFrame) -> Figure:
    """Small multiples: what becomes of POLCA's clusters when one parameter changes.

    Args:
        factors: `sensitivity_factors.csv`.
    """
    figure = new_figure(PAGE_WIDTH, 4.4, bottom=0.05)
    above, below = cast(Any, figure.subfigures(2, 1, height_ratios=(2.6, 1.3)))
    grid = above.subplots(len(OUTCOMES), len(FACTORS), sharey="row", sharex="col")
    row = below.subplots(1, len(HIDDEN_FACTORS), sharey="row", squeeze=False)
    for panels, outcomes, titles in ((grid, OUTCOMES, FACTORS), (row, {"hidden": OUTCOMES["hidden"]}, HIDDEN_FACTORS)):
        for line, (outcome, name) in zip(panels, outcomes.items(), strict=True):
            for axes, factor in zip(line, titles, strict=True):
                _factor(axes, factors, factor, outcome)
            line[0].set_ylim(0, 1)
            line[0].set_ylabel(name, fontsize=SMALL, linespacing=LINE_SPACING)
        for axes, title in zip(panels[0], titles.values(), strict=True):
            axes.set_title(title, fontsize=SMALL, linespacing=LINE_SPACING)
    for axes in grid[-1]:
        axes.tick_params(axis="x", rotation=90)
    return figure
