"""Roles of English clusters and their colours, the same in every figure.

A role gathers the families of automatic names (`patterns.FAMILIES`) that play one part in a sentence. The eight hues
and two neutrals stay at least 25 CIELAB units apart in normal sight and for deuteranopes, protanopes and tritanopes.
"""

from dataclasses import dataclass

import pandas as pd

from polca.report.figures.style import Look
from polca.tasks.english.patterns import family


@dataclass(frozen=True)
class Role:
    """A part that clusters play: `families` of names, `color` of lines, `text_color` dark enough to read."""

    families: tuple[str, ...]
    color: str
    text_color: str


ROLES: dict[str, Role] = {
    "line end": Role(("newline", "document_end"), "#BC5C03", "#A85200"),
    "punctuation": Role(("comma", "period", "other_punctuation"), "#E4B514", "#856600"),
    "preposition": Role(("of", "preposition"), "#0E45DF", "#0E45DF"),
    "function word": Role(("determiner", "pronoun", "conjunction", "particle"), "#2ABFFF", "#0076A8"),
    "noun": Role(("noun_in_noun_phrase", "noun"), "#005E2D", "#005E2D"),
    "verb": Role(("verb",), "#A651AC", "#8F3F95"),
    "modifier": Role(("adjective", "adverb", "number"), "#99CE6B", "#4A7A1F"),
    "word continuation": Role(("word_continuation",), "#59105B", "#59105B"),
    # What comes before the target says more than the target itself.
    "place": Role(("token_after", "repeated_token"), "#858585", "#666666"),
    "mixed": Role(("other", "mixed"), "#222222", "#222222"),
}

_ROLE_OF_FAMILY = {name: role for role, known in ROLES.items() for name in known.families}


def role_of(kind: str) -> str:
    """The role of a family of names; `mixed` for one that no role lists."""
    return _ROLE_OF_FAMILY.get(kind, "mixed")


def looks(clusters: pd.DataFrame) -> list[Look]:
    """Looks of one vector's clusters (rows of `clusters.csv`), in order of their numbers."""
    result: list[Look] = []
    for row in clusters.sort_values("cluster").to_dict("records"):
        role = ROLES[role_of(family(row["name"], row["tags_0"], row["tags_1"]))]
        same = sum(look.color == role.color for look in result)
        result.append(Look.of(row, str(row["name"]), role.color, role.text_color, same, fit=float(row["fit"])))
    return result
