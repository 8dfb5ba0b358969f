"""The engine: G, Δ, λ and exact losses for every evaluation token at every checkpoint.

    G[t, x, b] = ⟨b, ∇L(x; θ_t)⟩      Δ[t, b] = ⟨b, θ_{t+1} − θ_t⟩      λ[t, x, b] = bᵀ H_t(x) b

The expensive step, done once per basis and written; every trajectory of Table 8 is arithmetic on it. Two ways give G:
one backward pass per target position contracted with the basis (`reverse`), cheaper where sequences have few targets,
and forward mode (`forward`), which also gives the exact curvature. Memory is bounded by chunks of sequences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polca.errors import PolcaError, check_choice
from polca.machine.arrays import Arrays
from polca.machine.distributed import rank, sum_over_ranks, world_size
from polca.machine.parallel import map_processes
from polca.machine.runtime import device, on_device, warn_unpinned
from polca.method.bases import Basis
from polca.method.checkpoints import Checkpoints, select_steps
from polca.method.guard import Guard, batches_of_each_form, check_repeatable
from polca.method.reverse import NotCovered
from polca.typing import TokenLossFunction

Method = Literal["auto", "backward", "forward"]


@dataclass(frozen=True)
class Projections(Arrays):
    """Loss and curvature along a basis, per token and checkpoint.

    Attributes:
        steps: `[C]` training steps of the checkpoints.
        losses: `[C, X]` exact loss L(x; θ_t) in nats.
        gradients: `[C, X, K]` G = ⟨b, ∇L(x; θ_t)⟩.
        movements: `[C − 1, K]` Δ = ⟨b, θ_{t+1} − θ_t⟩.
        curvatures: `[D, K]` λ = bᵀH_t(X)b, the mean over tokens, at the first D ≤ C checkpoints; None where curvature
            was not asked for.
        token_curvatures: `[D, X, K]` bᵀH_t(x)b, exact; None where curvature was not asked for.
        vector_steps: `[K]` training step at which b was computed, −1 where none.
        eigenvalues: `[K]` bᵀHb there on the Hessian sample, NaN where none.

    Tokens are numbered sequence by sequence: x = sequence · targets + target.
    """

    form: ClassVar[Mapping[str, str]] = {
        "steps": "int C",
        "losses": "finite C X",
        "gradients": "finite C X K",
        "movements": "finite C-1 K",
        "vector_steps": "int K",
        "eigenvalues": "float K",
        "curvatures?": "finite D K",
        "token_curvatures?": "finite D X K",
    }

    steps: NDArray[np.int64]
    losses: NDArray[np.float32]
    gradients: NDArray[np.float32]
    movements: NDArray[np.float32]
    vector_steps: NDArray[np.int64]
    eigenvalues: NDArray[np.float32]
    curvatures: NDArray[np.float32] | None = None
    token_curvatures: NDArray[np.float32] | None = None

    @property
    def curved_intervals(self) -> int:
        """Intervals, from the first on, at whose beginning the exact curvature of every token is known."""
        return 0 if self.token_curvatures is None else min(len(self.token_curvatures), len(self.steps) - 1)


def curved_part(p: Projections) -> Projections:
    """The first intervals, as far as the exact curvature is known (`curved_intervals`, at least one)."""
    count = p.curved_intervals
    if count == len(p.steps) - 1:
        return p
    points = {name: getattr(p, name)[: count + 1] for name in ("steps", "losses", "gradients")}
    return replace(p, **points, movements=p.movements[:count])


def thin(projections: Projections, interval: int, name: str = "interval") -> Projections:
    """Projections at the multiples of `interval` training steps, movements added up in float64.

    Raises:
        PolcaError: their checkpoints do not lie on that grid; the message calls the interval `name`.
    """
    p, steps = projections, select_steps(projections.steps.tolist(), interval, name)
    if len(steps) == len(p.steps):
        return p
    at = np.searchsorted(p.steps, steps)
    path = np.concatenate([np.zeros((1, p.movements.shape[1])), p.movements], dtype=np.float64)
    return replace(
        p,
        steps=p.steps[at],
        losses=p.losses[at],
        gradients=p.gradients[at],
        movements=np.diff(np.cumsum(path, axis=0)[at], axis=0).astype(p.movements.dtype),
        curvatures=None if p.curvatures is None else p.curvatures[at[at < len(p.curvatures)]],
        token_curvatures=None if p.token_curvatures is None else p.token_curvatures[at[at < len(p.token_curvatures)]],
    )


@dataclass(frozen=True)
class _Job:
    """What a worker needs for one checkpoint."""

    token_loss: TokenLossFunction
    checkpoints: Checkpoints
    data: Sequence[Any]
    bases: Mapping[str, Basis]
    curvature_of: frozenset[str]
    method: Method
    guard: Guard

    @cached_property
    def with_curvature(self) -> tuple[str, ...]:
        """Bases whose curvature is wanted."""
        return tuple(n for n in self.bases if n in self.curvature_of)

    @cached_property
    def plain(self) -> tuple[str, ...]:
        """Dense bases whose projections alone are wanted."""
        return tuple(n for n, b in self.bases.items() if n not in self.curvature_of and b.vectors)

    @cached_property
    def with_axes(self) -> tuple[str, ...]:
        """Bases of single parameters."""
        return tuple(n for n, b in self.bases.items() if n not in self.curvature_of and b.axes)

    @cached_property
    def directions(self) -> dict[str, Tensor]:
        """The directions of the `plain` bases one after the other, `[ΣK, *shape]`; made once per process."""
        if not self.plain:
            return {}
        names = self.bases[self.plain[0]].vectors
        return {p: on_device(torch.cat([self.bases[n].vectors[p] for n in self.plain])) for p in names}

    @cached_property
    def curved(self) -> dict[str, dict[str, Tensor]]:
        """The directions of each basis whose curvature is wanted."""
        return {n: on_device(self.bases[n].vectors) for n in self.with_curvature}

    @cached_property
    def axes(self) -> tuple[tuple[str, int], ...]:
        """The directions of the `with_axes` bases one after the other."""
        return tuple(axis for n in self.with_axes for axis in self.bases[n].axes)


def _dense_axes(axes: Sequence[tuple[str, int]], params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Single parameters written out as directions, for forward mode."""
    dense = {name: torch.zeros(len(axes), *p.shape, dtype=p.dtype, device=p.device) for name, p in params.items()}
    for index, (name, position) in enumerate(axes):
        dense[name][index].view(-1)[position] = 1
    return dense


