"""G, Δ and exact losses of many checkpoints, kept on the device until all are done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.runtime import device, on_device
from polca.method.checkpoints import Checkpoints
from polca.method.completeness import APP_C, second_order_rmse
from polca.method.curvature import Layout
from polca.method.forward import directional_derivatives
from polca.method.projections import Projections
from polca.method.reverse import projected_gradients
from polca.study.on_device.bases import Directions
from polca.study.on_device.tf32 import tf32
from polca.tasks.task import Task
from polca.typing import SecondOrder


@dataclass(frozen=True)
class Projected:
    """Projections on several bases at once, ΣK vectors one after the other.

    Attributes:
        steps: `[C]`.
        losses: `[C, X]` in nats.
        gradients: `[ΣK, C, X]`, so that a vector's are together; dense vectors first, then single parameters.
        movements: `[C − 1, ΣK]`.
        bases: of the vectors, by name, dense ones first.
    """

    steps: NDArray[np.int64]
    losses: NDArray[np.float32]
    gradients: NDArray[np.float32]
    movements: NDArray[np.float32]
    bases: Mapping[str, Directions]

    def vectors(self, name: str) -> slice:
        """Where one basis' vectors are."""
        names = list(self.bases)
        first = sum(len(self.bases[other]) for other in names[: names.index(name)])
        return slice(first, first + len(self.bases[name]))

    def of(self, name: str) -> Projections:
        """The projections on one basis."""
        own, basis = self.vectors(name), self.bases[name]
        return Projections(
            steps=self.steps,
            losses=self.losses,
            gradients=np.moveaxis(self.gradients[own], 0, 2),
            movements=self.movements[:, own],
            vector_steps=basis.steps,
            eigenvalues=basis.eigenvalues.astype(np.float32),
        )


FORWARD_SEQUENCES = 25
"""Sequences at once in forward mode, whose memory grows with vectors × sequences: 6 GB at the paper's English size."""


def _parts(batch: tuple[Tensor, ...], sequences: int) -> list[tuple[Tensor, ...]]:
    """A batch in parts of at most so many sequences."""
    return list(zip(*(part.split(sequences) for part in batch), strict=True))


class Projector:
    """Projects a task's evaluated tokens on some directions, one checkpoint after the other.

    By backward passes, or in forward mode where sequences have more targets than there are vectors, as
    `method.projections` does.

    Args:
        bases: by name; those of single parameters last.
        tf32: whether products are in TF32.
    """

    def __init__(
        self, task: Task, checkpoints: Checkpoints, bases: Mapping[str, Directions], tf32: bool = False
    ) -> None:
        self._loss, self._checkpoints, self.bases, self._tf32 = task.evaluated_loss, checkpoints, dict(bases), tf32
        self._data: list[Any] = [on_device(batch) for batch in task.evaluation_batches()]
        dense = [basis.rows for basis in bases.values() if not basis.axes]
        first = on_device(checkpoints.load(checkpoints.steps()[0]))
        self._layout = Layout.of(first)
        self._rows = dense[0] if len(dense) == 1 else torch.cat(dense)
        self._axes = tuple(axis for basis in bases.values() for axis in basis.axes)
        starts = dict(zip(self._layout.names, self._starts(), strict=True))
        self._places = torch.tensor([starts[name] + i for name, i in self._axes], dtype=torch.int64, device=device())
        with torch.no_grad():
            targets = self._loss(first, tuple(part[:1] for part in self._data[0])).shape[1]
        self._directions = self._layout.split(self._rows)
        self._forward = not self._axes and targets > len(self._rows)
        if self._forward:
            self._directions = {name: v.contiguous() for name, v in self._directions.items()}
            self._data = [part for batch in self._data for part in _parts(batch, FORWARD_SEQUENCES)]

    def _starts(self) -> list[int]:
        sizes = [int(np.prod(shape)) for shape in self._layout.shapes]
        return np.cumsum([0, *sizes[:-1]]).tolist()  # type: ignore[no-any-return]

    def at(self, step: int, tf32_too: bool | None = None) -> tuple[Tensor, Tensor]:
        """Losses `[X]` and G `[X, ΣK]` at one checkpoint, on the device.

        Args:
            tf32_too: whether in TF32, by default as the others.
        """
        params, parts = on_device(self._checkpoints.load(step)), []
        with tf32(self._tf32 if tf32_too is None else tf32_too):
            for batch in self._data:
                losses, own = self._of_batch(params, batch)
                parts.append((losses.reshape(-1), own.flatten(0, 1)))
        losses, gradients = (torch.cat(part) for part in zip(*parts, strict=True))
        return losses, gradients

    def _of_batch(self, params: Mapping[str, Tensor], batch: Any) -> tuple[Tensor, Tensor]:
        """Losses `[N, targets]` and G `[N, targets, ΣK]`."""
        if self._forward:
            losses, first, _ = directional_derivatives(self._loss, params, self._directions, batch, second_order=False)
            return losses, first.movedim(0, -1)
        losses, dense, sparse = projected_gradients(self._loss, params, batch, self._directions, self._axes)
        return losses, torch.cat([dense, sparse], -1)

    def displacement(self, step: int, before: int) -> Tensor:
        """Δ `[ΣK]` between two checkpoints; differences are taken before the product, which would cancel them."""
        one, other = (self._layout.flatten(on_device(self._checkpoints.load(s))) for s in (step, before))
        moved = one - other
        return torch.cat([self._rows @ moved, moved[self._places]])

    def run(
        self,
        steps: Sequence[int],
        over: Callable[[int], bool] = lambda done: False,
        known: Projected | None = None,
    ) -> Projected:
        """Projections at `steps`.

        Args:
            over: asked after every checkpoint but the first, with their number, whether to stop there.
            known: projections whose first vectors are these, from which the checkpoints are taken that they have.

        Raises:
            PolcaError: a loss that is not finite.
        """
        gradients: Tensor | None = None
        losses: list[Tensor] = []
        moves: list[Tensor] = []
        there = {} if known is None else {int(step): index for index, step in enumerate(known.steps)}
        vectors = sum(map(len, self.bases.values()))
        for index, step in enumerate(steps):
            if known is not None and step in there:
                at = there[step]
                loss, own = (on_device(torch.from_numpy(a)) for a in (known.losses[at], known.gradients[:vectors, at]))
            else:
                loss, own = self.at(step)
                own = own.mT
            if gradients is None:
                gradients = own.new_empty(vectors, len(steps), own.shape[1])
            gradients[:, index] = own
            losses.append(loss)
            if index:
                moves.append(self.displacement(step, steps[index - 1]))
                if over(index + 1):
                    break
        assert gradients is not None
        exact = torch.stack(losses).cpu().numpy()
        if not np.isfinite(exact).all():
            bad = steps[int(np.argmax(~np.isfinite(exact).all(axis=1)))]
            raise PolcaError(
                f"projections: a token loss at step {bad} is NaN or infinite: check the checkpoint and the data"
            )
        return Projected(
            steps=np.array(steps[: len(losses)], np.int64),
            losses=exact,
            gradients=gradients[:, : len(losses)].cpu().numpy(),
            movements=torch.stack(moves).cpu().numpy(),
            bases=self.bases,
        )

    def tf32_error(self, step: int) -> dict[str, float]:
        """Relative error of G in TF32 at one checkpoint, over tokens: of the median vector and of the worst."""
        exact, rounded = (self.at(step, allowed)[1].double() for allowed in (False, True))
        errors = (rounded - exact).norm(dim=0) / exact.norm(dim=0)
        return {"median": float(errors.median()), "largest": float(errors.max()), "step": step}


