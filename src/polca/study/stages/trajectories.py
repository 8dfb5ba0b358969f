"""Trajectories of a task's analyses, and the numbers that need projections."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.method.breakthrough import fall_made, flat_step
from polca.method.completeness import completeness
from polca.method.decomposition import Trajectories, decompose, forms_of
from polca.method.projections import Projections
from polca.study.archive import Archive, compress
from polca.tasks.task import Task
from polca.typing import SecondOrder


def decompose_analysis(task: Task, analysis: str, projections: Mapping[str, Projections]) -> Trajectories:
    """Trajectories of one analysis (eqs. 1–8); those of the exact loss take it from any basis' projections.

    Raises:
        PolcaError: an unknown analysis, one of a basis that is not here, or as `decompose`.
    """
    if analysis not in task.analyses:
        raise PolcaError(f"analysis {analysis!r}: expected one of {', '.join(task.analyses)}")
    chosen, polca = task.analyses[analysis], task.settings.polca
    source: str = chosen.basis or next(iter(projections))
    if source not in projections:
        raise PolcaError(f"analysis {analysis!r}: no projections on basis {source!r}: make them first")
    form = chosen.second_order or polca.second_order
    return decompose(projections[source], chosen.strategy, form, chosen.eigenvalue or polca.eigenvalue)


def archive_analysis(task: Task, analysis: str, projections: Mapping[str, Projections]) -> Archive:
    """`decompose_analysis` as they are kept, as exactly as the preset asks."""
    return compress(decompose_analysis(task, analysis, projections), task.settings.archive.relative_error)


MOMENTS = (0.25, 0.5, 1.0)
"""Shares of training at which projected losses are kept beside the results."""


def projected_losses(task: Task, projections: Mapping[str, Projections]) -> dict[str, NDArray[Any]]:
    """Projected losses of every token along all vectors at `MOMENTS`, of each analysis that has them.

    Returns:
        `steps [M]` and, by analysis, values `[M, K, X]` in nats: small beside the trajectories, and enough for pictures
        of what the directions tell apart.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, analysis in task.analyses.items():
        if analysis.strategy in ("polca", "polca_first_order") and analysis.second_order is None:
            trajectories = decompose_analysis(task, name, projections)
            at = [round(share * (len(trajectories.steps) - 1)) for share in MOMENTS]
            found["steps"] = trajectories.steps[at]
            found[name] = np.moveaxis(trajectories.values[:, :, at], 2, 0)
    return found


def known_facts(task: Task, projections: Mapping[str, Projections]) -> dict[str, Any]:
    """Numbers about projections, for `summary.json`: sizes, losses, and what each form allocates along the Hessian's.

    Completeness compares, over all tokens and the whole training, the sum of a basis' allocations with the true change
    of the loss: 1 is complete. A task adds its own.
    """
    hessian, polca, breaks = projections["hessian"], task.settings.polca, task.settings.breakthroughs
    known = breaks.published
    forms = [form for form in get_args(SecondOrder) if form != "exact" or form in forms_of(hessian)]
    shares: dict[str, Any] = {}
    for form in forms:
        whole = completeness(hessian, form)
        shares[form] = {
            "fraction": whole.fraction,
            "allocated": whole.total_allocated,
            "relative_residual": whole.relative_residual,
            "correlation": whole.correlation,
        }
    own = task.projection_facts(projections)
    return {
        "tokens": int(hessian.losses.shape[1]),
        "checkpoints": len(hessian.steps),
        "vectors": int(hessian.gradients.shape[2]),
        "flat_step": flat_step(hessian.losses, hessian.steps, breaks.fall),
        "delta": breaks.delta,
        "published_flat_step_fall": fall_made(hessian.losses, hessian.steps, known.flat_step) if known else None,
        "second_order": polca.second_order,
        "eigenvalue": polca.eigenvalue,
        "loss_first": float(hessian.losses[0].mean(dtype=np.float64)),
        "loss_last": float(hessian.losses[-1].mean(dtype=np.float64)),
        **own,
        "completeness": {**shares, **own.get("completeness", {})},
    }
