"""Skills, their colours, the same in every figure, and bars of what a cluster consists of.

Hue is the digit skill (four hues after Okabe & Ito's colour-blind-safe set), lightness the carry skill: dark with a
carry, light without, a middle tone for both together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Patch

from polca.report.figures.style import INK, SMALL, Look, note, percent
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import COUNTS

LEGEND_HEIGHT = 0.38
"""Inches of the strip below the panels that `skill_legend` fills."""
MAJORITY = 0.70
"""Share of a cluster from which a skill is its dominant one (the share that the paper's English labels use)."""


@dataclass(frozen=True)
class Tones:
    """The tones of one hue: `carry` (dark, also for text), `both`, `no_carry` (light)."""

    carry: str
    both: str
    no_carry: str


PLACE_TONES: dict[str, Tones] = {
    "1000s": Tones("#004B7A", "#0072B2", "#63A9DC"),
    "100s": Tones("#00624A", "#009E73", "#8EDCC4"),
    "10s": Tones("#A66300", "#E69F00", "#F3C15C"),
    # Nothing carries into the 1s digit: one tone, and a dark one for text.
    "1s": Tones("#8F4070", "#C76BA0", "#C76BA0"),
}
GREYS = Tones("#3F3F3F", "#8A8A8A", "#CFCFCF")
"""The carry skill alone."""

NEUTRALS = (("#222222", "#222222"), ("#7A7A7A", "#5A5A5A"), ("#B4B4B4", "#6B6B6B"))
"""Clusters without a dominant place: colour, and the same dark enough for text. They differ in dashes as well."""


def dominant_skills(counts: Mapping[str, int]) -> tuple[str | None, bool | None]:
    """The place and the carry label that at least `MAJORITY` of a cluster's tokens have; None where none does."""
    total = sum(counts.values())
    by_place = {place: counts[f"n_{place}_carry"] + counts[f"n_{place}_nocarry"] for place in PLACES}
    carries = sum(counts[f"n_{place}_carry"] for place in PLACES)
    place = max(PLACES, key=lambda p: by_place[p])
    carry = True if carries >= MAJORITY * total else False if total - carries >= MAJORITY * total else None
    return (place if by_place[place] >= MAJORITY * total else None), carry


def held_places(counts: Mapping[str, int]) -> str:
    """The one place or two that make up `MAJORITY` of a cluster; `mixed` where it takes more."""
    by_place = {place: counts[f"n_{place}_carry"] + counts[f"n_{place}_nocarry"] for place in PLACES}
    first, second = sorted(PLACES, key=lambda p: by_place[p], reverse=True)[:2]
    needed = MAJORITY * sum(counts.values())
    if by_place[first] >= needed:
        return first
    return (
        " + ".join(p for p in PLACES if p in (first, second))
        if by_place[first] + by_place[second] >= needed
        else "mixed"
    )


def looks(clusters: pd.DataFrame) -> list[Look]:
    """Looks of one vector's clusters (rows of `clusters.csv`), in order of their numbers."""
    result: list[Look] = []
    neutral = 0
    for row in clusters.sort_values("cluster").to_dict("records"):
        counts = {str(key): int(row[key]) for key in COUNTS}
        place, carry = dominant_skills(counts)
        # The 1s digit never has a carry, so saying so would say nothing.
        words = {True: "carry", False: None if place == "1s" else "no carry", None: None}[carry]
        name = ", ".join(word for word in (held_places(counts), words) if word)
        if place is None:
            color, text_color = NEUTRALS[neutral % len(NEUTRALS)]
            same, neutral = neutral, neutral + 1
        else:
            tones = PLACE_TONES[place]
            text_color = tones.carry
            color = {True: tones.carry, False: tones.no_carry, None: tones.both}[carry]
            same = sum(look.color == color for look in result)
        result.append(Look.of(row, name, color, text_color, same, counts=counts))
    return result


def carry_share(look: Look) -> float:
    """Fraction of a cluster's tokens with a carry: its carry homogeneity."""
    return sum(n for key, n in look.counts.items() if key.endswith("_carry")) / look.size


def composition_bars(axes: Axes, clusters: Sequence[Look]) -> None:
    """Two bars a cluster: digit skill (hue, with the carry's lightness), and below it the carry skill in greys."""
    rows = np.arange(len(clusters), dtype=float)
    for row, look in zip(rows, clusters, strict=True):
        left = 0.0
        for place in PLACES:
            for key, tone in (("carry", PLACE_TONES[place].carry), ("nocarry", PLACE_TONES[place].no_carry)):
                width = 100 * look.counts[f"n_{place}_{key}"] / look.size
                axes.barh(row - 0.14, width, 0.42, left=left, color=tone, edgecolor="white", linewidth=0.4)
                left += width
        carry = 100 * carry_share(look)
        axes.barh(row + 0.23, carry, 0.22, color=GREYS.carry, edgecolor="white", linewidth=0.4)
        axes.barh(row + 0.23, 100 - carry, 0.22, left=carry, color=GREYS.no_carry, edgecolor="white", linewidth=0.4)
        text = f"{percent(carry)} carry"
        note(axes, text, (100, row + 0.23), (3, 0), "data", va="center", color=INK)
    size = "\n{:,} tokens" if len(clusters) <= 4 else " ({:,})"
    axes.set_yticks(rows, [f"{look.number}: {look.name}{size.format(look.size)}" for look in clusters])
    for tick, look in zip(axes.get_yticklabels(), clusters, strict=True):
        tick.set_color(look.text_color)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    # A single cluster keeps the bar height that it would have among others.
    empty = max(0.0, (3 - len(clusters)) / 2)
    axes.set_ylim(len(clusters) - 0.5 + empty, -0.5 - empty)
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 50, 100])
    axes.set_xlabel("share of cluster (%)")


def skill_legend(figure: Figure) -> None:
    """Key of the composition bars, in the strip of `LEGEND_HEIGHT` at the bottom: the places' tones, the greys."""
    middle = LEGEND_HEIGHT / 2 / figure.get_figheight()

    def swatch(color: str) -> Patch:
        return Patch(facecolor=color, edgecolor="white", linewidth=0.4)

    handles: list[Any] = [(swatch(PLACE_TONES[p].carry), swatch(PLACE_TONES[p].no_carry)) for p in PLACES[:-1]]
    # The 1s digit has no dark half: nothing carries into it.
    handles.append(swatch(PLACE_TONES["1s"].no_carry))
    greys: list[Any] = [swatch(GREYS.carry), swatch(GREYS.no_carry)]
    legends: tuple[tuple[str, list[Any], list[str], float, Literal["center left", "center right"]], ...] = (
        ("upper bar: digit (dark: with a carry, light: without)", handles, list(PLACES), 0.62, "center right"),
        ("lower bar: carry", greys, ["carry", "no carry"], 0.67, "center left"),
    )
    for title, keys, labels, x, anchor in legends:
        figure.legend(
            keys,
            labels,
            title=title,
            title_fontsize=SMALL,
            alignment="left",
            handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
            loc=anchor,
            bbox_to_anchor=(x, middle),
            ncols=len(labels),
            handlelength=1.8,
            handleheight=0.8,
            handletextpad=0.5,
            columnspacing=1.4,
        ).set_in_layout(False)
