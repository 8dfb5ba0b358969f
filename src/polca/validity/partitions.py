"""What Tables 8 to 11 say of clusters given as labels `[K, X]`: fast enough to ask a thousand times."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from polca.method.breakthrough import Sign, breakthrough_steps
from polca.method.clustering import memberships
from polca.tasks.arithmetic.scores import match_carries

Labels = NDArray[np.integer]


def eligible_homogeneities(
    inside: NDArray[np.bool_], place: NDArray[np.integer], carry: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Carry homogeneity of every cluster `[M, X]` under every labelling `[N, X]`, `[M, N]`; 0 where not eligible."""
    matched = match_carries(inside, place, carry)
    return np.where(matched.eligible, matched.homogeneity, 0.0)


def best_by_vector(scores: NDArray[np.float64], vectors: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """The best of each vector's clusters, `[K, N]` of `[M, N]`; 0 for a vector without any."""
    best = np.zeros((count, scores.shape[1]))
    np.maximum.at(best, vectors, scores)
    return best


def clustered_curves(values: NDArray[np.floating], labels: Labels) -> Iterator[NDArray[np.floating]]:
    """The members' trajectories `[n, P]` of every cluster, in the order of `memberships`."""
    inside, vectors = memberships(labels)
    for row, k in zip(inside, vectors, strict=True):
        yield values[k, row]


def hidden_share(
    values: NDArray[np.floating],
    steps: NDArray[np.integer],
    labels: Labels,
    *,
    delta: int,
    flat_step: int,
    sign: Sign = "printed",
) -> float:
    """Fraction of clusters with a hidden breakthrough (eqs. 9, 10); NaN without clusters."""
    late = [
        breakthrough_steps(curves, steps, delta, sign).mean() > flat_step for curves in clustered_curves(values, labels)
    ]
    return float(np.mean(late)) if late else float("nan")
