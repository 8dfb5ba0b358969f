"""One analysis' trajectories in one file, from which everything later is made: clusters, readings and figures.

Exact at small scale; at the published scale low-rank factors, small enough for git, with the error that they make.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import read_json, read_npz, write_npz
from polca.method.decomposition import Trajectories

Floats = NDArray[np.float64]

_EXPONENT = 15
"""Scores lie between −2^15 and 2^15: float16 ends at 2^16, and loses digits only below 2^-14."""

_FORM = {
    "name": "text",
    "projected": "bool",
    "steps": "int P",
    "vector_steps": "int K",
    "guarded": "int",
    "relative_error": "finite K",
    "values?": "finite K X P",
    "ranks?": "int K",
    "scores?": "finite R X",
    "curves?": "finite R P",
    "mean?": "finite K P",
}


@dataclass(frozen=True)
class Factors:
    """Trajectories of K vectors in low rank: those of vector k are `scores`ᵀ `curves` + `mean[k]`, over its own rows.

    The rows of all vectors stand one below the other, R = Σ `ranks` of them, so that no vector pays for another's rank.

    Attributes:
        ranks: `[K]` rows of each vector.
        scores: `[R, X]` float16, one number a token.
        curves: `[R, P]` float32, orthogonal within a vector, with the units (nats) of the trajectories.
        mean: `[K, P]` float32 mean over tokens.
    """

    ranks: NDArray[np.int64]
    scores: NDArray[np.float16]
    curves: NDArray[np.float32]
    mean: NDArray[np.float32]

    def __post_init__(self) -> None:
        rows, vectors, points = int(self.ranks.sum()), len(self.ranks), self.mean.shape[-1]
        fits = (
            (self.scores.dtype, self.curves.dtype, self.mean.dtype) == (np.float16, np.float32, np.float32)
            and self.scores.ndim == 2
            and len(self.scores) == rows
            and (self.curves.shape, self.mean.shape) == ((rows, points), (vectors, points))
            and (self.ranks >= 0).all()
        )
        if not fits:
            raise PolcaError(
                f"factors: ranks {self.ranks.tolist()}, scores {self.scores.dtype} {self.scores.shape}, curves "
                f"{self.curves.dtype} {self.curves.shape} and mean {self.mean.dtype} {self.mean.shape} do not fit "
                "together: make the archive again"
            )


@dataclass(frozen=True)
class Archive:
    """Trajectories of one analysis, K vectors, X tokens and P points: exact `values`, or `factors`.

    Attributes:
        name, projected, guarded: as in `Trajectories`.
        steps: `[P]` training step of each point.
        vector_steps: `[K]` step at which each basis vector was computed, −1 where none.
        relative_error: `[K]` Frobenius norm of what the factors leave out, float16 rounding included, over that of the
            trajectories less their mean over tokens; 0 for exact values.
        values: `[K, X, P]` float32, or None.
        factors: see `Factors`, or None.

    Raises:
        PolcaError: neither or both of `values` and `factors`, or arrays that do not fit together.
    """

    name: str
    projected: bool
    steps: NDArray[np.int64]
    vector_steps: NDArray[np.int64]
    guarded: int
    relative_error: Floats
    values: NDArray[np.float32] | None = None
    factors: Factors | None = None

    def __post_init__(self) -> None:
        if (self.values is None) == (self.factors is None):
            raise PolcaError(f"archive {self.name}: give either values or factors")
        if self.values is not None:
            shape, kind = (self.values.shape[0], self.values.shape[-1]), self.values.dtype
        elif self.factors is not None:
            shape, kind = self.factors.mean.shape, self.factors.mean.dtype
        vectors = (len(self.vector_steps), len(self.relative_error))
        if kind != np.float32 or vectors != (shape[0], shape[0]) or len(self.steps) != shape[1]:
            raise PolcaError(
                f"archive {self.name}: {kind} trajectories of {shape[0]} vectors at {shape[1]} points do not fit "
                f"{len(self.steps)} steps, {vectors[0]} vector steps and {vectors[1]} errors: make the archive again"
            )

    def matrix(self, k: int) -> NDArray[np.float32]:
        """Trajectories `[X, P]` of vector k (0 … K − 1); projected losses from factors start at exactly 0 (eq. 8)."""
        if self.values is not None:
            return self.values[k]
        assert self.factors is not None
        last = int(self.factors.ranks[: k + 1].sum())
        rows = slice(last - int(self.factors.ranks[k]), last)
        return _product(self.factors.scores[rows], self.factors.curves[rows], self.factors.mean[k], self.projected)

    def trajectories(self) -> Trajectories:
        """All vectors' trajectories; those of an exact archive bit for bit.

        Raises:
            PolcaError: values that are not finite.
        """
        values = self.values
        if self.factors is not None:
            k, x = len(self.factors.ranks), self.factors.scores.shape[1]
            values = np.empty((k, x, len(self.steps)), np.float32)
            for i in range(k):
                values[i] = self.matrix(i)
        assert values is not None
        return Trajectories(self.name, values, self.steps, self.projected, self.vector_steps, self.guarded)

    def save(self, path: Path) -> None:
        """Write an uncompressed `.npz`, the same bytes every time."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "factors"}
        if self.factors is not None:
            arrays |= {f.name: getattr(self.factors, f.name) for f in fields(self.factors)}
        write_npz(path, {name: np.asarray(a) for name, a in arrays.items() if a is not None})

    @classmethod
    def load(cls, path: Path) -> "Archive":
        """Read what `save` wrote.

        Raises:
            PolcaError: missing, damaged, not an archive, or not finite; the message names the file.
        """
        arrays = read_npz(path, _FORM)
        factors = {f.name: arrays.pop(f.name) for f in fields(Factors) if f.name in arrays}
        if factors and len(factors) < len(fields(Factors)):
            raise PolcaError(
                f"{path}: has of the factors only {', '.join(factors)}: run the stage that writes it again"
            )
        name, projected, guarded = (arrays.pop(n).item() for n in ("name", "projected", "guarded"))
        try:
            return cls(
                name=name,
                projected=projected,
                guarded=guarded,
                factors=Factors(**factors) if factors else None,
                **arrays,
            )
        except PolcaError as error:
            raise PolcaError(f"{path}: {error}") from error


