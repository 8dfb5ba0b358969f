"""HDBSCAN on rows of numbers, with one partition for one set of rows: whatever their order, and on any machine.

HDBSCAN's mutual-reachability distances tie even where no two rows do (a core distance is shared by all edges of its
point), and ties are broken by the order of rows and of equal edges. So rows are sorted by their values first, and edges
by a stable sort: NumPy's default one puts equal edges into an order that depends on the processor.

The steps are hdbscan's own, called one by one. Its class `HDBSCAN` sorts edges by the default sort. It also takes three
times as long on a matrix of distances, which it copies, checks, and searches along columns.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

OUTLIER = -1

_MATRIX_ROWS = 8192
"""Up to so many rows the whole distance matrix is made (512 MiB); beyond, hdbscan's space tree."""
_BLOCK = 256
"""Rows of the matrix whose core distances are sought at once."""
_LEAF = 40
"""Rows in a leaf of the space tree: hdbscan's default."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def distances(values: NDArray[np.floating]) -> Floats:
    """Euclidean distances between rows `[n, P]` → `[n, n]`, float64, from differences (no cancellation, no BLAS)."""
    return np.asarray(squareform(pdist(values.astype(np.float64))), np.float64)


class Densities:
    """Rows `[n, P]` whose Euclidean distances are computed once, for HDBSCAN with several settings."""

    def __init__(self, values: NDArray[np.floating]) -> None:
        self._order = np.lexsort(values.T)
        self._rows = values[self._order].astype(np.float64)
        self._distances: Floats | None = None
        self._reachabilities: Floats | None = None

    def labels(self, min_cluster_size: int, min_samples: int) -> Integers:
        """Cluster numbers `[n]`, −1 for outliers.

        The same partition for any order of the rows. Identical rows get one label. Fewer rows than `min_cluster_size`
        are all outliers. Clusters are numbered by size, ties by smallest row.
        """
        n = len(self._rows)
        if n < max(2, min_cluster_size):
            return np.full(n, OUTLIER, np.int64)
        spanned = self._edges_of_matrix if n <= _MATRIX_ROWS else self._edges_of_space
        found = _selected_clusters(spanned(max(1, min(n - 1, min_samples))), min_cluster_size)
        # HDBSCAN may split identical rows where distances tie, and it cannot say which is which.
        first = np.concatenate([[True], (self._rows[1:] != self._rows[:-1]).any(axis=1)])
        labels = np.empty(n, np.int64)
        labels[self._order] = found[np.flatnonzero(first)[np.cumsum(first) - 1]]
        return _renumber(labels)

    def _edges_of_matrix(self, min_samples: int) -> Floats:
        """A minimum spanning tree of the mutual-reachability distances, `[n − 1, 3]`: row, row, distance."""
        from hdbscan._hdbscan_linkage import mst_linkage_core  # two seconds, which nobody who only imports should wait

        if self._distances is None:
            self._distances = distances(self._rows)
            # Kept as well: to be given so much memory anew takes longer than to fill it.
            self._reachabilities = np.empty_like(self._distances)
        blocks = [self._distances[i : i + _BLOCK] for i in range(0, len(self._distances), _BLOCK)]
        core = np.concatenate([np.partition(rows, min_samples, axis=1)[:, min_samples] for rows in blocks])
        reachabilities = np.maximum(self._distances, core, out=self._reachabilities)
        return np.asarray(mst_linkage_core(np.maximum(reachabilities, core[:, None], out=reachabilities)), np.float64)

    def _edges_of_space(self, min_samples: int) -> Floats:
        """The same without a matrix, from a tree of the space, which is slower and takes little memory."""
        from hdbscan._hdbscan_boruvka import KDTreeBoruvkaAlgorithm
        from sklearn.neighbors import KDTree

        exactly = {"approx_min_span_tree": False, "n_jobs": 1}
        algorithm = KDTreeBoruvkaAlgorithm(
            KDTree(self._rows, leaf_size=_LEAF), min_samples, leaf_size=_LEAF // 3, **exactly
        )
        return np.asarray(algorithm.spanning_tree(), np.float64)


def _selected_clusters(edges: Floats, min_cluster_size: int) -> Integers:
    """HDBSCAN's clusters `[n]` of a spanning tree, by excess of mass; −1 for outliers."""
    from hdbscan._hdbscan_linkage import label
    from hdbscan._hdbscan_tree import compute_stability, condense_tree, get_clusters

    condensed = condense_tree(label(edges[np.argsort(edges[:, 2], kind="stable")]), min_cluster_size)
    return np.asarray(get_clusters(condensed, compute_stability(condensed))[0], np.int64)


def hdbscan_labels(values: NDArray[np.floating], min_cluster_size: int, min_samples: int) -> Integers:
    """HDBSCAN on rows `[n, P]`, as `Densities.labels`."""
    return Densities(values).labels(min_cluster_size, min_samples)


def _renumber(labels: Integers) -> Integers:
    """Number clusters by size, largest first, ties by smallest member."""
    names, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    inside = names >= 0
    ranked = names[inside][np.lexsort((first[inside], -sizes[inside]))]
    renumbered = np.full(len(labels), OUTLIER, np.int64)
    for number, name in enumerate(ranked):
        renumbered[labels == name] = number
    return renumbered
