"""A tensor with first and second derivatives along many directions, which go through PyTorch's operations with it.

A `Jet` carries f(θ), and for every direction b_k the derivatives of ε ↦ f(θ + ε b_k) at ε = 0:

    value [...],  first [K, ...] = ⟨b_k, ∇f⟩,  second [K, ...] = b_kᵀ ∇²f b_k.

What an operation does to them is its rule (`basic_rules`, `forward_rules`). Taylor-mode automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from inspect import Signature, signature
from typing import Any, cast

import torch
from torch import Tensor

from polca.machine.products import matmul
from polca.typing import TokenLossFunction

Function = Callable[..., Any]

RULES: dict[Function, Function] = {}
"""The rule of each operation that has one: its arguments, jets among them, to jets."""

_second_order = True


class UnsupportedOperation(NotImplementedError):
    """An operation without a jet rule; callers fall back to `torch.func.jvp`."""


def second_order() -> bool:
    """Whether rules form second derivatives."""
    return _second_order


@contextmanager
def order(second: bool) -> Iterator[None]:
    """Form second derivatives, or leave them out (and most of their cost), inside the context."""
    global _second_order
    previous, _second_order = _second_order, second
    try:
        yield
    finally:
        _second_order = previous


@cache
def _signature(rule: Function) -> Signature:
    return signature(rule)


def register(rule: Function, *operations: Function) -> None:
    """Make `rule` the rule of `operations`."""
    for operation in operations:
        RULES[operation] = rule


def rule(*operations: Function) -> Callable[[Function], Function]:
    """`register` as a decorator."""

    def registered(function: Function) -> Function:
        register(function, *operations)
        return function

    return registered


class Jet(Tensor):
    """A tensor with derivatives.

    Attributes:
        pending: for the output of a linear layer, how to get its derivatives; they are formed when asked for, since
            `cross_entropy` can do without.
    """

    _first: Tensor | None
    _second: Tensor | None
    pending: PendingLinear | None

    @staticmethod
    def make(
        value: Tensor, first: Tensor | None, second: Tensor | None = None, pending: PendingLinear | None = None
    ) -> Jet:
        """`value [...]`, `first [K, ...]`, `second [K, ...]`; derivatives that broadcast to the value are expanded."""
        jet = value.detach().as_subclass(Jet)
        # What follows may sum over a dimension, or cut it: a derivative must have all of them.
        jet._first, jet._second = (
            part if part is None or part.shape[1:] == value.shape else part.expand(len(part), *value.shape)
            for part in (first, second)
        )
        jet.pending = pending
        return jet

    def _form(self) -> None:
        if self.pending is not None:
            self._first, self._second, self.pending = self.pending.first(), self.pending.second(), None

    @property
    def first(self) -> Tensor | None:
        """First derivative along each direction, `[K, ...]`; None where it is zero."""
        self._form()
        return self._first

    @property
    def second(self) -> Tensor | None:
        """Second derivative along each direction, `[K, ...]`; None where it is zero, and to first order."""
        self._form()
        return self._second

    @property
    def value(self) -> Tensor:
        """The plain value."""
        return self.as_subclass(Tensor)

    @classmethod
    def __torch_function__(cls, func: Function, types: Sequence[type], args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            known = RULES.get(func)
            if known is None:
                raise UnsupportedOperation(f"no second-order forward rule for {getattr(func, '__name__', func)}")
            kwargs = kwargs or {}
            try:
                _signature(known).bind(*args, **kwargs)
            except TypeError as error:  # called in a form that the rule does not foresee
                raise UnsupportedOperation(f"{getattr(func, '__name__', func)}: {error}") from error
            return known(*args, **kwargs)


def parts(x: Any) -> tuple[Any, Tensor | None, Tensor | None]:
    """Value and derivatives of a jet or of a constant, None where they are zero."""
    return (x.value, x.first, x.second) if isinstance(x, Jet) else (x, None, None)


def mapped(function: Callable[[Tensor], Tensor], part: Tensor | None) -> Tensor | None:
    """A linear function of a derivative; None where that is zero."""
    return None if part is None else function(part)


def plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """The sum of two derivatives."""
    if a is None or b is None:
        return a if b is None else b
    return a + b


def plus_twice(a: Tensor | None, b: Tensor) -> Tensor:
    """a + 2b of two derivatives, in the memory of one of them."""
    return b.mul_(2) if a is None else a.add_(b, alpha=2)


def align(x: Tensor | None, ndim: int) -> Tensor | None:
    """Insert dimensions behind the direction, so that a part of fewer dimensions broadcasts as its value does."""
    return x if x is None else x[(slice(None), *([None] * (ndim + 1 - x.ndim)))]


@dataclass(frozen=True)
class PendingLinear:
    """z = x Wᵀ + c in factors: x0 `[R, in]`, x1 and x2 `[K, R, in]`, W0 `[out, in]`, W1 `[K, out, in]`, c1 `[K, out]`.

    The derivatives of logits, `[K, R, vocabulary]`, are the largest arrays of a language model by far. W and c move
    along straight lines: they have no second derivative.
    """

    x0: Tensor
    x1: Tensor | None
    x2: Tensor | None
    w0: Tensor
    w1: Tensor | None
    c1: Tensor | None
    shape: torch.Size
    second_order: bool
    transposed: bool = False

    def _formed(self, rows: Tensor | None) -> Tensor | None:
        """`[K, R, out]` as `[K, *shape, out]`, the last two dimensions exchanged where `transposed`."""
        if rows is None:
            return None
        rows = rows.unflatten(1, self.shape)
        return cast(Tensor, rows.mT) if self.transposed else rows

    def first(self) -> Tensor | None:
        """z1 = x1 W0ᵀ + x0 W1ᵀ + c1."""
        first = plus(
            None if self.x1 is None else matmul(self.x1, self.w0.mT),
            None if self.w1 is None else matmul(self.x0, self.w1.mT),
        )
        # Expanded, for where the bias alone moves.
        return self._formed(plus(first, None if self.c1 is None else self.c1[:, None].expand(-1, len(self.x0), -1)))

    def second(self) -> Tensor | None:
        """z2 = x2 W0ᵀ + 2 x1 W1ᵀ."""
        if not self.second_order:
            return None
        second = None if self.x2 is None else matmul(self.x2, self.w0.mT)
        if self.x1 is not None and self.w1 is not None:
            second = plus_twice(second, matmul(self.x1, self.w1.mT))
        return self._formed(second)

    def as_rows(self) -> PendingLinear:
        """The same with all dimensions but the last flattened into one."""
        return replace(self, shape=torch.Size((len(self.x0),)))

    def alone(self, k: int) -> PendingLinear:
        """The same for direction k alone."""
        x1, x2, w1, c1 = (None if p is None else p[k : k + 1] for p in (self.x1, self.x2, self.w1, self.c1))
        return replace(self, x1=x1, x2=x2, w1=w1, c1=c1)

    def along(self, weights: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Σ_v weights[r, v] z1[k, r, v] as `[K, R]`, for weights `[R, out]`, without z1; and the same of z2."""
        through = matmul(weights, self.w0)
        inner = None if self.x1 is None else (self.x1 * through).sum(-1)
        second = None if self.x2 is None else (self.x2 * through).sum(-1)
        if self.w1 is not None:
            weighted = matmul(weights, self.w1)
            inner = plus(inner, (weighted * self.x0).sum(-1))
            if self.second_order and self.x1 is not None:
                second = plus(second, weighted.mul_(self.x1).sum(-1).mul_(2))
        return plus(inner, None if self.c1 is None else matmul(self.c1, weights.mT)), second


def taylor(
    token_loss: TokenLossFunction,
    params: Mapping[str, Tensor],
    directions: Mapping[str, Tensor],
    batch: Any,
    second_order: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`directional_derivatives` by jets alone.

    Raises:
        UnsupportedOperation: the loss uses an operation without a rule.
    """
    jets = {name: Jet.make(p, directions[name]) for name, p in params.items()}
    with order(second_order), torch.no_grad():
        loss = token_loss(jets, batch)
    if not isinstance(loss, Jet) or loss.first is None:
        raise UnsupportedOperation("the loss does not depend on the parameters through supported operations")
    if second_order and loss.second is None:
        return loss.value, loss.first, torch.zeros_like(loss.first)
    return loss.value, loss.first, loss.second
