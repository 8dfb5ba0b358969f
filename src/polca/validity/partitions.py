"""What Tables 8 to 11 say of clusters given as labels `[K, X]`: fast enough to ask a thousand times."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from polca.method.breakthrough import Sign, breakthrough_steps
from polca.method.clustering import memberships
from polca.tasks.arithmetic.scores import match_carries

Labels = NDArray[np.integer]
Curves = NDArray[np.floating]


def best_homogeneities(labels: Labels, place: NDArray[np.integer], carry: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Best carry homogeneity of each vector's eligible clusters, `[K, N]`; 0 where there is none.

    Args:
        place, carry: `[N, X]` labellings.
    """
    inside, vectors = memberships(labels)
    matched = match_carries(inside, place, carry)
    best = np.zeros((len(labels), len(place)))
    np.maximum.at(best, vectors, np.where(matched.eligible, matched.homogeneity, 0.0))
    return best


def clustered_curves(values: Curves, labels: Labels) -> list[Curves]:
    """The members' trajectories `[n, P]` of every cluster, in the order of `memberships`."""
    return [values[k, row] for row, k in zip(*memberships(labels), strict=True)]


def hidden_share(
    clusters: Iterable[Curves], steps: NDArray[np.integer], *, delta: int, flat_step: int, sign: Sign = "printed"
) -> float:
    """Fraction of `clustered_curves` with a hidden breakthrough (eqs. 9, 10); NaN without clusters."""
    late = [breakthrough_steps(curves, steps, delta, sign).mean() > flat_step for curves in clusters]
    return float(np.mean(late)) if late else float("nan")
