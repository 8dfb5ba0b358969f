"""A map of tokens in two dimensions and its clusters: a picture of what all vectors together tell apart.

t-SNE keeps neighbours and distorts distances, so that numbers about labels come from the signatures themselves
(`method.probes`); the map is for the eye, and its clusters for names.
"""

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.method.densities import Integers, hdbscan_labels

PERPLEXITY = 30.0
"""About how many neighbours a token has on the map: scikit-learn's default, fewer where there are few tokens."""
MIN_SAMPLES = 5
"""HDBSCAN's on a map: small, for t-SNE evens densities out already."""


def token_map(features: NDArray[np.floating], seed: int = 0) -> NDArray[np.float32]:
    """t-SNE of tokens by their features, the same bits at every call in a pinned environment.

    Args:
        features: `[n, F]`, such as `signatures`.
        seed: of what is drawn; the start is the two principal components.

    Returns:
        `[n, 2]` coordinates without unit.

    Raises:
        PolcaError: features that are not finite numbers `[n, F]`, or fewer than five tokens or two features.

    Example: two groups far apart stay apart.

        >>> import numpy as np
        >>> from polca.method.maps import joint_clusters, token_map
        >>> rng = np.random.default_rng(0)
        >>> features = np.concatenate([rng.normal(0, 1, (40, 6)), rng.normal(9, 1, (40, 6))])
        >>> labels = joint_clusters(token_map(features), min_cluster_size=10)
        >>> len(set(labels[:40]) & set(labels[40:]) - {-1})
        0
    """
    from sklearn.manifold import TSNE  # a second, which only those who draw maps should wait

    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or len(rows) < 5 or rows.shape[1] < 2 or not np.isfinite(rows).all():
        raise PolcaError(f"features {rows.shape}: a map needs finite numbers of at least five tokens and two features")
    if not np.ptp(rows, axis=0).any():
        return np.zeros((len(rows), 2), np.float32)  # all alike: one place for all
    tsne = TSNE(init="pca", perplexity=min(PERPLEXITY, (len(rows) - 1) / 3), random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit_transform(rows), np.float32)


def joint_clusters(coordinates: NDArray[np.floating], min_cluster_size: int) -> Integers:
    """Clusters `[n]` of a map `[n, 2]` by HDBSCAN, −1 for outliers, numbered by size, ties by smallest token."""
    return hdbscan_labels(coordinates, min_cluster_size, MIN_SAMPLES)
