"""Arrays small enough for a page: token trajectories in 128 levels, and arrays as base 64 of compressed bytes."""

import base64
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polca.method.decomposition import Trajectories

LEVELS = 127
"""Steps between a trajectory's lowest and highest value."""
DIGITS = 6
"""Significant digits of curves."""

Packed = dict[str, Any]


@dataclass(frozen=True)
class TokenTrajectories:
    """Trajectories of every token on every vector, thinned and quantised.

    Attributes:
        steps: `[Q]` training steps that are kept, the first and the last among them.
        points: P, how many there were.
        low, span: `[K, X]` each trajectory's lowest value, and how far above it the highest is.
        levels: `[K, X, Q]`; the value is `low + span · levels / LEVELS`, off by at most `span / (2 · LEVELS)`.
        mean: `[K, P]` mean over tokens at every point, not quantised.
    """

    steps: NDArray[np.int64]
    points: int
    low: NDArray[np.float32]
    span: NDArray[np.float32]
    levels: NDArray[np.uint8]
    mean: NDArray[np.float32]

    def pack(self) -> Packed:
        """As the page holds it."""
        return {
            "steps": self.steps.tolist(),
            "points": self.points,
            "low": pack(self.low),
            "span": pack(self.span),
            "levels": pack(self.levels, delta=True),
            "mean": curve(self.mean),
        }


def thinned(points: int, most: int) -> NDArray[np.int64]:
    """Every n-th of `points` indices and the last, n the smallest that leaves at most `most`; never less than two."""
    step = 1
    while step < points - 1 and -(-(points - 1) // step) + 1 > most:
        step += 1
    return np.unique(np.append(np.arange(0, points, step), points - 1))


def quantise(trajectories: Trajectories, most: int) -> TokenTrajectories:
    """Thin trajectories to at most `most` values in all (but two points at least), and quantise each by itself."""
    vectors, tokens, points = trajectories.values.shape
    kept = thinned(points, most // (vectors * tokens))
    low = np.empty((vectors, tokens), np.float32)
    span = np.empty((vectors, tokens), np.float32)
    levels = np.empty((vectors, tokens, len(kept)), np.uint8)
    mean = np.empty((vectors, points), np.float32)
    for k, matrix in enumerate(trajectories.values):
        chosen = matrix[:, kept].astype(np.float64)
        low[k], high = chosen.min(axis=1), chosen.max(axis=1)
        span[k] = high - low[k]
        range_ = np.where(span[k] > 0, span[k], 1).astype(np.float64)[:, None]
        levels[k] = np.clip(np.rint((chosen - low[k][:, None]) / range_ * LEVELS), 0, LEVELS)
        mean[k] = matrix.mean(axis=0, dtype=np.float64)
    return TokenTrajectories(trajectories.steps[kept], points, low, span, levels, mean)


def pack(array: NDArray[Any], delta: bool = False) -> Packed:
    """An array as the page holds it; `delta` (for whole numbers) stores differences along the last axis."""
    stored = np.diff(array, axis=-1, prepend=array.dtype.type(0)) if delta else array
    integer = "i2" if array.dtype.itemsize <= 2 else "i4"
    kind = {"i": integer, "u": "u1", "f": "f4"}[array.dtype.kind]
    content = np.ascontiguousarray(stored.astype(f"<{kind}")).tobytes()
    data = base64.b64encode(zlib.compress(content, 9)).decode("ascii")
    return {"type": kind, "shape": list(array.shape), "delta": delta, "data": data}


def curve(values: NDArray[np.floating]) -> Any:
    """Values of any shape as nested lists with `DIGITS` significant digits; None where not finite."""
    if values.ndim > 1:
        return [curve(row) for row in values]
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values.tolist()]
