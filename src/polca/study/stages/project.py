"""Projections of a task's evaluated tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polca.method.bases import Basis
from polca.method.checkpoints import Checkpoints, select_steps
from polca.method.projections import Projections, project_bases
from polca.tasks.task import Task


def project(
    task: Task,
    checkpoints: Checkpoints,
    bases: Mapping[str, Basis],
    *,
    curvature_of: Sequence[str] | None = None,
    data: Sequence[Any] | None = None,
    workers: int | None = None,
    resume: Path | None = None,
) -> dict[str, Projections]:
    """Projections of every evaluated token on several bases, a point every `polca.interval` steps.

    Args:
        bases: by name.
        curvature_of: bases along which exact curvature is computed, at the preset's first `polca.curvature_points`; by
            default the preset's bases, as far as they are here.
        data: other sequences than the task's evaluation set, in batches.
        workers: processes; by default as many as the machine has cores.
        resume: folder in which finished checkpoints are kept until all are done.
    """
    polca = task.settings.polca
    named = polca.curvature_of if curvature_of is None else curvature_of
    return project_bases(
        task.evaluated_loss,
        checkpoints,
        bases,
        task.evaluation_batches() if data is None else data,
        steps=select_steps(checkpoints.steps(), polca.interval, f"{task.name}.polca.interval"),
        curvature_of=[name for name in named if name in bases],
        curvature_points=polca.curvature_points,
        workers=workers,
        resume=resume,
    )
