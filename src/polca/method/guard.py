r"""Whether forward and reverse mode give the derivatives of the model itself, tested on every run.

Forward mode goes by rules of our own (`jets`) and reverse mode by taps (`reverse`); both trust that what they know of
an operation is what PyTorch does. With random weights w_x of the tokens, what they give must fit plain reverse mode:

    Σ_x w_x G[x, b] = ⟨b, ∇ Σ_x w_x L(x)⟩,      Σ_x w_x bᵀH(x)b = ⟨b, ∇⟨b, ∇ Σ_x w_x L(x)⟩⟩,

which takes a backward pass for all directions, and a double one for the first and the last of them. It is done for
every trace, the operations of a pass and their shapes, before its first result is used.
"""

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from polca.errors import PolcaError
from polca.machine.products import PortableProducts
from polca.machine.runtime import on_device
from polca.method.audit import differing_operation, operations_of_its_own
from polca.method.checkpoints import Checkpoints
from polca.method.forward import by_jets, nested_jvp
from polca.method.reverse import NotCovered, projected_gradients
from polca.typing import TokenLossFunction

Triple = tuple[Tensor, Tensor, Tensor | None]
"""Losses `[N, targets]`, projections `[K, N, targets]`, curvatures like them or None."""


def tolerance(precision: float) -> float:
    """Largest relative difference that rounding can explain, 4√ε: 1.4e-3 in single precision, 6e-8 in double."""
    return 4 * math.sqrt(precision)


class Trace(TorchFunctionMode):
    """Notes the operations of a pass, and the coarsest precision ε among their operands."""

    def __init__(self) -> None:
        super().__init__()
        self._hash = hashlib.blake2b(digest_size=16)
        self._types: set[torch.dtype] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        with torch._C.DisableTorchFunctionSubclass():
            tensors = [value for value in (*args, output) if isinstance(value, Tensor)]
            self._types.update(t.dtype for t in tensors)
            self._hash.update(f"{getattr(func, '__name__', func)}{[tuple(t.shape) for t in tensors]}".encode())
        return output

    @property
    def key(self) -> str:
        """The same for passes of the same operations."""
        return self._hash.hexdigest()

    @property
    def precision(self) -> float:
        """ε of the coarsest type of floats."""
        return max((torch.finfo(t).eps for t in self._types if t.is_floating_point), default=2.0**-23)


class Reference:
    """Losses and weighted derivatives of one batch by plain reverse mode."""

    def __init__(
        self, token_loss: TokenLossFunction, params: Mapping[str, Tensor], batch: Any, second_order: bool
    ) -> None:
        self._leaves = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
        losses = token_loss(self._leaves, batch)
        self.losses = losses.detach()
        generator = torch.Generator().manual_seed(0)
        self.weights = torch.randn(losses.shape, generator=generator, dtype=torch.float64).to(losses.device)
        found = torch.autograd.grad(
            (losses * self.weights.to(losses.dtype)).sum(),
            list(self._leaves.values()),
            create_graph=second_order,
            materialize_grads=True,
        )
        self._gradient = dict(zip(self._leaves, found, strict=True))

    def _along(self, direction: Mapping[str, Tensor], vector: Mapping[str, Tensor]) -> float:
        return sum(float((direction[n] * v).detach().sum(dtype=torch.float64)) for n, v in vector.items())

    def _fits(self, found: Tensor, expected: float, length: float, precision: float) -> bool:
        """Whether Σ_x w_x found[x] is `expected` within rounding, for `found [N, targets]`.

        Products of vectors lose digits where their parts cancel: `length` is the product of the vectors' lengths.
        """
        terms = self.weights * found
        scale = tolerance(precision) * (float(terms.norm()) + abs(expected))
        return abs(float(terms.sum()) - expected) <= scale + 16 * precision * length

    def disagreement(
        self,
        found: Triple,
        directions: Mapping[str, Tensor],
        precision: float,
        axes: Sequence[tuple[str, int]] = (),
    ) -> str | None:
        """What of `found` does not fit: losses, projections or curvatures; None where all does.

        Projections on `axes`, single parameters, come after those on `directions`.
        """
        losses, first, second = found
        error = float((losses - self.losses).double().norm())
        if losses.shape != self.losses.shape or not error <= tolerance(precision) * float(self.losses.double().norm()):
            return "losses"
        each = [{n: v[k] for n, v in directions.items()} for k in range(len(first) - len(axes))]
        length = self._along(self._gradient, self._gradient) ** 0.5
        expected = [(self._along(b, self._gradient), length * self._along(b, b) ** 0.5) for b in each]
        expected += [(float(self._gradient[name].detach().reshape(-1)[index]), length) for name, index in axes]
        if not all(self._fits(g, *e, precision) for g, e in zip(first, expected, strict=True)):
            return "projections"
        for k in set() if second is None else {0, len(each) - 1}:
            product = torch.autograd.grad(
                [g for g in self._gradient.values() if g.requires_grad],
                list(self._leaves.values()),
                [each[k][n] for n, g in self._gradient.items() if g.requires_grad],
                retain_graph=True,
                materialize_grads=True,
            )
            assert second is not None
            b, image = each[k], dict(zip(self._leaves, product, strict=True))
            length = (self._along(image, image) * self._along(b, b)) ** 0.5
            if not self._fits(second[k], self._along(b, image), length, precision):
                return "curvatures"
        return None


