"""One row of numbers for each token from all vectors together: its projected losses at a few times of training."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.method.decomposition import Trajectories

Floats = NDArray[np.float64]

SHARES = (0.25, 0.5, 1.0)
"""Shares of training at which signatures look by default."""
LIMIT = 5.0
"""Scaled values are clipped at ± this: a few tokens with large losses must not decide every distance."""


def robustly_scaled(columns: NDArray[np.floating]) -> Floats:
    """Each column of `[n, F]` minus its median, divided by its mean absolute deviation from it, clipped at ±`LIMIT`.

    A constant column has no scale and becomes 0.
    """
    exact = np.asarray(columns, np.float64)
    centred = exact - np.median(exact, axis=0)
    deviations = np.abs(centred).mean(axis=0)
    scaled = np.where(deviations > 0, centred, 0.0) / np.where(deviations > 0, deviations, 1.0)
    return np.asarray(np.clip(scaled, -LIMIT, LIMIT))


def _points(steps: NDArray[np.integer], at: Sequence[float] | None) -> NDArray[np.int64]:
    """Points of `steps [P]` nearest to shares of the way from the first to the last, ties to the earlier."""
    if at is None:
        return np.arange(len(steps))
    shares = np.asarray(at, np.float64)
    if shares.ndim != 1 or not len(shares) or not ((shares >= 0) & (shares <= 1)).all():
        raise PolcaError(f"at = {at!r}: expected one or more shares of training, each from 0 to 1")
    wanted = steps[0] + shares * float(steps[-1] - steps[0])
    return np.asarray(np.abs(steps[None] - wanted[:, None]).argmin(axis=1))


def signatures(
    trajectories: Trajectories,
    at: Sequence[float] | None = SHARES,
    vectors: Sequence[int] | NDArray[np.integer] | NDArray[np.bool_] | None = None,
) -> Floats:
    """Every token's projected losses along all vectors at a few times, as one row of numbers without unit.

    Tokens that the directions treat alike lie next to each other, whatever one direction alone says. Each column (one
    vector at one time) is scaled over tokens, so that no vector counts for more because its losses are larger: minus
    its median, divided by the mean absolute deviation from it, clipped at ±5. A constant column becomes 0.

    Args:
        trajectories: `[K, X, P]`, of projected losses or of anything else.
        at: shares of the way from the first to the last step, each read at the nearest point (ties: the earlier); None
            for every point.
        vectors: rows of the trajectories, from 0, or a mask `[K]` such as `Clusters.vector_kept`; None for all.

    Returns:
        `[X, V · len(at)]` for V vectors, float64; the times of one vector stand next to each other.

    Raises:
        PolcaError: shares outside 0 … 1 or none, vectors that there are not or none, no tokens or no points.

    Example: two vectors; the second tells the last two tokens from the others, at half of training and at the end.

        >>> import numpy as np, polca
        >>> first = np.outer([1, 2, 3, 4, 5], [0.0, -1.0, -2.0])
        >>> second = np.outer([1, 2, 3, 9, 9], [0.0, -1.0, -1.0])
        >>> values = np.stack([first, second]).astype(np.float32)
        >>> trajectories = polca.Trajectories("polca", values, np.array([0, 50, 100]), projected=True)
        >>> polca.signatures(trajectories, at=(0.5, 1.0)).round(2).tolist()[2:]
        [[0.0, 0.0, 0.0, 0.0], [-0.83, -0.83, -2.0, -2.0], [-1.67, -1.67, -2.0, -2.0]]
        >>> polca.signatures(trajectories, vectors=[1]).shape
        (5, 3)
    """
    values = trajectories.values
    if not values.size:
        raise PolcaError(f"trajectories {trajectories.name}: no vectors, no tokens or no points: give at least one")
    try:
        rows = np.arange(len(values)) if vectors is None else np.arange(len(values))[np.asarray(vectors)]
    except IndexError as error:
        raise PolcaError(
            f"vectors = {vectors!r}: expected rows from 0 to {len(values) - 1} or a mask of {len(values)}"
        ) from error
    if rows.ndim != 1 or not len(rows):
        raise PolcaError(f"vectors = {vectors!r}: name at least one, as a list")
    chosen = values[np.ix_(rows, np.arange(values.shape[1]), _points(trajectories.steps, at))]
    return robustly_scaled(chosen.swapaxes(0, 1).reshape(values.shape[1], -1))


def token_features(trajectories: Trajectories) -> Floats:
    """What probes and neighbours see of an analysis, `[X, F]`: signatures of projected losses, all points of others.

    The exact loss and its change are one number a token at each time, so that they are given every time that there is.
    So is what has a single time.
    """
    whole = not trajectories.projected or len(trajectories.steps) == 1
    return signatures(trajectories, None if whole else SHARES)
