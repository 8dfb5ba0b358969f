"""The exact curvature of every token along the Hessian's vectors, over the whole training on a coarse grid.

The run itself has it where App. C asks for it, at its first points (`polca.curvature_points`).
"""

from dataclasses import replace
from pathlib import Path

from polca.method.bases import Basis
from polca.method.checkpoints import Checkpoints
from polca.method.projections import Projections, project_bases, thin
from polca.tasks.task import Task
from polca.validity.settings import CurvatureSettings


def coarse_curvature(
    task: Task,
    projections: Projections,
    basis: Basis,
    checkpoints: Checkpoints,
    settings: CurvatureSettings,
    *,
    workers: int | None = None,
    resume: Path | None = None,
) -> Projections:
    """Projections on the coarse grid with curvature at every point: computed, or thinned where they have it already.

    Args:
        projections: on `basis`; losses, gradients and movements are theirs.
        workers, resume: as in `project_bases`.

    Raises:
        PolcaError: points of the trajectories, or the end of training, do not lie on the grid.
    """
    coarse = thin(projections, settings.interval, "validity.curvature.interval")
    if len(projections.steps) - 1 == projections.curved_intervals:
        return coarse
    made = project_bases(
        task.evaluated_loss,
        checkpoints,
        {basis.kind: basis},
        task.evaluation_batches(),
        steps=coarse.steps.tolist(),
        curvature_of=[basis.kind],
        workers=workers,
        resume=resume,
    )[basis.kind]
    return replace(coarse, curvatures=made.curvatures, token_curvatures=made.token_curvatures)
