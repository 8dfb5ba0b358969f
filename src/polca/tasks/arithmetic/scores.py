"""How clusters match the skills: carry homogeneity, recall, F1 (Tables 1, 8, 10), AUC, ARI, NMI, silhouette."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

from polca.errors import PolcaError
from polca.method.breakthrough import add_breakthroughs
from polca.method.clustering import Clusters, compositions, memberships, vector_counts
from polca.method.decomposition import Trajectories
from polca.method.densities import distances
from polca.tasks.arithmetic.labels import PLACES

ANALYSES: Mapping[str, tuple[str, str]] = {
    "loss": ("none", "loss"),
    "loss_change": ("none", "loss_change"),
    "fisher": ("hessian", "fisher"),
    "lca": ("lca", "lca"),
    "polca_first_order": ("hessian", "polca_first_order"),
    "polca": ("hessian", "polca"),
    "polca_random": ("random", "polca"),
    "polca_shuffled_hessian": ("shuffled_hessian", "polca"),
    "polca_paper": ("hessian", "polca_paper"),
    "polca_paper_current": ("hessian", "polca_paper_current"),
    "polca_exact": ("hessian", "polca_exact"),
}
"""Basis and strategy of every analysis of Tables 8–11, and POLCA with the other forms of its second-order term."""

_STRATEGIES = {name: name for name in ("loss", "loss_change", "fisher", "lca", "polca_first_order", "polca")}
_BASES = {"random": "polca_random", "shuffled_hessian": "polca_shuffled_hessian", "hessian": "polca"}
ROWS: Mapping[int, Mapping[str, str]] = {8: _STRATEGIES, 9: _STRATEGIES, 10: _BASES, 11: _BASES}
"""Rows of Tables 8–11, which are strategies or bases, and the analyses behind them."""

BASES = ("hessian", "shuffled_hessian", "random", "lca")
"""Bases of the analyses, whose projections every one of them can be made from."""

CARRY_PLACES = (PLACES.index("100s"), PLACES.index("10s"))
"""The places whose carries Tables 1, 8 and 10 are about."""
ELIGIBLE_PERCENT = 85

COUNTS = tuple(f"n_{place}_{carry}" for place in PLACES for carry in ("carry", "nocarry"))
"""Columns of `clusters.csv` that hold a cluster's skill composition."""
SCORES = ("homogeneity", "recall", "f1")
"""Columns of `clusters.csv` that Tables 8 and 10 show."""

_HEAD: dict[str, str] = {"analysis": "str", "basis": "str", "strategy": "str", "vector": "int64"}
_CLUSTER_COLUMNS: dict[str, str] = {
    **_HEAD,
    "cluster": "int64",
    "size": "int64",
    "n_carry": "int64",
    **dict.fromkeys(SCORES, "float64"),
    "eligible": "bool",
    **dict.fromkeys(COUNTS, "int64"),
}
_VECTOR_COLUMNS: dict[str, str] = {
    **_HEAD,
    "vector_step": "int64",
    "kept": "bool",
    **dict.fromkeys(("n_dropped", "n_clustered", "n_outliers", "n_clusters"), "int64"),
    **dict.fromkeys(("auc_1000s", "auc_100s", "auc_10s"), "float64"),
    "best_cluster": "int64",
    "best_size": "int64",
    **dict.fromkeys((f"best_{score}" for score in SCORES), "float64"),
}
_SKILLS = ("digit", "carry", "digit_carry")
_PARTITION_COLUMNS: dict[str, str] = {
    **_HEAD,
    "n_clustered": "int64",
    "n_clusters": "int64",
    **{f"{score}_{skill}": "float64" for score in ("ari", "nmi", "silhouette") for skill in _SKILLS},
    "silhouette_clusters": "float64",
}


def harmonic_mean(a: float, b: float) -> float:
    """F1 of two fractions; 0 where both are."""
    return 2 * a * b / (a + b) if a + b else 0.0


