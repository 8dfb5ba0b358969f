"""Jet rules of a transformer's operations, enough for the models of both settings; `forward_rules` has further ones.

The derivatives of logits are not formed to first order, and for one direction at a time to second, so that memory does
not grow with directions × vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from polca.machine.products import matmul
from polca.method.jets import (
    Function,
    Jet,
    PendingLinear,
    UnsupportedOperation,
    align,
    mapped,
    parts,
    plus,
    plus_twice,
    register,
    rule,
    second_order,
)

# --- structure: the operation itself on each part -------------------------------------------------------------------


def linearly(function: Callable[[Tensor], Tensor], x: Any) -> Jet:
    """An operation that is linear and means the same for a derivative `[K, ...]`: itself on each part."""
    value, first, second = parts(x)
    return Jet.make(function(value), mapped(function, first), mapped(function, second))


def structural(function: Function) -> Function:
    """Views and the like. Dimensions must be negative, since derivatives have one more dimension in front."""

    def known(x: Jet, *args: Any, **kwargs: Any) -> Jet:
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
        return linearly(lambda part: function(part, *args, **kwargs), x)

    return known


for _view in (Tensor.transpose, torch.transpose, Tensor.flatten, torch.flatten, Tensor.unflatten, Tensor.unsqueeze):
    register(structural(_view), _view)


@rule(Tensor.__getitem__)
def _getitem(x: Jet, index: Any) -> Jet:
    """Only `x[..., i, j]`: counted from the back, so it means the same for the derivatives."""
    if not (isinstance(index, tuple) and index and index[0] is Ellipsis):
        raise UnsupportedOperation("indexing other than x[..., i]")
    # Tensors apart from each other would move their dimension to the front.
    if any(not isinstance(i, int | slice | None) for i in index[1:]) and len(index) > 2:
        raise UnsupportedOperation("indexing with several tensors")
    return linearly(lambda part: part[index], x)


@rule(Tensor.masked_fill)
def _masked_fill(x: Any, mask: Tensor, value: Any) -> Jet:
    if isinstance(value, Jet):
        raise UnsupportedOperation("masked_fill with a value that moves")
    x0, x1, x2 = parts(x)
    filled = x0.masked_fill(mask, value)

    def still(part: Tensor | None) -> Tensor | None:
        part = align(part, filled.ndim)
        return part if part is None else part.masked_fill(mask, 0.0)

    return Jet.make(filled, still(x1), still(x2))


register(lambda x: x.value.dim(), Tensor.dim)
register(lambda x: x.value.shape, Tensor.shape.__get__)  # type: ignore[attr-defined]
register(lambda x: x.value.device, Tensor.device.__get__)
register(lambda x: x.value.dtype, Tensor.dtype.__get__)  # type: ignore[attr-defined]


# --- arithmetic -----------------------------------------------------------------------------------------------------


@rule(Tensor.add, torch.add, Tensor.__add__, Tensor.__radd__)
def added(a: Any, b: Any) -> Jet:
    """a + b, either of which may be a constant."""
    (a0, a1, a2), (b0, b1, b2) = parts(a), parts(b)
    value = a0 + b0
    n = value.ndim
    return Jet.make(value, plus(align(a1, n), align(b1, n)), plus(align(a2, n), align(b2, n)))


@rule(Tensor.mul, torch.mul, Tensor.__mul__, Tensor.__rmul__)
def multiplied(a: Any, b: Any) -> Jet:
    """ab, either of which may be a constant."""
    (a0, a1, a2), (b0, b1, b2) = parts(a), parts(b)
    value = a0 * b0
    n = value.ndim
    a1, a2, b1, b2 = (align(part, n) for part in (a1, a2, b1, b2))
    return _bilinear(lambda p, q: p * q, (a0, a1, a2), (b0, b1, b2), value)


def _bilinear(
    times: Callable[[Tensor, Tensor], Tensor],
    a: tuple[Tensor, Tensor | None, Tensor | None],
    b: tuple[Tensor, Tensor | None, Tensor | None],
    value: Tensor | None = None,
) -> Jet:
    """The product rule: first = a₁b₀ + a₀b₁, second = a₂b₀ + 2a₁b₁ + a₀b₂."""
    (a0, a1, a2), (b0, b1, b2) = a, b
    value = times(a0, b0) if value is None else value
    first = plus(None if a1 is None else times(a1, b0), None if b1 is None else times(a0, b1))
    second = plus(None if a2 is None else times(a2, b0), None if b2 is None else times(a0, b2))
    if a1 is not None and b1 is not None and second_order():
        second = plus_twice(second, times(a1, b1))
    return Jet.make(value, first, second)


@rule(torch.matmul, Tensor.matmul, Tensor.__matmul__)
def _matmul(a: Any, b: Any) -> Jet:
    """ab with the broadcasting of `torch.matmul`; a vector is a matrix of one row or column that the product loses."""
    if parts(b)[0].ndim == 1:
        return linearly(lambda part: part.squeeze(-1), _matmul(a, linearly(lambda part: part.unsqueeze(-1), b)))
    if parts(a)[0].ndim == 1:
        return linearly(lambda part: part.squeeze(-2), _matmul(linearly(lambda part: part.unsqueeze(-2), a), b))
    (a0, a1, a2), (b0, b1, b2) = parts(a), parts(b)
    if a0.ndim > 2 and b0.ndim == 2 and b1 is not None:  # one product of all rows
        shape, a1, a2 = a0.shape[:-1], mapped(_rows, a1), mapped(_rows, a2)
        rows = _bilinear(matmul, (a0.reshape(-1, a0.shape[-1]), a1, a2), (b0, b1, b2))
        return linearly(lambda part: part.unflatten(-2, shape), rows)
    n = max(a0.ndim, b0.ndim)
    a1, a2, b1, b2 = (align(part, n) for part in (a1, a2, b1, b2))
    return _bilinear(matmul, (a0, a1, a2), (b0, b1, b2))


def _rows(part: Tensor) -> Tensor:
    """A derivative with all dimensions between the direction and the last flattened into one."""
    return part.reshape(part.shape[0], -1, part.shape[-1])


WIDE = 8
"""Times as many outputs as inputs from which a linear layer's derivatives wait, to second order: unembeddings alone."""


