"""A map of the tokens that grows over training: who lies together has been treated alike by all kept vectors so far.

After "Embryology of a Language Model" (arXiv 2508.00331), which watches a map of tokens take shape over training. There
the tokens are placed by their susceptibilities, here by their projected losses.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.explorer.packing import Packed, pack
from polca.method.decomposition import Trajectories
from polca.method.signatures import signatures

PARTS = 12
"""Parts of training, at whose ends the projected losses are read."""
LEVELS = 511
"""Steps of a coordinate between 0 and the largest one."""


@dataclass(frozen=True)
class TokenMap:
    """Tokens in two dimensions at S steps.

    Attributes:
        trajectories: key of the setting's trajectories that it was made of.
        vectors: how many kept vectors it looks along.
        steps: `[S]` training steps.
        coordinates: `[2, X, S]` place of every token, from projected losses up to each step; without unit.
        shares: `[2]` share of the variance of all signatures that each axis holds at the end.

    Raises:
        PolcaError: shapes that do not fit together, or values that are not finite.
    """

    trajectories: str
    vectors: int
    steps: NDArray[np.int64]
    coordinates: NDArray[np.float64]
    shares: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = self.coordinates.shape
        if self.coordinates.ndim != 3 or shape[0] != 2 or self.steps.shape != shape[2:] or self.shares.shape != (2,):
            raise PolcaError(
                f"map of {self.trajectories}: coordinates {shape}, {self.shares.shape} shares and steps "
                f"{self.steps.shape} do not fit: give coordinates [2, tokens, steps], two shares and steps [steps]"
            )
        if not np.isfinite(self.coordinates).all():
            raise PolcaError(f"map of {self.trajectories}: NaN or infinite coordinates: check the trajectories")

    def to_json(self) -> Packed:
        """As the page holds it: a coordinate is `scale · level / LEVELS`."""
        scale = float(np.abs(self.coordinates).max(initial=0.0))
        levels = np.rint(self.coordinates / (scale or 1.0) * LEVELS).astype(np.int16)
        return {
            "trajectories": self.trajectories,
            "vectors": self.vectors,
            "steps": self.steps.tolist(),
            "scale": float(f"{scale:.6g}"),
            "shares": [round(float(share), 4) for share in self.shares],
            "x": pack(levels[0], delta=True),
            "y": pack(levels[1], delta=True),
        }


def token_map(trajectories: Trajectories, kept: NDArray[np.bool_], key: str) -> TokenMap | None:
    """Principal components of the tokens' signatures along the vectors that are kept, step by step.

    The two axes are those of the whole of training. At a step, a token's place is what its projected losses up to then
    add to it, so that points move from one place to where they end, and all steps can be compared. Of each axis the
    largest weight is positive.

    Args:
        trajectories: `[K, X, P]`.
        kept: `[K]` vectors to look along.
        key: of the setting's trajectories.

    Returns:
        None where there is nothing to show: no projected losses, no kept vector or a single point.

    Raises:
        PolcaError: `kept` is not of these trajectories.
    """
    points, steps = len(trajectories.steps), trajectories.steps
    if kept.shape != trajectories.values.shape[:1]:
        raise PolcaError(f"map of {key}: {kept.shape} kept vectors do not fit trajectories: run its clustering again")
    if not trajectories.projected or not kept.any() or points < 2:
        return None
    at = np.unique(np.rint(np.linspace(0, points - 1, PARTS + 1)).astype(np.int64))
    moments = (steps[at] - steps[0]) / float(steps[-1] - steps[0])
    seen = signatures(trajectories, moments.tolist(), kept)
    seen = seen - seen.mean(axis=0)
    variances, axes = np.linalg.eigh(seen.T @ seen)
    first = axes[:, ::-1][:, :2]
    first = first * np.where(first[np.abs(first).argmax(axis=0), range(first.shape[1])] < 0, -1.0, 1.0)
    shape = (int(kept.sum()), len(at))
    added = np.einsum("xvs,vsa->axs", seen.reshape(-1, *shape), first.reshape(*shape, -1), optimize=False)
    # Where there is no variance, rounding can make it negative.
    variances = np.maximum(variances[::-1], 0.0)
    shares = variances[:2] / (variances.sum() or 1.0)
    return TokenMap(key, shape[0], steps[at], np.cumsum(added, axis=2), shares)
