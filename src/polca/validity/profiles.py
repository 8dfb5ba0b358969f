"""Skill profiles of basis vectors and clusters, and how far they agree between seeds.

Vectors and clusters of two runs have no common numbering. They are matched by what they are about: how they spread over
the skills digit × carry. The distance of two profiles is half the sum of absolute differences, between 0 and 1 for
compositions.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from polca.method.clustering import Clusters, compositions, memberships
from polca.method.decomposition import Trajectories
from polca.tasks.arithmetic.labels import PLACES
from polca.validity.permutation import p_value

CELLS = tuple(
    f"{place}_{carry}" for place in PLACES for carry in ("carry", "nocarry") if (place, carry) != ("1s", "carry")
)
"""The skills digit × carry; the 1s digit never has a carry."""

Floats = NDArray[np.float64]


def skill_cells(place: NDArray[np.integer], carry: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Index into `CELLS` of each token `[X]`."""
    return np.minimum(2 * place.astype(np.int64) + ~carry, len(CELLS) - 1)


def vector_profiles(trajectories: Trajectories, cells: NDArray[np.int64]) -> Floats:
    """Profile of each vector `[K, 7]`: mean final projected loss of each skill's tokens, as shares of their sizes.

    Signed: a falling loss counts positive. Skills weigh alike, however many tokens have them; the absolute values of a
    row add up to 1, or are all 0.
    """
    last = trajectories.values[:, :, -1].astype(np.float64)
    means = np.stack([-last[:, cells == c].sum(axis=1) / max(1, (cells == c).sum()) for c in range(len(CELLS))], axis=1)
    size = np.abs(means).sum(axis=1, keepdims=True)
    return np.asarray(np.divide(means, size, out=np.zeros_like(means), where=size > 0))


def cluster_profiles(clusters: Clusters, cells: NDArray[np.int64]) -> Floats:
    """Profile of each cluster `[M, 7]`: the fraction of its tokens with each skill."""
    counts = compositions(memberships(clusters.labels)[0], cells, len(CELLS))
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def profile_distances(one: Floats, other: Floats) -> Floats:
    """Half the sum of absolute differences of profiles `[M, 7]` and `[N, 7]`, `[M, N]`."""
    return np.asarray(0.5 * np.abs(one[:, None] - other[None]).sum(axis=2))


def match(one: Floats, other: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """The pairing of profiles with the smallest sum of distances (Hungarian method); rows beyond the other's are left.

    Returns:
        Rows of `one` and of `other`, and the distances, each `[min(M, N)]`.
    """
    cost = profile_distances(one, other)
    rows, columns = linear_sum_assignment(cost)
    return rows.astype(np.int64), columns.astype(np.int64), cost[rows, columns]


def stability(profiles: Sequence[Floats], permutations: int, seed: int = 0) -> dict[str, float]:
    """Compare every two runs' profiles `[M, 7]`, against `permutations` random renamings of one run's skills.

    The null keeps how concentrated profiles are, and that the best pairing is taken; it forgets which skill is which.

    Returns:
        matched, the mean distance of matched profiles; unmatched, that of all profiles of two runs, what a pairing at
        random gives; same_index, that of profiles of the same index, NaN where runs have different numbers; p_value,
        the share of the null at or below `matched`, the observed counted in; null_mean and null_5_percent of the
        matched distance with the skills of one run of each pair renamed at random. All NaN where no two runs have any.
    """
    pairs = [(a, b) for a, b in combinations(profiles, 2) if len(a) and len(b)]
    if not pairs:
        names = ("matched", "unmatched", "same_index", "p_value", "null_mean", "null_5_percent")
        return dict.fromkeys(names, float("nan"))

    def matched(chosen: Sequence[tuple[Floats, Floats]]) -> float:
        return float(np.concatenate([match(a, b)[2] for a, b in chosen]).mean())

    generator = np.random.default_rng(seed)
    observed, between = matched(pairs), [profile_distances(a, b) for a, b in pairs]
    renamed = ([(a, b[:, generator.permutation(len(CELLS))]) for a, b in pairs] for _ in range(permutations))
    null = np.array([matched(chosen) for chosen in renamed])
    aligned = all(len(a) == len(b) for a, b in pairs)
    return {
        "matched": observed,
        "unmatched": float(np.concatenate([d.ravel() for d in between]).mean()),
        "same_index": float(np.mean([np.diag(d) for d in between])) if aligned else float("nan"),
        "p_value": p_value(-observed, -null, tie=1e-12),
        "null_mean": float(null.mean()),
        "null_5_percent": float(np.quantile(null, 0.05)),
    }


def compare_profiles(profiles: pd.DataFrame, permutations: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Match the vectors and the clusters of every two seeds.

    Args:
        profiles: columns seed, kind (`vector` or `cluster`), vector, cluster, and `CELLS`.

    Returns:
        One row a matched pair (kind, seed, other_seed, vector, cluster, other_vector, other_cluster, distance), and
        `stability` of each kind as a mapping, NaN where it is not defined.
    """
    matches: list[dict[str, Any]] = []
    agreement: dict[str, Any] = {}
    for kind in ("vector", "cluster"):
        of_kind = profiles[profiles["kind"] == kind]
        runs = [(int(seed), of_kind[of_kind["seed"] == seed]) for seed in sorted(profiles["seed"].unique())]
        numbers = [rows[list(CELLS)].to_numpy(np.float64) for _, rows in runs]
        for (i, (seed, one)), (j, (other_seed, other)) in combinations(enumerate(runs), 2):
            for left, right, distance in zip(*match(numbers[i], numbers[j]), strict=True):
                row: dict[str, Any] = {"kind": kind, "seed": seed, "other_seed": other_seed}
                for key in ("vector", "cluster"):
                    row |= {key: int(one[key].iloc[left]), f"other_{key}": int(other[key].iloc[right])}
                matches.append(row | {"distance": float(distance)})
        sizes = {"items": sum(map(len, numbers)), "seeds": sum(len(n) > 0 for n in numbers)}
        agreement[kind] = stability(numbers, permutations) | sizes
    columns = ["kind", "seed", "other_seed", "vector", "cluster", "other_vector", "other_cluster", "distance"]
    return pd.DataFrame(matches, columns=columns), agreement
