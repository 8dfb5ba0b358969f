"""Bases whose vectors never leave the device: those of `study.stages.basis` within rounding, from the same draws."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.runtime import device
from polca.method.bases import axis_basis, shuffled
from polca.method.checkpoints import Checkpoints
from polca.method.curvature import HessianOperator, Layout, lanczos
from polca.study.on_device.tf32 import tf32
from polca.tasks.task import Task


@dataclass(frozen=True)
class Directions:
    """K orthonormal directions in weight space.

    Attributes:
        rows: `[K, d]` on the device, in the order of the checkpoints' parameters; no columns for single parameters.
        axes: single parameters as (name, index into the flattened parameter).
        steps: `[K]` training step at which each was computed, −1 where none.
        eigenvalues: `[K]` bᵀHb there on the Hessian sample, NaN where it was not computed.
        residuals: `[K]` eigenpair residuals, NaN where none.
        matvecs: `[K]` Hessian-vector products spent.
    """

    rows: Tensor
    steps: NDArray[np.int64]
    eigenvalues: NDArray[np.float64]
    residuals: NDArray[np.float64]
    matvecs: NDArray[np.int64]
    axes: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        return len(self.steps)

    def facts(self) -> dict[str, list[Any]]:
        """The small arrays, for a JSON file."""
        return {name: getattr(self, name).tolist() for name in ("steps", "eigenvalues", "residuals", "matvecs")}

    def first(self, count: int) -> "Directions":
        """The first `count` vectors."""
        small = {name: getattr(self, name)[:count] for name in ("steps", "eigenvalues", "residuals", "matvecs")}
        return Directions(rows=self.rows[:count], axes=self.axes[:count], **small)


def _without_eigenpairs(rows: Tensor, steps: Sequence[int], axes: tuple[tuple[str, int], ...] = ()) -> Directions:
    unknown, none = np.full(len(steps), np.nan), np.zeros(len(steps), np.int64)
    return Directions(rows, np.array(steps, np.int64), unknown, unknown, none, axes)


def hessian_directions(
    task: Task,
    checkpoints: Checkpoints,
    steps: Sequence[int],
    note: Callable[[str], None] = lambda text: None,
    over: Callable[[], bool] = lambda: False,
    in_tf32: bool = False,
) -> Directions:
    """Algorithm 1 as in `bases.projected_basis`, the basis so far and Lanczos' vectors on the device.

    Args:
        note: told of each step's eigenpair.
        over: asked after every step, whether to leave out those that follow.
        in_tf32: Hessian products, not the algebra of Lanczos, whose vectors must stay orthogonal.

    Raises:
        PolcaError: more vectors than parameters; a product that is not finite.
    """
    settings, sample = task.settings, task.hessian_batches()
    params = checkpoints.load(steps[0])
    size, kind, per_step = Layout.of(params).size, next(iter(params.values())).dtype, settings.basis.per_step
    rows = torch.zeros(len(steps) * per_step, size, dtype=kind, device=device())
    facts: list[tuple[int, float, float, int]] = []
    guess: Tensor | None = None
    for index, step in enumerate(steps):
        place = slice(index * per_step, (index + 1) * per_step)
        with tf32(in_tf32):  # graphs that are kept are made here
            operator = HessianOperator(task.token_loss, checkpoints.load(step), sample, task.keep_graphs)

        def product(vector: Tensor, operator: HessianOperator = operator) -> Tensor:
            with tf32(in_tf32):
                return operator(vector)

        found = lanczos(
            product,
            size,
            per_step,
            orthogonal_to=rows[: place.start],
            which=settings.basis.which,
            tolerance=settings.basis.tolerance,
            seed=settings.seed + index,
            start=guess,
            dtype=kind,
        )
        rows[place], guess = found.vectors.to(rows), found.runner_up
        pairs = zip(found.values, found.residuals, strict=True)
        note(f"basis checkpoint {step}: λ {found.values[0]:.4g}, {found.matvecs} products")
        facts += [(step, float(value), float(residual), found.matvecs) for value, residual in pairs]
        if over():
            break
    at, values, residuals, matvecs = (np.array(column) for column in zip(*facts, strict=True))
    return Directions(rows[: len(at)], at.astype(np.int64), values, residuals, matvecs.astype(np.int64))


def random_directions(task: Task, checkpoints: Checkpoints) -> Directions:
    """`bases.random_basis`, made orthonormal on the device. Eigenvalues are left out: no form here asks for them."""
    steps = [step for step in task.settings.basis_steps() for _ in range(task.settings.basis.per_step)]
    params = checkpoints.load(steps[0])
    generator = torch.Generator().manual_seed(task.settings.seed)
    kind = next(iter(params.values())).dtype
    rows = torch.randn(len(steps), Layout.of(params).size, generator=generator, dtype=kind).to(device())
    for index, row in enumerate(rows):
        for _ in range(2):
            row -= (rows[:index] @ row) @ rows[:index]
        row /= torch.linalg.vector_norm(row, dtype=torch.float64)
    return _without_eigenpairs(rows, steps)


def directions(
    task: Task,
    kind: str,
    checkpoints: Checkpoints,
    note: Callable[[str], None] = lambda text: None,
    over: Callable[[], bool] = lambda: False,
    in_tf32: bool = False,
) -> Directions:
    """One of a task's bases, as `study.stages.basis.make_basis`.

    Raises:
        PolcaError: an unknown kind, or as the function that makes it.
    """
    settings, steps = task.settings, task.settings.basis_steps()
    if kind == "lca":
        last = {name: p.cpu() for name, p in checkpoints.load(checkpoints.steps()[-1]).items()}
        axes = axis_basis(last, settings.basis.lca_parameters).axes
        return _without_eigenpairs(torch.empty(len(axes), 0), [-1] * len(axes), axes)
    if kind == "random":
        return random_directions(task, checkpoints)
    if kind not in ("hessian", "shuffled_hessian"):
        raise PolcaError(f"basis {kind!r}: expected one of hessian, shuffled_hessian, random, lca")
    order = steps if kind == "hessian" else shuffled(steps, settings.seed)
    return hessian_directions(task, checkpoints, order, note, over, in_tf32)
