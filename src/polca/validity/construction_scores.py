"""How clusters and directions tell known constructions apart, against chance.

Each score is the best of many clusters or vectors, which is high by chance alone. Two nulls permute a construction's
labels and take the best again: among all tokens, and among tokens with the same target. The second asks whether
anything beyond the token itself is seen, as where a comma of a list is told from other commas.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from polca.method.clustering import Clusters, memberships
from polca.method.decomposition import Trajectories
from polca.tasks.arithmetic.scores import roc_areas
from polca.validity.permutation import p_value

Measure = Literal["homogeneity", "nmi", "auc"]
MEASURES: tuple[Measure, ...] = ("homogeneity", "nmi", "auc")
COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "construction": "str", "measure": "str", "tokens": "int64", "targets": "int64"},
    **{"value": "float64", "vector": "int64", "cluster": "int64", "size": "int64", "recall": "float64"},
    **dict.fromkeys(("null_mean", "null_95", "p_value", "within_null_95", "within_p_value"), "float64"),
}

Floats = NDArray[np.float64]


class _Scorer:
    """The three scores of many labellings at once: `labels [X, P]` → `[clusters or vectors, P]`."""

    def __init__(self, clusters: Clusters, trajectories: Trajectories) -> None:
        clusters.check_of(trajectories)
        self.kept = np.flatnonzero(clusters.vector_kept)
        inside, self.vectors = memberships(clusters.labels)
        self.members = inside.astype(np.float64)
        self.sizes, self.clustered = self.members.sum(axis=1), np.unique(self.vectors)
        last = [rankdata(trajectories.values[k, :, -1]) for k in self.kept]
        self.ranks = np.array(last, np.float64).reshape(-1, clusters.labels.shape[1])

    def __call__(self, labels: Floats) -> dict[Measure, Floats]:
        inside = self.members @ labels
        return {
            "homogeneity": inside / self.sizes[:, None],
            "nmi": np.array([self._nmi(inside, k) for k in self.clustered]).reshape(-1, labels.shape[1]),
            "auc": roc_areas(self.ranks, labels),
        }

    def _nmi(self, inside: Floats, k: int) -> Floats:
        """NMI (arithmetic mean) of vector k's clusters with the label, over its clustered tokens."""
        of_vector = self.vectors == k
        sizes = self.sizes[of_vector]
        table = np.stack([inside[of_vector], sizes[:, None] - inside[of_vector]])
        n = sizes.sum()
        joint = table / n
        columns = joint.sum(axis=1)
        rows = sizes / n

        def plogp(p: Floats) -> Floats:
            return p * np.log(np.where(p > 0, p, 1.0))

        h_rows, h_columns = -plogp(rows).sum(), -plogp(columns).sum(axis=0)
        mutual = np.maximum(0.0, h_rows + h_columns + plogp(joint).sum(axis=(0, 1)))
        mean = (h_rows + h_columns) / 2
        # A single cluster or a single label agrees with nothing; rounding must not say otherwise.
        defined = (h_rows > 1e-12) & (h_columns > 1e-12)
        return np.asarray(np.where(defined, mutual / np.where(mean > 0, mean, 1.0), 0.0))


def permuted_labels(
    labels: NDArray[np.bool_], permutations: int, groups: NDArray[np.integer] | None, seed: int
) -> Floats:
    """`labels [X]` in `permutations` random orders, `[X, P]`; within the groups `[X]` where given."""
    generator = np.random.default_rng(seed)
    blocks = [np.arange(len(labels))] if groups is None else [np.flatnonzero(groups == g) for g in np.unique(groups)]
    result = np.repeat(labels[:, None].astype(np.float64), permutations, axis=1)
    for block in blocks:
        inside = labels[block]
        if inside.any() and not inside.all():
            result[block] = generator.permuted(result[block], axis=0)
    return result


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict(COLUMNS))


def no_scores() -> pd.DataFrame:
    """The table of `construction_scores` without rows, with the column `reading` that the treebank's has."""
    return _table([]).assign(reading="")


def construction_scores(
    analysis: str,
    clusters: Clusters,
    trajectories: Trajectories,
    labels: NDArray[np.bool_],
    targets: NDArray[np.integer],
    names: tuple[str, ...],
    *,
    permutations: int,
    seed: int = 0,
) -> pd.DataFrame:
    """One row for each construction and measure, with the columns of `COLUMNS`.

    - homogeneity: largest fraction of a cluster's tokens with the construction; its recall is that of all such tokens.
    - nmi: largest normalised mutual information of a vector's clusters with the label, over its clustered tokens.
    - auc: largest area under the ROC curve, either way round, of a kept vector's last values, over all tokens.

    null_… are of the best under permuted labels, within_… under labels permuted among tokens with the same target;
    p values are the share of permutations at or above the value, the observed counted in. NaN where there is no
    cluster, no kept vector, or no token with (or without) the construction.

    Args:
        labels: `[X, C]` constructions of the tokens.
        targets: `[X]` token ids.
        names: of the C constructions.
    """
    scorer = _Scorer(clusters, trajectories)
    vectors_of: Mapping[Measure, NDArray[np.int64]] = {
        "homogeneity": scorer.vectors,
        "nmi": scorer.clustered,
        "auc": scorer.kept,
    }
    rows: list[dict[str, Any]] = []
    for c, name in enumerate(names):
        truth = labels[:, c]
        found = int(truth.sum())
        row = {"analysis": analysis, "construction": name, "tokens": found, "targets": len(np.unique(targets[truth]))}
        if 0 < found < len(truth):
            observed = scorer(truth[:, None].astype(np.float64))
            free = scorer(permuted_labels(truth, permutations, None, seed))
            within = scorer(permuted_labels(truth, permutations, targets, seed))
        for m, vectors in vectors_of.items():
            score: dict[str, Any] = {**row, "measure": m, "vector": -1, "cluster": -1, "size": 0}
            if 0 < found < len(truth) and len(vectors):
                at = int(np.argmax(observed[m]))
                value = float(observed[m][at, 0])
                score |= {"value": value, "vector": int(vectors[at]) + 1}
                if m == "homogeneity":
                    size = int(scorer.sizes[at])
                    score |= {"cluster": int(clusters.cluster_index[at]), "size": size, "recall": value * size / found}
                for prefix, null in (("", free[m].max(axis=0)), ("within_", within[m].max(axis=0))):
                    score[f"{prefix}null_95"] = float(np.quantile(null, 0.95))
                    score[f"{prefix}p_value"] = p_value(value, null, tie=1e-12)
                score["null_mean"] = float(free[m].max(axis=0).mean())
            rows.append(score)
    return _table(rows)
