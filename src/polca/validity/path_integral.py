r"""The true loss change along each direction: a path integral along the straight segment between checkpoints.

    P(x, b; t) = ⟨b, θ_{t+1} − θ_t⟩ ∫₀¹ ⟨b, ∇L(x; θ_t + s (θ_{t+1} − θ_t))⟩ ds

Summed over an orthonormal basis of the whole space it is the loss change itself, which is what Loss Change Allocation
means; every form of POLCA's second order is a quadrature of it with information from the two ends (or one). Not in the
paper. The nodes are those of Clenshaw and Curtis: doubling them keeps the old ones, so that one set of gradients gives
the trapezoid rule, Simpson's and the finer ones, and the difference of the last two says whether it has converged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.arrays import Arrays
from polca.machine.parallel import map_processes
from polca.method.bases import Basis
from polca.method.checkpoints import Checkpoints
from polca.method.reverse import projected_gradients
from polca.typing import TokenLossFunction

Floats = NDArray[np.float64]


def nodes(count: int) -> Floats:
    """The `count` Clenshaw–Curtis nodes on [0, 1], rising: ½ (1 − cos(iπ/(count − 1))).

    Raises:
        PolcaError: fewer than two.
    """
    if count < 2:
        raise PolcaError(f"nodes = {count}: must be at least 2, the two ends")
    return np.asarray((1 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2)


def weights(count: int) -> Floats:
    """Their weights: exact for polynomials of degree count − 1; two nodes give the trapezoid rule, three Simpson's."""
    degrees = np.arange(count)
    # ∫ of the Chebyshev polynomials over [−1, 1]: 2/(1 − k²) for even k, 0 for odd.
    moments = np.where(degrees % 2, 0.0, 2.0 / np.where(degrees % 2, 1.0, 1.0 - degrees**2.0))
    return np.asarray(np.linalg.solve(chebyshev.chebvander(2 * nodes(count) - 1, count - 1).T, moments) / 2)


def levels(count: int) -> list[int]:
    """Node counts of the rules that are nested in that of `count` nodes, itself last: 2, 3, 5, 9, …

    Raises:
        PolcaError: `count` is no power of two and one.
    """
    if count < 2 or (count - 1) & (count - 2):
        raise PolcaError(f"nodes = {count}: must be a power of two and one")
    return [2**i + 1 for i in range((count - 1).bit_length())]


