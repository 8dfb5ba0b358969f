"""§3.3, §4.1: filter, HDBSCAN, medoids; one clustering per basis vector."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from polca.errors import PolcaError
from polca.machine.arrays import Arrays
from polca.machine.parallel import map_processes
from polca.method.decomposition import Trajectories
from polca.method.densities import OUTLIER, Floats, Integers, hdbscan_labels

RISING, VECTOR_DROPPED = -2, -3
NEAREST = 10
"""How many tokens next to a medoid are kept (§5 names clusters by ten contexts)."""

_BLOCK = 1 << 23
"""Distances held at once when looking for medoids (64 MiB)."""
_PROCESSES_PAY = 1 << 35
"""Coordinate differences of a clustering (about 20 s) below which starting processes costs more than it saves."""
_DECIMALS = 12
"""Of standardised trajectories, whose values are about 1."""
_TIE = 1e-12
"""Sums of distances that differ by less, relatively, are equal up to rounding."""


@dataclass(frozen=True)
class Clusters(Arrays):
    """Clusters of one analysis: K vectors, X tokens, M clusters, ordered by vector, then by cluster number.

    Attributes:
        steps: `[P]` training steps of the clustered trajectories.
        loss_steps: `[C]` training steps of the exact losses; empty where none were given.
        labels: `[K, X]` cluster number from 0, −1 HDBSCAN outlier, −2 dropped as rising, −3 vector dropped. Clusters
            are numbered by size, largest first, ties by smallest member.
        vector_kept: `[K]` whether the vector passed the filter.
        vector_steps: `[K]` step at which the vector was computed, −1 where none.
        cluster_vector: `[M]` row of `labels` (from 0).
        cluster_index: `[M]` cluster number within its vector.
        cluster_size: `[M]` tokens.
        medoid: `[M]` token with the smallest sum of Euclidean distances to the members, ties to the smallest token.
        nearest: `[M, 10]` members nearest to the medoid, itself first, ties by token number, padded with −1.
        projected_quartiles: `[M, 3, P]` quartiles over members at each point of the clustered trajectories.
        projected_mean: `[M, P]` their mean.
        projected_medoid: `[M, P]` the medoid's trajectory.
        loss_quartiles: `[M, 3, C]` quartiles over members of the exact loss.
        loss_mean: `[M, C]` its mean.
    """

    form: ClassVar[Mapping[str, str]] = {
        "steps": "int P",
        "loss_steps": "int C",
        "labels": "int K X",
        "vector_kept": "bool K",
        "vector_steps": "int K",
        **dict.fromkeys(("cluster_vector", "cluster_index", "cluster_size", "medoid"), "int M"),
        "nearest": "int M N",
        "projected_quartiles": "finite M 3 P",
        "projected_mean": "finite M P",
        "projected_medoid": "finite M P",
        "loss_quartiles": "finite M 3 C",
        "loss_mean": "finite M C",
    }

    steps: Integers
    loss_steps: Integers
    labels: NDArray[np.int16]
    vector_kept: NDArray[np.bool_]
    vector_steps: Integers
    cluster_vector: Integers
    cluster_index: Integers
    cluster_size: Integers
    medoid: Integers
    nearest: Integers
    projected_quartiles: NDArray[np.float32]
    projected_mean: NDArray[np.float32]
    projected_medoid: NDArray[np.float32]
    loss_quartiles: NDArray[np.float32]
    loss_mean: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.cluster_vector)

    def members(self, cluster: int) -> Integers:
        """Tokens of the cluster in row `cluster` (0 … M − 1), in rising order."""
        return np.flatnonzero(self.labels[self.cluster_vector[cluster]] == self.cluster_index[cluster])

    def check_of(self, trajectories: Trajectories) -> None:
        """Refuse trajectories of other vectors, tokens or steps.

        Raises:
            PolcaError: they are not those that were clustered.
        """
        if trajectories.values.shape[:2] != self.labels.shape or not np.array_equal(self.steps, trajectories.steps):
            raise PolcaError(f"clusters: not those of trajectories {trajectories.name}: cluster them again")


def memberships(labels: NDArray[np.integer]) -> tuple[NDArray[np.bool_], Integers]:
    """Clusters of `labels [K, X]` as rows, in the order of `Clusters`: members `[M, X]`, and vectors (from 0) `[M]`."""
    pairs = [(k, c) for k, row in enumerate(labels) for c in range(int(row.max(initial=-1)) + 1)]
    inside = np.array([labels[k] == c for k, c in pairs], np.bool_).reshape(len(pairs), labels.shape[1])
    return inside, np.array([k for k, _ in pairs], np.int64)


def compositions(inside: NDArray[np.bool_], kinds: NDArray[np.integer], count: int) -> Integers:
    """How many members `[M, X]` of each cluster are of each of `count` kinds `[X]`, `[M, count]`."""
    rows = [np.bincount(kinds[row], minlength=count) for row in inside]
    return np.array(rows, np.int64).reshape(len(inside), count)


def vector_counts(labels: NDArray[np.integer]) -> dict[str, int]:
    """Of one vector's labels `[X]`: tokens dropped as rising, in clusters and outliers, and clusters."""
    return {
        "n_dropped": int((labels == RISING).sum()),
        "n_clustered": int((labels >= 0).sum()),
        "n_outliers": int((labels == OUTLIER).sum()),
        "n_clusters": max(0, int(labels.max(initial=-1)) + 1),
    }


