"""Trajectories of a task's analyses, and the numbers that need projections."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from polca.errors import PolcaError
from polca.method.completeness import completeness
from polca.method.decomposition import Trajectories, decompose
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


def known_facts(task: Task, projections: Mapping[str, Projections]) -> dict[str, Any]:
    """Numbers about projections, for `summary.json`: sizes, losses, and what each form allocates along the Hessian's.

    Completeness compares, over all tokens and the whole training, the sum of a basis' allocations with the true change
    of the loss: 1 is complete. A task adds its own.
    """
    hessian, polca, breaks = projections["hessian"], task.settings.polca, task.settings.breakthroughs
    forms = [form for form in get_args(SecondOrder) if form != "exact" or hessian.token_curvatures is not None]
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
        "flat_step": breaks.flat_step,
        "delta": breaks.delta,
        "second_order": polca.second_order,
        "eigenvalue": polca.eigenvalue,
        "loss_first": float(hessian.losses[0].mean(dtype=np.float64)),
        "loss_last": float(hessian.losses[-1].mean(dtype=np.float64)),
        **own,
        "completeness": {**shares, **own.get("completeness", {})},
    }