class _Rows:
    """Rows `[n, ...]` that come batch by batch, in one array.

    Many small arrays that outlive the large ones of their batches would break up the heap, which then grew with tokens.
    """

    def __init__(self, batches: int) -> None:
        self._batches, self._used = batches, 0
        self._rows: Tensor | None = None

    def append(self, rows: Tensor) -> None:
        if self._rows is None:  # the first batch is the largest, as a rule
            self._rows = rows.new_empty(self._batches * len(rows), *rows.shape[1:])
        end = self._used + len(rows)
        if end > len(self._rows):
            self._rows = torch.cat([self._rows[: self._used], rows.new_empty(end, *rows.shape[1:])])
        self._rows[self._used : end] = rows
        self._used = end

    def numpy(self) -> NDArray[np.float32]:
        """All of them."""
        assert self._rows is not None
        return self._rows[: self._used].cpu().numpy()


def _at_checkpoint(job: _Job, step: int) -> dict[str, Any]:
    """Loss `[X]`, and for each basis G `[X, K]` and where asked λ `[X, K]`, at one checkpoint."""
    return _of_batches(job, job.data, step)


def _of_batches(job: _Job, data: Sequence[Any], step: int) -> dict[str, Any]:
    params = on_device(dict(job.checkpoints.load(step)))
    losses = _Rows(len(data))
    first = {n: _Rows(len(data)) for n in job.bases}
    second = {n: _Rows(len(data)) for n in job.with_curvature}

    def note(name: str, store: dict[str, _Rows], values: Tensor) -> None:
        store[name].append(values.reshape(-1, values.shape[-1]))

    forward = dict(job.directions)
    if job.method == "forward" and job.axes:
        written_out = _dense_axes(job.axes, params)
        forward = {p: torch.cat([forward[p], v]) if forward else v for p, v in written_out.items()}
    for batch in map(on_device, data):
        loss: Tensor | None = None
        for name in job.with_curvature:
            loss, g, h = job.guard.forward(job.token_loss, params, job.curved[name], batch, second_order=True)
            assert h is not None
            note(name, first, g.movedim(0, -1))
            note(name, second, h.movedim(0, -1))
        if job.plain or job.axes or loss is None:
            if job.method == "forward":
                loss, g, _ = job.guard.forward(job.token_loss, params, forward, batch, second_order=False)
                gradients = g.movedim(0, -1)
            else:
                loss, dense, sparse = job.guard.reverse(job.token_loss, params, batch, job.directions, job.axes)
                gradients = torch.cat([dense, sparse], dim=-1)
            offset = 0
            for name in job.plain + job.with_axes:
                note(name, first, gradients[..., offset : offset + len(job.bases[name])])
                offset += len(job.bases[name])
        losses.append(loss.reshape(-1))
    result: dict[str, Any] = {"loss": losses.numpy()}
    for kind, store in (("first", first), ("second", second)):
        if store:
            result[kind] = {name: rows.numpy() for name, rows in store.items()}
    return result