@rule(F.linear)
def _linear(x: Any, weight: Any, bias: Any = None) -> Jet:
    (x0, x1, x2), (w0, w1, w2), (c0, c1, c2) = parts(x), parts(weight), parts(bias)
    if x0.ndim < 2 or w0.ndim != 2 or (bias is not None and c0.shape != w0.shape[:1]):
        raise UnsupportedOperation("linear of a vector, or with a bias of another shape")
    shape = x0.shape[:-1]
    rows = x0.reshape(-1, x0.shape[-1])

    def times(left: Tensor, right: Tensor) -> Tensor:
        return matmul(left, right.mT)

    x1, x2 = mapped(_rows, x1), mapped(_rows, x2)
    if not second_order() or (w0.shape[0] > WIDE * w0.shape[1] and w2 is None and c2 is None):
        value = times(rows, w0) if bias is None else times(rows, w0) + c0
        pending = PendingLinear(rows, x1, x2, w0, w1, c1, shape, second_order())
        return Jet.make(value.unflatten(0, shape), None, None, pending)
    jet = _bilinear(times, (rows, x1, x2), (w0, w1, w2))
    value, first, second = jet.value, jet.first, jet.second
    if bias is not None:
        value = value + c0
        first = plus(first, None if c1 is None else c1[:, None])
        second = plus(second, None if c2 is None else c2[:, None])
    first, second = (mapped(lambda part: part.unflatten(1, shape), part) for part in (first, second))
    return Jet.make(value.unflatten(0, shape), first, second)


