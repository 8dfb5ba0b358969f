r"""Forward mode for many directions at once: values with first and second derivatives along each direction.

A `Jet` carries f(θ), and for every direction b_k the derivatives of ε ↦ f(θ + ε b_k) at ε = 0:

    value [...],  first [K, ...] = ⟨b_k, ∇f⟩,  second [K, ...] = b_kᵀ ∇²f b_k.

Passing parameters as jets through a model gives, in one pass, the projection ⟨b, ∇L(x)⟩ and the exact curvature
bᵀH(x)b of *every* token's loss. All directions share the primal computation, so K directions cost 1 + 2K forward
passes to first order and 1 + 4K to second, where nested `torch.func.jvp` costs about 9K (it cannot see that both
tangents are the same). The derivatives of logits are not formed to first order, and for one direction at a time to
second, so that memory does not grow with directions × vocabulary. Taylor-mode automatic differentiation; rules for
the operations of a transformer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from polca.machine.products import PortableProducts
from polca.machine.products import matmul as portable_matmul
from polca.typing import TokenLossFunction

_RULES: dict[Callable[..., Any], Callable[..., Any]] = {}


class UnsupportedOperation(NotImplementedError):
    """An operation without a jet rule; callers fall back to `torch.func.jvp`."""


class Jet(Tensor):
    """A tensor with derivatives.

    Attributes:
        pending: for the output of a linear layer, how to get its derivatives; they are formed when asked for, since
            `cross_entropy` can do without.
    """

    _first: Tensor | None
    _second: Tensor | None
    pending: _PendingLinear | None

    @staticmethod
    def make(
        value: Tensor, first: Tensor | None, second: Tensor | None = None, pending: _PendingLinear | None = None
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
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            rule = _RULES.get(func)
            if rule is None:
                raise UnsupportedOperation(f"no second-order forward rule for {getattr(func, '__name__', func)}")
            try:
                return rule(*args, **(kwargs or {}))
            except TypeError as error:  # called in a form that the rule does not foresee
                raise UnsupportedOperation(f"{getattr(func, '__name__', func)}: {error}") from error


@dataclass(frozen=True)
class _PendingLinear:
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
        first = _add(
            None if self.x1 is None else portable_matmul(self.x1, self.w0.mT),
            None if self.w1 is None else portable_matmul(self.x0, self.w1.mT),
        )
        # Expanded, for where the bias alone moves.
        return self._formed(_add(first, None if self.c1 is None else self.c1[:, None].expand(-1, len(self.x0), -1)))

    def second(self) -> Tensor | None:
        """z2 = x2 W0ᵀ + 2 x1 W1ᵀ."""
        if not self.second_order:
            return None
        second = None if self.x2 is None else portable_matmul(self.x2, self.w0.mT)
        if self.x1 is not None and self.w1 is not None:
            cross = portable_matmul(self.x1, self.w1.mT)
            second = cross.mul_(2) if second is None else second.add_(cross, alpha=2)
        return self._formed(second)

    def as_rows(self) -> _PendingLinear:
        """The same with all dimensions but the last flattened into one."""
        return replace(self, shape=torch.Size((len(self.x0),)))

    def alone(self, k: int) -> _PendingLinear:
        """The same for direction k alone."""
        x1, x2, w1, c1 = (None if p is None else p[k : k + 1] for p in (self.x1, self.x2, self.w1, self.c1))
        return replace(self, x1=x1, x2=x2, w1=w1, c1=c1)

    def along(self, weights: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Σ_v weights[r, v] z1[k, r, v] as `[K, R]`, for weights `[R, out]`, without z1; and the same of z2."""
        through = portable_matmul(weights, self.w0)
        inner = None if self.x1 is None else (self.x1 * through).sum(-1)
        second = None if self.x2 is None else (self.x2 * through).sum(-1)
        if self.w1 is not None:
            moved = portable_matmul(weights, self.w1)
            inner = _add(inner, (moved * self.x0).sum(-1))
            if self.second_order and self.x1 is not None:
                second = _add(second, moved.mul_(self.x1).sum(-1).mul_(2))
        return _add(inner, None if self.c1 is None else portable_matmul(self.c1, weights.mT)), second


