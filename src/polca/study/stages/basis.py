"""The bases of a task."""

from pathlib import Path

from polca.errors import PolcaError
from polca.method.bases import Basis, axis_basis, hessian_basis, random_basis, shuffled, with_rayleigh_quotients
from polca.method.checkpoints import Checkpoints
from polca.tasks.task import Task


def make_basis(task: Task, kind: str, checkpoints: Checkpoints, resume: Path | None = None) -> Basis:
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