def _product(
    scores: NDArray[np.float16], curves: NDArray[np.float32], mean: NDArray[np.float32], from_zero: bool
) -> NDArray[np.float32]:
    """Factors `[r, X]`, `[r, P]` and mean `[P]` of one vector multiplied out, `[X, P]`."""
    shapes, offset = curves.astype(np.float64), mean.astype(np.float64)
    if from_zero:
        # As good as subtracting the product's first column, and exactly 0 there.
        shapes, offset = shapes - shapes[:, :1], offset - offset[0]
    return (scores.T.astype(np.float64) @ shapes + offset).astype(np.float32)


def _low_rank(
    matrix: NDArray[np.float32], relative_error: float, max_rank: int | None, from_zero: bool
) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32], float]:
    """Scores `[r, X]`, curves `[r, P]`, mean `[P]` of one vector's `[X, P]`, and the relative error that they make."""
    exact = matrix.astype(np.float64)
    mean = exact.mean(axis=0).astype(np.float32)
    centred = exact - mean
    norm = float(np.linalg.norm(centred))
    energies, vectors = np.linalg.eigh(centred.T @ centred)
    energies, vectors = np.clip(energies[::-1], 0.0, None), vectors[:, ::-1]
    # What is smaller is the rounding of the Gram matrix.
    limit = int((energies > energies[0] * len(energies) * np.finfo(np.float64).eps).sum())
    limit = limit if max_rank is None else min(limit, max_rank)
    vectors = vectors[:, :limit]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(limit)])
    scores = centred @ vectors
    exponents = np.frexp(np.abs(scores).max(axis=0))[1] - _EXPONENT
    rounded = np.ldexp(scores, -exponents).astype(np.float16)
    curves = np.ldexp(vectors, exponents).astype(np.float32).T
    # The vectors are orthogonal: the squares of what they leave out and of what float16 rounds off add up.
    omitted = np.append(energies[::-1].cumsum()[::-1], 0.0)[: limit + 1]
    rounding = np.square(scores - np.ldexp(rounded.astype(np.float64), exponents)).sum(axis=0)
    expected = np.sqrt(omitted + np.append(0.0, rounding.cumsum()))
    error = 0.0
    for rank in range(min(limit, int((expected > relative_error * norm).sum())), limit + 1):
        kept = rounded.T[:rank], curves[:rank]
        error = float(np.linalg.norm(exact - _product(*kept, mean, from_zero))) / norm if norm else 0.0
        if error <= relative_error:
            break
    return *kept, mean, error