def _parts(x: Any) -> tuple[Any, Tensor | None, Tensor | None]:
    return (x.as_subclass(Tensor), x.first, x.second) if isinstance(x, Jet) else (x, None, None)


def _add(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return a if b is None else b
    return a + b


def _rule(*functions: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(rule: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            _RULES[function] = rule
        return rule

    return register


# --- structure: the operation itself on each part -------------------------------------------------------------------


def _structural(function: Callable[..., Any]) -> Callable[..., Any]:
    """Views and the like. Dimensions must be negative, since derivatives have one more dimension in front."""

    def rule(x: Jet, *args: Any, **kwargs: Any) -> Jet:
        given = [*args, *kwargs.values()][: 1 if function is Tensor.unflatten else None]
        dims = [a for a in given if isinstance(a, int)]
        # Without dimensions `flatten` begins with the first.
        if not dims or any(d >= 0 for d in dims):
            raise UnsupportedOperation(f"{function.__name__} with dimensions counted from the front")
        if x.pending is not None and function in (Tensor.transpose, torch.transpose) and sorted(dims) == [-2, -1]:
            pending = replace(x.pending, transposed=not x.pending.transposed)
            return Jet.make(function(x.value, *args, **kwargs), None, None, pending)
        if x.pending is not None and function in (Tensor.flatten, torch.flatten) and dims == [-x.ndim, -2]:
            return Jet.make(function(x.value, *args, **kwargs), None, None, x.pending.as_rows())
        value, first, second = _parts(x)
        return Jet.make(
            function(value, *args, **kwargs),
            None if first is None else function(first, *args, **kwargs),
            None if second is None else function(second, *args, **kwargs),
        )

    return rule


for _function in (Tensor.transpose, torch.transpose, Tensor.flatten, torch.flatten, Tensor.unflatten, Tensor.unsqueeze):
    _RULES[_function] = _structural(_function)


@_rule(Tensor.__getitem__)
def _getitem(x: Jet, index: Any) -> Jet:
    """Only `x[..., i, j]`: counted from the back, so it means the same for the derivatives."""
    if not (isinstance(index, tuple) and index and index[0] is Ellipsis):
        raise UnsupportedOperation("indexing other than x[..., i]")
    value, first, second = _parts(x)
    return Jet.make(value[index], None if first is None else first[index], None if second is None else second[index])


@_rule(Tensor.masked_fill)
def _masked_fill(x: Jet, mask: Tensor, fill: float) -> Jet:
    value, first, second = _parts(x)
    return Jet.make(
        value.masked_fill(mask, fill),
        None if first is None else first.masked_fill(mask, 0.0),
        None if second is None else second.masked_fill(mask, 0.0),
    )


_RULES[Tensor.dim] = lambda x: x.as_subclass(Tensor).dim()
_RULES[Tensor.shape.__get__] = lambda x: x.as_subclass(Tensor).shape  # type: ignore[attr-defined]
_RULES[Tensor.device.__get__] = lambda x: x.as_subclass(Tensor).device
_RULES[Tensor.dtype.__get__] = lambda x: x.as_subclass(Tensor).dtype  # type: ignore[attr-defined]


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _align(x: Tensor | None, ndim: int) -> Tensor | None:
    """Insert dimensions behind the direction, so that a part of fewer dimensions broadcasts as its value does."""
    return x if x is None else x[(slice(None), *([None] * (ndim + 1 - x.ndim)))]


@_rule(Tensor.add, torch.add, Tensor.__add__, Tensor.__radd__)
def _sum(a: Any, b: Any) -> Jet:
    (a0, a1, a2), (b0, b1, b2) = _parts(a), _parts(b)
    value = a0 + b0
    n = value.ndim
    return Jet.make(value, _add(_align(a1, n), _align(b1, n)), _add(_align(a2, n), _align(b2, n)))


@_rule(Tensor.mul, torch.mul, Tensor.__mul__, Tensor.__rmul__)
def _product(a: Any, b: Any) -> Jet:
    (a0, a1, a2), (b0, b1, b2) = _parts(a), _parts(b)
    value = a0 * b0
    n = value.ndim
    a1, a2, b1, b2 = (_align(part, n) for part in (a1, a2, b1, b2))
    return _bilinear(lambda p, q: p * q, value, (a0, a1, a2), (b0, b1, b2))


def _bilinear(
    times: Callable[[Tensor, Tensor], Tensor],
    value: Tensor,
    a: tuple[Tensor, Tensor | None, Tensor | None],
    b: tuple[Tensor, Tensor | None, Tensor | None],
) -> Jet:
    """The product rule: first = a₁b₀ + a₀b₁, second = a₂b₀ + 2a₁b₁ + a₀b₂."""
    (a0, a1, a2), (b0, b1, b2) = a, b
    first = _add(None if a1 is None else times(a1, b0), None if b1 is None else times(a0, b1))
    second = _add(None if a2 is None else times(a2, b0), None if b2 is None else times(a0, b2))
    if a1 is not None and b1 is not None and _second_order:
        cross = times(a1, b1)
        second = cross.mul_(2) if second is None else second.add_(cross, alpha=2)
    return Jet.make(value, first, second)


_second_order = True


@_rule(torch.matmul, Tensor.matmul, Tensor.__matmul__)
def _matmul(a: Any, b: Any) -> Jet:
    (a0, a1, a2), (b0, b1, b2) = _parts(a), _parts(b)
    return _bilinear(portable_matmul, portable_matmul(a0, b0), (a0, a1, a2), (b0, b1, b2))


WIDE = 8
"""Times as many outputs as inputs from which a linear layer's derivatives wait, to second order: unembeddings alone."""


@_rule(F.linear)
def _linear(x: Any, weight: Any, bias: Any = None) -> Jet:
    (x0, x1, x2), (w0, w1, w2), (c0, c1, c2) = _parts(x), _parts(weight), _parts(bias)
    shape = x0.shape[:-1]
    rows = x0.reshape(-1, x0.shape[-1])

    def times(left: Tensor, right: Tensor) -> Tensor:
        return portable_matmul(left, right.mT)

    def many(part: Tensor | None) -> Tensor | None:
        return None if part is None else part.reshape(part.shape[0], -1, part.shape[-1])

    if not _second_order or (w0.shape[0] > WIDE * w0.shape[1] and w2 is None and c2 is None):
        value = times(rows, w0) if bias is None else times(rows, w0) + c0
        pending = _PendingLinear(rows, many(x1), many(x2), w0, w1, c1, shape, _second_order)
        return Jet.make(value.unflatten(0, shape), None, None, pending)
    jet = _bilinear(times, times(rows, w0), (rows, many(x1), many(x2)), (w0, w1, w2))
    value, first, second = jet.value, jet.first, jet.second
    if bias is not None:
        value = value + c0
        first = _add(first, None if c1 is None else c1[:, None])
        second = _add(second, None if c2 is None else c2[:, None])
    return Jet.make(
        value.unflatten(0, shape),
        None if first is None else first.unflatten(1, shape),
        None if second is None else second.unflatten(1, shape),
    )


@_rule(F.embedding)
def _embedding(ids: Tensor, weight: Any, *_: Any, **__: Any) -> Jet:
    value, first, second = _parts(weight)
    return Jet.make(value[ids], None if first is None else first[:, ids], None if second is None else second[:, ids])


# --- nonlinear functions --------------------------------------------------------------------------------------------


@_rule(F.gelu)
def _gelu(x: Jet, approximate: str = "none") -> Jet:
    """gelu(x) = xΦ(x): first derivative Φ + xφ, second (2 − x²)φ."""
    if approximate != "none":
        raise UnsupportedOperation("the tanh form of gelu")
    x0, x1, x2 = _parts(x)
    cdf = torch.erf(x0 * 0.5**0.5).add_(1).mul_(0.5)
    pdf = torch.exp(x0.square().mul_(-0.5)).mul_((2 * torch.pi) ** -0.5)
    return _elementwise(x0 * cdf, cdf + x0 * pdf, lambda: (2 - x0.square()).mul_(pdf), x1, x2)


@_rule(F.relu, torch.relu)
def _relu(x: Jet, inplace: bool = False) -> Jet:
    x0, x1, x2 = _parts(x)
    return _elementwise(torch.relu(x0), (x0 > 0).to(x0.dtype), lambda: None, x1, x2)


@_rule(torch.tanh, Tensor.tanh)
def _tanh(x: Jet) -> Jet:
    x0, x1, x2 = _parts(x)
    y = torch.tanh(x0)
    slope = 1 - y.square()
    return _elementwise(y, slope, lambda: -2 * y * slope, x1, x2)


def _elementwise(
    value: Tensor, slope: Tensor, bend: Callable[[], Tensor | None], x1: Tensor | None, x2: Tensor | None
) -> Jet:
    """The chain rule: first = f′x₁, second = f″x₁² + f′x₂."""
    if x1 is None:
        return Jet.make(value, None)
    second = None if x2 is None else slope * x2
    if _second_order and (curved := bend()) is not None:
        second = _add(x1.square().mul_(curved), second)
    return Jet.make(value, slope * x1, second)


@_rule(torch.softmax, Tensor.softmax, F.softmax)
def _softmax(x: Jet, dim: int, **_: Any) -> Jet:
    if dim >= 0:
        raise UnsupportedOperation("softmax with a dimension counted from the front")
    x0, x1, x2 = _parts(x)
    s = torch.softmax(x0, dim)
    if x1 is None:
        return Jet.make(s, None)
    centred = x1 - (s * x1).sum(dim, keepdim=True)
    first = s * centred
    if not _second_order:
        return Jet.make(s, first)
    bend = -(first * x1).sum(dim, keepdim=True)
    if x2 is not None:
        bend = bend + x2 - (s * x2).sum(dim, keepdim=True)
    return Jet.make(s, first, first * centred + s * bend)


@_rule(F.layer_norm)
def _layer_norm(
    x: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Jet:
    if len(normalized_shape) != 1:
        raise UnsupportedOperation("layer_norm over more than one dimension")
    x0, x1, x2 = _parts(x)
    c0 = x0 - x0.mean(-1, keepdim=True)
    r0 = (c0.square().mean(-1, keepdim=True) + eps).rsqrt()
    y0, y1, y2 = c0 * r0, None, None
    if x1 is not None:
        c1 = x1 - x1.mean(-1, keepdim=True)
        v1 = 2 * (c0 * c1).mean(-1, keepdim=True)
        r1 = -0.5 * r0**3 * v1
        y1 = torch.addcmul(c1 * r0, c0, r1)
        if _second_order:
            v2 = 2 * c1.square().mean(-1, keepdim=True)
            y2 = 2 * c1 * r1
            if x2 is not None:
                c2 = x2 - x2.mean(-1, keepdim=True)
                v2 = v2 + 2 * (c0 * c2).mean(-1, keepdim=True)
                y2.addcmul_(c2, r0)
            r2 = 0.75 * r0**5 * v1.square() - 0.5 * r0**3 * v2
            y2.addcmul_(c0, r2)
    out = Jet.make(y0, y1, y2)
    if weight is not None:
        out = _product(out, weight)
    return out if bias is None else _sum(out, bias)


def _variance(pending: _PendingLinear, s: Tensor, index: Tensor, first: Tensor) -> Tensor:
    """Σ_v s (z1 − Σ s z1)² `[K, R]`, one direction after the other; `first` is Σ s z1 less the target's z1."""
    found = torch.empty_like(first)
    for k in range(len(first)):
        z = replace(pending.alone(k), transposed=False).first()
        assert z is not None
        mean = first[k, :, None] + z[0].gather(1, index)
        found[k] = (z[0] - mean).square_().mul_(s).sum(-1)
    return found


@_rule(F.cross_entropy)
def _cross_entropy(logits: Jet, target: Tensor, reduction: str = "mean", **options: Any) -> Jet:
    """Logits `[N, classes, ...]`, targets `[N, ...]`; log-sum-exp minus the target's logit."""
    if reduction != "none" or any(v not in (None, -100, 0.0) for v in options.values()):
        raise UnsupportedOperation("cross_entropy other than reduction='none'")
    value = F.cross_entropy(logits.value, target, reduction="none")
    pending = logits.pending
    if pending is not None and pending.transposed == (logits.ndim > 2) and logits.ndim <= 3:
        # ⟨softmax − target, z1⟩ and ⟨…, z2⟩ from their factors: the derivatives of all logits are never formed at once.
        rows = (logits.value.mT if pending.transposed else logits.value).flatten(0, -2)
        s, index = torch.softmax(rows, -1), target.reshape(-1, 1)
        weights = s.clone()
        weights[torch.arange(len(s), device=s.device), index.squeeze(1)] -= 1
        first, second = pending.along(weights)
        if pending.second_order and first is not None:
            spread = _variance(pending.as_rows(), s, index, first)
            second = spread if second is None else second.add_(spread)
        first, second = (None if part is None else part.unflatten(1, target.shape) for part in (first, second))
        return Jet.make(value, first, second)
    z0, z1, z2 = _parts(logits)
    if z1 is None:
        return Jet.make(value, None)
    s = torch.softmax(z0, 1)
    index = target.unsqueeze(1)

    def chosen(part: Tensor) -> Tensor:
        return part.gather(2, index.expand(part.shape[0], *index.shape)).squeeze(2)

    mean1 = (s * z1).sum(2)
    first = mean1 - chosen(z1)
    if not _second_order:
        return Jet.make(value, first)
    second = (s * z1.square()).sum(2) - mean1.square()
    if z2 is not None:
        second = second + (s * z2).sum(2) - chosen(z2)
    return Jet.make(value, first, second)


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
    try:
        return _taylor(token_loss, params, directions, batch, second_order)
    except UnsupportedOperation:
        if not load_further_rules():
            return nested_jvp(token_loss, params, directions, batch, second_order=second_order)
    return directional_derivatives(token_loss, params, directions, batch, second_order=second_order)


def load_further_rules() -> bool:
    """Load `polca.method.forward_rules`, the rules of others' models; returns False where that had been done before.

    By its name, since no stage of ours ever comes here: the rules are no part of the code that its results depend on.
    """
    name = "polca.method.forward_rules"
    known = name in sys.modules
    import_module(name)
    return not known


def _taylor(
    token_loss: TokenLossFunction,
    params: Mapping[str, Tensor],
    directions: Mapping[str, Tensor],
    batch: Any,
    second_order: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`directional_derivatives` by jets alone."""
    global _second_order
    jets = {name: Jet.make(p, directions[name]) for name, p in params.items()}
    previous, _second_order = _second_order, second_order
    try:
        with torch.no_grad():
            loss = token_loss(jets, batch)
    finally:
        _second_order = previous
    if not isinstance(loss, Jet) or loss.first is None:
        raise UnsupportedOperation("the loss does not depend on the parameters through supported operations")
    if second_order and loss.second is None:
        return loss.value, loss.first, torch.zeros_like(loss.first)
    return loss.value, loss.first, loss.second


class _ComposedLayerNorm(TorchFunctionMode):
    """`layer_norm` from elementary operations: PyTorch's own is wrong in nested forward mode.

    Its forward derivative reads the saved mean and deviation as constants, so that a second derivative misses their
    change (seen with PyTorch 2.13: a test compares with central differences).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
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
                with _ComposedLayerNorm():
                    pairs: Any = torch.func.jvp(slope, (theta,), (direction,))
                (value, first), (_, second) = pairs
                seconds.append(second)
            else:
                with PortableProducts():
                    value, first = slope(theta)
            firsts.append(first)
    return value, torch.stack(firsts), torch.stack(seconds) if second_order else None