@dataclass
class Guard:
    """Forward and reverse mode under test, with `torch.func.jvp` in their place where they fail.

    Attributes:
        holds: for each trace met so far, whether its mode passed.
    """

    holds: dict[str, bool] = field(default_factory=dict)

    def forward(
        self,
        token_loss: TokenLossFunction,
        params: Mapping[str, Tensor],
        directions: Mapping[str, Tensor],
        batch: Any,
        *,
        second_order: bool,
    ) -> Triple:
        """As `forward.directional_derivatives`.

        Raises:
            PolcaError: `torch.func.jvp` fails as well.
        """
        found, failure = None, ""
        with Trace() as trace:
            try:
                found = by_jets(token_loss, params, directions, batch, second_order=second_order)
            except PolcaError:
                raise
            except Exception as error:  # a rule that breaks where the operation itself does not
                failure = str(error).splitlines()[0]
        key = f"{trace.key} {second_order}"
        if found is not None and self.holds.get(key):
            return found
        if key in self.holds:
            return self._nested(token_loss, params, directions, batch, second_order)
        reference = Reference(token_loss, params, batch, second_order)
        if found is not None:
            failure = reference.disagreement(found, directions, trace.precision) or ""
            if self.holds.setdefault(key, not failure):
                return found
        if failure:
            name = differing_operation(token_loss, params, directions, batch, second_order) or "some operation"
            warnings.warn(
                f"forward mode: the rule of {name} does not do what PyTorch does ({failure}): each direction takes a "
                f"torch.func.jvp of its own, {'9 passes instead of 4' if second_order else '3 passes instead of 2'}",
                stacklevel=2,
            )
        self.holds[key] = False
        found = self._nested(token_loss, params, directions, batch, second_order)
        if wrong := reference.disagreement(found, directions, trace.precision):
            raise PolcaError(
                f"{wrong} by forward and by reverse mode differ, torch.func.jvp's as well ("
                f"{operations_of_its_own(token_loss, params, batch)}): give it the derivative of what it computes, "
                "or float64 parameters where rounding may be the reason"
            )
        return found

    @staticmethod
    def _nested(
        token_loss: TokenLossFunction,
        params: Mapping[str, Tensor],
        directions: Mapping[str, Tensor],
        batch: Any,
        second_order: bool,
    ) -> Triple:
        try:
            return nested_jvp(token_loss, params, directions, batch, second_order=second_order)
        except RuntimeError as error:
            raise PolcaError(
                f"no forward mode for {operations_of_its_own(token_loss, params, batch)} "
                f"({str(error).splitlines()[0]}): use other operations"
            ) from error

    def reverse(
        self,
        token_loss: TokenLossFunction,
        params: Mapping[str, Tensor],
        batch: Any,
        directions: Mapping[str, Tensor],
        axes: Sequence[tuple[str, int]],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `reverse.projected_gradients`.

        Raises:
            NotCovered: the model is not covered, or the test fails.
        """
        with Trace() as trace:
            found = projected_gradients(token_loss, params, batch, directions, axes)
        if trace.key not in self.holds:
            losses, dense, sparse = found
            gradients = torch.cat([dense, sparse], dim=-1).movedim(-1, 0)
            reference = Reference(token_loss, params, batch, False)
            wrong = reference.disagreement((losses, gradients, None), directions, trace.precision, axes)
            self.holds[trace.key] = wrong is None
        if not self.holds[trace.key]:
            raise NotCovered(
                "reverse-mode projections do not fit the gradient of this loss, which may not have one row per "
                "sequence throughout: pass method='forward'"
            )
        return found


def batches_of_each_form(data: Sequence[Any]) -> list[Any]:
    """The first batch of every combination of shapes."""
    forms: dict[str, Any] = {}
    for batch in data:
        shapes = [tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for v in tree_leaves(batch)]
        forms.setdefault(str(shapes), batch)
    return list(forms.values())


def check_repeatable(
    token_loss: TokenLossFunction, params: Mapping[str, Tensor], batch: Any, *, second_order: bool = True
) -> None:
    """Refuse a loss on which the method cannot be run, by two calls, the second with portable products.

    Args:
        second_order: whether second derivatives are wanted, which all parameters must then have a part in.

    Raises:
        PolcaError: loss or gradient differ between the calls by more than rounding (dropout, say), are not finite, or
            leave a parameter out; losses are not `[sequences, targets]`; or the loss has no second derivative.
    """
    for name, p in params.items():
        if not p.is_floating_point():
            raise PolcaError(f"parameter {name!r} is {p.dtype}, not floats: leave buffers out of the checkpoints")
    leaves = {name: on_device(p.detach().clone()).requires_grad_() for name, p in params.items()}
    batch = on_device(batch)

    def once(create_graph: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        losses = token_loss(leaves, batch)
        if not isinstance(losses, Tensor) or losses.dim() != 2:
            given = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise PolcaError(f"token_loss gives {given}: it must give losses [sequences, targets], one row a sequence")
        if not losses.requires_grad:
            raise PolcaError("the loss does not depend on the parameters: compute it from those that it is given")
        found = torch.autograd.grad(losses.mean(), list(leaves.values()), create_graph=create_graph, allow_unused=True)
        for name, gradient in zip(leaves, found, strict=True):
            if gradient is None and second_order:
                raise PolcaError(f"parameter {name!r} is not used by the loss: leave it out of the parameters")
        return losses.detach(), tuple(torch.zeros(()) if g is None else g for g in found)

    first, before = once(False)
    with PortableProducts():
        second, after = once(second_order)
    # Half precision apart, two ways to the same number differ by less than single precision does.
    most = tolerance(max(torch.finfo(first.dtype).eps, 2.0**-23))
    if not torch.isfinite(first).all():
        raise PolcaError("a token loss is NaN or infinite: check the checkpoint and the data")
    if float((first - second).norm()) > most * float(first.norm()):
        raise PolcaError(
            "the loss of the same batch differs between two calls: switch dropout and other random parts off "
            "(module.eval())"
        )
    for name, gradient in zip(leaves, before, strict=True):
        if not torch.isfinite(gradient).all():
            raise PolcaError(f"the gradient with respect to {name!r} is NaN or infinite: check the checkpoint")
    # Against the whole gradient: where a parameter's own is 0 by symmetry, all of it is rounding.
    errors = [float((a - b.detach()).double().norm()) for a, b in zip(before, after, strict=True)]
    if max(errors) > most * math.hypot(*(float(a.double().norm()) for a in before)):
        name = list(leaves)[errors.index(max(errors))]
        raise PolcaError(
            f"the gradient with respect to {name!r} differs between two calls on the same batch: use "
            "deterministic operations only"
        )
    if not second_order:
        return
    try:
        torch.autograd.grad(sum(g.sum() for g in after), list(leaves.values()), allow_unused=True)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise PolcaError(
            f"the loss has no second derivative ({str(error).splitlines()[0]}): use plain attention (fused attention "
            "has no second derivative)"
        ) from error


def warn_of_still_parameters(checkpoints: Checkpoints) -> None:
    """Say which parameters training did not move at all: directions have parts in them nevertheless."""
    steps = list(checkpoints.steps())
    first, last = checkpoints.load(steps[0]), checkpoints.load(steps[-1])
    still = [name for name, p in first.items() if name in last and torch.equal(p, last[name])]
    if 0 < len(still) < len(first):
        warnings.warn(
            f"parameter {still[0]!r}{f' and {len(still) - 1} more' if len(still) > 1 else ''} did not move from step "
            f"{steps[0]} to step {steps[-1]}: if it is frozen, leave it out of the checkpoints, since directions have "
            "parts in it too",
            stacklevel=3,
        )