def roc_areas(ranks: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """`auc` of K scores, given as ranks `[K, X]`, for P labellings by 0 and 1 `[X, P]`, both in each: `[K, P]`."""
    positive = labels.sum(axis=0)
    area = (ranks @ labels - positive * (positive + 1) / 2) / (positive * (len(labels) - positive))
    return np.asarray(np.maximum(area, 1 - area))


def auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve of `scores` `[n]`, either way round: max(AUC, 1 − AUC). NaN where one class is empty."""
    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_areas(rankdata(scores)[None], positive[:, None].astype(np.float64)).item())


def _head(analysis: str) -> dict[str, Any]:
    if analysis not in ANALYSES:
        raise PolcaError(f"analysis = {analysis!r}: expected one of {', '.join(ANALYSES)}")
    basis, strategy = ANALYSES[analysis]
    return {"analysis": analysis, "basis": basis, "strategy": strategy}


def _frame(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a table whose columns and types do not depend on the rows, empty tables included."""
    return pd.DataFrame(rows, columns=list(columns)).astype(dict(columns))


def _check_labels(clusters: Clusters, place: NDArray[np.integer], carry: NDArray[np.bool_]) -> None:
    tokens = clusters.labels.shape[1]
    for name, labels in (("place", place), ("carry", carry)):
        if labels.shape != (tokens,):
            raise PolcaError(f"{name} {labels.shape}: give one label for each of the {tokens} tokens")


@dataclass(frozen=True)
class CarryMatch:
    """How M clusters match the carries under each of N labellings.

    Attributes:
        sizes: `[M]` members.
        n_carry: `[M, N]` members with a carry.
        n_wanted: `[M, N]` those in the 10s or 100s place.
    """

    sizes: NDArray[np.int64]
    n_carry: NDArray[np.int64]
    n_wanted: NDArray[np.int64]

    @property
    def homogeneity(self) -> NDArray[np.float64]:
        """Fraction of each cluster's tokens with a carry, `[M, N]`."""
        return np.asarray(self.n_carry / np.maximum(self.sizes, 1)[:, None])

    @property
    def eligible(self) -> NDArray[np.bool_]:
        """Whether there is a carry and more than 85 % of the carry tokens are in the 10s or 100s place, `[M, N]`."""
        return np.asarray(100 * self.n_wanted > ELIGIBLE_PERCENT * self.n_carry)

    def recall(self, vectors: NDArray[np.int64]) -> NDArray[np.float64]:
        """Each cluster's share of its vector's clustered carry tokens in these places, `[M, N]`; 0 without any.

        Args:
            vectors: `[M]` vector of each cluster.
        """
        same = vectors[:, None] == vectors[None]
        available = same.astype(np.int64) @ self.n_wanted
        return np.asarray(self.n_wanted / np.maximum(available, 1))


def match_carries(inside: NDArray[np.bool_], place: NDArray[np.integer], carry: NDArray[np.bool_]) -> CarryMatch:
    """Count carries in clusters.

    Args:
        inside: `[M, X]` members.
        place, carry: `[N, X]` labellings.
    """
    # Counts are whole numbers far below 2²⁴: single precision is exact.
    rows = inside.astype(np.float32)
    wanted = carry & np.isin(place, CARRY_PLACES)
    n_carry, n_wanted = ((rows @ skill.T.astype(np.float32)).astype(np.int64) for skill in (carry, wanted))
    return CarryMatch(inside.sum(axis=1), n_carry, n_wanted)


def cluster_scores(
    clusters: Clusters, place: NDArray[np.integer], carry: NDArray[np.bool_], analysis: str = "polca"
) -> pd.DataFrame:
    """One row a cluster, as in `clusters.csv` but for the columns of `breakthrough.add_breakthroughs`.

    - homogeneity, eligible: as in `CarryMatch`;
    - recall: the cluster's carry tokens in the 10s and 100s places / all such tokens that are in some cluster of this
      vector (HDBSCAN outliers and dropped tokens left out; of the denominator the paper says no more than that outliers
      are); 0 where there are none;
    - f1: harmonic mean of homogeneity and recall;
    - n_<place>_carry, n_<place>_nocarry: composition.

    Args:
        place: `[X]` index into `labels.PLACES`.
        carry: `[X]`.

    Raises:
        PolcaError: labels that do not fit, or an unknown analysis.
    """
    head = _head(analysis)
    _check_labels(clusters, place, carry)
    inside, vectors = memberships(clusters.labels)
    matched = match_carries(inside, place[None], carry[None])
    homogeneity, recall = matched.homogeneity[:, 0], matched.recall(vectors)[:, 0]
    counts = compositions(inside, 2 * place.astype(np.int64) + ~carry, len(COUNTS))
    columns = {
        **{name: np.full(len(inside), value) for name, value in head.items()},
        "vector": vectors + 1,
        "cluster": clusters.cluster_index,
        "size": matched.sizes,
        "n_carry": matched.n_carry[:, 0],
        "homogeneity": homogeneity,
        "recall": recall,
        "f1": [harmonic_mean(h, r) for h, r in zip(homogeneity.tolist(), recall.tolist(), strict=True)],
        "eligible": matched.eligible[:, 0],
        **dict(zip(COUNTS, counts.T, strict=True)),
    }
    return pd.DataFrame(columns).astype(_CLUSTER_COLUMNS)


def best_clusters(table: pd.DataFrame, analysis: str) -> pd.DataFrame:
    """The eligible cluster of highest homogeneity of each vector of an analysis, best vector first.

    Ties go to the higher recall, then to the earlier vector and cluster. `table` is that of `cluster_scores`.
    """
    eligible = table[(table["analysis"] == analysis) & table["eligible"].astype(bool)]
    ranked = eligible.sort_values(
        ["homogeneity", "recall", "vector", "cluster"], ascending=[False, False, True, True], kind="stable"
    )
    return ranked.drop_duplicates("vector").reset_index(drop=True)


def three_best(table: pd.DataFrame, analysis: str) -> pd.DataFrame:
    """Rows of Tables 8 and 10: the best eligible clusters of the three best vectors, fewer where there are fewer.

    Returns:
        Columns rank (from 1), vector, cluster, homogeneity, recall, f1, size.
    """
    best = best_clusters(table, analysis).head(3)
    best.insert(0, "rank", np.arange(1, len(best) + 1))
    return best[["rank", "vector", "cluster", *SCORES, "size"]]


def vector_scores(
    clusters: Clusters,
    trajectories: Trajectories,
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
    analysis: str = "polca",
) -> pd.DataFrame:
    """One row a vector, as in `vectors.csv`.

    n_dropped counts tokens dropped as rising (0 where the vector itself was dropped: average it over kept vectors).
    auc_<place> is the AUC, either way round, of the trajectories' last values against the carry label among all tokens
    of that place, clustered or not; it asks whether the direction tells carries apart before HDBSCAN comes in. best_…
    is the vector's entry in `best_clusters`: cluster −1, size 0 and NaN where it has none.

    Raises:
        PolcaError: as `cluster_scores`, or clusters of other trajectories.
    """
    clusters.check_of(trajectories)
    best = best_clusters(cluster_scores(clusters, place, carry, analysis), analysis).set_index("vector")
    numbers = best.to_dict("index")
    rows: list[dict[str, Any]] = []
    for k, labels in enumerate(clusters.labels):
        last = trajectories.values[k, :, -1]
        top: Mapping[Any, Any] = numbers.get(k + 1, {})
        rows.append(
            {
                **_head(analysis),
                "vector": k + 1,
                "vector_step": int(clusters.vector_steps[k]),
                "kept": bool(clusters.vector_kept[k]),
                **vector_counts(labels),
                **{
                    f"auc_{name}": auc(last[place == PLACES.index(name)], carry[place == PLACES.index(name)])
                    for name in ("1000s", "100s", "10s")
                },
                "best_cluster": top.get("cluster", -1),
                "best_size": top.get("size", 0),
                **{f"best_{score}": top.get(score, float("nan")) for score in SCORES},
            }
        )
    return _frame(rows, _VECTOR_COLUMNS)


def _silhouette(between: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    """Mean silhouette, NaN where it is not defined (fewer than two labels, or as many as tokens)."""
    if not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(between, labels, metric="precomputed"))


def partition_scores(
    clusters: Clusters,
    trajectories: Trajectories,
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
    analysis: str = "polca",
) -> pd.DataFrame:
    """Agreement of each vector's whole partition with the skills, beside the hand-picked best cluster; not the paper's.

    Over the tokens in some cluster of the vector: ari_… and nmi_… (arithmetic mean) of the cluster numbers against
    digit, carry, and digit × carry; silhouette_… of the trajectories grouped by each of these and by the clusters
    themselves. Dropped vectors are left out; NaN where a score is not defined, as where nothing was clustered.

    Raises:
        PolcaError: as `vector_scores`.
    """
    head = _head(analysis)
    _check_labels(clusters, place, carry)
    clusters.check_of(trajectories)
    skills = {"digit": place.astype(np.int64), "carry": carry.astype(np.int64)}
    skills["digit_carry"] = 2 * skills["digit"] + skills["carry"]
    rows: list[dict[str, Any]] = []
    for k in np.flatnonzero(clusters.vector_kept):
        inside = np.flatnonzero(clusters.labels[k] >= 0)
        labels = clusters.labels[k, inside]
        row: dict[str, Any] = {
            **head,
            "vector": int(k) + 1,
            "n_clustered": len(inside),
            "n_clusters": len(np.unique(labels)),
        }
        if len(inside):
            between = distances(trajectories.values[k, inside])
            for name, skill in skills.items():
                row[f"ari_{name}"] = float(adjusted_rand_score(skill[inside], labels))
                row[f"nmi_{name}"] = float(normalized_mutual_info_score(skill[inside], labels))
                row[f"silhouette_{name}"] = _silhouette(between, skill[inside])
            row["silhouette_clusters"] = _silhouette(between, labels)
        rows.append(row)
    return _frame(rows, _PARTITION_COLUMNS)


def score_tables(
    analysis: str,
    clusters: Clusters,
    trajectories: Trajectories,
    breaks: pd.DataFrame,
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
) -> dict[str, pd.DataFrame]:
    """The tables of one analysis: `clusters` with the columns of `breakthroughs`, `vectors` and `partitions`.

    Raises:
        PolcaError: as `vector_scores`.
    """
    return {
        "clusters": add_breakthroughs(cluster_scores(clusters, place, carry, analysis), breaks),
        "vectors": vector_scores(clusters, trajectories, place, carry, analysis),
        "partitions": partition_scores(clusters, trajectories, place, carry, analysis),
    }
