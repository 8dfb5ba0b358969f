"""Skills of arithmetic tokens against Python's integers, over every pair of summands."""

import numpy as np
import pytest

from polca.errors import PolcaError
from polca.tasks.arithmetic.data import encode
from polca.tasks.arithmetic.labels import PLACES, carry_labels, place_labels, summands


def tokens(*pairs: tuple[int, int]) -> np.ndarray:
    """Encoded by string formatting."""
    symbols = "0123456789+="
    return np.array([[symbols.index(s) for s in f"{a:03}+{b:03}={a + b:04}"] for a, b in pairs], np.uint8)


def test_all_pairs() -> None:
    """Carries by the schoolbook rule: digit of the sum minus the two summands' digits, modulo 10."""
    a, b = np.divmod(np.arange(10**6), 1000)
    encoded = encode(a, b)
    back = summands(encoded)
    np.testing.assert_array_equal(back[0], a)
    np.testing.assert_array_equal(back[1], b)
    carry = carry_labels(encoded).reshape(-1, 4)
    assert carry.dtype == np.bool_
    for place, unit in enumerate((1000, 100, 10, 1)):
        np.testing.assert_array_equal(carry[:, place], ((a + b) // unit - a // unit - b // unit) % 10)


def test_examples() -> None:
    sample = tokens((0, 0), (999, 1), (455, 545), (500, 500), (19, 1), (90, 10), (999, 999))
    assert carry_labels(sample).reshape(-1, 4).astype(int).tolist() == [
        [0, 0, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 0],
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 1, 0, 0],
        [1, 1, 1, 0],
    ]


def test_places() -> None:
    place = place_labels(tokens((1, 2), (3, 4)))
    assert place.dtype == np.int8
    assert [PLACES[p] for p in place] == ["1000s", "100s", "10s", "1s"] * 2


def test_errors() -> None:
    good = tokens((123, 456), (7, 8))
    for column, value in ((3, 11), (7, 10), (0, 12), (11, 3)):
        bad = good.copy()
        bad[1, column] = value
        with pytest.raises(PolcaError, match="example 1"):
            carry_labels(bad)
    with pytest.raises(PolcaError, match="12 tokens"):
        carry_labels(good[:, 1:])
