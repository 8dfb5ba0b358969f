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

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.method.breakthrough import Sign, breakthrough_steps
from polca.method.clustering import memberships, partition
from polca.method.completeness import ratio
from polca.method.decomposition import Trajectories
from polca.tasks.arithmetic.scores import match_carries
from polca.tasks.english.patterns import covering_tags, is_simple
from polca.tasks.settings import ClusteringSettings

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


def by_chance(values: NDArray[np.floating]) -> dict[str, float]:
    """What a table says of a value and of its N draws under a null, `[1 + N]`; NaN but for the value where N is 0."""
    observed, null = float(values[0]), values[1:]
    if not len(null):
        return {"observed": observed, **dict.fromkeys(("null_mean", "null_95", "p_value"), float("nan"))}
    return {
        "observed": observed,
        "null_mean": float(null.mean()),
        "null_95": float(np.quantile(null, 1 - LEVEL, method="higher")),
        "p_value": p_value(observed, null),
    }


def best_row(scores: Floats) -> dict[str, Any]:
    """What a table says of the maximum over vectors: it against its null, and how many vectors stand out.

    The null is the draws that have an eligible cluster, a share `eligible_draws` of all: whether one is eligible says
    nothing about how pure it is. N of them bound the p-value from below, by `p_least` = 1 / (1 + N). Without an
    eligible cluster, or without such a draw, there is nothing to test.

    `vectors_above` counts those whose best cluster has a p-value of at most 5 % against the *maximum's* null, so that
    looking at many vectors is paid for; `vectors_alone` those with one against their own, of their own eligible draws.

    Args:
        scores: `[K, 1 + N]` best score of each vector, 0 where it has no eligible cluster.
    """
    best, observed = scores.max(axis=0, initial=0.0), scores[:, 0]
    null = best[1:][best[1:] > 0]
    chance = by_chance(np.append(best[0], null if best[0] > 0 else []))
    return {
        **chance,
        "permutations": scores.shape[1] - 1,
        "eligible_draws": ratio(len(null), scores.shape[1] - 1),
        "p_least": 1 / (1 + len(null)),
        "vectors_eligible": int((observed > 0).sum()),
        "vectors_above": sum(_stands_out(score, best[1:]) for score in observed),
        "vectors_alone": sum(_stands_out(row[0], row[1:]) for row in scores),
    }


def _stands_out(score: float, draws: Floats) -> bool:
    """Whether an eligible cluster's score is above chance; never without an eligible draw."""
    null = draws[draws > 0]
    return bool(score > 0 and len(null) and p_value(score, null) <= LEVEL)


def _orders(groups: NDArray[np.integer], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Permutations `[count, X]` that leave each entry in its group `[X]`."""
    orders = np.empty((count, len(groups)), np.int64)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        orders[:, members] = members[rng.permuted(np.tile(np.arange(len(members)), (count, 1)), axis=1)]
    return orders


@dataclass(frozen=True)
class Clustered:
    """An analysis of arithmetic, and the nulls that break its links.

    Each null gives what was observed, then the same under N permutations: `[K, 1 + N]` for each vector, or `[1 + N]`.

    Attributes:
        trajectories: K vectors, X tokens, P points.
        labels: `[K, X]` their clusters.
        place, carry: `[X]` skills.
    """

    trajectories: Trajectories
    labels: Labels
    place: NDArray[np.integer]
    carry: NDArray[np.bool_]

    def swap_skills(self, permutations: int, rng: np.random.Generator, *, within_place: bool = False) -> Floats:
        """Best eligible homogeneity of each vector when tokens swap their skills.

        Args:
            within_place: swap among tokens of the same digit only.
        """
        orders = _orders(self.place if within_place else np.zeros_like(self.place), permutations, rng)
        orders = np.concatenate([np.arange(len(self.place))[None], orders])
        return best_homogeneities(self.labels, self.place[orders], self.carry[orders])

    def swap_vectors(
        self,
        permutations: int,
        rng: np.random.Generator,
        clustering: ClusteringSettings,
        standardise: bool,
        advance: Callable[[], None] = lambda: None,
    ) -> Floats:
        """The same when each token's trajectories swap vectors and are clustered anew, projected losses with filters.

        Args:
            advance: called after each permutation.
        """
        values, filters = self.trajectories.values, self.trajectories.projected
        sizes = clustering.model_dump(include={"min_cluster_size", "min_samples_divisor"})
        best = partial(best_homogeneities, place=self.place[None], carry=self.carry[None])
        scores, one_group = [best(self.labels)], np.zeros(len(values), np.int64)
        for _ in range(permutations):
            rows = _orders(one_group, values.shape[1], rng).T
            swapped = values[rows, np.arange(values.shape[1])]
            drawn = partition(swapped, **sizes, standardise=standardise, drop_vectors=filters, drop_tokens=filters)
            scores.append(best(drawn))
            advance()
        return np.concatenate(scores, axis=1)

    def swap_times(self, permutations: int, rng: np.random.Generator, *, delta: int, flat_step: int) -> Floats:
        """Fraction of clusters with a hidden breakthrough when increments swap their times.

        All tokens of a cluster swap alike, so that what they do together stays together. Without clusters there is no
        null, and the fraction is NaN.
        """
        curves = [c.astype(np.float64) for c in clustered_curves(self.trajectories.values, self.labels)]

        def shuffled(c: Floats) -> Floats:
            increments = np.diff(c, axis=1)[:, rng.permutation(c.shape[1] - 1)]
            return np.concatenate([c[:, :1], c[:, :1] + np.cumsum(increments, axis=1)], axis=1)

        def share(clusters: list[Floats]) -> float:
            steps = self.trajectories.steps
            return hidden_share(clusters, steps, delta=delta, flat_step=flat_step)

        drawn = [share([shuffled(c) for c in curves]) for _ in range(permutations if curves else 0)]
        return np.array([share(curves), *drawn])


def simple_null(
    inside: NDArray[np.bool_],
    tags: NDArray[np.integer],
    names: tuple[str, ...],
    coverage: float,
    limit: int,
    permutations: int,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Whether clusters `[M, X]` have a simple label (§5), for tag patterns `[X, 4]`.

    Returns:
        `[1 + N, M]`: as it is, then when tokens swap their whole tag patterns; cluster sizes stay.
    """

    def flags(patterns: NDArray[np.integer]) -> list[bool]:
        positions = [[covering_tags(tags_at, coverage) for tags_at in patterns[row].T] for row in inside]
        return [is_simple([[names[t] for t in covering] for covering in sets], limit) for sets in positions]

    rows = [flags(tags), *(flags(tags[rng.permutation(len(tags))]) for _ in range(permutations))]
    return np.array(rows, np.bool_).reshape(len(rows), len(inside))


def simple_row(simple: NDArray[np.bool_], vectors: NDArray[np.integer]) -> dict[str, Any]:
    """What a table says of simple labels: clusters and vectors with one, and how many chance gives.

    Args:
        simple: of `simple_null`.
        vectors: `[M]` vector of each cluster.
    """
    row: dict[str, Any] = {"clusters": len(vectors), "permutations": len(simple) - 1}
    by_vector = [simple[:, vectors == k].any(axis=1) for k in np.unique(vectors)]
    for name, flags in (("clusters", list(simple.T)), ("vectors", by_vector)):
        counts = np.array(flags).reshape(-1, len(simple)).sum(axis=0, dtype=np.float64)
        row[f"{name}_simple"] = int(counts[0])
        row |= {f"{name}_{key}": value for key, value in by_chance(counts).items() if key != "observed"}
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
