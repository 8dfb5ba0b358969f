"""Matrix products that give the same bits on every CPU, and run faster than PyTorch's own on small cores.

PyTorch's CPU products go through MKL, whose portable mode (`MKL_CBWR=COMPATIBLE`) is slow and whose fast modes differ
between CPU makers. NumPy's OpenBLAS with one kernel family (`OPENBLAS_CORETYPE=Haswell`) is fast and portable.
`PortableProducts` is a context in which `torch.nn.functional.linear` and `torch.matmul` on CPU tensors run through
NumPy, under every kind of differentiation that this package uses: backward, double backward, and (nested) forward mode.
On a GPU nothing changes.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


def _numpy_matmul(a: Tensor, b: Tensor) -> Tensor:
    return torch.from_numpy(a.detach().numpy() @ b.detach().numpy())


def _sum_to(x: Tensor, shape: torch.Size) -> Tensor:
    """Sum the broadcast leading dimensions of a product's gradient."""
    return x if x.shape == shape else x.sum_to_size(shape)


class _Matmul(torch.autograd.Function):
    """`a @ b` for operands of at least two dimensions, with the broadcasting of `torch.matmul`."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return _numpy_matmul(a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        if a.ndim > 2 and b.ndim == 2:
            # One large product for the second operand's gradient instead of a batch of small ones and a sum.
            a2, g2 = a.reshape(-1, a.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
            # Computed transposed where `b` is a transposed view, so that a weight's gradient is laid out as the weight.
            if not ctx.needs_input_grad[1]:
                grad_b = None
            elif b.is_contiguous():
                grad_b = _multiply(a2.mT, g2)
            else:
                grad_b = _multiply(g2.mT, a2).mT
        else:
            grad_b = _sum_to(_multiply(a.mT, gradient), b.shape) if ctx.needs_input_grad[1] else None
        grad_a = _sum_to(_multiply(gradient, b.mT), a.shape) if ctx.needs_input_grad[0] else None
        return grad_a, grad_b

    @staticmethod
    def jvp(ctx: Any, a_tangent: Tensor | None, b_tangent: Tensor | None) -> Tensor | None:
        a, b = ctx.saved_tensors
        first = None if a_tangent is None else _multiply(a_tangent, b)
        second = None if b_tangent is None else _multiply(a, b_tangent)
        if first is None or second is None:
            return first if second is None else second
        return first + second


_multiply = cast(Callable[[Tensor, Tensor], Tensor], _Matmul.apply)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """`torch.matmul` with portable bits on CPU. Shapes as in `torch.matmul`."""
    if a.device.type != "cpu" or not a.is_floating_point():
        return torch.matmul(a, b)
    if a.ndim == 1 or b.ndim == 1:
        left, right = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
        product: Tensor = _multiply(left, right)
        product = product.squeeze(-1) if b.ndim == 1 else product
        return product.squeeze(-1 if b.ndim == 1 else -2) if a.ndim == 1 else product
    if a.ndim > 2 and b.ndim == 2:
        flat = _multiply(a.reshape(-1, a.shape[-1]), b)
        return flat.reshape(*a.shape[:-1], flat.shape[-1])
    return _multiply(a, b)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear` with portable bits on CPU: `x [..., in]`, `weight [out, in]` → `[..., out]`."""
    product = matmul(x, weight.mT)
    return product if bias is None else product + bias


_PORTABLE: dict[Callable[..., Any], Callable[..., Tensor]] = {
    torch.nn.functional.linear: linear,
    torch.matmul: matmul,
    Tensor.matmul: matmul,
    Tensor.__matmul__: matmul,
    torch.bmm: matmul,
    Tensor.bmm: matmul,
}


class PortableProducts(TorchFunctionMode):
    """Context in which CPU matrix products run through NumPy. Re-entrant, cheap, transparent to autograd."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        return _PORTABLE.get(func, func)(*args, **(kwargs or {}))  # type: ignore[no-untyped-call]
