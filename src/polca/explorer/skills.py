"""Additions, their skills and the colours of these, as the page shows them."""

import numpy as np
from numpy.typing import NDArray

from polca.explorer.schema import Facet, Tokens
from polca.report.figures.skills import GREYS, PLACE_TONES
from polca.study.results import Evaluation
from polca.tasks.arithmetic.data import OUTPUT_DIGITS
from polca.tasks.arithmetic.labels import PLACES

SYMBOLS = (*"0123456789", "+", "=")
"""The input vocabulary by id."""


def tokens(additions: NDArray[np.uint8]) -> Tokens:
    """The output digits of additions `[S, 12]` (ids), at whose ends they stand."""
    count, length = additions.shape
    sequences = [[SYMBOLS[i] for i in row] for row in additions.tolist()]
    places = np.tile(np.arange(length - OUTPUT_DIGITS, length), count)
    return Tokens(sequences, np.repeat(np.arange(count), OUTPUT_DIGITS), places)


def facets(evaluation: Evaluation) -> list[Facet]:
    """Digit with carry in the figures' tones, and the carry alone in greys."""
    categories: list[tuple[str, str]] = []
    index: dict[tuple[int, bool], int] = {}
    for number, place in enumerate(PLACES):
        tones = PLACE_TONES[place]
        if place != "1s":
            index[number, True] = len(categories)
            categories.append((f"{place}, carry", tones.carry))
        index[number, False] = len(categories)
        categories.append((f"{place}, no carry" if place != "1s" else place, tones.no_carry))
    pairs = zip(evaluation.place.tolist(), evaluation.carry.tolist(), strict=True)
    return [
        Facet("digit", categories, np.array([index[pair] for pair in pairs])),
        Facet("carry", [("carry", GREYS.carry), ("no carry", GREYS.no_carry)], (~evaluation.carry).astype(np.uint8)),
    ]