def spread(available: int, count: int) -> list[int]:
    """`count` of `available` intervals, evenly spaced: the middle ones of `count` equal parts.

    Raises:
        PolcaError: more are asked for than there are.
    """
    if not 1 <= count <= available:
        raise PolcaError(f"path_intervals = {count}: there are {available} intervals: choose from 1 to {available}")
    return [((2 * i + 1) * available) // (2 * count) for i in range(count)]


@dataclass(frozen=True)
class PathGradients(Arrays):
    """Gradients along segments between checkpoints.

    Attributes:
        intervals: `[I]` which intervals of the projections.
        steps: `[I, 2]` training steps of their ends.
        fractions: `[N]` nodes on [0, 1], the ends included.
        losses: `[I, N, X]` exact loss in nats.
        gradients: `[I, N, X, K]` ⟨b, ∇L(x; θ_t + s Δθ)⟩.
        along: `[I, N, X]` ⟨Δθ, ∇L(x; θ_t + s Δθ)⟩, whose integral is the whole loss change: a check on the quadrature.
        movements: `[I, K]` ⟨b, Δθ⟩.
    """

    form: ClassVar[Mapping[str, str]] = {
        "intervals": "int I",
        "steps": "int I 2",
        "fractions": "finite N",
        "losses": "finite I N X",
        "gradients": "finite I N X K",
        "along": "finite I N X",
        "movements": "finite I K",
    }

    intervals: NDArray[np.int64]
    steps: NDArray[np.int64]
    fractions: Floats
    losses: NDArray[np.floating]
    gradients: NDArray[np.floating]
    along: NDArray[np.floating]
    movements: Floats

    def integral(self, count: int | None = None) -> Floats:
        """P `[I, X, K]` in nats, by the nested rule with `count` nodes (default: all)."""
        return np.asarray(self._rule(self.gradients, count) * self.movements[:, None])

    def whole(self, count: int | None = None) -> Floats:
        """The loss change `[I, X]` in nats by the same rule along the whole movement."""
        return self._rule(self.along, count)

    def _rule(self, values: NDArray[np.floating], count: int | None) -> Floats:
        """∫ over the second dimension, `[I, N, …]` → `[I, …]`, with every so-manieth node."""
        every = len(self.fractions)
        if count is not None and count not in levels(every):
            raise PolcaError(f"nodes = {count}: expected one of {', '.join(map(str, levels(every)))}")
        chosen = values[:, :: (every - 1) // ((count or every) - 1)].astype(np.float64)
        return np.asarray(np.einsum("n,in...->i...", weights(count or every), chosen))


@dataclass(frozen=True)
class _Job:
    """What a worker needs for one node."""

    token_loss: TokenLossFunction
    checkpoints: Checkpoints
    basis: Basis
    data: Sequence[Any]
    ends: Mapping[int, tuple[int, int]]
    fractions: Floats


def _between(before: Mapping[str, Tensor], after: Mapping[str, Tensor], fraction: float) -> dict[str, Tensor]:
    """θ_t + s (θ_{t+1} − θ_t); the ends themselves at 0 and 1."""
    if fraction in (0.0, 1.0):
        return dict(after if fraction else before)
    return {name: p + fraction * (after[name] - p) for name, p in before.items()}


def _at_node(job: _Job, item: str) -> dict[str, Any]:
    """Loss `[X]`, G `[X, K]` and ⟨Δθ, ∇L⟩ `[X]` at one node of one interval."""
    interval, node = (int(part) for part in item.split("-"))
    before, after = (job.checkpoints.load(step) for step in job.ends[interval])
    params = _between(before, after, float(job.fractions[node]))
    # The movement is one more direction, so that it shares the passes.
    directions = {
        name: torch.cat([vectors, (after[name] - before[name])[None]]) for name, vectors in job.basis.vectors.items()
    }
    parts = [projected_gradients(job.token_loss, params, batch, directions) for batch in job.data]
    gradients = torch.cat([dense.reshape(-1, dense.shape[-1]) for _, dense, _ in parts])
    return {
        "loss": torch.cat([loss.reshape(-1) for loss, _, _ in parts]).numpy(),
        "gradients": gradients[:, :-1].numpy(),
        "along": gradients[:, -1].numpy(),
    }


def path_gradients(
    token_loss: TokenLossFunction,
    checkpoints: Checkpoints,
    basis: Basis,
    data: Sequence[Any],
    *,
    steps: Sequence[int],
    intervals: Sequence[int],
    count: int,
    workers: int | None = 1,
    resume: Path | None = None,
) -> PathGradients:
    """Gradients of every token at the nodes between checkpoints, projected on `basis` and on the movement itself.

    Args:
        basis: K dense directions.
        data: evaluation sequences in batches; the batch is the unit of memory.
        steps: the checkpoints of the projections; interval i lies between steps i and i + 1.
        intervals: which of them.
        count: nodes, a power of two and one.
        workers, resume: as in `project_bases`.

    Raises:
        PolcaError: a basis of single parameters, an interval that does not exist, or a number of nodes that is not
            nested.
    """
    levels(count)
    if not basis.vectors:
        raise PolcaError(f"basis {basis.kind}: path integrals need dense directions: give another basis")
    if not intervals or not 0 <= min(intervals) <= max(intervals) < len(steps) - 1:
        raise PolcaError(f"intervals {list(intervals)}: expected some of 0 … {len(steps) - 2}")
    fractions = nodes(count)
    ends = {int(i): (int(steps[i]), int(steps[i + 1])) for i in intervals}
    job = _Job(token_loss, checkpoints, basis, data, ends, fractions)
    items = [f"{i}-{n}" for i in ends for n in range(count)]
    results = map_processes(_at_node, job, items, workers=workers, description="path integral", resume=resume)

    def stacked(name: str) -> NDArray[np.floating]:
        values = np.stack([result[name] for result in results])
        return values.reshape(len(ends), count, *values.shape[1:])

    movements = []
    for first, last in ends.values():
        before, after = checkpoints.load(first), checkpoints.load(last)
        movements.append(
            sum(
                v.reshape(len(basis), -1).double().numpy() @ (after[n] - before[n]).reshape(-1).double().numpy()
                for n, v in basis.vectors.items()
            )
        )
    return PathGradients(
        intervals=np.array(list(ends), np.int64),
        steps=np.array(list(ends.values()), np.int64),
        fractions=fractions,
        losses=stacked("loss"),
        gradients=stacked("gradients"),
        along=stacked("along"),
        movements=np.stack(movements),
    )
