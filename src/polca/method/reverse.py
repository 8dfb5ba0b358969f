r"""Reverse mode for many directions at once: one backward pass per target position, contracted with the basis.

Where each sequence has few targets (arithmetic: four), the projection of every token's gradient on K directions is
cheaper this way than in forward mode. A `Recorder` notes the input a and the output z of every operation that uses a
parameter. One backward pass for target position τ gives δ_τ = ∂ Σ_n L(n, τ)/∂z per sequence n, and for z = W a + c

    ⟨b_W, ∇_W L(n, τ)⟩ = Σ_t δ_τ[n, t]ᵀ B_W a[n, t],

summed over positions t, so that no gradient of a token is ever formed. `B_W a` does not depend on τ and is shared by
all targets: K directions cost about one forward pass each. (Splitting the gradient of a whole *sequence* by position
would not do: with attention a token's loss depends on weights used at other positions.) On a GPU the same sum is
multiplied out in the other order (`token_gradients`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from polca.errors import PolcaError
from polca.machine.products import PortableProducts, matmul
from polca.method import token_gradients
from polca.typing import TokenLossFunction


class NotCovered(PolcaError):
    """A model that reverse-mode projections do not cover; forward mode does."""


def _not_covered(names: set[str], what: str) -> NotCovered:
    return NotCovered(
        f"parameter {min(names)!r} is used by {what}, which reverse-mode projections do not cover: pass "
        "method='forward'"
    )


@dataclass
class _Tap:
    """One use of parameters: z = output, a = source, and for an embedding which ids are padding, without a gradient."""

    kind: str
    names: dict[str, str]
    source: Tensor
    output: Tensor
    version: int
    padding: Tensor | None = None


_ARGUMENTS: dict[Callable[..., Any], tuple[str, ...]] = {
    F.linear: ("input", "weight", "bias"),
    F.embedding: ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq"),
    F.layer_norm: ("input", "normalized_shape", "weight", "bias", "eps"),
}


class Recorder(TorchFunctionMode):
    """Notes every use of a parameter in `linear`, `embedding` or `layer_norm`.

    Raises:
        NotCovered: a parameter is used in any other way; the caller should use forward mode.
    """

    def __init__(self, params: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._names = {id(p): name for name, p in params.items()}
        self.taps: list[_Tap] = []

    def _name(self, value: Any) -> str | None:
        return self._names.get(id(value))

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        used = {name for value in tree_leaves((args, kwargs)) if (name := self._name(value)) is not None}
        output = func(*args, **kwargs)
        if not used or not isinstance(output, Tensor):
            return output
        given = dict(zip(_ARGUMENTS.get(func, ()), args, strict=False)) | kwargs
        roles = {role: name for role in ("weight", "bias") if (name := self._name(given.get(role))) is not None}
        padding = None
        if func not in _ARGUMENTS or used != set(roles.values()):
            raise _not_covered(used - set(roles.values()) or used, getattr(func, "__name__", str(func)))
        if func is F.linear:
            kind, source = "linear", given["input"]
        elif func is F.embedding:
            kind, source = "embedding", given["input"]
            if given.get("max_norm") is not None or given.get("scale_grad_by_freq"):
                raise _not_covered(used, "embedding with max_norm or scale_grad_by_freq")
            if (index := given.get("padding_idx")) is not None:
                padding = source == index % len(given["weight"])
        else:
            kind = "layer_norm"
            if len(given["normalized_shape"]) != 1:
                raise _not_covered(used, "layer_norm over several dimensions")
            with torch.no_grad():
                source = F.layer_norm(given["input"], given["normalized_shape"], eps=given.get("eps", 1e-5))
        if not output.requires_grad:
            output.requires_grad_()
        self.taps.append(_Tap(kind, roles, source.detach(), output, output._version, padding))
        return output


def _linear_part(source: Tensor, deltas: Tensor, weight: Tensor, buffer_bytes: int) -> Tensor:
    """Σ_t δ_τ[n,t]ᵀ B_k a[n,t] `[N, K, targets]`; source `[N, T, i]`, deltas `[N, T, o, targets]`, weight
    `[K, o, i]`."""
    n, length, _ = source.shape
    k, out, _ = weight.shape
    rows = source.reshape(n * length, -1)
    d = deltas.reshape(n * length, out, -1)
    block = max(1, buffer_bytes // (rows.shape[0] * out * rows.element_size()))
    parts = []
    for first in range(0, k, block):
        some = weight[first : first + block]
        images = matmul(rows, some.reshape(-1, some.shape[-1]).mT).view(n * length, -1, out)
        parts.append(matmul(images, d).view(n, length, some.shape[0], -1).sum(1))
    return torch.cat(parts, dim=1)


def _contract(tap: _Tap, deltas: Tensor, directions: Mapping[str, Tensor], buffer_bytes: int) -> Tensor:
    """One operation's share of every projection: deltas `[N, T, o, targets]` → `[N, K, targets]`."""
    total: Tensor | None = None
    summed = None
    for role, name in tap.names.items():
        b = directions[name]
        if role == "bias":
            summed = deltas.sum(1)
            part = matmul(b, summed)
        elif tap.kind == "layer_norm":
            part = matmul(b, (deltas * tap.source.unsqueeze(-1)).sum(1))
        elif tap.kind == "linear" and b.is_cuda:
            part = token_gradients.linear_part(tap.source, deltas, b)
        elif tap.kind == "linear":
            part = _linear_part(tap.source, deltas, b, buffer_bytes)
        else:
            n, length, width, _ = deltas.shape
            d = deltas.reshape(n * length, width, -1)
            ids = tap.source.reshape(-1)
            # [rows, K, width] @ [rows, width, targets]
            part = matmul(b[:, ids].transpose(0, 1).contiguous(), d).view(n, length, b.shape[0], -1).sum(1)
        total = part if total is None else total + part
    assert total is not None
    return total


