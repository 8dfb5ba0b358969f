"""What chance alone would give: permutation nulls for the best cluster, hidden breakthroughs and simple labels.

The published score of a strategy is the best eligible cluster of all its vectors, a maximum over many. Each null keeps
the search and breaks one link:

- `labels`: tokens swap their skills (digit and carry together); clusters stay;
- `labels_within_place`: tokens of the same digit swap whether they carry. A cluster of one digit has many carries
  whether or not it knows of them; this null says what is left;
- `vectors`: each token's trajectories swap the vectors they belong to, and clustering runs anew: it keeps every
  trajectory, and breaks what tokens of one vector have in common;
- `time`: the increments of a vector's trajectories swap their times, all tokens together: clusters stay, and breaks
  come at any time with equal chance.

Not in the paper.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.method.breakthrough import breakthrough_steps
from polca.method.clustering import memberships, partition
from polca.method.completeness import ratio
from polca.tasks.english.patterns import covering_tags, is_simple
from polca.validity.partitions import Labels, best_by_vector, clustered_curves, eligible_homogeneities

Floats = NDArray[np.float64]

LEVEL = 0.05
"""Of every test: above chance is a p-value of at most this, and the null's 95 % point is its counterpart."""
_TIE = 1e-9
"""Scores that differ by less are equal up to rounding."""


def p_value(observed: float, null: NDArray[np.floating], tie: float = _TIE) -> float:
    """(1 + number of null values at least as large, up to `tie`) / (1 + n): valid for any number of permutations.

    Raises:
        PolcaError: an empty null.
    """
    if not len(null):
        raise PolcaError("p_value: no permutation: ask for at least one")
    return float((1 + np.count_nonzero(null >= observed - tie)) / (1 + len(null)))


def by_chance(observed: float, null: NDArray[np.floating]) -> dict[str, float]:
    """What a table says of a null: its mean, its 95 % point and the p-value; NaN where it is empty."""
    if not len(null):
        return dict.fromkeys(("null_mean", "null_95", "p_value"), float("nan"))
    return {
        "null_mean": float(null.mean()),
        "null_95": float(np.quantile(null, 1 - LEVEL, method="higher")),
        "p_value": p_value(observed, null),
    }


@dataclass(frozen=True)
class Null:
    """A null distribution of a maximum over vectors.

    Attributes:
        observed: `[K]` best score of each vector, 0 where it has no eligible cluster.
        drawn: `[K, N]` the same under N permutations.
    """

    observed: Floats
    drawn: Floats

    def row(self) -> dict[str, Any]:
        """What a table says: the maximum against its null, and how many vectors stand out.

        `vectors_above` counts those whose best cluster exceeds the 95 % point of the *maximum's* null, so that looking
        at many vectors is paid for; `vectors_alone` those with a p-value of at most 5 % on their own.
        """
        best, top = float(self.observed.max(initial=0.0)), self.drawn.max(axis=0, initial=0.0)
        chance = by_chance(best, top)
        alone = [p_value(o, d) <= LEVEL for o, d in zip(self.observed, self.drawn, strict=True) if o > 0]
        return {
            "observed": best,
            **chance,
            "permutations": len(top),
            "vectors_eligible": int((self.observed > 0).sum()),
            "vectors_above": int((self.observed > chance["null_95"] + _TIE).sum()),
            "vectors_alone": int(np.sum(alone)),
        }