def medoid(values: NDArray[np.floating]) -> int:
    """Row of `[n, P]` with the smallest sum of Euclidean distances to all rows, ties (to 12 digits) to the first."""
    points = values.astype(np.float64)
    rows = max(1, _BLOCK // len(points))
    sums = np.concatenate([cdist(points[i : i + rows], points).sum(axis=1) for i in range(0, len(points), rows)])
    return int(np.argmax(sums <= sums.min() * (1 + _TIE)))


def rising_tokens(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tokens `[X]` whose trajectory `[X, P]` ends above its beginning."""
    return np.asarray(values[:, -1] > values[:, 0])


def rising_vectors(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Vectors `[K]` whose mean trajectory over tokens (of `[K, X, P]`) ends above its beginning (Algorithm 1)."""
    change = values[:, :, -1].astype(np.float64) - values[:, :, 0].astype(np.float64)
    return np.asarray(change.mean(axis=1) > 0)


def standardised(values: NDArray[np.floating]) -> Floats:
    """Each trajectory of `[..., P]` less its own mean over time, divided by its own standard deviation over time.

    Trajectories of one shape then coincide, however large they are. Constant ones, which have no shape, become 0.
    Rounded to twelve decimals: what sizes leave in the last bits would be structure to HDBSCAN.
    """
    exact = values.astype(np.float64)
    constant = np.ptp(values, axis=-1, keepdims=True) == 0
    deviations = np.where(constant, 1.0, exact.std(axis=-1, keepdims=True))
    shapes = np.where(constant, 0.0, (exact - exact.mean(axis=-1, keepdims=True)) / deviations)
    return np.asarray(shapes.round(_DECIMALS))


def _partition(
    values: NDArray[np.floating],
    min_cluster_size: int,
    min_samples_divisor: int,
    drop_tokens: bool,
    standardise: bool = False,
) -> Integers:
    """Labels `[X]` of one vector's trajectories `[X, P]`; the filter sees them as they are."""
    labels = np.full(len(values), RISING, np.int64)
    left = np.flatnonzero(~rising_tokens(values)) if drop_tokens else np.arange(len(values))
    shapes = standardised(values[left]) if standardise else values[left]
    labels[left] = hdbscan_labels(shapes, min_cluster_size, max(1, len(left) // min_samples_divisor))
    return labels


def partition(
    values: NDArray[np.floating],
    *,
    min_cluster_size: int,
    min_samples_divisor: int,
    drop_vectors: bool,
    drop_tokens: bool,
    standardise: bool = False,
) -> Integers:
    """Labels `[K, X]` of trajectories `[K, X, P]`, as in `Clusters`: `cluster` with its two filters apart.

    Args:
        drop_vectors: drop vectors whose mean trajectory rises (Algorithm 1).
        drop_tokens: drop tokens whose trajectory rises (§3.3).
        standardise: as in `cluster`.
    """
    kept = ~rising_vectors(values) if drop_vectors else np.ones(len(values), np.bool_)
    labels = np.full(values.shape[:2], VECTOR_DROPPED, np.int64)
    for k in np.flatnonzero(kept):
        labels[k] = _partition(values[k], min_cluster_size, min_samples_divisor, drop_tokens, standardise)
    return labels


@dataclass(frozen=True)
class _Job:
    """What a worker needs for one vector."""

    values: NDArray[np.float32]
    losses: NDArray[np.float32]
    kept: NDArray[np.bool_]
    filters: bool
    min_cluster_size: int
    min_samples_divisor: int
    standardise: bool


def _summary(curves: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Quartiles `[3, P]` and mean `[P]` of curves `[n, P]`."""
    exact = curves.astype(np.float64)
    return np.quantile(exact, (0.25, 0.5, 0.75), axis=0).astype(np.float32), exact.mean(axis=0).astype(np.float32)


def _cluster_vector(job: _Job, k: int) -> dict[str, NDArray[Any]]:
    """Labels of all tokens for vector k, and what is kept of each of its clusters."""
    values = job.values[k]
    if job.kept[k]:
        labels = _partition(values, job.min_cluster_size, job.min_samples_divisor, job.filters, job.standardise)
    else:
        labels = np.full(len(values), VECTOR_DROPPED, np.int64)
    count = max(0, int(labels.max()) + 1)
    points, checkpoints = values.shape[1], len(job.losses)
    result: dict[str, NDArray[Any]] = {
        "labels": labels.astype(np.int16),
        "cluster_vector": np.full(count, k, np.int64),
        "cluster_index": np.arange(count),
        "cluster_size": np.bincount(labels[labels >= 0], minlength=count),
        "medoid": np.empty(count, np.int64),
        "nearest": np.full((count, NEAREST), -1, np.int64),
        "projected_quartiles": np.empty((count, 3, points), np.float32),
        "projected_mean": np.empty((count, points), np.float32),
        "projected_medoid": np.empty((count, points), np.float32),
        "loss_quartiles": np.empty((count, 3, checkpoints), np.float32),
        "loss_mean": np.empty((count, checkpoints), np.float32),
    }
    for c in range(count):
        members = np.flatnonzero(labels == c)
        curves = values[members].astype(np.float64)
        shapes = standardised(curves) if job.standardise else curves
        centre = medoid(shapes)
        result["medoid"][c] = members[centre]
        # The medoid itself comes first: of identical members it is the smallest token.
        far = cdist(shapes[centre : centre + 1], shapes)[0]
        closest = members[np.argsort(far, kind="stable")[:NEAREST]]
        result["nearest"][c, : len(closest)] = closest
        result["projected_quartiles"][c], result["projected_mean"][c] = _summary(curves)
        result["projected_medoid"][c] = values[members[centre]]
        result["loss_quartiles"][c], result["loss_mean"][c] = _summary(job.losses[:, members].T)
    return result


def cluster(
    trajectories: Trajectories,
    *,
    min_cluster_size: int,
    min_samples_divisor: int = 15,
    losses: NDArray[np.floating] | None = None,
    loss_steps: NDArray[np.integer] | None = None,
    vector_kept: NDArray[np.bool_] | None = None,
    filters: bool | None = None,
    standardise: bool = True,
    workers: int | None = 1,
) -> Clusters:
    """Cluster the tokens' trajectories, separately for each basis vector (§3.3, §4.1).

    With filters, a vector whose mean projected loss rises from the first to the last checkpoint is dropped, and so are,
    for each remaining vector, the tokens whose projected loss rises. HDBSCAN runs on what is left, Euclidean on
    standardised or raw trajectories (the paper does not say which), with min_samples = max(1, n //
    `min_samples_divisor`) for n tokens left.

    Args:
        min_cluster_size: HDBSCAN's, in tokens (Table 4: 150).
        min_samples_divisor: 15 in Tables 4 and 7.
        losses: `[C, X]` exact losses for the clusters' exact-loss curves; `loss` trajectories need none.
        loss_steps: `[C]` their training steps.
        vector_kept: `[K]`, in place of the filter of vectors.
        filters: None applies both filters to projected losses and neither to other trajectories.
        standardise: cluster by shape: after the filters each trajectory is `standardised`. Medoids and the tokens next
            to them are then those of the standardised trajectories; curves are kept in nats. False clusters the values
            as they are, where the few tokens with large losses lie far from all others.
        workers: processes at most, None for as many as the machine has cores; results do not depend on their number.

    Raises:
        PolcaError: an impossible setting, or arrays that do not fit together.

    Example: ten tokens whose loss falls early, and ten for which it falls late.

        >>> import numpy as np, polca
        >>> steps = np.array([0, 10, 20, 30, 40])
        >>> early, late = np.array([0, -1, -1, -1, -1]), np.array([0, 0, 0, -1, -1])
        >>> values = np.stack([(early if x < 10 else late) * (1 + x / 100) for x in range(20)])[None]
        >>> trajectories = polca.Trajectories("polca", values.astype(np.float32), steps, projected=True)
        >>> clusters = polca.cluster(trajectories, min_cluster_size=5)
        >>> clusters.labels.tolist()
        [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]]
    """
    k, x, points = trajectories.values.shape
    for name, value, least in (
        ("min_cluster_size", min_cluster_size, 2),
        ("min_samples_divisor", min_samples_divisor, 1),
    ):
        if value < least:
            raise PolcaError(f"{name} = {value}: must be at least {least}")
    if x < 1 or points < 1:
        raise PolcaError(f"trajectories {trajectories.name}: no tokens or no points: give at least one of each")
    if losses is None and loss_steps is None:
        exact = trajectories.name == "loss"
        losses = trajectories.values[0].T if exact else np.empty((0, x), np.float32)
        loss_steps = trajectories.steps if exact else np.empty(0, np.int64)
    if losses is None or loss_steps is None or losses.shape != (len(loss_steps), x):
        raise PolcaError(f"losses: give losses [checkpoints, {x} tokens] together with loss_steps [checkpoints]")
    filtered = trajectories.projected if filters is None else filters
    if vector_kept is not None:
        kept = np.asarray(vector_kept, np.bool_)
        if kept.shape != (k,):
            raise PolcaError(f"vector_kept {kept.shape}: give one for each of the {k} vectors")
    else:
        kept = ~rising_vectors(trajectories.values) if filtered else np.ones(k, np.bool_)
    exact_losses = losses.astype(np.float32)
    job = _Job(trajectories.values, exact_losses, kept, filtered, min_cluster_size, min_samples_divisor, standardise)
    # An impossible number of workers must reach its check whatever the size of the work.
    processes = 1 if (workers is None or workers >= 1) and k * x * x * points < _PROCESSES_PAY else workers
    parts = map_processes(
        _cluster_vector, job, range(k), workers=processes, description=f"clusters: {trajectories.name}"
    )
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "labels"}
    return Clusters(
        steps=trajectories.steps,
        loss_steps=loss_steps.astype(np.int64),
        labels=np.stack([part["labels"] for part in parts]),
        vector_kept=kept,
        vector_steps=np.full(k, -1, np.int64) if trajectories.vector_steps is None else trajectories.vector_steps,
        **arrays,
    )
