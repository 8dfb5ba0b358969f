"""Clusters as a plain array of labels, and what Tables 8 to 11 say of it: fast enough to ask a thousand times.

Labels `[K, X]` are those of `clustering.Clusters`: a cluster number from 0, or negative for tokens in no cluster.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from polca.method.breakthrough import Sign, breakthrough_steps
from polca.method.clustering import RISING, VECTOR_DROPPED, hdbscan_labels, rising_tokens, rising_vectors
from polca.tasks.arithmetic.scores import CARRY_PLACES, ELIGIBLE_PERCENT

Labels = NDArray[np.integer]


def partition(
    values: NDArray[np.floating],
    *,
    min_cluster_size: int,
    min_samples_divisor: int,
    drop_vectors: bool,
    drop_tokens: bool,
) -> NDArray[np.int64]:
    """Labels `[K, X]` of trajectories `[K, X, P]`: `clustering.cluster` with its two filters apart, and nothing more.

    Args:
        drop_vectors: drop vectors whose mean trajectory rises (Algorithm 1).
        drop_tokens: drop tokens whose trajectory rises (§3.3).
    """
    kept = ~rising_vectors(values) if drop_vectors else np.ones(len(values), np.bool_)
    labels = np.full(values.shape[:2], VECTOR_DROPPED, np.int64)
    for k in np.flatnonzero(kept):
        left = np.flatnonzero(~rising_tokens(values[k])) if drop_tokens else np.arange(values.shape[1])
        labels[k] = RISING
        labels[k, left] = hdbscan_labels(values[k, left], min_cluster_size, max(1, len(left) // min_samples_divisor))
    return labels


def members(labels: Labels) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Clusters as rows: who belongs to each, `[M, X]`, and whose vector (from 0) it is, `[M]`."""
    pairs = [(k, c) for k, row in enumerate(labels) for c in range(int(row.max(initial=-1)) + 1)]
    inside = [labels[k] == c for k, c in pairs]
    return (
        np.array(inside, np.bool_).reshape(len(pairs), labels.shape[1]),
        np.array([k for k, _ in pairs], np.int64),
    )


def homogeneities(
    inside: NDArray[np.bool_], place: NDArray[np.integer], carry: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Carry homogeneity of every cluster under every labelling, `[M, N]`; 0 where the cluster is not eligible.

    Eligible is as in `scores.cluster_scores`: more than 85 % of the carry tokens are in the 10s or 100s place.

    Args:
        inside: `[M, X]` members.
        place, carry: `[N, X]` labellings.
    """
    wanted = carry & np.isin(place, CARRY_PLACES)
    # Counts are whole numbers far below 2²⁴: single precision is exact.
    rows = inside.astype(np.float32)
    n_carry, n_wanted = (rows @ skill.T.astype(np.float32) for skill in (carry, wanted))
    sizes = np.maximum(inside.sum(axis=1), 1)[:, None]
    eligible = 100 * n_wanted > ELIGIBLE_PERCENT * n_carry
    return np.where(eligible, n_carry.astype(np.float64) / sizes, 0.0)


def best_by_vector(scores: NDArray[np.float64], vectors: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """The best of each vector's clusters, `[K, N]` of `[M, N]`; 0 for a vector without any."""
    best = np.zeros((count, scores.shape[1]))
    np.maximum.at(best, vectors, scores)
    return best


def clustered_curves(values: NDArray[np.floating], labels: Labels) -> Iterator[NDArray[np.floating]]:
    """The members' trajectories `[n, P]` of every cluster, in the order of `members`."""
    inside, vectors = members(labels)
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
    found = [
        breakthrough_steps(curves, steps, delta, sign).mean() > flat_step for curves in clustered_curves(values, labels)
    ]
    return float(np.mean(found)) if found else float("nan")
