"""TF32, products of ten bits of mantissa on a GPU: where a run allows them, and what that costs in digits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from polca.machine.runtime import on_device
from polca.method.checkpoints import Checkpoints
from polca.method.curvature import HessianOperator
from polca.tasks.task import Task

PIECES = ("train", "basis", "project")
"""The pieces of a run that can be in TF32."""


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Matrix products on a GPU in TF32, in about two thirds of the time, or in float32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _exact_and_distance(function: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """A vector in float32, and how far it is in TF32, relative to its length."""
    with tf32(False):
        exact = function().double()
    with tf32(True):
        rounded = function().double()
    return exact, float((rounded - exact).norm() / exact.norm())


def gradient_error(task: Task, checkpoints: Checkpoints, step: int) -> dict[str, float]:
    """Relative error of the gradient of update `step` in TF32."""
    params = {name: on_device(p.detach().clone()).requires_grad_() for name, p in checkpoints.load(step).items()}
    batch = on_device(task.batch(step))

    def gradient() -> Tensor:
        found = torch.autograd.grad(task.token_loss(params, batch).mean(), list(params.values()))
        return torch.cat([part.reshape(-1) for part in found])

    return {"relative": _exact_and_distance(gradient)[1], "step": step}


def eigenpair_error(
    task: Task, checkpoints: Checkpoints, step: int, vector: Tensor, eigenvalue: float
) -> dict[str, float]:
    """Of the Hessian basis' first pair (λ, b `[d]`), which no other constrains: the relative error of Hb in TF32, and
    ‖Hb − λb‖ / |λ| in float32, which compares with the preset's tolerance whatever the basis was made in."""
    params, sample = checkpoints.load(step), task.hessian_batches()

    def product() -> Tensor:
        return HessianOperator(task.token_loss, params, sample, task.keep_graphs)(vector)

    exact, relative = _exact_and_distance(product)
    residual = float((exact - eigenvalue * vector.double()).norm()) / abs(eigenvalue)
    return {"relative": relative, "residual": residual, "step": step}
