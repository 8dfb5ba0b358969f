"""Are labels in features? A cross-validated linear probe, nearest neighbours, and variance explained; no clusters.

Labels are of any skill; what is known of skills is the tasks'. A probe asks whether a direction in the features tells a
label, neighbours ask whether what lies together has it in common.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polca.errors import PolcaError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FOLDS = 5
NEIGHBOURS = 10
PERMUTATIONS = 200
"""Enough for the 95 % point of a mean over all rows, which varies little."""

_BLOCK = 1 << 23
"""Distances held at once (64 MiB)."""


def _rows(features: NDArray[np.floating], *labels: NDArray[Any] | None) -> Floats:
    """Features `[n, F]` in float64, with labels `[n]` that fit them."""
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise PolcaError(f"features {rows.shape}: expected finite numbers [rows, features]")
    for given in labels:
        _check_length(given, len(rows))
    return rows


def _check_length(labels: NDArray[Any] | None, length: int) -> None:
    if labels is not None and labels.shape != (length,):
        raise PolcaError(f"labels {labels.shape}: give one for each of the {length} rows")


def probe_auc(
    features: NDArray[np.floating],
    labels: NDArray[np.bool_],
    groups: NDArray[np.integer] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> float:
    """How well a linear probe tells rows with a label from those without, on rows that it has not seen.

    Logistic regression with an L2 penalty (scikit-learn's default, C = 1) on features standardised by the training
    part of each fold. The area under the ROC curve is that of each fold's test part, averaged over folds: scores of
    probes that were fitted to different parts have no common scale by which they could be pooled. It is 0.5 by chance
    and not turned round below.

    Args:
        features: `[n, F]`.
        labels: `[n]`.
        groups: `[n]`; rows of one group are never in both parts of a fold. Folds are stratified by label in any case,
            with groups as far as these allow; a fold whose test or training part lacks a class is left out.
        folds: parts that the rows are cut into, at least 2.
        seed: of the cut.

    Returns:
        The mean area; NaN where a class has fewer members (with groups: occurs in fewer groups) than there are folds.

    Raises:
        PolcaError: arrays that do not fit together, features that are not finite, or fewer than two folds.

    Example: a label that is a sum of two features, and one that has nothing to do with them.

        >>> import numpy as np
        >>> from polca.method.probes import probe_auc
        >>> rng = np.random.default_rng(0)
        >>> features = rng.normal(size=(200, 3))
        >>> probe_auc(features, features[:, 0] + features[:, 1] > 0) > 0.99
        True
        >>> 0.4 < probe_auc(features, rng.random(200) < 0.5) < 0.6
        True
    """
    rows = _rows(features, labels, groups)
    if folds < 2:
        raise PolcaError(f"folds = {folds}: must be at least 2")
    truth = labels.astype(bool)
    units = np.arange(len(truth)) if groups is None else groups
    if min(len(np.unique(units[truth == c])) for c in (False, True)) < folds:
        return float("nan")
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    # Newton's method converges to the last digits, where a looser optimum would depend on how it was reached.
    probe = make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky", tol=1e-8))
    areas: list[float] = []
    for train, test in kind(folds, shuffle=True, random_state=seed).split(rows, truth, groups):
        if all(truth[part].any() and not truth[part].all() for part in (train, test)):
            probe.fit(rows[train], truth[train])
            areas.append(float(roc_auc_score(truth[test], probe.decision_function(rows[test]))))
    return float(np.mean(areas)) if areas else float("nan")


def rounded_auc(area: float) -> float:
    """`probe_auc` as tables have it: to six significant digits, more than the rows can tell apart."""
    return float(f"{area:.6g}")


def nearest_rows(features: NDArray[np.floating], neighbours: int = NEIGHBOURS) -> Integers:
    """The nearest other rows of each row, `[n, neighbours]`, nearest first, ties to the smaller row number.

    Euclidean distances from differences, exact to rounding and the same on every machine.

    Raises:
        PolcaError: features that are not finite, or no more rows than neighbours.
    """
    rows = _rows(features)
    if not 1 <= neighbours < len(rows):
        raise PolcaError(f"neighbours = {neighbours}: must be at least 1 and fewer than the {len(rows)} rows")
    nearest = np.empty((len(rows), neighbours), np.int64)
    step = max(1, _BLOCK // len(rows))
    for first in range(0, len(rows), step):
        far = cdist(rows[first : first + step], rows)
        far[np.arange(len(far)), first + np.arange(len(far))] = np.inf
        # Only what is no farther than the last neighbour is sorted.
        limits = np.partition(far, neighbours - 1, axis=1)[:, neighbours - 1]
        for i, (row, limit) in enumerate(zip(far, limits, strict=True)):
            near = np.flatnonzero(row <= limit)
            nearest[first + i] = near[np.argsort(row[near], kind="stable")[:neighbours]]
    return nearest


def same_label(nearest: NDArray[np.integer], labels: NDArray[Any]) -> float:
    """Share of the neighbours `[n, k]` of `nearest_rows` that have their row's label, over all rows.

    Args:
        labels: `[n]`, of any kind.
    """
    _check_length(labels, len(nearest))
    return float((labels[nearest] == labels[:, None]).mean())


def neighbour_agreement(features: NDArray[np.floating], labels: NDArray[Any], neighbours: int = NEIGHBOURS) -> float:
    """Share of each row's nearest other rows that have its label, averaged over rows: `same_label(nearest_rows(…))`.

    Args:
        features: `[n, F]`.
        labels: `[n]`, of any kind.

    Raises:
        PolcaError: as `nearest_rows`, or labels that do not fit.

    Example: two groups far apart.

        >>> import numpy as np
        >>> from polca.method.probes import chance_agreement, neighbour_agreement
        >>> features, labels = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]), np.array(list("aaabbb"))
        >>> neighbour_agreement(features, labels, neighbours=2), chance_agreement(labels)
        (1.0, 0.4)
    """
    _rows(features, labels)
    return same_label(nearest_rows(features, neighbours), labels)


def chance_agreement(labels: NDArray[Any]) -> float:
    """What neighbours agree on if they are any other rows: the share of pairs of rows with one label.

    For many rows this is Σ p² over the labels' frequencies p. NaN for fewer than two rows.
    """
    counts, n = np.unique(labels, return_counts=True)[1], len(labels)
    return float((counts * (counts - 1)).sum() / (n * (n - 1))) if n > 1 else float("nan")


def neighbour_null(
    nearest: NDArray[np.integer],
    labels: NDArray[Any],
    permutations: int = PERMUTATIONS,
    within: NDArray[np.integer] | None = None,
    seed: int = 0,
) -> Floats:
    """`same_label` when rows swap their labels, `[permutations]`: rows and their neighbours stay.

    Args:
        nearest: `[n, k]` of `nearest_rows`.
        labels: `[n]`, of any kind.
        within: `[n]`; rows swap labels only where these are the same, which asks what is seen beyond them.

    Raises:
        PolcaError: arrays that do not fit together.
    """
    for given in (labels, within):
        _check_length(given, len(nearest))
    rng, kinds = np.random.default_rng(seed), np.unique(labels, return_inverse=True)[1]
    blocks = [np.arange(len(kinds))] if within is None else [np.flatnonzero(within == w) for w in np.unique(within)]
    null, drawn = np.empty(permutations), kinds.copy()
    for p in range(permutations):
        for block in blocks:
            drawn[block] = rng.permutation(kinds[block])
        null[p] = same_label(nearest, drawn)
    return null


def variance_explained(values: NDArray[np.floating], labels: NDArray[Any]) -> float:
    """η², the share of the variance of `values [n]` that lies between groups of one label `[n]`; NaN without variance.

    Of n rows in m groups that mean nothing it is (m − 1) / (n − 1) on average.

    Raises:
        PolcaError: arrays that do not fit together.

    Example:

        >>> import numpy as np
        >>> from polca.method.probes import variance_explained
        >>> variance_explained(np.array([0.0, 2.0, 10.0, 12.0]), np.array(list("aabb"))).__round__(4)
        0.9615
    """
    exact = np.asarray(values, np.float64)
    _check_length(labels, len(exact))
    kinds = np.unique(labels, return_inverse=True)[1]
    centred = exact - exact.mean() if len(exact) else exact
    total = float(np.square(centred).sum())
    # Of values that are all the same the mean may be another in its last digit.
    if not len(exact) or np.ptp(exact) == 0:
        return float("nan")
    sums, counts = np.bincount(kinds, weights=centred), np.bincount(kinds)
    return float((np.square(sums) / counts).sum() / total)
