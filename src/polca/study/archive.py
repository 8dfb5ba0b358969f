"""One analysis' trajectories in one file, from which everything later is made: clusters, readings and figures.

Exact at small scale; at the published scale low-rank factors, small enough for git, with the error that they make.

A reading clusters trajectories as they are, or each divided by its own standard deviation over time, and tokens differ
a hundredfold in the latter. So each token is divided by the power of two next to it before factors are sought. Scores
are rounded to whole numbers of one unit, which gives every direction the digits that it needs and no more, and which
bzip2 packs to less than half of float16 scores that keep the same clusters.
"""

import zipfile
from bisect import bisect_left
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import read_npz, write_npz, writing
from polca.method.decomposition import Trajectories

Floats = NDArray[np.float64]

_FLAT = 1e-3
"""A token's standard deviation over time counts as at least this fraction of its largest value: a loss that stays the
same but for its last digits is not worth more digits than others."""
_CURVES_PART = 0.1
"""Part of the squared error left to the rounding of the curves, which are few beside the scores."""

_FORM = {
    "name": "text",
    "projected": "bool",
    "steps": "int P",
    "vector_steps": "int K",
    "guarded": "int",
    "relative_error": "finite K",
    "values?": "finite K X P",
    "ranks?": "int K",
    "exponents?": "int K X",
    "scores?": "finite R X",
    "curves?": "finite R P",
    "mean?": "finite K P",
}


@dataclass(frozen=True)
class Factors:
    """Trajectories of K vectors in low rank: token x of vector k has 2^`exponents[k, x]` (`scores[:, x]`ᵀ `curves` +
    `mean[k]`), over the vector's own rows.

    The rows of all vectors stand one below the other, R = Σ `ranks` of them, so that no vector pays for another's rank.

    Attributes:
        ranks: `[K]` rows of each vector.
        exponents: `[K, X]` int16.
        scores: `[R, X]` float32, whole numbers where `compress` made them.
        curves: `[R, P]` float32.
        mean: `[K, P]` float32.

    Raises:
        PolcaError: arrays of other kinds or shapes.
    """

    ranks: NDArray[np.int64]
    exponents: NDArray[np.int16]
    scores: NDArray[np.float32]
    curves: NDArray[np.float32]
    mean: NDArray[np.float32]

    def __post_init__(self) -> None:
        rows, vectors = int(self.ranks.sum()), len(self.ranks)
        tokens, points = self.exponents.shape[-1], self.mean.shape[-1]
        wanted = {
            "ranks": (np.integer, (vectors,)),
            "exponents": (np.int16, (vectors, tokens)),
            "scores": (np.float32, (rows, tokens)),
            "curves": (np.float32, (rows, points)),
            "mean": (np.float32, (vectors, points)),
        }
        for name, (kind, shape) in wanted.items():
            array = getattr(self, name)
            if not np.issubdtype(array.dtype, kind) or array.shape != shape:
                raise PolcaError(
                    f"factors: {name} is {array.dtype} {array.shape}, which does not fit ranks that sum to {rows}, "
                    f"{vectors} vectors, {tokens} tokens and {points} points: make the archive again"
                )
        if (self.ranks < 0).any():
            raise PolcaError(f"factors: ranks {self.ranks.tolist()}: none can be negative: make the archive again")

    def matrix(self, k: int, from_zero: bool) -> NDArray[np.float32]:
        """Trajectories `[X, P]` of vector k (0 … K − 1), less their first column with `from_zero`."""
        last = int(self.ranks[: k + 1].sum())
        rows = slice(last - int(self.ranks[k]), last)
        curves, mean = self.curves[rows].astype(np.float64), self.mean[k].astype(np.float64)
        if from_zero:
            # As good as subtracting the product's first column, and exactly 0 there.
            curves, mean = curves - curves[:, :1], mean - mean[0]
        product = self.scores[rows].T.astype(np.float64) @ curves + mean
        return np.asarray(product * np.ldexp(1.0, self.exponents[k])[:, None], np.float32)


