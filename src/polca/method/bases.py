"""Bases of directions in weight space: Algorithm 1 and its ablations.

- `hessian_basis`: at each basis checkpoint, the top eigenvector(s) of the Hessian outside the span found so far;
- the same with its checkpoints in shuffled order (Table 10);
- `random_basis`: random orthonormal directions (Table 10);
- `axis_basis`: single parameters, for LCA (Table 8).
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from polca.errors import PolcaError, check_choice
from polca.machine.distributed import is_first
from polca.machine.files import read_tensors, write_tensors
from polca.machine.progress import progress
from polca.machine.runtime import warn_unpinned
from polca.method.checkpoints import Checkpoints
from polca.method.curvature import HessianOperator, Layout, Which, check_lanczos, inner, lanczos, norm
from polca.method.guard import check_repeatable, warn_of_still_parameters
from polca.typing import TokenLossFunction

Operator = Callable[[Tensor], Tensor]
"""A symmetric matrix as what it does to flat vectors `[d]`."""


@dataclass(frozen=True)
class Basis:
    """K orthonormal directions b in weight space.

    Attributes:
        kind: how it was made.
        vectors: by parameter name `[K, *shape]`; empty for an axis basis.
        axes: for an axis basis, (parameter name, index inside the flattened parameter) of each direction.
        steps: `[K]` training step at which each was computed, −1 where none.
        eigenvalues: `[K]` bᵀHb there on the Hessian sample, NaN where none.
        residuals: `[K]` eigenpair residuals, NaN where none.
        matvecs: `[K]` Hessian-vector products spent.
    """

    kind: str
    vectors: dict[str, Tensor] = field(repr=False)
    steps: NDArray[np.int64]
    eigenvalues: NDArray[np.float64]
    residuals: NDArray[np.float64]
    matvecs: NDArray[np.int64]
    axes: tuple[tuple[str, int], ...] = ()

    def __len__(self) -> int:
        return len(self.steps)

    def missed(self, tolerance: float = 1e-3) -> NDArray[np.int64]:
        """Indices of the vectors that are no eigenvectors to `tolerance`, residuals above `tolerance` · |λ|.

        Vectors that come from no eigenvalue problem never miss it, nor do residuals that are rounding of the largest λ.
        """
        if np.isnan(self.residuals).all():
            return np.zeros(0, np.int64)
        sizes = np.abs(self.eigenvalues)
        rounding = 16 * torch.finfo(next(iter(self.vectors.values())).dtype).eps * np.nanmax(sizes)
        return np.flatnonzero(self.residuals > np.maximum(tolerance * sizes, rounding))

    def flat(self, names: Sequence[str] | None = None) -> Tensor:
        """All directions as rows `[K, d]`, parameters in the order of `names` (default: that of `vectors`)."""
        return torch.cat([self.vectors[n].reshape(len(self), -1) for n in names or self.vectors], dim=1)

    def save(self, path: Path) -> None:
        """Write as safetensors, the small arrays in its metadata."""
        facts = {
            "kind": self.kind,
            "axes": self.axes,
            **{n: getattr(self, n).tolist() for n in ("steps", "eigenvalues", "residuals", "matvecs")},
        }
        tensors = self.vectors or {"none": torch.zeros(0)}
        write_tensors(path, tensors, {"basis": json.dumps(facts)})

    @classmethod
    def load(cls, path: Path, shapes: Mapping[str, Sequence[int]] | None = None) -> "Basis":
        """Read what `save` wrote.

        Args:
            shapes: if given, the shape of every parameter of the model that the basis must be one of.

        Raises:
            PolcaError: missing, damaged, not a basis, not finite, or of another model.
        """
        tensors = read_tensors(path)
        with safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
        if "basis" not in metadata:
            raise PolcaError(f"{path}: not a basis file (no 'basis' entry): run the basis stage again")
        try:
            facts = json.loads(metadata["basis"])
            basis = cls(
                kind=facts["kind"],
                vectors={} if "none" in tensors else tensors,
                axes=tuple((name, int(index)) for name, index in facts["axes"]),
                steps=np.array(facts["steps"], np.int64),
                eigenvalues=np.array(facts["eigenvalues"], np.float64),
                residuals=np.array(facts["residuals"], np.float64),
                matvecs=np.array(facts["matvecs"], np.int64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PolcaError(f"{path}: the basis' facts are damaged: run the basis stage again") from error
        for name, rows in basis.vectors.items():
            if not rows.is_floating_point() or not torch.isfinite(rows).all():
                raise PolcaError(f"{path}: {name!r} has values that are no finite floats: run the basis stage again")
        if shapes is not None:
            given = {name: (len(rows), *rows.shape[1:]) for name, rows in basis.vectors.items()}
            wanted = {name: (len(basis.steps), *shape) for name, shape in shapes.items()}
            if (basis.vectors and given != wanted) or not {name for name, _ in basis.axes} <= set(shapes):
                raise PolcaError(f"{path}: is the basis of another model: run the basis stage again")
        return basis


@dataclass(frozen=True)
class LanczosOptions:
    """How Algorithm 1 finds each step's eigenvectors, whatever the operator; as in `hessian_basis`."""

    per_step: int = 1
    which: Which = "algebraic"
    tolerance: float = 1e-3
    max_matvecs: int = 200
    seed: int = 0
    resume: Path | None = None


