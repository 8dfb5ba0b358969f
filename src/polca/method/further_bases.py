"""Bases that the paper does not report, to set beside its own: other curvatures, other samples, and the path itself.

Curvatures, each with Algorithm 1's projecting off:

- `curvature_basis`, `gauss_newton`: Jᵀ H_out J, J the logits' Jacobian and H_out the Hessian of cross-entropy in them;
- `curvature_basis`, `gradient_covariance`: Σ_x ∇L(x) ∇L(x)ᵀ / N over the sample (empirical Fisher, not centred);
- `sliding_window_basis`: the mean Hessian over the last basis checkpoints.

Directions of the path, which need no data:

- `trajectory_pca_basis`: principal directions of the checkpoints;
- `step_basis`: the optimizer's own steps from one basis checkpoint to the next.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

from polca.errors import PolcaError
from polca.machine.products import PortableProducts
from polca.method.bases import Basis, LanczosOptions, Operator, dense_basis, projected_basis
from polca.method.checkpoints import Checkpoints
from polca.method.curvature import HessianOperator, Layout, norm
from polca.typing import TokenLossFunction

Outputs = Callable[[Mapping[str, Tensor], Any], Tensor]

DEFAULTS = LanczosOptions()


class OutputCurvature(Protocol):
    """`(outputs, tangent) → H_out tangent`, both of the outputs' shape; H_out symmetric, block-diagonal over tokens."""

    def __call__(self, outputs: Tensor, tangent: Tensor, /) -> Tensor: ...


class LogitsLoss(Protocol):
    """A token loss that is the cross-entropy of a module's logits, as `tasks.transformer.TokenLoss` is."""

    @property
    def skeleton(self) -> torch.nn.Module:
        """The module, whose first argument is the first part of a batch."""

    def __call__(self, params: Mapping[str, Tensor], batch: Any, /) -> Tensor: ...


class SandwichOperator:
    """v ↦ (1/N) Jᵀ H_out J v over the N tokens of `batches`, J the Jacobian of `outputs` in the parameters.

    J v is a forward-mode pass, Jᵀ u a backward pass whose graph is built once and stays.

    Args:
        outputs: `(params, batch) → [sequences, targets, ...]`.
        curvature: H_out.
        params: θ by name.
        batches: the data in chunks; chunks may differ in size (tokens are weighted equally).
    """

    def __init__(
        self, outputs: Outputs, curvature: OutputCurvature, params: Mapping[str, Tensor], batches: Sequence[Any]
    ) -> None:
        self.layout = Layout.of(params)
        self._outputs, self._curvature, self._batches = outputs, curvature, batches
        self._params = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
        with PortableProducts():
            self._values = [outputs(self._params, batch) for batch in batches]
        self._tokens = sum(v.shape[0] * v.shape[1] for v in self._values)

    def _forward(self, tangents: Mapping[str, Tensor], batch: Any) -> Tensor:
        with torch.no_grad(), forward_ad.dual_level(), PortableProducts():
            dual = {n: forward_ad.make_dual(p.detach(), tangents[n]) for n, p in self._params.items()}
            tangent: Tensor = forward_ad.unpack_dual(self._outputs(dual, batch)).tangent
            return tangent

    def __call__(self, vector: Tensor) -> Tensor:
        """Flat `[d]` → flat `[d]`."""
        leaves = list(self._params.values())
        tangents = {name: t.contiguous() for name, t in self.layout.split(vector).items()}
        total = torch.zeros_like(vector)
        for batch, values in zip(self._batches, self._values, strict=True):
            pulled = self._curvature(values.detach(), self._forward(tangents, batch))
            with PortableProducts():
                product = torch.autograd.grad(values, leaves, pulled, retain_graph=True, materialize_grads=True)
            total += torch.cat([p.reshape(-1) for p in product])
        return total / self._tokens


def logits_of(loss: LogitsLoss) -> Outputs:
    """`(params, batch) → logits [sequences, targets, vocabulary]` of the model behind a token loss."""
    return lambda params, batch: torch.func.functional_call(loss.skeleton, dict(params), (batch[0],))


def softmax_curvature(logits: Tensor, tangent: Tensor) -> Tensor:
    """Hessian of cross-entropy in the logits, diag(p) − p pᵀ, times `tangent`."""
    p = torch.softmax(logits, dim=-1)
    return p * (tangent - (p * tangent).sum(-1, keepdim=True))


def identity_curvature(outputs: Tensor, tangent: Tensor) -> Tensor:
    """With the token losses as outputs, Jᵀ J / N is the second moment of the tokens' gradients."""
    return tangent


def gauss_newton_operator(loss: LogitsLoss, params: Mapping[str, Tensor], batches: Sequence[Any]) -> SandwichOperator:
    """v ↦ G v, the generalised Gauss–Newton matrix of the mean loss over all tokens of `batches`."""
    return SandwichOperator(logits_of(loss), softmax_curvature, params, batches)