def _movements(
    checkpoints: Checkpoints, steps: Sequence[int], bases: Mapping[str, Basis]
) -> dict[str, NDArray[np.floating]]:
    """Δ `[T, K]` of each basis; differences are taken before the product, which would cancel them."""
    rows: dict[str, list[NDArray[np.float64]]] = {name: [] for name in bases}
    # NumPy's products have portable bits; a GPU reads the vectors a hundred times faster.
    on_gpu = device().type != "cpu"
    resident = {label: on_device(basis.vectors) for label, basis in bases.items()} if on_gpu else {}
    # Under torchrun each process takes successive intervals; the others' rows stay 0, so that the sum is exact.
    intervals = len(steps) - 1
    first, last = (intervals * number // world_size() for number in (rank(), rank() + 1))
    before = checkpoints.load(steps[first])
    floats = np.result_type(np.float32, *(p.detach().cpu().numpy().dtype for p in before.values()))
    for step in steps[first + 1 : last + 1]:
        after = checkpoints.load(step)
        displacement = {name: after[name] - before[name] for name in after}
        for label, basis in bases.items():
            if basis.axes:
                row = np.array([displacement[name].reshape(-1)[i].item() for name, i in basis.axes])
            else:
                row = np.zeros(len(basis))
                for name, vectors in (resident[label] if on_gpu else basis.vectors).items():
                    matrix, change = vectors.reshape(len(basis), -1), on_device(displacement[name].reshape(-1))
                    part = (matrix @ change).cpu().numpy() if on_gpu else matrix.numpy() @ change.numpy()
                    row += part.astype(np.float64)
            rows[label].append(row)
        before = after
    output = {}
    for name, own_rows in rows.items():
        table = np.zeros((intervals, len(bases[name])), floats)
        if own_rows:
            table[first:last] = np.stack(own_rows)  # rounded to the type of the parameters
        output[name] = sum_over_ranks([torch.from_numpy(table)])[0].numpy()
    return output


def project_bases(
    token_loss: TokenLossFunction,
    checkpoints: Checkpoints,
    bases: Mapping[str, Basis],
    data: Sequence[Any],
    *,
    steps: Sequence[int] | None = None,
    curvature_of: Sequence[str] = (),
    curvature_points: int | None = None,
    method: Method = "auto",
    workers: int | None = 1,
    resume: Path | None = None,
) -> dict[str, Projections]:
    """`project` for several bases at once, which share the forward and backward passes.

    Args:
        bases: by name.
        data: evaluation sequences in batches; the batch is the unit of memory.
        steps: checkpoints to use, all by default.
        curvature_of: names of the bases whose exact token curvatures are computed as well.
        curvature_points: at how many checkpoints, the first ones; None for all. At the others such a basis costs no
            more than one without curvature, and its gradients may come by backward passes: the same within rounding.
        method: `backward` (one backward pass per target position), `forward`, or `auto`, which takes the cheaper of the
            two: `forward` where sequences have more targets than there are vectors, and where backward does not do.
        workers: processes, None for as many as the machine has cores; results do not depend on their number. Under
            torchrun, its processes share the checkpoints
            out instead, and each returns everything.
        resume: folder in which finished checkpoints lie until all are done.

    Raises:
        PolcaError: an unknown method or basis, curvature at no checkpoint, no steps or data, a basis with parameters
            that the checkpoints lack, a loss that is not the same twice, has not one row a sequence or is not finite,
            or one of which neither forward nor reverse mode gives the gradient.
    """
    check_choice("method", method, get_args(Method))
    for name in curvature_of:
        check_choice("curvature_of", name, bases)
        if bases[name].axes:
            raise PolcaError(f"curvature_of: basis {name!r} is made of single parameters: leave it out")
    if curvature_points is not None and curvature_points < 1:
        raise PolcaError(f"curvature_points = {curvature_points}: must be at least 1: ask for no curvature instead")
    chosen = list(checkpoints.steps() if steps is None else steps)
    for what, given in (("steps", chosen), ("data", data), ("bases", bases)):
        if not len(given):
            raise PolcaError(f"projections: {what} is empty: give one at least")
    params = checkpoints.load(chosen[0])
    for label, basis in bases.items():
        wrong = [n for n, v in basis.vectors.items() if n not in params or v.shape[1:] != params[n].shape]
        wrong += [n for n in params if basis.vectors and n not in basis.vectors]
        if wrong:
            raise PolcaError(
                f"basis {label}: parameter {wrong[0]!r} does not match the checkpoints: make the basis again"
            )
    check_repeatable(token_loss, params, data[0], second_order=bool(curvature_of))
    with torch.no_grad():
        targets = token_loss(on_device(dict(params)), on_device(data[0])).shape[1] if method == "auto" else 0
    forms, guard = batches_of_each_form(data), Guard()

    def at(part: Sequence[int], along: frozenset[str], description: str) -> list[dict[str, Any]]:
        vectors = sum(len(b) for n, b in bases.items() if n not in along and not b.axes)
        # In forward passes, forward mode costs 1 + 2K and backward 1 + targets + K.
        cheaper: Method = "forward" if targets > vectors and not any(b.axes for b in bases.values()) else "backward"
        job = _Job(token_loss, checkpoints, data, bases, along, cheaper if method == "auto" else method, guard)
        try:  # before anything is shared out, so that all processes go on in the same way
            _of_batches(job, forms, chosen[0])
        except NotCovered:
            if method != "auto":
                raise
            job = replace(job, method="forward")
            _of_batches(job, forms, chosen[0])
        return map_processes(
            _at_checkpoint, job, part, workers=workers, description=description, resume=resume, shared_out=True
        )

    curved = frozenset(curvature_of)
    first = len(chosen) if curvature_points is None or not curved else curvature_points
    results = at(chosen[:first], curved, "projections" if first >= len(chosen) else "projections with curvature")
    if first < len(chosen):  # other processes, which then hold no directions for curvature
        results += at(chosen[first:], frozenset(), "projections")
    losses = np.stack([r["loss"] for r in results])
    if not np.isfinite(losses).all():
        bad = chosen[int(np.argmax(~np.isfinite(losses).all(axis=1)))]
        raise PolcaError(
            f"projections: a token loss at step {bad} is NaN or infinite: check the checkpoint and the data"
        )
    movements = _movements(checkpoints, chosen, bases)
    output = {}
    for name, basis in bases.items():
        exact = np.stack([r["second"][name] for r in results[:first]]) if name in curved else None
        output[name] = Projections(
            steps=np.array(chosen, np.int64),
            losses=losses,
            gradients=np.stack([r["first"][name] for r in results]),
            movements=movements[name],
            vector_steps=basis.steps,
            eigenvalues=basis.eigenvalues.astype(np.float32),
            curvatures=None if exact is None else exact.mean(axis=1, dtype=np.float64).astype(np.float32),
            token_curvatures=exact,
        )
    return output


def project(
    token_loss: TokenLossFunction,
    checkpoints: Checkpoints,
    basis: Basis,
    data: Sequence[Any],
    *,
    curvature: bool = False,
    curvature_points: int | None = None,
    steps: Sequence[int] | None = None,
    method: Method = "auto",
    workers: int = 1,
    resume: Path | None = None,
) -> Projections:
    """G, Δ, losses and, with `curvature=True`, λ of every evaluation token along `basis` (eqs. 2–7).

    Args:
        token_loss: `(params, batch) → losses [sequences, targets]`.
        checkpoints: θ_0 … θ_T.
        basis: K directions.
        data: evaluation sequences in batches.
        curvature_points, steps, method, workers, resume: as in `project_bases`.

    Raises:
        PolcaError: as `project_bases`.
    """
    warn_unpinned()
    name = basis.kind
    return project_bases(
        token_loss,
        checkpoints,
        {name: basis},
        data,
        steps=steps,
        curvature_of=(name,) if curvature else (),
        curvature_points=curvature_points,
        method=method,
        workers=workers,
        resume=resume,
    )[name]