@rule(F.embedding)
def _embedding(
    ids: Tensor,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Jet:
    """Padding has no derivative, by decree, as in PyTorch's reverse mode."""
    if max_norm is not None or scale_grad_by_freq:
        raise UnsupportedOperation("embedding with max_norm or scale_grad_by_freq")
    value, first, second = parts(weight)
    padding = None if padding_idx is None else ids == padding_idx % len(value)

    def chosen(part: Tensor) -> Tensor:
        rows = part[:, ids]
        return rows if padding is None or not padding.any() else rows.masked_fill_(padding.unsqueeze(-1), 0.0)

    return Jet.make(value[ids], mapped(chosen, first), mapped(chosen, second))


# --- nonlinear functions --------------------------------------------------------------------------------------------


@rule(F.gelu)
def _gelu(x: Jet, approximate: str = "none") -> Jet:
    """gelu(x) = xΦ(x): first derivative Φ + xφ, second (2 − x²)φ."""
    if approximate != "none":
        raise UnsupportedOperation("the tanh form of gelu")
    x0, x1, x2 = parts(x)
    cdf = torch.erf(x0 * 0.5**0.5).add_(1).mul_(0.5)
    pdf = torch.exp(x0.square().mul_(-0.5)).mul_((2 * torch.pi) ** -0.5)
    return elementwise(x0 * cdf, cdf + x0 * pdf, lambda: (2 - x0.square()).mul_(pdf), x1, x2)


@rule(F.relu, torch.relu)
def _relu(x: Jet, inplace: bool = False) -> Jet:
    if inplace:
        raise UnsupportedOperation("relu in place")
    x0, x1, x2 = parts(x)
    return elementwise(torch.relu(x0), (x0 > 0).to(x0.dtype), lambda: None, x1, x2)


@rule(torch.tanh, Tensor.tanh)
def _tanh(x: Jet) -> Jet:
    x0, x1, x2 = parts(x)
    y = torch.tanh(x0)
    slope = 1 - y.square()
    return elementwise(y, slope, lambda: -2 * y * slope, x1, x2)


def elementwise(
    value: Tensor, slope: Tensor, bend: Callable[[], Tensor | None], x1: Tensor | None, x2: Tensor | None
) -> Jet:
    """The chain rule: first = f′x₁, second = f″x₁² + f′x₂."""
    if x1 is None:
        return Jet.make(value, None)
    second = None if x2 is None else slope * x2
    if second_order() and (curved := bend()) is not None:
        second = plus(x1.square().mul_(curved), second)
    return Jet.make(value, slope * x1, second)


@rule(torch.softmax, Tensor.softmax)
def _softmax(x: Jet, dim: int, dtype: torch.dtype | None = None) -> Jet:
    if dim >= 0:
        raise UnsupportedOperation("softmax with a dimension counted from the front")
    if dtype is not None and dtype != x.value.dtype:
        x = linearly(lambda part: part.to(dtype), x)
    x0, x1, x2 = parts(x)
    s = torch.softmax(x0, dim)
    if x1 is None:
        return Jet.make(s, None)
    centred = x1 - (s * x1).sum(dim, keepdim=True)
    first = s * centred
    if not second_order():
        return Jet.make(s, first)
    bend = -(first * x1).sum(dim, keepdim=True)
    if x2 is not None:
        bend = bend + x2 - (s * x2).sum(dim, keepdim=True)
    return Jet.make(s, first, first * centred + s * bend)


@rule(F.softmax)
def _functional_softmax(x: Jet, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Jet:
    if dim is None:
        raise UnsupportedOperation("softmax without a dimension")
    jet: Jet = _softmax(x, dim, dtype)
    return jet


@rule(F.layer_norm)
def _layer_norm(
    x: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Jet:
    if len(normalized_shape) != 1:
        raise UnsupportedOperation("layer_norm over more than one dimension")
    x0, x1, x2 = parts(x)
    c0 = x0 - x0.mean(-1, keepdim=True)
    r0 = (c0.square().mean(-1, keepdim=True) + eps).rsqrt()
    y0, y1, y2 = c0 * r0, None, None
    if x1 is not None:
        c1 = x1 - x1.mean(-1, keepdim=True)
        v1 = 2 * (c0 * c1).mean(-1, keepdim=True)
        r1 = -0.5 * r0**3 * v1
        y1 = torch.addcmul(c1 * r0, c0, r1)
        if second_order():
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
        out = multiplied(out, weight)
    return out if bias is None else added(out, bias)


def _variance(pending: PendingLinear, s: Tensor, index: Tensor, first: Tensor) -> Tensor:
    """Σ_v s (z1 − Σ s z1)² `[K, R]`, one direction after the other; `first` is Σ s z1 less the target's z1."""
    variance = torch.empty_like(first)
    for k in range(len(first)):
        z = replace(pending.alone(k), transposed=False).first()
        assert z is not None
        mean = first[k, :, None] + z[0].gather(1, index)
        variance[k] = (z[0] - mean).square_().mul_(s).sum(-1)
    return variance


@rule(F.cross_entropy)
def _cross_entropy(
    logits: Any,
    target: Any,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Jet:
    """Logits `[N, classes, ...]`, targets `[N, ...]`; log-sum-exp minus the target's logit, 0 where it is ignored."""
    if reduction != "none" or size_average is not None or reduce is not None:
        raise UnsupportedOperation("cross_entropy other than reduction='none'")
    if weight is not None or label_smoothing:
        raise UnsupportedOperation("cross_entropy with weight or label_smoothing")
    if isinstance(target, Jet) or target.is_floating_point() or not isinstance(logits, Jet) or logits.ndim < 2:
        raise UnsupportedOperation("cross_entropy but of logits [N, classes, ...] and class numbers [N, ...]")
    value = F.cross_entropy(logits.value, target, reduction="none", ignore_index=ignore_index)
    ignored = target == ignore_index
    if not ignored.any():
        return Jet.make(value, *_entropy_derivatives(logits, target))
    first, second = _entropy_derivatives(logits, target.masked_fill(ignored, 0))

    def counted(part: Tensor) -> Tensor:
        return part.masked_fill(ignored, 0.0)

    return Jet.make(value, mapped(counted, first), mapped(counted, second))


def _entropy_derivatives(logits: Jet, target: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Derivatives of the cross-entropy `[K, N, ...]`."""
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
        return mapped(lambda part: part.unflatten(1, target.shape), first), mapped(
            lambda part: part.unflatten(1, target.shape), second
        )
    z0, z1, z2 = parts(logits)
    if z1 is None:
        return None, None
    s = torch.softmax(z0, 1)
    index = target.unsqueeze(1)

    def chosen(part: Tensor) -> Tensor:
        return part.gather(2, index.expand(part.shape[0], *index.shape)).squeeze(2)

    mean1 = (s * z1).sum(2)
    first = mean1 - chosen(z1)
    if not second_order():
        return first, None
    second = (s * z1.square()).sum(2) - mean1.square()
    if z2 is not None:
        second = second + (s * z2).sum(2) - chosen(z2)
    return first, second