@dataclass(frozen=True)
class Archive:
    """Trajectories of one analysis, K vectors, X tokens and P points, exact or in factors.

    Attributes:
        name, projected, guarded: as in `Trajectories`.
        steps: `[P]` training step of each point.
        vector_steps: `[K]` step at which each basis vector was computed, −1 where none.
        relative_error: `[K]` root mean square over tokens and points of what the factors leave out or round off, each
            token's in units of its own standard deviation over time; 0 for exact values.
        values: `[K, X, P]` float32, or `Factors`.

    Raises:
        PolcaError: arrays that do not fit together.
    """

    name: str
    projected: bool
    steps: NDArray[np.int64]
    vector_steps: NDArray[np.int64]
    guarded: int
    relative_error: Floats
    values: NDArray[np.float32] | Factors

    def __post_init__(self) -> None:
        rows = self.values.mean if isinstance(self.values, Factors) else self.values
        k, points = len(rows), rows.shape[-1]
        found = (len(self.vector_steps), len(self.relative_error), len(self.steps))
        if rows.dtype != np.float32 or found != (k, k, points):
            raise PolcaError(
                f"archive {self.name}: {rows.dtype} trajectories of {k} vectors at {points} points do not fit "
                f"{found[0]} vector steps, {found[1]} errors and {found[2]} steps: make the archive again"
            )

    def matrix(self, k: int) -> NDArray[np.float32]:
        """Trajectories `[X, P]` of vector k (0 … K − 1); projected losses from factors start at exactly 0 (eq. 8)."""
        return self.values.matrix(k, self.projected) if isinstance(self.values, Factors) else self.values[k]

    def trajectories(self) -> Trajectories:
        """All vectors' trajectories; those of an exact archive bit for bit.

        Raises:
            PolcaError: values that are not finite.
        """
        if isinstance(self.values, Factors):
            values = np.empty((*self.values.exponents.shape, len(self.steps)), np.float32)
            for k in range(len(values)):
                values[k] = self.matrix(k)
        else:
            values = self.values
        return Trajectories(self.name, values, self.steps, self.projected, self.vector_steps, self.guarded)

    def save(self, path: Path) -> None:
        """Write an `.npz`, the same bytes every time: exact values as they are, factors packed by bzip2."""
        arrays = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self) if f.name != "values"}
        if not isinstance(self.values, Factors):
            write_npz(path, {**arrays, "values": self.values})
            return
        arrays |= {f.name: getattr(self.values, f.name) for f in fields(Factors)}
        # Not zlib, whose bytes differ between its builds.
        with writing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_BZIP2) as packed:
            for name, array in arrays.items():
                with packed.open(f"{name}.npy", "w", force_zip64=True) as handle:
                    np.lib.format.write_array(handle, array, allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> "Archive":
        """Read what `save` wrote.

        Raises:
            PolcaError: missing, damaged, not an archive, or not finite; the message names the file.
        """
        arrays: dict[str, Any] = read_npz(path, _FORM)
        factors = {f.name: arrays.pop(f.name) for f in fields(Factors) if f.name in arrays}
        if len(factors) != (0 if "values" in arrays else len(fields(Factors))):
            raise PolcaError(
                f"{path}: has neither exact values alone nor all factors: run the stage that writes it again"
            )
        arrays |= {name: arrays[name].item() for name in ("name", "projected", "guarded")}
        try:
            if factors:
                arrays["values"] = Factors(**factors)
            return cls(**arrays)
        except PolcaError as error:
            raise PolcaError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Spectrum:
    """One vector's trajectories about their mean along their principal directions, before any rounding.

    Attributes:
        exact: `[X, P]` the trajectories.
        deviations: `[X]` each token's standard deviation over time, the unit of the error.
        exponents, mean: as in `Factors`.
        directions: `[P, r]` orthonormal, largest variance first, the largest entry of each positive.
        scores: `[X, r]` of the tokens divided by 2^`exponents`, along `directions`.
    """

    exact: Floats
    deviations: Floats
    exponents: NDArray[np.int16]
    mean: NDArray[np.float32]
    directions: Floats
    scores: Floats

    @classmethod
    def of(cls, matrix: NDArray[np.float32], max_rank: int | None) -> "_Spectrum":
        exact = matrix.astype(np.float64)
        deviations = np.maximum(exact.std(axis=1), _FLAT * np.abs(exact).max(axis=1))
        deviations[deviations == 0] = 1.0
        exponents = np.rint(np.log2(deviations)).astype(np.int16)
        scaled = exact * np.ldexp(1.0, -exponents)[:, None]
        mean = scaled.mean(axis=0).astype(np.float32)
        centred = scaled - mean
        variances, directions = np.linalg.eigh(centred.T @ centred)
        # What is smaller is the rounding of the Gram matrix.
        least = variances[-1] * len(variances) * np.finfo(np.float64).eps
        directions = directions[:, ::-1][:, : int((variances > least).sum())][:, :max_rank]
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
        return cls(exact, deviations, exponents, mean, directions, centred @ directions)

    def rounded(self, unit: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scores `[r, X]` in whole numbers of `unit` and curves `[r, P]`, without directions where all scores are 0."""
        scores = np.rint(self.scores / unit).T
        some = scores.any(axis=1)
        scores, curves = scores[some], unit * self.directions.T[some]
        # All curves' rounding makes a given part of the squared error that the scores' makes, each an equal share.
        energies = np.square(scores).sum(axis=1, keepdims=True)
        steps = unit * np.sqrt(_CURVES_PART * scores.shape[1] / (curves.shape[1] * energies))
        powers = np.frexp(steps)[1] - 1
        curves = np.ldexp(np.rint(np.ldexp(curves, -powers)), powers)
        return scores.astype(np.float32), curves.astype(np.float32)

    def error(self, product: NDArray[np.float32]) -> float:
        """Root mean square over tokens and points of what `product` `[X, P]` misses, in units of `deviations`."""
        return float(np.sqrt(np.square((product - self.exact) / self.deviations[:, None]).mean()))


def _low_rank(
    matrix: NDArray[np.float32], relative_error: float, max_rank: int | None, from_zero: bool
) -> tuple[Factors, float]:
    """Factors of one vector's trajectories `[X, P]`, K = 1, and the relative error that they make."""
    spectrum = _Spectrum.of(matrix, max_rank)

    def attempt(quarters: int) -> tuple[Factors, float]:
        # The first unit is too coarse even if one direction were all, the last one four times too fine for P of them.
        scores, curves = spectrum.rounded(relative_error * (24 * matrix.shape[1]) ** 0.5 * 2 ** (-quarters / 4))
        ranks, exponents, mean = np.array([len(scores)]), spectrum.exponents[None], spectrum.mean[None]
        factors = Factors(ranks, exponents, scores, curves, mean)
        return factors, spectrum.error(factors.matrix(0, from_zero))

    last = 10 + int(2 * np.log2(matrix.shape[1]))
    return attempt(bisect_left(range(last), True, key=lambda quarters: attempt(quarters)[1] <= relative_error))


def compress(trajectories: Trajectories, relative_error: float, max_rank: int | None = None) -> Archive:
    """Trajectories as an archive with the coarsest scores whose error is at most `relative_error`, vector by vector.

    Curves are eigenvectors of the `[P, P]` Gram matrix of the trajectories, each divided by the power of two next to
    its standard deviation over time, about their mean over tokens; the largest entry of each is positive. Tokens'
    scores along them are rounded to whole numbers of one unit a vector, and directions in which all are 0 are left out.
    The unit is the largest, on a grid of quarter octaves, with which the error, measured on what the archive gives
    back, is small enough. Where `max_rank` or float32 puts it out of reach, the archive comes within a few per cent of
    the least error that there is and says how much that is.

    Args:
        relative_error: 0 ≤ error < 1, see `Archive`; 0 keeps all values exactly.
        max_rank: at most so many curves a vector; None for no limit. Exact values know no rank.

    Raises:
        PolcaError: an impossible setting, no tokens, no points, or projected losses that do not start at 0 (eq. 8).

    Example: all tokens follow one curve, each at its own height.

        >>> import numpy as np, polca
        >>> from polca.study.archive import compress
        >>> curve, heights = np.array([0.0, -1.0, -3.0]), np.array([1.0, 1.5, 4.0])
        >>> values = (heights[:, None] * curve)[None].astype(np.float32)
        >>> trajectories = polca.Trajectories("polca", values, np.array([0, 10, 20]), projected=True)
        >>> archive = compress(trajectories, relative_error=0.001)
        >>> archive.values.ranks.tolist(), bool(archive.relative_error[0] < 0.001)
        ([1], True)
        >>> archive.trajectories().values.round(2).tolist()
        [[[0.0, -1.0, -3.0], [0.0, -1.5, -4.5], [0.0, -4.0, -12.0]]]
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
    parts, errors = zip(*(_low_rank(m, relative_error, max_rank, t.projected) for m in t.values), strict=True)
    joined = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Factors)}
    return Archive(**described, relative_error=np.array(errors), values=Factors(**joined))