def app_c(task: Task, checkpoints: Checkpoints, projected: Projected) -> dict[str, Any]:
    """App. C on its published subset: estimated second-order terms along the Hessian against exact ones, in nats.

    Exact curvature is computed for that subset alone, which needs a minute where all of it would need hours.
    """
    hessian = projected.of("hessian")
    points, tokens, count = hessian.gradients.shape
    # Its tokens, intervals and vectors are the first ones.
    sizes = zip((tokens, points - 1, count), APP_C, strict=True)
    wanted, intervals, few = (len(np.arange(size)[chosen]) for size, chosen in sizes)
    steps, vectors = hessian.steps[: intervals + 1], projected.bases["hessian"].first(few)
    layout = Layout.of(checkpoints.load(int(steps[0])))
    directions = {name: v.contiguous() for name, v in layout.split(vectors.rows).items()}
    batches = task.evaluation_batches()
    targets = tokens // sum(len(batch[0]) for batch in batches)
    some = on_device(tuple(torch.cat(part)[: -(-wanted // targets)] for part in zip(*batches, strict=True)))
    # The subset alone is looked at: elsewhere nothing is known.
    exact = np.full((intervals, tokens, few), np.nan, np.float32)
    for index, step in enumerate(steps[:-1]):
        params = on_device(checkpoints.load(int(step)))
        _, _, second = directional_derivatives(task.evaluated_loss, params, directions, some)
        assert second is not None
        exact[index, :wanted] = second.movedim(0, -1).flatten(0, 1)[:wanted].cpu().numpy()
    part = replace(
        hessian,
        steps=steps,
        losses=hessian.losses[: len(steps)],
        gradients=hessian.gradients[: len(steps), :, :few],
        movements=hessian.movements[:intervals, :few],
        vector_steps=vectors.steps,
        eigenvalues=hessian.eigenvalues[:few],
        token_curvatures=exact,
    )
    found: dict[str, Any] = {}
    forms: tuple[SecondOrder, ...] = ("paper", "trapezoid")
    for form in forms:
        error = second_order_rmse(part, form, subset=APP_C)
        found[f"rmse_{form}_published_subset"] = error.rmse
    found |= {"rms_exact_published_subset": error.rms_exact, "terms_published_subset": error.terms}
    return found