def compress(trajectories: Trajectories, relative_error: float, max_rank: int | None = None) -> Archive:
    """Trajectories as an archive with the least rank whose error is at most `relative_error`, vector by vector.

    Curves are eigenvectors of the trajectories' `[P, P]` Gram matrix about their mean over tokens, the largest entry of
    each positive; each token's scores along them are rounded to float16. The error is measured on what the archive
    gives back. Where float16 or `max_rank` puts the wanted error out of reach, the archive has the least that there is
    and says how much.

    Args:
        relative_error: 0 ≤ error < 1, see `Archive`; 0 keeps all values exactly.
        max_rank: at most so many curves a vector; None for no limit. Exact values know no rank.

    Raises:
        PolcaError: an impossible setting, no tokens, no points, or projected losses that do not start at 0 (eq. 8).

    Example: all tokens follow one curve, each at its own height.

        >>> import numpy as np, polca
        >>> from polca.study.archive import compress
        >>> curve, heights = np.array([0.0, -1.0, -3.0]), np.array([1.0, 2.0, 4.0])
        >>> values = (heights[:, None] * curve)[None].astype(np.float32)
        >>> trajectories = polca.Trajectories("polca", values, np.array([0, 10, 20]), projected=True)
        >>> archive = compress(trajectories, relative_error=0.001)
        >>> archive.factors.ranks.tolist(), bool(archive.relative_error[0] < 0.001)
        ([1], True)
        >>> archive.trajectories().values.round(2).tolist()
        [[[0.0, -1.0, -3.0], [0.0, -2.0, -6.0], [0.0, -4.0, -12.0]]]
    """
    if not 0 <= relative_error < 1:
        raise PolcaError(f"relative_error = {relative_error}: must be at least 0 (exact) and less than 1")
    if max_rank is not None and max_rank < 1:
        raise PolcaError(f"max_rank = {max_rank}: must be at least 1, or None for no limit")
    t = trajectories
    vectors, tokens, points = t.values.shape
    if not (vectors and tokens and points):
        raise PolcaError(f"trajectories {t.name}: no vectors, no tokens or no points: give at least one of each")
    described: dict[str, Any] = {
        "name": t.name,
        "projected": t.projected,
        "steps": t.steps,
        "vector_steps": np.full(vectors, -1, np.int64) if t.vector_steps is None else t.vector_steps,
        "guarded": t.guarded,
    }
    if relative_error == 0:
        return Archive(**described, relative_error=np.zeros(vectors), values=t.values)
    if t.projected and t.values[:, :, 0].any():
        raise PolcaError(f"trajectories {t.name}: projected losses must start at 0 (eq. 8): decompose again")
    parts = [_low_rank(matrix, relative_error, max_rank, t.projected) for matrix in t.values]
    scores, curves, means, errors = zip(*parts, strict=True)
    factors = Factors(
        ranks=np.array([len(s) for s in scores]),
        scores=np.concatenate(scores),
        curves=np.concatenate(curves),
        mean=np.stack(means),
    )
    return Archive(**described, relative_error=np.array(errors), factors=factors)


