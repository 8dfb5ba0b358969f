"""Figures of the checks: completeness and integrators, nulls, sensitivity. They only read result tables."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from polca.report.figures.style import DASHES, INK, MUTED, PAGE_WIDTH, RULE, SMALL, Dashes, new_figure, step_axis

ACTUAL, PATH = "#222222", "#A651AC"
FORM_LOOKS: Mapping[str, tuple[str, str, Dashes]] = {
    "none": ("first order", "#E69F00", DASHES[1]),
    "paper": ("eq. 4, λ fixed", "#C2410C", DASHES[2]),
    "paper_current": ("eq. 4, λ current", "#009E73", DASHES[3]),
    "exact": ("exact second order", "#63A9DC", DASHES[0]),
    "trapezoid": ("trapezoid", "#004B7A", DASHES[0]),
}
"""Name, colour and dashes of each form."""

ANALYSES: Mapping[str, str] = {
    "loss": "exact loss",
    "loss_change": "change in loss",
    "fisher": "Fisher",
    "lca": "LCA",
    "polca_first_order": "POLCA, first order",
    "polca": "POLCA",
    "polca_random": "POLCA, random basis",
    "polca_shuffled_hessian": "POLCA, shuffled Hessian",
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
    "clusters": "clusters",
    "outliers": "share of\noutliers",
    "hidden": "share hidden",
}
_SHORT = {
    **{"none": "first", "paper": "eq. 4", "paper_current": "eq. 4, λₜ", "trapezoid": "trap.", "exact": "exact"},
    **{"both": "both", "vectors": "vectors", "tokens": "tokens", "neither": "neither"},
    **{"printed": "printed", "corrected": "corrected"},
}


def _letter(axes: Axes, letter: str, title: str) -> None:
    axes.set_title(f"({letter}) {title}", loc="left")


def draw_completeness(curves: pd.DataFrame, errors: pd.DataFrame, forms: pd.DataFrame, vectors: pd.DataFrame) -> Figure:
    """What the allocations add up to, where the rest of the loss change is, and each form's error.

    Args:
        curves, errors, forms, vectors: the tables `completeness_….csv` of these names.
    """
    figure = new_figure(PAGE_WIDTH, 4.7, bottom=0.42)
    (whole, error), (parts, each) = figure.subplots(2, 2)
    end = int(curves["step"].max())
    shown = [form for form in FORM_LOOKS if form in curves]

    whole.axhline(0, color=RULE, linewidth=0.6, zorder=0)
    whole.plot([0, *curves["step"]], [0, *curves["actual"].cumsum()], color=ACTUAL, linewidth=2)
    for form in shown:
        _, color, dashes = FORM_LOOKS[form]
        whole.plot([0, *curves["step"]], [0, *curves[form].cumsum()], color=color, linestyle=dashes)
    step_axis(whole, end)
    whole.set_ylabel("change since step 0 (nats)")
    _letter(whole, "a", "Sum over vectors, mean over tokens")

    for form in shown:
        own = errors[errors["form"] == form]
        _, color, dashes = FORM_LOOKS[form]
        error.plot(own["step"], own["relative_rmse"], color=color, linestyle=dashes, marker="o", markersize=2.5)
    error.axhline(1, color=RULE, linewidth=0.6, zorder=0)
    error.set_yscale("log")
    step_axis(error, end)
    error.set_ylabel("relative RMS error")
    _letter(error, "b", "Against the path integral")

    names = {"allocated": "allocated", "missed": "missed inside", "outside": "outside"}
    present = forms.set_index("form")
    order = [form for form in (*FORM_LOOKS, "path") if form in present.index]
    labels = [FORM_LOOKS[form][0] if form in FORM_LOOKS else "path integral" for form in order]
    y = np.arange(len(order))
    for offset, (column, color) in zip(
        (-0.26, 0.0, 0.26), {"allocated": "#004B7A", "missed": "#E69F00", "outside": "#A8A8A8"}.items(), strict=True
    ):
        parts.barh(y + offset, present.loc[order, column].to_numpy(np.float64), 0.24, color=color, label=names[column])
    parts.axvline(0, color=RULE, linewidth=0.6)
    parts.axvline(float(forms["actual"].iloc[0]), color=ACTUAL, linewidth=1.2, label="true change")
    parts.set_yticks(y, labels)
    parts.invert_yaxis()
    parts.tick_params(axis="y", length=0)
    parts.set_xlabel("mean over tokens, sum over the intervals of (b) (nats)")
    _letter(parts, "c", "Three parts of the loss change")
    parts.legend(loc="upper center", bbox_to_anchor=(0.4, -0.3), ncols=4, handlelength=1, columnspacing=1)

    each.axhline(0, color=RULE, linewidth=0.6, zorder=0)
    for form in shown:
        _, color, _ = FORM_LOOKS[form]
        each.plot(vectors["vector"], vectors[f"all_{form}"], color=color, marker="o", markersize=3, linestyle="none")
    each.set_xticks(vectors["vector"])
    each.set_xlabel("vector")
    each.set_ylabel("projected loss at the end (nats)")
    _letter(each, "d", "By vector, whole training")

    handles = [Line2D([], [], color=ACTUAL, linewidth=2, label="true change")]
    handles += [
        Line2D([], [], color=FORM_LOOKS[f][1], linestyle=cast(Any, FORM_LOOKS[f][2]), label=FORM_LOOKS[f][0])
        for f in shown
    ]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), handlelength=2, columnspacing=1.2)
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
    for index, (axes, table, title) in enumerate(zip(panels, tables, titles, strict=True)):
        rows = table.dropna(subset="observed").set_index("analysis")
        for y, name in enumerate(ANALYSES):
            axes.axhline(y, color=RULE, linewidth=0.4, zorder=0)
            if name not in rows.index:
                continue
            row = rows.loc[name]
            axes.plot([0, row["null_95"]], [y, y], color="#A8A8A8", linewidth=5, solid_capstyle="butt", zorder=1)
            axes.plot([row["null_mean"]] * 2, [y - 0.22, y + 0.22], color=INK, linewidth=1.2, zorder=2)
            low = row["p_value"] <= 0.05
            axes.plot(
                row["observed"],
                y,
                marker="o",
                markersize=4.5,
                markerfacecolor="#0E45DF" if low else "white",
                markeredgecolor="#0E45DF",
                markeredgewidth=1.1,
                clip_on=False,
                zorder=3,
            )
        axes.set_ylim(len(ANALYSES) - 0.4, -0.6)
        axes.set_yticks(range(len(ANALYSES)), list(ANALYSES.values()) if index == 0 else [""] * len(ANALYSES))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_title(title, fontsize=SMALL)
        axes.set_xlabel("best carry homogeneity" if index < len(NULLS) else "clusters hidden")
    dot: dict[str, Any] = {"marker": "o", "linestyle": "none", "markeredgecolor": "#0E45DF", "markersize": 4.5}
    handles = [
        Line2D([], [], markerfacecolor="#0E45DF", label="observed, p ≤ 0.05", **dot),
        Line2D([], [], markerfacecolor="white", label="observed, p > 0.05", **dot),
        Line2D([], [], color="#A8A8A8", linewidth=5, label="up to 95 % of the null"),
        Line2D([], [], color=INK, marker="|", linestyle="none", markersize=7, label="mean of the null"),
    ]
    figure.legend(handles=handles, loc="lower center", ncols=4, columnspacing=1.5, handlelength=1.5)
    return figure


def _factor(axes: Axes, table: pd.DataFrame, outcome: str, labelled: bool, rotation: float = 90) -> None:
    """One panel: an outcome over a factor's values, the preset's own filled."""
    x = np.arange(len(table))
    words = isinstance(table["value"].iloc[0], str) and not table["value"].iloc[0].lstrip("-").isdigit()
    axes.plot(x, table[outcome], color=MUTED, linewidth=0 if words else 0.9, zorder=1)
    own = table["default"].astype(bool).to_numpy()
    for flags, face in ((own, "#0E45DF"), (~own, "white")):
        axes.scatter(
            x[flags],
            table[outcome].to_numpy()[flags],
            s=16,
            facecolor=face,
            edgecolor="#0E45DF",
            linewidth=1,
            zorder=2,
            clip_on=False,
        )
    names = [_SHORT.get(str(v), str(v)) for v in table["value"]] if labelled else [""] * len(x)
    axes.set_xticks(x, names, rotation=rotation, fontsize=SMALL - 1)
    axes.set_xlim(-0.5, len(x) - 0.5)


def draw_sensitivity(factors: pd.DataFrame) -> Figure:
    """Small multiples: what becomes of POLCA's clusters when one setting changes.

    Args:
        factors: `sensitivity_factors.csv`.
    """
    figure = new_figure(PAGE_WIDTH, 6.1, bottom=0.05)
    above, below = cast(Any, figure.subfigures(2, 1, height_ratios=(4, 1.35)))
    grid = above.subplots(len(OUTCOMES), len(FACTORS), sharey="row")
    for i, (outcome, name) in enumerate(OUTCOMES.items()):
        for j, (factor, title) in enumerate(FACTORS.items()):
            axes = grid[i][j]
            last = i == len(OUTCOMES) - 1
            _factor(axes, factors[factors["factor"] == factor], outcome, last)
            top = 1.0 if outcome != "clusters" else 1.08 * max(1, factors["clusters"].max())
            axes.set_ylim(0, top)
            if i == 0:
                axes.set_title(title, fontsize=SMALL)
            if j == 0:
                axes.set_ylabel(name, fontsize=SMALL)
    row = below.subplots(1, len(HIDDEN_FACTORS), sharey="row")
    for j, (factor, title) in enumerate(HIDDEN_FACTORS.items()):
        _factor(row[j], factors[factors["factor"] == factor], "hidden", True, rotation=0)
        row[j].set_ylim(0, 1)
        row[j].set_title(title, fontsize=SMALL)
        if j == 0:
            row[j].set_ylabel("share hidden", fontsize=SMALL)
    return figure