def projected_basis(
    kind: str,
    operator_at: Callable[[int], Operator],
    params: Mapping[str, Tensor],
    steps: Sequence[int],
    options: LanczosOptions,
) -> Basis:
    """Algorithm 1 with any symmetric operator in the Hessian's place.

    Lanczos begins at each step from the runner-up of the step before, which is often close to the top eigenvector
    outside the basis here: a quarter fewer products than from a random vector, for the same eigenpair.

    Args:
        kind: name of the basis.
        operator_at: the operator at a step, from the index into `steps`.
        params: θ by name, for names, shapes and type alone.
        steps: as in `hessian_basis`.

    Raises:
        PolcaError: more vectors than parameters, an impossible option, or a product that is not finite.
    """
    layout = Layout.of(params)
    per_step = options.per_step
    wanted = len(steps) * per_step
    if wanted > layout.size:
        raise PolcaError(
            f"basis.vectors × basis.per_step = {wanted} is more than the model's {layout.size} parameters: lower one"
        )
    check_choice("which", options.which, get_args(Which))
    if options.per_step < 1:
        raise PolcaError(f"per_step = {options.per_step}: must be at least 1")
    check_lanczos(options.per_step, options.tolerance, options.max_matvecs)
    rows = torch.zeros(wanted, layout.size, dtype=next(iter(params.values())).dtype)
    facts: list[dict[str, float]] = []
    guess: Tensor | None = None
    with progress(f"basis {kind}", len(steps)) as bar:
        for index, step in enumerate(steps):
            place = slice(index * per_step, (index + 1) * per_step)
            file = None if options.resume is None else options.resume / f"{index:03d}_{step:06d}.safetensors"
            part = _finished_part(file)
            if part is None:
                result = lanczos(
                    operator_at(index),
                    layout.size,
                    per_step,
                    orthogonal_to=rows[: place.start],
                    which=options.which,
                    tolerance=options.tolerance,
                    max_matvecs=options.max_matvecs,
                    seed=options.seed + index,
                    start=guess,
                    dtype=rows.dtype,
                )
                part = {
                    "vectors": result.vectors,
                    "eigenvalues": torch.from_numpy(result.values),
                    "residuals": torch.from_numpy(result.residuals),
                    "matvecs": torch.tensor(result.matvecs),
                }
                if result.runner_up is not None:
                    part["runner_up"] = result.runner_up
                if file is not None and is_first():
                    write_tensors(file, part)
            rows[place], guess = part["vectors"], part.get("runner_up")
            facts.extend(
                {"step": step, "eigenvalue": float(value), "residual": float(residual), "matvecs": int(part["matvecs"])}
                for value, residual in zip(part["eigenvalues"], part["residuals"], strict=True)
            )
            bar.advance(note=f"λ {facts[-1]['eigenvalue']:.3g}, {facts[-1]['matvecs']} products")
    basis = Basis(
        kind=kind,
        vectors={name: v.contiguous() for name, v in layout.split(rows).items()},
        steps=np.array([f["step"] for f in facts], np.int64),
        eigenvalues=np.array([f["eigenvalue"] for f in facts]),
        residuals=np.array([f["residual"] for f in facts]),
        matvecs=np.array([f["matvecs"] for f in facts], np.int64),
    )
    if len(missed := basis.missed(options.tolerance)):
        worst = float(np.max(basis.residuals[missed] / np.abs(basis.eigenvalues[missed])))
        warnings.warn(
            f"basis {kind}: vector {', '.join(str(k + 1) for k in missed)} of {len(basis)} missed the tolerance "
            f"{options.tolerance:g} (residual up to {worst:.2g} of the eigenvalue): raise max_matvecs = "
            f"{options.max_matvecs}, or the tolerance",
            stacklevel=3,
        )
    return basis