def _permutations(count: int, tokens: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.permuted(np.tile(np.arange(tokens), (count, 1)), axis=1)


def _within(groups: NDArray[np.integer], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Permutations `[count, X]` that leave each token in its group."""
    order = np.empty((count, len(groups)), np.int64)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        order[:, members] = members[_permutations(count, len(members), rng)]
    return order


def label_null(
    labels: Labels,
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
    permutations: int,
    rng: np.random.Generator,
    *,
    within_place: bool = False,
) -> Null:
    """Best eligible homogeneity of each vector when tokens swap their skills, and as it is.

    Args:
        labels: `[K, X]`.
        place, carry: `[X]` skills.
        within_place: swap among tokens of the same digit only.
    """
    inside, vectors = memberships(labels)
    order = _within(place, permutations, rng) if within_place else _permutations(permutations, len(place), rng)
    order = np.concatenate([np.arange(len(place))[None], order])
    scores = best_by_vector(eligible_homogeneities(inside, place[order], carry[order]), vectors, len(labels))
    return Null(scores[:, 0], scores[:, 1:])


def vector_null(
    values: NDArray[np.floating],
    labels: Labels,
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
    permutations: int,
    rng: np.random.Generator,
    *,
    filters: bool,
    min_cluster_size: int,
    min_samples_divisor: int,
    advance: Callable[[], None] = lambda: None,
) -> Null:
    """Best eligible homogeneity of each vector when each token's trajectories swap vectors and are clustered anew.

    Args:
        values: `[K, X, P]` trajectories.
        labels: `[K, X]` their clusters as they are.
        filters: whether both filters apply.
        advance: called after each permutation.
    """
    k, x, _ = values.shape

    def best(some: Labels) -> Floats:
        inside, vectors = memberships(some)
        return best_by_vector(eligible_homogeneities(inside, place[None], carry[None]), vectors, k)[:, 0]

    drawn = np.empty((k, permutations))
    for n in range(permutations):
        rows = _permutations(x, k, rng).T
        drawn[:, n] = best(
            partition(
                values[rows, np.arange(x)],
                min_cluster_size=min_cluster_size,
                min_samples_divisor=min_samples_divisor,
                drop_vectors=filters,
                drop_tokens=filters,
            )
        )
        advance()
    return Null(best(labels), drawn)


def time_null(
    values: NDArray[np.floating],
    steps: NDArray[np.integer],
    labels: Labels,
    permutations: int,
    rng: np.random.Generator,
    *,
    delta: int,
    flat_step: int,
) -> tuple[float, Floats]:
    """Fraction of clusters with a hidden breakthrough as it is, and `[N]` when increments swap their times.

    All tokens of a cluster swap alike, so that what they do together stays together.

    Returns:
        NaN and an empty null where there are no clusters.
    """
    curves = [c.astype(np.float64) for c in clustered_curves(values, labels)]
    if not curves:
        return float("nan"), np.empty(0)

    def share(some: Iterator[Floats]) -> float:
        return float(np.mean([breakthrough_steps(c, steps, delta).mean() > flat_step for c in some]))

    def shuffled() -> Iterator[Floats]:
        for c in curves:
            increments = np.diff(c, axis=1)[:, rng.permutation(c.shape[1] - 1)]
            yield np.concatenate([c[:, :1], c[:, :1] + np.cumsum(increments, axis=1)], axis=1)

    return share(iter(curves)), np.array([share(shuffled()) for _ in range(permutations)])


def simple_flags(
    inside: NDArray[np.bool_], tags: NDArray[np.integer], names: tuple[str, ...], coverage: float, limit: int
) -> NDArray[np.bool_]:
    """Whether each cluster `[M, X]` has a simple label (§5), for tag patterns `[X, 4]`."""
    flags = []
    for row in inside:
        flags.append(is_simple([[names[t] for t in covering_tags(p, coverage)] for p in tags[row].T], limit))
    return np.array(flags, np.bool_)


def simple_null(
    inside: NDArray[np.bool_],
    tags: NDArray[np.integer],
    names: tuple[str, ...],
    coverage: float,
    limit: int,
    permutations: int,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Simple labels `[N, M]` when tokens swap their whole tag patterns; cluster sizes stay."""
    drawn = [
        simple_flags(inside, tags[rng.permutation(len(tags))], names, coverage, limit) for _ in range(permutations)
    ]
    return np.array(drawn, np.bool_).reshape(permutations, len(inside))


def simple_row(simple: NDArray[np.bool_], drawn: NDArray[np.bool_], vectors: NDArray[np.integer]) -> Mapping[str, Any]:
    """What a table says of simple labels: clusters and vectors with one, and how many chance gives.

    Args:
        simple: `[M]`; drawn: `[N, M]`; vectors: `[M]`.
    """
    distinct = np.unique(vectors)
    by_vector = np.array([drawn[:, vectors == k].any(axis=1) for k in distinct]).reshape(len(distinct), len(drawn))
    with_simple = sum(bool(simple[vectors == k].any()) for k in distinct)
    row: dict[str, Any] = {"clusters": len(simple), "permutations": len(drawn)}
    for name, observed, null in (
        ("clusters", int(simple.sum()), drawn.sum(axis=1)),
        ("vectors", with_simple, by_vector.sum(axis=0)),
    ):
        row[f"{name}_simple"] = observed
        row |= {f"{name}_{key}": value for key, value in by_chance(observed, null).items()}
    return row


def beside_the_maximum(vectors: pd.DataFrame, partitions: pd.DataFrame, analysis: str, tokens: int) -> dict[str, Any]:
    """Means over a strategy's vectors that a hand-picked best cluster does not show.

    Args:
        vectors, partitions: `vectors.csv` and `partitions.csv`.
        tokens: evaluation tokens.

    Returns:
        Kept vectors, those with clusters, clusters; ARI, NMI and silhouette averaged over vectors with clusters (NaN
        without any); `outliers`, the share of tokens left by the filter that are in no cluster, and `dropped`, the
        share that the filter dropped, over kept vectors.
    """
    kept = vectors[(vectors["analysis"] == analysis) & vectors["kept"].astype(bool)]
    parts = partitions[(partitions["analysis"] == analysis) & (partitions["n_clusters"] > 0)]
    left = int(kept["n_outliers"].sum() + kept["n_clustered"].sum())
    scores = [name for name in partitions if str(name).startswith(("ari_", "nmi_", "silhouette_"))]
    return {
        "vectors": int((vectors["analysis"] == analysis).sum()),
        "kept": len(kept),
        "with_clusters": len(parts),
        "clusters": int(kept["n_clusters"].sum()),
        **{str(name): float(parts[name].mean()) for name in scores},
        "outliers": ratio(int(kept["n_outliers"].sum()), left),
        "dropped": float(kept["n_dropped"].mean()) / tokens,
    }