def gradient_covariance_operator(
    loss: TokenLossFunction, params: Mapping[str, Tensor], batches: Sequence[Any]
) -> SandwichOperator:
    """v ↦ (1/N) Σ_x ∇L(x) ⟨∇L(x), v⟩ over all tokens of `batches`: the empirical Fisher, not centred."""
    return SandwichOperator(loss, identity_curvature, params, batches)


def curvature_basis(
    kind: str,
    loss: LogitsLoss,
    checkpoints: Checkpoints,
    data: Sequence[Any],
    steps: Sequence[int],
    options: LanczosOptions = DEFAULTS,
) -> Basis:
    """Algorithm 1 with another curvature than the Hessian; arguments as in `bases.hessian_basis`.

    Args:
        kind: `gauss_newton`, the generalised Gauss–Newton matrix, or `gradient_covariance`, the second moment of the
            tokens' gradients.

    Raises:
        PolcaError: more vectors than parameters; a product that is not finite.
    """
    operator = gauss_newton_operator if kind == "gauss_newton" else gradient_covariance_operator
    return projected_basis(
        kind,
        lambda index: operator(loss, checkpoints.load(steps[index]), data),
        checkpoints.load(steps[0]),
        steps,
        options,
    )


def sliding_window_basis(
    loss: TokenLossFunction,
    checkpoints: Checkpoints,
    data: Sequence[Any],
    steps: Sequence[int],
    options: LanczosOptions = DEFAULTS,
    *,
    window: int,
) -> Basis:
    """Algorithm 1 with the mean Hessian over the last `window` basis checkpoints, fewer at the beginning.

    The paper says only that it also tried a sliding window; this is our reading of it.

    Raises:
        PolcaError: an empty window; more vectors than parameters; a product that is not finite.
    """
    if window < 1:
        raise PolcaError(f"window = {window}: must be at least 1")

    def mean_hessian(index: int) -> Operator:
        recent = steps[max(0, index + 1 - window) : index + 1]
        operators = [HessianOperator(loss, checkpoints.load(step), data) for step in recent]
        return lambda vector: torch.stack([operator(vector) for operator in operators]).mean(dim=0)

    return projected_basis("sliding_window", mean_hessian, checkpoints.load(steps[0]), steps, options)


def _orthonormalize(rows: NDArray[Any], what: str) -> NDArray[Any]:
    """Gram–Schmidt in the order of the rows `[K, d]`, each projected off twice.

    Raises:
        PolcaError: a row lies within rounding in the span of those before it.
    """
    for index, row in enumerate(rows):
        before = norm(row)
        for _ in range(2):
            row = row - (rows[:index] @ row) @ rows[:index]
        after = norm(row)
        if not after > 1e-5 * before:
            raise PolcaError(f"basis {what}: vector {index + 1} depends on those before it: ask for fewer vectors")
        rows[index] = row / after
    return rows


def trajectory_pca_basis(checkpoints: Checkpoints, count: int, *, steps: Sequence[int]) -> Basis:
    """The `count` principal directions of θ at `steps`, centred on their mean, largest variance first.

    Raises:
        PolcaError: the checkpoints span fewer directions.
    """
    if count >= len(steps):
        raise PolcaError(f"trajectory_pca: {len(steps)} checkpoints span fewer than {count} directions: ask for fewer")
    layout = Layout.of(checkpoints.load(steps[0]))
    path = torch.stack([layout.flatten(checkpoints.load(step)) for step in steps]).numpy()
    path -= path.mean(axis=0, dtype=np.float64).astype(path.dtype)
    _, weights = np.linalg.eigh((path @ path.T).astype(np.float64))
    rows = _orthonormalize(weights[:, ::-1][:, :count].T.astype(path.dtype) @ path, "trajectory_pca")
    return dense_basis("trajectory_pca", rows, layout, [-1] * count)


def step_basis(checkpoints: Checkpoints, *, steps: Sequence[int]) -> Basis:
    """The optimizer's movement up to each of `steps` from the one before (the first from the start), orthonormalised.

    Raises:
        PolcaError: two movements along one direction.
    """
    layout = Layout.of(checkpoints.load(steps[0]))
    before = layout.flatten(checkpoints.load(checkpoints.steps()[0]))
    displacements: list[Tensor] = []
    for step in steps:
        after = layout.flatten(checkpoints.load(step))
        displacements.append(after - before)
        before = after
    rows = _orthonormalize(torch.stack(displacements).numpy(), "optimizer_steps")
    return dense_basis("optimizer_steps", rows, layout, steps)


def subspace_overlap(one: Basis, other: Basis) -> float:
    """Mean over the directions of `one` of the share of their length inside the span of `other`, in [0, 1]."""
    names = list(one.vectors)
    inner = one.flat(names).numpy() @ other.flat(names).numpy().T
    return float(np.square(inner.astype(np.float64)).sum() / len(one))
