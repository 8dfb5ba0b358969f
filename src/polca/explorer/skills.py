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
    categories = [
        (f"{place}, {word}", tone)
        for place in PLACES[:-1]
        for word, tone in (("carry", PLACE_TONES[place].carry), ("no carry", PLACE_TONES[place].no_carry))
    ]
    # Nothing carries into the last digit: it is one category.
    categories.append((PLACES[-1], PLACE_TONES[PLACES[-1]].no_carry))
    values = np.minimum(2 * evaluation.place + ~evaluation.carry, len(categories) - 1)
    return [
        Facet("digit", categories, values),
        Facet("carry", [("carry", GREYS.carry), ("no carry", GREYS.no_carry)], (~evaluation.carry).astype(np.uint8)),
    ]