def _contract_axes(
    tap: _Tap, deltas: Tensor, axes: Sequence[tuple[str, int]], shapes: Mapping[str, torch.Size]
) -> Tensor:
    """As `_contract` for directions that are single parameters: `[N, axes, targets]`, zero where another owns them."""
    n, _, _, targets = deltas.shape
    total = deltas.new_zeros(n, len(axes), targets)
    roles = {name: role for role, name in tap.names.items()}
    for index, (name, position) in enumerate(axes):
        role = roles.get(name)
        if role is None:
            continue
        if role == "bias":
            total[:, index] = deltas[:, :, position].sum(1)
        elif tap.kind == "layer_norm":
            total[:, index] = (deltas[:, :, position] * tap.source[:, :, position, None]).sum(1)
        else:
            row, column = (int(i) for i in np.unravel_index(position, tuple(shapes[name])))
            if tap.kind == "linear":
                total[:, index] = (deltas[:, :, row] * tap.source[:, :, column, None]).sum(1)
            else:
                total[:, index] = (deltas[:, :, column] * (tap.source == row).unsqueeze(-1)).sum(1)
    return total


def projected_gradients(
    token_loss: TokenLossFunction,
    params: Mapping[str, Tensor],
    batch: Any,
    directions: Mapping[str, Tensor],
    axes: Sequence[tuple[str, int]] = (),
    *,
    buffer_bytes: int = 32 * 2**20,
) -> tuple[Tensor, Tensor, Tensor]:
    """⟨b, ∇L(n, τ)⟩ of every target token of a batch, by one backward pass per target position.

    Args:
        token_loss: `(params, batch) → losses [N, targets]`; parameters used only by linear, embedding and layer_norm.
        params: θ by name.
        batch: N sequences.
        directions: b by parameter name `[K, *shape]`; may be empty.
        axes: single parameters as (name, index into the flattened parameter).
        buffer_bytes: bound on the intermediate product B_W a, on a CPU.

    Returns:
        Losses `[N, targets]`, projections on `directions` `[N, targets, K]`, and on `axes` `[N, targets, len(axes)]`.

    Raises:
        PolcaError: a parameter is used in another way.
    """
    # Fresh tensor objects, so that the recorder knows each by identity; no gradient is taken with respect to them.
    leaves = {name: p.detach().view_as(p) for name, p in params.items()}
    with torch.enable_grad(), PortableProducts(), Recorder(leaves) as recorder:
        try:
            losses = token_loss(leaves, batch)
        except RuntimeError as error:
            if "in-place" not in str(error):
                raise
            raise NotCovered(
                f"reverse-mode projections: {str(error).splitlines()[0]}: pass method='forward'"
            ) from error
        missing = set(leaves) - {name for tap in recorder.taps for name in tap.names.values()}
    if missing:
        raise PolcaError(f"parameter {min(missing)!r} is not used by the token loss: leave it out of the parameters")
    outputs = [tap.output for tap in recorder.taps]
    gradients: list[tuple[Tensor, ...]] = []
    for target in range(losses.shape[1]):
        with PortableProducts():
            gradients.append(
                torch.autograd.grad(
                    losses[:, target].sum(), outputs, retain_graph=target + 1 < losses.shape[1], materialize_grads=True
                )
            )
    shapes = {name: p.shape for name, p in params.items()}
    dense: Tensor | None = None
    sparse: Tensor | None = None
    with torch.no_grad():
        for index, tap in enumerate(recorder.taps):
            name, shape = next(iter(tap.names.values())), tap.output.shape
            if tap.output._version != tap.version:
                raise NotCovered(
                    f"what comes of parameter {name!r} is changed in place (relu with inplace=True, say), which "
                    "reverse-mode projections do not cover: pass method='forward'"
                )
            if len(shape) < 2 or shape[0] != losses.shape[0]:
                raise NotCovered(
                    f"parameter {name!r} is used by an operation without one row per sequence ([sequences, positions, "
                    "features]): pass method='forward'"
                )
            # All dimensions between sequences and features are positions.
            deltas = torch.stack([g[index] for g in gradients], dim=-1).reshape(
                len(losses), -1, shape[-1], len(gradients)
            )
            tap.source = tap.source.reshape(*deltas.shape[:2], *tap.source.shape[len(shape) - 1 :])
            if tap.padding is not None:
                deltas = deltas.masked_fill(tap.padding.reshape(*deltas.shape[:2], 1, 1), 0.0)
            if directions:
                part = _contract(tap, deltas, directions, buffer_bytes)
                dense = part if dense is None else dense + part
            if axes:
                part = _contract_axes(tap, deltas, axes, shapes)
                sparse = part if sparse is None else sparse + part
    empty = losses.new_zeros(*losses.shape, 0)
    return (
        losses.detach(),
        empty if dense is None else dense.transpose(1, 2),
        empty if sparse is None else sparse.transpose(1, 2),
    )