_SCALE_ANALYSES = {
    "polca_first_order": ("hessian_first_order", "polca_first_order"),
    "polca": ("hessian_trapezoid", "polca"),
    "polca_random": ("random_trapezoid", "polca"),
}
"""File and strategy of each analysis of a run at the published scale."""

_SCALE_FACTORS = {
    "scores": "finite K X R",
    "curves": "finite K P R",
    "mean": "finite K P",
    "relative_error": "finite K",
}
_SCALE_TOKENS = {
    "tokens": "int N L",
    "place": "int X",
    "carry": "bool X",
    "losses": "finite P X",
    "movements": "finite P-1 M",
    "steps": "int P",
    "training_loss": "finite U",
}


@dataclass(frozen=True)
class PublishedScale:
    """A run of the arithmetic setting at the published scale, in the form in which it was first made.

    Attributes:
        archives: by name of the analysis: `polca_first_order`, `polca` (trapezoid) and `polca_random` (trapezoid).
        tokens: `[N, L]` evaluation sequences.
        place, carry: `[X]` skills of the evaluation tokens, X = N · targets.
        losses: `[P, X]` exact losses in nats, to float16's digits.
        steps: `[P]` training steps of losses and trajectories.
        training_loss: `[U]` mean loss of each update's batch.
    """

    archives: Mapping[str, Archive]
    tokens: NDArray[np.integer]
    place: NDArray[np.integer]
    carry: NDArray[np.bool_]
    losses: NDArray[np.float32]
    steps: NDArray[np.int64]
    training_loss: NDArray[np.float32]

    @property
    def trajectories(self) -> dict[str, Trajectories]:
        """All analyses' trajectories, by name: K · X · P numbers each."""
        return {name: archive.trajectories() for name, archive in self.archives.items()}


def read_published_scale(directory: Path) -> PublishedScale:
    """Read a folder of `hessian_first_order.npz`, `hessian_trapezoid.npz`, `random_trapezoid.npz`,
    `tokens_and_losses.npz` and `facts.json`.

    In it a vector's trajectories are `scores[k] @ curves[k].T + mean[k]` less their first column, all of one rank.

    Raises:
        PolcaError: a file is missing, damaged, of another form, or does not fit the others.
    """
    source = directory / "facts.json"
    try:
        vector_steps = np.array([vector["step"] for vector in read_json(source)["hessian"]], np.int64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, PolcaError):
            raise
        raise PolcaError(f"{source}: has no steps of Hessian vectors: copy the run's folder again") from error
    found = read_npz(directory / "tokens_and_losses.npz", _SCALE_TOKENS)
    del found["movements"]
    archives = {}
    for analysis, (file, strategy) in _SCALE_ANALYSES.items():
        path = directory / f"{file}.npz"
        parts = read_npz(path, _SCALE_FACTORS)
        vectors, tokens, rank = parts["scores"].shape
        if (vectors, tokens, parts["mean"].shape[1]) != (len(vector_steps), len(found["place"]), len(found["steps"])):
            raise PolcaError(
                f"{path}: scores {parts['scores'].shape} do not fit the folder's {len(vector_steps)} vectors, "
                f"{len(found['place'])} tokens and {len(found['steps'])} steps: copy the run's folder again"
            )
        try:
            factors = Factors(
                ranks=np.full(vectors, rank),
                scores=parts["scores"].swapaxes(1, 2).reshape(vectors * rank, -1),
                curves=parts["curves"].swapaxes(1, 2).reshape(vectors * rank, -1),
                mean=parts["mean"],
            )
        except PolcaError as error:
            raise PolcaError(f"{path}: {error}") from error
        archives[analysis] = Archive(
            name=strategy,
            projected=True,
            steps=found["steps"],
            vector_steps=np.full(vectors, -1) if file.startswith("random") else vector_steps,
            guarded=0,
            relative_error=parts["relative_error"].astype(np.float64),
            factors=factors,
        )
    return PublishedScale(archives=archives, **(found | {"losses": found["losses"].astype(np.float32)}))