def hessian_basis(
    token_loss: TokenLossFunction,
    checkpoints: Checkpoints,
    data: Sequence[Any],
    *,
    steps: Sequence[int],
    per_step: int = 1,
    which: Which = "algebraic",
    tolerance: float = 1e-3,
    max_matvecs: int = 200,
    seed: int = 0,
    kind: str = "hessian",
    keep_graphs: bool = True,
    resume: Path | None = None,
) -> Basis:
    """Algorithm 1: for each step in `steps`, append the top eigenvectors of ΠH_tΠ, Π projecting off the basis so far.

    Args:
        token_loss: `(params, batch) → losses [sequences, targets]`.
        checkpoints: gives θ_t.
        data: the Hessian sample in batches.
        steps: basis checkpoints in the order in which they are used (shuffle them for the ablation).
        per_step: k eigenvectors a step.
        which, tolerance, max_matvecs, seed: as in `lanczos`; the seed differs from step to step.
        kind: name of the basis.
        keep_graphs: as in `HessianOperator`.
        resume: folder in which finished vectors lie until the basis is whole.

    Returns:
        Basis of `len(steps) · per_step` orthonormal vectors, in the order found. A warning names those that missed the
        tolerance, and so does `Basis.missed`.

    Raises:
        PolcaError: no steps or data, more vectors than parameters, an impossible option, a loss that is not the same
            twice or has no second derivative, or a product that is not finite.
    """
    warn_unpinned()
    if not len(steps) or not len(data):
        raise PolcaError(f"hessian_basis: {'data' if len(steps) else 'steps'} is empty: give one at least")
    check_repeatable(token_loss, checkpoints.load(steps[0]), data[0])
    warn_of_still_parameters(checkpoints)
    return projected_basis(
        kind,
        lambda index: HessianOperator(token_loss, checkpoints.load(steps[index]), data, keep_graphs),
        checkpoints.load(steps[0]),
        steps,
        LanczosOptions(per_step, which, tolerance, max_matvecs, seed, resume),
    )


def shuffled(steps: Sequence[int], seed: int) -> list[int]:
    """The basis checkpoints in a random order (Table 10's ablation)."""
    return np.random.default_rng(seed).permutation(list(steps)).tolist()  # type: ignore[no-any-return]


def _finished_part(path: Path | None) -> dict[str, Tensor] | None:
    """A finished part of an interrupted basis, or None where there is none or it is damaged."""
    if path is None or not path.is_file():
        return None
    try:
        return read_tensors(path)
    except PolcaError:
        return None


def _no_eigenpairs(count: int) -> dict[str, Any]:
    """The facts of `count` directions that come from no eigenvalue problem."""
    unknown = np.full(count, np.nan)
    return {"eigenvalues": unknown, "residuals": unknown, "matvecs": np.zeros(count, np.int64)}


def dense_basis(kind: str, rows: NDArray[Any], layout: Layout, steps: Sequence[int]) -> Basis:
    """A basis of orthonormal `rows [K, d]` that come from no eigenvalue problem."""
    vectors = {name: v.contiguous() for name, v in layout.split(torch.from_numpy(rows)).items()}
    return Basis(kind=kind, vectors=vectors, steps=np.asarray(steps, np.int64), **_no_eigenpairs(len(rows)))


def random_basis(params: Mapping[str, Tensor], count: int, *, steps: Sequence[int], seed: int = 0) -> Basis:
    """`count` random orthonormal directions, the span uniform over all subspaces (QR of a Gaussian matrix).

    `steps [count]` records the training step whose Hessian vector each stands in for.
    """
    layout = Layout.of(params)
    if count > layout.size:
        raise PolcaError(f"basis.vectors = {count} is more than the model's {layout.size} parameters: lower it")
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, layout.size, generator=generator, dtype=next(iter(params.values())).dtype).numpy()
    for index in range(count):
        for _ in range(2):
            rows[index] -= (rows[:index] @ rows[index]) @ rows[:index]
        rows[index] /= norm(rows[index])
    return dense_basis("random", rows, layout, steps)


def with_rayleigh_quotients(
    basis: Basis, token_loss: TokenLossFunction, checkpoints: Checkpoints, data: Sequence[Any]
) -> Basis:
    """`basis` with eigenvalues bᵀH_t b at its own steps, for directions that are no eigenvectors.

    Eq. 4 with λ fixed at basis time needs them for the random basis as for the Hessian's.
    """
    quotients = np.empty(len(basis))
    for step in np.unique(basis.steps):
        operator = HessianOperator(token_loss, checkpoints.load(int(step)), data)
        flat = basis.flat(operator.layout.names)
        for k in np.flatnonzero(basis.steps == step):
            quotients[k] = inner(flat[k], operator(flat[k]))
    return replace(basis, eigenvalues=quotients, matvecs=np.ones(len(basis), np.int64))


def axis_basis(params: Mapping[str, Tensor], count: int) -> Basis:
    """The `count` single parameters that are largest in magnitude (LCA's directions in Table 8), largest first."""
    layout = Layout.of(params)
    if count > layout.size:
        raise PolcaError(f"lca.parameters = {count} is more than the model's {layout.size} parameters: lower it")
    flat = layout.flatten(params).abs().cpu().numpy()
    order = np.argsort(-flat, kind="stable")[:count]
    ends = np.cumsum([0] + [int(np.prod(shape)) for shape in layout.shapes])
    owner = np.searchsorted(ends, order, side="right") - 1
    return Basis(
        kind="lca",
        vectors={},
        axes=tuple((layout.names[o], int(i - ends[o])) for o, i in zip(owner, order, strict=True)),
        steps=np.full(count, -1, np.int64),
        **_no_eigenpairs(count),
    )
