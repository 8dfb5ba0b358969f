r"""Forward mode for many directions at once: losses with first and second derivatives along each direction.

Passing parameters as jets (`jets`) through a model gives, in one pass, the projection ⟨b, ∇L(x)⟩ and the exact
curvature bᵀH(x)b of *every* token's loss. All directions share the primal computation, so K directions cost 1 + 2K
forward passes to first order and 1 + 4K to second, where nested `torch.func.jvp` costs about 9K (it cannot see that
both tangents are the same).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import polca.method.basic_rules  # noqa: F401  # the rules are registered as the module is imported
from polca.machine.products import PortableProducts
from polca.method.jets import UnsupportedOperation, taylor
from polca.typing import TokenLossFunction


def directional_derivatives(
    token_loss: TokenLossFunction,
    params: Mapping[str, Tensor],
    directions: Mapping[str, Tensor],
    batch: Any,
    *,
    second_order: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Loss, ⟨b, ∇L(x)⟩ and bᵀH(x)b for every token of a batch and every direction.

    Models with operations that have no rule here go through `nested_jvp`, which is slower.

    Args:
        token_loss: `(params, batch) → losses [N, targets]`.
        params: θ by name.
        directions: b by parameter name, `[K, *shape]`.
        second_order: False skips the curvature (and most of its cost).

    Returns:
        Losses `[N, targets]`, projections `[K, N, targets]`, curvatures `[K, N, targets]` (None unless asked for).
    """
    found = by_jets(token_loss, params, directions, batch, second_order=second_order)
    return found or nested_jvp(token_loss, params, directions, batch, second_order=second_order)


def by_jets(
    token_loss: TokenLossFunction,
    params: Mapping[str, Tensor],
    directions: Mapping[str, Tensor],
    batch: Any,
    *,
    second_order: bool,
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """As `directional_derivatives`, None where an operation has no rule."""
    try:
        return taylor(token_loss, params, directions, batch, second_order)
    except UnsupportedOperation:
        if not load_further_rules():
            return None
    return by_jets(token_loss, params, directions, batch, second_order=second_order)


def load_further_rules() -> bool:
    """Load the rules of others' models; returns False where that had been done before."""
    known = "polca.method.forward_rules" in sys.modules
    from polca.method import forward_rules  # noqa: F401

    return not known


class _Composed(TorchFunctionMode):
    """`layer_norm` and `mish` from elementary operations: in nested forward mode PyTorch's own are wrong, or not there.

    Layer norm's forward derivative reads the saved mean and deviation as constants, so that a second derivative misses
    their change (seen with PyTorch 2.13: a test compares with central differences).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is F.mish:
            return args[0] * F.softplus(args[0]).tanh()
        if func is not F.layer_norm:
            return func(*args, **(kwargs or {}))

        def composed(
            x: Tensor,
            normalized_shape: Sequence[int],
            weight: Tensor | None = None,
            bias: Tensor | None = None,
            eps: float = 1e-5,
        ) -> Tensor:
            dims = tuple(range(-len(normalized_shape), 0))
            centred = x - x.mean(dims, keepdim=True)
            y = centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
            y = y if weight is None else y * weight
            return y if bias is None else y + bias

        return composed(*args, **(kwargs or {}))


def nested_jvp(
    token_loss: TokenLossFunction,
    params: Mapping[str, Tensor],
    directions: Mapping[str, Tensor],
    batch: Any,
    *,
    second_order: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As `directional_derivatives`, by `torch.func.jvp` for one direction after the other, for any model.

    Portable products serve the first order only: under two levels of forward mode a custom function's saved tensors
    lose the outer tangent.
    """
    theta = dict(params)
    count = len(next(iter(directions.values())))
    firsts: list[Tensor] = []
    seconds: list[Tensor] = []
    value = torch.empty(0)
    for k in range(count):
        direction = {name: directions[name][k] for name in theta}

        def loss(p: dict[str, Tensor]) -> Tensor:
            return token_loss(p, batch)

        def slope(p: dict[str, Tensor], along: dict[str, Tensor] = direction) -> Any:
            return torch.func.jvp(loss, (p,), (along,))

        with torch.no_grad():
            if second_order:
                with _Composed():
                    pairs: Any = torch.func.jvp(slope, (theta,), (direction,))
                (value, first), (_, second) = pairs
                seconds.append(second)
            else:
                with PortableProducts():
                    value, first = slope(theta)
            firsts.append(first)
    return value, torch.stack(firsts), torch.stack(seconds) if second_order else None
