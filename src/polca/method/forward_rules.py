r"""Jet rules for models that are not ours: the operations of Hugging Face's GPT-2, GPT-NeoX, Llama, OPT and their kind.

Importing this module, which `method.forward` does when it first misses a rule, adds them to `basic_rules`, so that such
models take one pass for all directions instead of one nested `torch.func.jvp` for each. Three kinds of operation:

- linear in the tensor (views, slices, sums, masks): the operation itself on value and derivatives, `linear`;
- elementwise: from f, f′ and f″ by the chain rule, f(x)₁ = f′x₁ and f(x)₂ = f″x₁² + f′x₂;
- the rest, composed of others.

In-place operations have no rule on purpose: their result would not be seen by whoever holds the operand.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from polca.method.basic_rules import added, elementwise, multiplied
from polca.method.jets import RULES, Function, Jet, UnsupportedOperation, align, mapped, parts, register, taylor
from polca.typing import TokenLossFunction


def missing_rule(token_loss: TokenLossFunction, params: Mapping[str, Tensor], batch: Any) -> str | None:
    """What of a loss has no rule, so that it falls back to nested `jvp`; None where jets do."""
    directions = {name: torch.zeros(1, *p.shape, dtype=p.dtype, device=p.device) for name, p in params.items()}
    try:
        taylor(token_loss, params, directions, batch, False)
    except UnsupportedOperation as error:
        return str(error)
    return None


def linear(function: Function) -> Function:
    """The rule of an operation that is linear in its first argument and gives a tensor, or several.

    Derivatives `[K, ...]` have one more dimension than the value, which `torch.vmap` hides from the operation.
    """

    def rule(x: Jet, *args: Any, **kwargs: Any) -> Any:
        if any(isinstance(a, Jet) for a in (*args, *kwargs.values())) or kwargs.get("out") is not None:
            raise UnsupportedOperation(f"{function.__name__} of two jets, or into one that is there")

        def apply(part: Tensor) -> Any:
            return function(part, *args, **kwargs)

        value, first, second = parts(x)
        values = apply(value)
        try:
            many, more = mapped(torch.vmap(apply), first), mapped(torch.vmap(apply), second)
        except RuntimeError as error:  # it worked on the value: the form of the call is what `vmap` cannot take
            raise UnsupportedOperation(f"{function.__name__}: {str(error).splitlines()[0]}") from error
        if isinstance(values, Tensor):
            return Jet.make(values, many, more)
        return tuple(
            Jet.make(v, None if many is None else many[i], None if more is None else more[i])
            for i, v in enumerate(values)
        )

    return rule


_LINEAR: tuple[Function, ...] = (
    Tensor.expand,
    Tensor.squeeze,
    torch.squeeze,
    torch.unsqueeze,
    Tensor.permute,
    torch.permute,
    Tensor.chunk,
    torch.chunk,
    Tensor.split,
    torch.split,
    Tensor.unbind,
    torch.unbind,
    Tensor.repeat,
    Tensor.repeat_interleave,
    torch.repeat_interleave,
    Tensor.mean,
    torch.mean,
    Tensor.sum,
    torch.sum,
    Tensor.narrow,
    torch.narrow,
    Tensor.neg,
    torch.neg,
    Tensor.__neg__,
)
for _function in _LINEAR:
    register(linear(_function), _function)


def _or_linear(known: Function, function: Function) -> Function:
    """The rule of `basic_rules` where it applies (it may keep logits' derivatives unformed), else the linear one."""
    general = linear(function)

    def rule(x: Jet, *args: Any, **kwargs: Any) -> Any:
        try:
            return known(x, *args, **kwargs)
        except UnsupportedOperation:
            return general(x, *args, **kwargs)

    return rule


_KNOWN: tuple[Function, ...] = (
    Tensor.transpose,
    torch.transpose,
    Tensor.flatten,
    torch.flatten,
    Tensor.unflatten,
    Tensor.unsqueeze,
    Tensor.__getitem__,
)
for _function in _KNOWN:
    register(_or_linear(RULES[_function], _function), _function)


def _transposed(x: Jet) -> Any:
    return RULES[torch.transpose](x, -2, -1)


def _transposed_matrix(x: Jet) -> Any:
    if x.value.ndim != 2:
        raise UnsupportedOperation("T of anything but a matrix")
    return _transposed(x)


register(_transposed, Tensor.mT.__get__)  # type: ignore[attr-defined]
register(_transposed_matrix, Tensor.T.__get__)  # type: ignore[attr-defined]


def _reshape(x: Jet, *shape: Any) -> Jet:
    """Views, too: derivatives need not lie in memory as the value does."""
    if len(shape) == 1 and isinstance(shape[0], torch.dtype):
        raise UnsupportedOperation("view of another type")
    value, first, second = parts(x)
    result = value.reshape(*shape)

    def reshaped(part: Tensor) -> Tensor:
        return part.reshape(part.shape[0], *result.shape)

    return Jet.make(result, mapped(reshaped, first), mapped(reshaped, second))


register(_reshape, Tensor.view, Tensor.reshape, torch.reshape)
# Whether memory is contiguous means nothing for a jet.
register(lambda x, memory_format=None: x, Tensor.contiguous)


def _to(x: Any, *args: Any, **kwargs: Any) -> Any:
    """Another type or device; nothing where it is that already."""
    if not isinstance(x, Jet):
        return x.to(*args, **kwargs)
    target = x.value.to(*args, **kwargs)
    if (target.dtype, target.device) == (x.value.dtype, x.value.device):
        return x
    if not target.is_floating_point():
        raise UnsupportedOperation("to a type without derivatives")
    _, first, second = parts(x)
    first, second = (mapped(lambda part: part.to(target), part) for part in (first, second))
    return Jet.make(target, first, second)


register(_to, Tensor.to, Tensor.type_as)
register(lambda x: _to(x, torch.float32), Tensor.float)


def _type(x: Jet, dtype: Any = None, non_blocking: bool = False) -> Any:
    return _to(x, dtype) if isinstance(dtype, torch.dtype) else x.value.type()


register(_type, Tensor.type)


def _dropout(x: Jet, p: float = 0.5, training: bool = True, inplace: bool = False) -> Jet:
    if training and p > 0:
        raise UnsupportedOperation("dropout while training")
    return x


register(_dropout, F.dropout, torch.dropout)

register(lambda x, *dim: x.value.size(*dim), Tensor.size)
register(lambda x: x.value.ndim, Tensor.ndim.__get__)  # type: ignore[attr-defined]
register(lambda x: x.value.is_floating_point(), Tensor.is_floating_point, torch.is_floating_point)


# --- two operands ---------------------------------------------------------------------------------------------------


def _negative(x: Any) -> Any:
    return RULES[Tensor.neg](x) if isinstance(x, Jet) else -x


def _difference(a: Any, b: Any, *, alpha: float = 1) -> Any:
    if alpha != 1:
        raise UnsupportedOperation("sub with alpha")
    return added(a, _negative(b))


register(_difference, Tensor.sub, torch.sub, Tensor.__sub__)
register(lambda a, b: _difference(b, a), Tensor.__rsub__, torch.rsub)


def _quotient(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is not None:
        raise UnsupportedOperation("div with rounding")
    if isinstance(b, Tensor):  # whole numbers would have a reciprocal of single precision
        b = _to(b, torch.result_type(parts(a)[0], parts(b)[0]))
    return multiplied(a, _power(b, -1) if isinstance(b, Jet) else 1 / b)


register(_quotient, Tensor.div, torch.div, Tensor.__truediv__, torch.true_divide)
register(lambda a, b: _quotient(b, a), Tensor.__rtruediv__, Tensor.__rdiv__)


def _addmm(bias: Any, x: Any, weight: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """c + xW, as GPT-2's `Conv1D` has it."""
    if beta != 1 or alpha != 1 or parts(bias)[0].ndim != 1:
        raise UnsupportedOperation("addmm with factors, or of a matrix")
    transposed = _transposed(weight) if isinstance(weight, Jet) else weight.mT
    return RULES[F.linear](x, transposed, bias)


register(_addmm, torch.addmm, Tensor.addmm)


def _cat(operands: Sequence[Any], dim: int = 0) -> Jet:
    values, firsts, seconds = zip(*map(parts, operands), strict=True)
    value = torch.cat(values, dim)
    behind = dim if dim < 0 else dim - value.ndim

    def joined(derivatives: Sequence[Tensor | None]) -> Tensor | None:
        known = [d for d in derivatives if d is not None]
        if not known:
            return None
        k = len(known[0])
        filled = [v.new_zeros(k, *v.shape) if d is None else d for v, d in zip(values, derivatives, strict=True)]
        return torch.cat(filled, behind)

    return Jet.make(value, joined(firsts), joined(seconds))


register(_cat, torch.cat, torch.concat)


def _stack(operands: Sequence[Any], dim: int = 0) -> Jet:
    behind = dim if dim < 0 else dim - operands[0].ndim - 1
    return _cat(
        [RULES[Tensor.unsqueeze](p, behind) if isinstance(p, Jet) else p.unsqueeze(behind) for p in operands], behind
    )


register(_stack, torch.stack)


def _where(condition: Tensor, a: Any, b: Any) -> Jet:
    (a0, a1, a2), (b0, b1, b2) = parts(a), parts(b)
    value = torch.where(condition, a0, b0)

    def chosen(x: Tensor | None, y: Tensor | None) -> Tensor | None:
        if x is None and y is None:
            return None
        known = x if x is not None else y
        assert known is not None
        zero = known.new_zeros(())
        x, y = (zero if p is None else align(p, value.ndim) for p in (x, y))
        return torch.where(condition, x, y).expand(len(known), *value.shape)  # type: ignore[arg-type]

    return Jet.make(value, chosen(a1, b1), chosen(a2, b2))


register(_where, torch.where)


# --- elementwise ----------------------------------------------------------------------------------------------------


def _power(x: Any, exponent: Any) -> Any:
    """xᵖ for a number p: p xᵖ⁻¹ and p(p − 1) xᵖ⁻²."""
    if not isinstance(x, Jet) or not isinstance(exponent, int | float):
        raise UnsupportedOperation("pow with a tensor in the exponent")
    x0, x1, x2 = parts(x)
    p = exponent
    if p in (0, 1):
        return x if p == 1 else Jet.make(torch.ones_like(x0), None)
    slope = p * x0 if p == 2 else p * x0.pow(p - 1)
    return elementwise(
        x0.pow(p), slope, lambda: torch.full_like(x0, 2) if p == 2 else p * (p - 1) * x0.pow(p - 2), x1, x2
    )


register(_power, Tensor.pow, torch.pow, Tensor.__pow__)
register(lambda x: _power(x, 2), Tensor.square, torch.square)
register(lambda x: _power(x, -0.5), Tensor.rsqrt, torch.rsqrt)
register(lambda x: _power(x, 0.5), Tensor.sqrt, torch.sqrt)
register(lambda x: _power(x, -1), Tensor.reciprocal, torch.reciprocal)


def _sigmoid(x: Jet) -> Jet:
    """σ: σ(1 − σ) and σ(1 − σ)(1 − 2σ)."""
    x0, x1, x2 = parts(x)
    s = torch.sigmoid(x0)
    slope = s * (1 - s)
    return elementwise(s, slope, lambda: slope * (1 - 2 * s), x1, x2)


register(_sigmoid, Tensor.sigmoid, torch.sigmoid, F.sigmoid)


def _silu(x: Jet, inplace: bool = False) -> Jet:
    """xσ(x): σ + xσ′ and 2σ′ + xσ″."""
    if inplace:
        raise UnsupportedOperation("silu in place")
    x0, x1, x2 = parts(x)
    s = torch.sigmoid(x0)
    d = s * (1 - s)
    return elementwise(x0 * s, s + x0 * d, lambda: d * (2 + x0 * (1 - 2 * s)), x1, x2)


register(_silu, F.silu)

_exact_gelu = RULES[F.gelu]


def _gelu(x: Jet, approximate: str = "none") -> Jet:
    """The exact form as in `basic_rules`; the tanh form ½x(1 + tanh u), u = √(2/π)(x + 0.044715x³)."""
    if approximate == "none":
        return _exact_gelu(x)  # type: ignore[no-any-return]
    x0, x1, x2 = parts(x)
    c, a = math.sqrt(2 / math.pi), 0.044715
    t = torch.tanh(c * (x0 + a * x0.pow(3)))
    du, ddu, dt = c * (1 + 3 * a * x0.square()), 6 * c * a * x0, 1 - t.square()
    slope = 0.5 * (1 + t + x0 * dt * du)
    return elementwise(0.5 * x0 * (1 + t), slope, lambda: dt * du + 0.5 * x0 * dt * (ddu - 2 * t * du.square()), x1, x2)


register(_gelu, F.gelu)
