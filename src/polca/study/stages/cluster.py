"""Clusters of a task's analyses, scored by the task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.method.breakthrough import breakthroughs
from polca.method.clustering import Clusters, cluster
from polca.method.decomposition import Trajectories
from polca.method.projections import Projections
from polca.tasks.task import Labels, Tables, Task


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


@dataclass(frozen=True)
class Clustered:
    """What one analysis leaves: clusters, the task's tables of them, and how many intervals eq. 4's guard set to 0."""

    clusters: Clusters
    tables: Tables
    guarded: int


def cluster_analysis(
    task: Task, analysis: str, chosen: Trajectories, losses: ExactLosses, labels: Labels, workers: int | None = 1
) -> Clustered:
    """Cluster the trajectories of one analysis and score the clusters (§3.3, §4.1, §5)."""
    sizes, breaks = task.clustering(analysis), task.settings.breakthroughs
    made = cluster(
        chosen,
        min_cluster_size=sizes.min_cluster_size,
        min_samples_divisor=sizes.min_samples_divisor,
        losses=losses.losses,
        loss_steps=losses.steps,
        workers=workers,
    )
    breaking = breakthroughs(chosen, made, delta=breaks.delta, flat_step=breaks.flat_step)
    return Clustered(made, task.score_clusters(analysis, made, chosen, breaking, labels), chosen.guarded)


def summary(
    task: Task, known: Mapping[str, Any], guarded: Mapping[str, int], tables: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """`summary.json`: `known_facts`, and the task's own counts of its clusters."""
    return {**known, "guarded": dict(guarded), **task.cluster_counts(dict(tables))}
