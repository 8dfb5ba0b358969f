"""The way through: train, basis, project, trajectories, cluster. One function each, for any task.

They know tasks and arrays, no paths of a preset: stage scripts read and write, `in_memory` runs them in one process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.method.bases import Basis, axis_basis, hessian_basis, random_basis, shuffled, with_rayleigh_quotients
from polca.method.breakthrough import breakthroughs
from polca.method.checkpoints import CheckpointDirectory, Checkpoints, WritableCheckpoints, select_steps
from polca.method.clustering import Clusters, cluster
from polca.method.completeness import completeness
from polca.method.decomposition import SecondOrder, Trajectories, decompose
from polca.method.projections import Projections, project_bases
from polca.study.archive import Archive, compress
from polca.tasks import training
from polca.tasks.task import Labels, Tables, Task


def directory(task: Task, folder: Path) -> CheckpointDirectory:
    """A folder of checkpoints of the task's model; those of another are refused."""
    return CheckpointDirectory(folder, {name: p.shape for name, p in task.initial().items()})


# --- Training ---------------------------------------------------------------------------------------------------------


def train(task: Task, checkpoints: WritableCheckpoints, resume: Path | None = None) -> pd.DataFrame:
    """Train the task's model from θ_0; the log's columns are those of `training.train`."""
    return training.train(
        task.token_loss,
        task.initial(),
        task.batch,
        task.settings.training,
        checkpoints,
        resume=resume,
        description=f"train {task.name}",
    )


# --- Bases ------------------------------------------------------------------------------------------------------------


def bases(task: Task) -> list[str]:
    """The bases that the task's analyses need, in the order of the analyses."""
    return list(dict.fromkeys(a.basis for a in task.analyses.values() if a.basis is not None))


def basis(task: Task, kind: str, checkpoints: Checkpoints, resume: Path | None = None) -> Basis:
    """One of a task's bases (Algorithm 1, and what Tables 8 and 10 compare it with).

    Args:
        resume: folder in which finished vectors are kept until the basis is whole.

    Raises:
        PolcaError: an unknown kind, or as the function that makes it.
    """
    settings, steps = task.settings, task.settings.basis_steps()
    seed, per_step = settings.seed, settings.basis.per_step
    if kind == "lca":
        return axis_basis(checkpoints.load(checkpoints.steps()[-1]), settings.basis.lca_parameters)
    sample = task.hessian_batches()
    if kind == "random":
        at = [step for step in steps for _ in range(per_step)]
        drawn = random_basis(checkpoints.load(steps[0]), len(at), steps=at, seed=seed)
        return with_rayleigh_quotients(drawn, task.token_loss, checkpoints, sample)
    if kind not in ("hessian", "shuffled_hessian"):
        raise PolcaError(f"basis {kind!r}: expected one of hessian, shuffled_hessian, random, lca")
    return hessian_basis(
        task.token_loss,
        checkpoints,
        sample,
        steps=steps if kind == "hessian" else shuffled(steps, seed),
        per_step=per_step,
        which=settings.basis.which,
        tolerance=settings.basis.tolerance,
        seed=seed,
        kind=kind,
        keep_graphs=task.keep_graphs,
        resume=resume,
    )


# --- Projections ------------------------------------------------------------------------------------------------------


def project(
    task: Task,
    checkpoints: Checkpoints,
    found: Mapping[str, Basis],
    *,
    curvature_of: Sequence[str] | None = None,
    data: Sequence[Any] | None = None,
    workers: int | None = None,
    resume: Path | None = None,
) -> dict[str, Projections]:
    """Projections of every evaluated token on several bases, a point every `polca.interval` steps.

    Args:
        found: bases by name.
        curvature_of: bases along which exact curvature is computed; by default the preset's, as far as they are here.
        data: other sequences than the task's evaluation set, in batches.
        workers: processes; by default as many as the machine has cores.
        resume: folder in which finished checkpoints are kept until all are done.
    """
    polca = task.settings.polca
    named = polca.curvature_of if curvature_of is None else curvature_of
    return project_bases(
        task.evaluated_loss,
        checkpoints,
        found,
        task.evaluation_batches() if data is None else data,
        steps=select_steps(checkpoints.steps(), polca.interval, f"{task.name}.polca.interval"),
        curvature_of=[name for name in named if name in found],
        workers=workers,
        resume=resume,
    )


# --- Trajectories -----------------------------------------------------------------------------------------------------


def trajectories(task: Task, analysis: str, projections: Mapping[str, Projections]) -> Trajectories:
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


def archive(task: Task, analysis: str, projections: Mapping[str, Projections]) -> Archive:
    """`trajectories` as they are kept, as exactly as the preset asks."""
    return compress(trajectories(task, analysis, projections), task.settings.archive.relative_error)


def facts(task: Task, projections: Mapping[str, Projections]) -> dict[str, Any]:
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
    own = task.facts(projections)
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


# --- Clusters ---------------------------------------------------------------------------------------------------------


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


def clusters(
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
    return Clustered(made, task.score(analysis, made, chosen, breaking, labels), chosen.guarded)


def summary(
    task: Task, known: Mapping[str, Any], guarded: Mapping[str, int], tables: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """`summary.json`: `facts`, and the task's own counts of its clusters."""
    return {**known, "guarded": dict(guarded), **task.counts(dict(tables))}
