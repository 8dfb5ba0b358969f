"""Colours of English clusters can be told apart by everyone, and follow the clusters' names."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from polca.report.figures.projected_losses import COLORS
from polca.report.figures.roles import ROLES, looks
from polca.report.figures.skills import GREYS, NEUTRALS, PLACE_TONES
from polca.report.figures.validity import FORM_LOOKS, PARTS
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.english.patterns import FAMILIES
from synthetic_english import KINDS

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(color: str) -> Any:
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: Any) -> Any:
    """CIELAB (D65) of linear RGB."""
    xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]] @ np.clip(rgb, 0, 1)
    x, y, z = (
        (t / n) ** (1 / 3) if t / n > (6 / 29) ** 3 else t / n / (3 * (6 / 29) ** 2) + 4 / 29
        for t, n in zip(xyz, (0.9505, 1, 1.089), strict=True)
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(color: str) -> float:
    """WCAG contrast with white."""
    return float(1.05 / (np.array([0.2126, 0.7152, 0.0722]) @ linear(color) + 0.05))


LEGENDS = {
    "skills": [
        *(tone for place in PLACES[:-1] for tone in (PLACE_TONES[place].carry, PLACE_TONES[place].no_carry)),
        PLACE_TONES["1s"].both,
    ],
    "places": [PLACE_TONES[place].both for place in PLACES],
    "carry": [GREYS.carry, GREYS.no_carry],
    "mixed clusters": [color for color, _ in NEUTRALS],
    "forms": [color for _, color, _ in FORM_LOOKS.values()],
    "parts": [color for _, color in PARTS.values()],
    "clusters of any model": [color for color, _ in COLORS],
}
"""Colours that stand in one legend, by legend."""
LEAST = 17.0
"""CIELAB units between two of them; neighbours that differ by a tenth of it can be told apart side by side."""


@pytest.mark.parametrize("sight", ["normal", "protanopia", "deuteranopia"])
@pytest.mark.parametrize("legend", LEGENDS)
def test_colours_of_a_legend_differ_in_any_sight(legend: str, sight: str) -> None:
    seen = {color: lab(np.array(SIGHT[sight]) @ linear(color)) for color in LEGENDS[legend]}
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= LEAST, f"{one} looks like {other}"


class TestRoles:
    @pytest.mark.parametrize("sight", SIGHT)
    def test_colours_differ_in_any_sight(self, sight: str) -> None:
        seen = {name: lab(np.array(SIGHT[sight]) @ linear(role.color)) for name, role in ROLES.items()}
        for one, other in combinations(seen, 2):
            assert np.linalg.norm(seen[one] - seen[other]) >= 25, f"{one} looks like {other}"

    def test_texts_can_be_read(self) -> None:
        assert min(contrast(role.text_color) for role in ROLES.values()) >= 4.5
        assert min(contrast(role.color) for role in ROLES.values()) >= 1.7

    def test_every_family_of_names_has_one_role(self) -> None:
        assert sorted(name for role in ROLES.values() for name in role.families) == sorted(FAMILIES)

    def test_looks_follow_the_name_and_differ(self) -> None:
        expected = {
            "newline": "line end",
            "comma": "punctuation",
            "of": "preposition",
            "adp": "preposition",
            "det": "function word",
            "noun": "noun",
            "verb": "verb",
            "piece": "word continuation",
            "after": "place",
            "mixed": "mixed",
        }
        rows = [
            {"cluster": i, "size": 50 - i, "name": kind.name, "fit": kind.fit}
            | dict(zip(("tags_3", "tags_2", "tags_1", "tags_0"), kind.tags, strict=True))
            for i, kind in enumerate(KINDS.values())
        ]
        result = looks(pd.DataFrame(rows[::-1]))
        assert [look.number for look in result] == list(range(len(KINDS)))
        assert [look.color for look in result] == [ROLES[expected[kind]].color for kind in KINDS]
        assert [look.name for look in result] == [kind.name for kind in KINDS.values()]
        assert len({(look.color, look.dashes) for look in result}) == len(result)
        # Another vector: the same kind has the same colour.
        (alone,) = looks(pd.DataFrame(rows[5:6]))
        assert (alone.color, alone.dashes) == (result[5].color, "-")
