"""Whether clusters outlast small changes: HDBSCAN again on a bootstrap of the tokens, and on perturbed trajectories.

Not in the paper, which shows one clustering of one run.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from polca.errors import PolcaError
from polca.method.clustering import standardised
from polca.method.densities import OUTLIER, hdbscan_labels


@dataclass(frozen=True)
class Stability:
    """Mean adjusted Rand index between the labels of a vector and those after a change; outliers count as one group.

    1 where nothing changes, 0 where labels agree no more than by chance, NaN where the vector has no cluster.
    """

    bootstrap: float
    perturbed: float


def stability(
    values: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    min_cluster_size: int,
    min_samples_divisor: int,
    standardise: bool,
    repeats: int,
    noise: float,
    rng: np.random.Generator,
) -> Stability:
    """How far one vector's clusters depend on which tokens there are, and on small errors of their trajectories.

    - bootstrap: as many tokens are drawn with replacement, each kept once (copies would be clusters of their own), and
      the least cluster size falls with their number; compared on the tokens drawn;
    - perturbed: every value moves by Gaussian noise, `noise` times its trajectory's standard deviation over time.

    Args:
        values: `[X, P]` trajectories of one vector.
        labels: `[X]` as in `Clusters`; tokens below −1 are not clustered.

    Raises:
        PolcaError: shapes that do not fit.
    """
    if values.shape[:1] != labels.shape:
        raise PolcaError(
            f"stability: {values.shape[:1]} trajectories but labels {labels.shape}: give one for each token"
        )
    inside = np.flatnonzero(labels >= OUTLIER)
    curves, known = values[inside].astype(np.float64), labels[inside]
    if not len(known) or known.max() < 0:
        return Stability(float("nan"), float("nan"))

    def again(rows: NDArray[np.floating], size: int) -> NDArray[np.int64]:
        shapes = standardised(rows) if standardise else rows
        return hdbscan_labels(shapes, max(2, size), max(1, len(rows) // min_samples_divisor))

    n, spread = len(curves), curves.std(axis=1, keepdims=True)
    agreements: dict[str, list[float]] = {"bootstrap": [], "perturbed": []}
    for _ in range(repeats):
        drawn = np.unique(rng.integers(n, size=n))
        found = again(curves[drawn], round(min_cluster_size * len(drawn) / n))
        agreements["bootstrap"].append(adjusted_rand_score(known[drawn], found))
        moved = curves + noise * spread * rng.standard_normal(curves.shape)
        agreements["perturbed"].append(adjusted_rand_score(known, again(moved, min_cluster_size)))
    return Stability(**{name: float(np.mean(found)) for name, found in agreements.items()})
