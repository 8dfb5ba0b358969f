"""Skills and their colours, the same in every figure.

Hue is the digit skill (four hues after Okabe & Ito's colour-blind-safe set), lightness the carry skill: dark with a
carry, light without, a middle tone for both together.
"""

from dataclasses import dataclass

import pandas as pd

from polca.report.figures.style import DASHES, Look
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import COUNTS

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

NEUTRALS = (("#333333", "#333333"), ("#7A7A7A", "#5A5A5A"), ("#A8A8A8", "#6B6B6B"))
"""Clusters without a dominant place: colour, and the same dark enough for text. They differ in dashes as well."""


@dataclass(frozen=True)
class ClusterLook(Look):
    """How a cluster is drawn; its name is its dominant skills, such as `100s, carry`.

    Attributes:
        counts: tokens by skill, `COUNTS` → number.
    """

    counts: dict[str, int]

    @property
    def carry_share(self) -> float:
        """Fraction of the tokens with a carry: the cluster's carry homogeneity."""
        return sum(n for key, n in self.counts.items() if key.endswith("_carry")) / self.size


def dominant_skills(counts: dict[str, int]) -> tuple[str | None, bool | None]:
    """The place and the carry label that at least `MAJORITY` of a cluster's tokens have; None where none does."""
    total = sum(counts.values())
    by_place = {place: counts[f"n_{place}_carry"] + counts[f"n_{place}_nocarry"] for place in PLACES}
    carries = sum(counts[f"n_{place}_carry"] for place in PLACES)
    place = max(PLACES, key=lambda p: by_place[p])
    carry = True if carries >= MAJORITY * total else False if total - carries >= MAJORITY * total else None
    return (place if by_place[place] >= MAJORITY * total else None), carry


def looks(clusters: pd.DataFrame) -> list[ClusterLook]:
    """Looks of one vector's clusters (rows of `clusters.csv`), in order of their numbers."""
    result: list[ClusterLook] = []
    neutral = 0
    for row in clusters.sort_values("cluster").to_dict("records"):
        counts = {str(key): int(row[key]) for key in COUNTS}
        place, carry = dominant_skills(counts)
        # The 1s digit never has a carry, so saying so would say nothing.
        words = {True: "carry", False: None if place == "1s" else "no carry", None: None}[carry]
        name = ", ".join(word for word in (place or "mixed", words) if word)
        if place is None:
            color, text_color = NEUTRALS[neutral % len(NEUTRALS)]
            same, neutral = neutral, neutral + 1
        else:
            tones = PLACE_TONES[place]
            text_color = tones.carry
            color = {True: tones.carry, False: tones.no_carry, None: tones.both}[carry]
            same = sum(look.color == color for look in result)
        result.append(
            ClusterLook(
                number=int(row["cluster"]),
                size=int(row["size"]),
                name=name,
                color=color,
                text_color=text_color,
                dashes=DASHES[same % len(DASHES)],
                counts=counts,
            )
        )
    return result
