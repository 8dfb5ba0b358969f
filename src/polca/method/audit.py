"""Which operation of a model has other derivatives than PyTorch's: slow, and for the message of a failure alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from polca.method.jets import Jet, UnsupportedOperation, second_order, taylor
from polca.typing import TokenLossFunction


class _Audit(TorchFunctionMode):
    """Compares every rule with double backward through the operation itself; `found` is the first that differs."""

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self.tolerance = tolerance
        self.found: str | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        leaves, form = tree_flatten((args, kwargs or {}))
        before = [_Parts(leaf) if isinstance(leaf, Jet) else None for leaf in leaves]
        name = getattr(func, "__name__", str(func))
        try:
            result = func(*args, **(kwargs or {}))
        except UnsupportedOperation:
            raise
        except Exception:
            self.found = self.found or name
            raise
        outputs = [_Parts(leaf) for leaf in tree_leaves(result) if isinstance(leaf, Jet)]
        if self.found is None and outputs:
            spoilt = any(b is not None and not b.same(_Parts(leaf)) for b, leaf in zip(before, leaves, strict=True))
            directions = max((len(o.first) for o in outputs if o.first is not None), default=0)
            if spoilt or any(
                not self._agree(func, leaves, before, form, outputs, k) for k in {0, directions - 1} if k >= 0
            ):
                self.found = name
        return result

    def _agree(
        self,
        func: Callable[..., Any],
        leaves: Sequence[Any],
        before: Sequence["_Parts | None"],
        form: Any,
        outputs: Sequence["_Parts"],
        k: int,
    ) -> bool:
        """The derivatives in ε of ⟨u, f(x + ε x₁ + ½ε² x₂)⟩ at 0, u random."""
        epsilon = torch.zeros((), dtype=torch.float64, requires_grad=True)
        generator = torch.Generator().manual_seed(0)
        with torch.enable_grad():
            moved = [leaf if part is None else part.at(epsilon, k) for leaf, part in zip(leaves, before, strict=True)]
            args, kwargs = tree_unflatten(moved, form)
            values = [v for v in tree_leaves(func(*args, **kwargs)) if isinstance(v, Tensor) and v.is_floating_point()]
            if [v.shape for v in values] != [o.value.shape for o in outputs]:
                return False
            u = [torch.randn(v.shape, generator=generator, dtype=torch.float64).to(v.device) for v in values]
            total = torch.stack([(w * v).sum() for w, v in zip(u, values, strict=True)]).sum()
            (slope,) = _gradient(total, epsilon)
            (bend,) = _gradient(slope, epsilon)
        for expected, name in ((slope, "first"), (bend, "second")):
            parts = [getattr(o, name) for o in outputs]
            if name == "second" and not self._second_order(outputs):
                continue
            terms = [w * p[k] for w, p in zip(u, parts, strict=True) if p is not None]
            scale = float(expected.abs()) + sum(float(t.norm()) for t in terms)
            if not abs(float(expected) - sum(float(t.sum()) for t in terms)) <= self.tolerance * scale:
                return False
        return True

    def _second_order(self, outputs: Sequence["_Parts"]) -> bool:
        return any(o.second is not None for o in outputs) or second_order()


def _gradient(of: Tensor, at: Tensor) -> tuple[Tensor]:
    if not of.requires_grad:
        return (torch.zeros_like(at),)
    return torch.autograd.grad(of, at, create_graph=True, materialize_grads=True)  # type: ignore[return-value]


class _Parts:
    """Copies of a jet's value and derivatives."""

    def __init__(self, jet: Jet) -> None:
        with torch._C.DisableTorchFunctionSubclass():
            self.value = jet.value.clone()
            self.first, self.second = (None if p is None else p.clone() for p in (jet.first, jet.second))

    def same(self, other: "_Parts") -> bool:
        """Whether nothing has changed."""
        pairs = ((self.value, other.value), (self.first, other.first), (self.second, other.second))
        return all((a is None and b is None) or (a is not None and b is not None and a.equal(b)) for a, b in pairs)

    def at(self, epsilon: Tensor, k: int) -> Tensor:
        """x + ε x₁ + ½ε² x₂ for direction k."""
        x = self.value
        if self.first is not None:
            x = x + (epsilon.to(x) * self.first[k])
        if self.second is not None:
            x = x + (0.5 * epsilon.to(x) ** 2 * self.second[k])
        return x


def differing_operation(
    token_loss: TokenLossFunction,
    params: Mapping[str, Tensor],
    directions: Mapping[str, Tensor],
    batch: Any,
    second: bool,
    tolerance: float = 1e-3,
) -> str | None:
    """Name of the first operation whose rule differs from PyTorch's derivatives, breaks, or changes its operands."""
    audit = _Audit(tolerance)
    try:
        with audit:
            taylor(token_loss, params, directions, batch, second)
    except Exception:  # what broke is `found`
        return audit.found
    return audit.found


def operations_of_its_own(token_loss: TokenLossFunction, params: Mapping[str, Tensor], batch: Any) -> str:
    """The names of the `torch.autograd.Function`s behind a loss, the likely reason for a difference."""
    leaves = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    waiting: list[Any] = [token_loss(leaves, batch).grad_fn]
    names: set[str] = set()
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            names.add(type(node).__name__.removesuffix("Backward"))
        waiting.extend(following for following, _ in node.next_functions)
    return ", ".join(sorted(names)) or "an operation of the loss"
