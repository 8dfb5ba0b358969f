"""Clusters of a task's analyses, scored by the task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.method.breakthrough import breakthroughs, flat_step
from polca.method.clustering import Clusters, cluster
from polca.method.decomposition import Trajectories
from polca.method.projections import Projections
from polca.method.stability import stability
from polca.tasks.task import Labels, Tables, Task
from polca.typing import Reading


@dataclass(frozen=True)
class ExactLosses:
    """`steps [C]` and the exact loss `losses [C, X]` of every evaluated token, in nats."""

    steps: NDArray[np.int64]
    losses: NDArray[np.float32]

    @classmethod
    def of(cls, projections: Mapping[str, Projections]) -> "ExactLosses":
        """The losses that projections on any basis hold."""
        some = next(iter(projections.values()))
        return cls(some.steps, some.losses)

    def flat_step(self, fall: float) -> int:
        """τ (see `breakthrough.flat_step`)."""
        return flat_step(self.losses, self.steps, fall)


@dataclass(frozen=True)
class Clustered:
    """What one analysis leaves: clusters, the task's tables of them, and how many intervals eq. 4's guard set to 0."""

    clusters: Clusters
    tables: Tables
    guarded: int


def _breaks(task: Task, trajectories: Trajectories, clusters: Clusters, losses: ExactLosses) -> pd.DataFrame:
    """`breakthroughs` by the preset's rule, and `hidden_published` by the paper's constants, empty without them."""
    settings = task.settings.breakthroughs
    tau, known = losses.flat_step(settings.fall), settings.published
    table = breakthroughs(trajectories, clusters, delta=settings.delta, flat_step=tau)
    published: Any = pd.NA
    if known is not None:
        published = breakthroughs(trajectories, clusters, delta=known.delta, flat_step=known.flat_step)["hidden"]
    return table.assign(hidden_published=published).astype({"hidden_published": "boolean"})


def _stabilities(
    task: Task, analysis: str, reading: Reading, made: Clusters, values: NDArray[np.float32]
) -> pd.DataFrame:
    """Columns `ari_bootstrap` and `ari_perturbed` of every vector; NaN where they are not asked for."""
    settings, sizes = task.settings.stability, task.clustering(analysis)
    number = list(task.analyses).index(analysis)
    rows = []
    for k, labels in enumerate(made.labels):
        if analysis not in settings.analyses:
            rows.append((float("nan"), float("nan")))
            continue
        found = stability(
            values[k],
            labels,
            min_cluster_size=sizes.min_cluster_size,
            min_samples_divisor=sizes.min_samples_divisor,
            standardise=reading == "standardised",
            repeats=settings.repeats,
            noise=settings.noise,
            rng=np.random.default_rng([task.settings.seed, number, k]),
        )
        rows.append((found.bootstrap, found.perturbed))
    return pd.DataFrame(rows, columns=["ari_bootstrap", "ari_perturbed"], dtype=np.float64)


def cluster_analysis(
    task: Task,
    analysis: str,
    chosen: Trajectories,
    losses: ExactLosses,
    labels: Labels,
    reading: Reading = "standardised",
    workers: int | None = 1,
) -> Clustered:
    """Cluster the trajectories of one analysis in one reading, and score the clusters (§3.3, §4.1, §5)."""
    sizes = task.clustering(analysis)
    made = cluster(
        chosen,
        min_cluster_size=sizes.min_cluster_size,
        min_samples_divisor=sizes.min_samples_divisor,
        standardise=reading == "standardised",
        losses=losses.losses,
        loss_steps=losses.steps,
        workers=workers,
    )
    tables = task.score_clusters(analysis, made, chosen, _breaks(task, chosen, made, losses), labels)
    stable = _stabilities(task, analysis, reading, made, chosen.values)
    tables["vectors"] = tables["vectors"].assign(**stable)
    return Clustered(made, tables, chosen.guarded)


def summary(
    task: Task, known: Mapping[str, Any], guarded: Mapping[str, int], tables: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """`summary.json`: `known_facts`, and the task's own counts of its clusters."""
    return {**known, "guarded": dict(guarded), **task.cluster_counts(dict(tables))}
