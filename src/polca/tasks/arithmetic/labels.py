"""Ground-truth skills of tokens (§4): digit and carry of arithmetic outputs."""

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.tasks.arithmetic.data import EQUALS, OUTPUT_DIGITS, PLUS, SUMMAND_DIGITS

PLACES = ("1000s", "100s", "10s", "1s")
"""Names of the output positions 0 … 3, the digit skills."""

EVALUATION_FORM = {
    "tokens": f"int S {2 * SUMMAND_DIGITS + 2 + OUTPUT_DIGITS}",
    "place": f"int {OUTPUT_DIGITS}S",
    "carry": f"bool {OUTPUT_DIGITS}S",
}
"""What `labels.npz` holds (see `files.read_npz`)."""


def _integers(digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(digits.astype(np.int64) @ 10 ** np.arange(digits.shape[1])[::-1])


def summands(tokens: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The two summands `[S]` of additions `[S, 12]` (`ddd+ddd=dddd`; digits 0–9, `+` as 10, `=` as 11).

    Raises:
        PolcaError: tokens that are not such additions, or a wrong sum; names the first.
    """
    d = SUMMAND_DIGITS
    width = 2 * d + 2 + OUTPUT_DIGITS
    if tokens.ndim != 2 or tokens.shape[1] != width:
        raise PolcaError(f"tokens {tokens.shape}: expected additions of {width} tokens: make the evaluation data again")
    a, b, c = tokens[:, :d], tokens[:, d + 1 : 2 * d + 1], tokens[:, 2 * d + 2 :]
    right = (tokens[:, d] == PLUS) & (tokens[:, 2 * d + 1] == EQUALS)
    right &= (np.concatenate([a, b, c], axis=1) < 10).all(axis=1)
    right &= _integers(a) + _integers(b) == _integers(c)
    if not right.all():
        raise PolcaError(f"tokens: example {int(np.argmin(right))} is no correct addition: make the data again")
    return _integers(a), _integers(b)


def place_labels(tokens: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Digit skill of each output token `[4 S]`: 0 … 3, index into `PLACES`. Token x = 4 · sequence + place."""
    return np.tile(np.arange(OUTPUT_DIGITS, dtype=np.int8), len(tokens))


def carry_labels(tokens: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Carry skill of each output token `[4 S]`: whether the sum of the lower places carried into this digit.

    The 1s digit has no lower places and never a carry.

    Raises:
        PolcaError: as `summands`.
    """
    a, b = summands(tokens)
    unit = 10 ** np.arange(OUTPUT_DIGITS)[::-1]
    return np.asarray(a[:, None] % unit + b[:, None] % unit >= unit).reshape(-1)
