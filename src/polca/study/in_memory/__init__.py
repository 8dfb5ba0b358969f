"""A task from end to end in one process: no files between the stages, checkpoints held in memory.

The same functions as the stages of the pipeline, so the same results: seeds, further bases, tests and a GPU use it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from polca.machine.files import stacked
from polca.machine.runtime import use_device
from polca.method.bases import Basis
from polca.method.checkpoints import MemoryCheckpoints
from polca.method.decomposition import Trajectories
from polca.method.projections import Projections
from polca.study.stages.basis import make_basis
from polca.study.stages.cluster import Clustered, ExactLosses, cluster_analysis, summary
from polca.study.stages.project import project
from polca.study.stages.train import train
from polca.study.stages.trajectories import decompose_analysis, known_facts
from polca.tasks.task import Labels, Task
from polca.typing import Reading


@dataclass(frozen=True)
class Study:
    """A task's results, each made when it is first asked for.

    Attributes:
        task: whose model is trained and analysed.
        workers: processes for projections; None takes the machine's cores.
    """

    task: Task
    workers: int | None = 1

    @cached_property
    def training(self) -> tuple[pd.DataFrame, MemoryCheckpoints]:
        """The training log, and the checkpoints."""
        checkpoints = MemoryCheckpoints()
        return train(self.task, checkpoints), checkpoints

    @property
    def checkpoints(self) -> MemoryCheckpoints:
        """θ_0 … θ_T."""
        return self.training[1]

    @cached_property
    def bases(self) -> dict[str, Basis]:
        """The bases that the task's analyses need."""
        return {kind: make_basis(self.task, kind, self.checkpoints) for kind in self.task.bases}

    @cached_property
    def projections(self) -> dict[str, Projections]:
        """Projections on each basis."""
        return project(self.task, self.checkpoints, self.bases, workers=self.workers)

    @cached_property
    def labels(self) -> Labels:
        """The task's labels of its evaluated tokens."""
        return self.task.token_labels()

    def trajectories(self, analysis: str) -> Trajectories:
        """Trajectories of one analysis."""
        return decompose_analysis(self.task, analysis, self.projections)

    def clusters(self, analysis: str, reading: Reading = "standardised") -> Clustered:
        """Clusters of one analysis in one reading, scored."""
        losses = ExactLosses.of(self.projections)
        return cluster_analysis(self.task, analysis, self.trajectories(analysis), losses, self.labels, reading)

    def results(
        self, analyses: Sequence[str] | None = None, reading: Reading = "standardised"
    ) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
        """The task's summary and its tables over several analyses, all by default, in one reading."""
        names = list(self.task.analyses if analyses is None else analyses)
        done = {name: self.clusters(name, reading) for name in names}
        kinds = done[names[0]].tables
        tables = {kind: stacked(*(c.tables[kind] for c in done.values())) for kind in kinds}
        guarded = {name: c.guarded for name, c in done.items()}
        return summary(self.task, known_facts(self.task, self.projections), guarded, tables), tables


def run(task: Task, device: str = "cpu", workers: int | None = 1) -> Study:
    """A study of `task` on `cpu` or `cuda`, trained and projected.

    Raises:
        PolcaError: no such device, or as the stages.
    """
    use_device(device)
    study = Study(task, workers)
    _ = study.projections
    return study
