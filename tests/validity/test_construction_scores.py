"""Scores against scikit-learn's; nulls by simulation."""

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score

from polca.method.clustering import cluster
from polca.method.decomposition import Trajectories
from polca.validity.construction_scores import COLUMNS, construction_scores, no_scores, permuted_labels

TOKENS = 120


@pytest.fixture
def clustered():
    """Two vectors; along the first, three heaps of falling tokens, along the second one heap and noise."""
    generator = np.random.default_rng(0)
    values = np.zeros((2, TOKENS, 3), np.float32)
    values[0, :, 1:] = -np.repeat([1.0, 5.0, 9.0], 40)[:, None] + generator.normal(0, 0.1, (TOKENS, 2))
    values[1, :, 1:] = -np.abs(generator.normal(3, 2, (TOKENS, 2)))
    trajectories = Trajectories("polca", values, np.arange(3), projected=True)
    return cluster(trajectories, min_cluster_size=10, min_samples_divisor=30, standardise=False), trajectories


def scores(clustered, labels, targets=None, permutations=50, seed=0):
    clusters, trajectories = clustered
    targets = np.zeros(TOKENS, np.int64) if targets is None else targets
    table = construction_scores(
        "polca", clusters, trajectories, labels[:, None], targets, ("x",), permutations=permutations, seed=seed
    )
    assert list(table.columns) == list(COLUMNS)
    return table.set_index("measure")


def test_scores_are_those_of_scikit_learn(clustered) -> None:
    clusters, trajectories = clustered
    labels = np.random.default_rng(1).random(TOKENS) < np.repeat([0.1, 0.3, 0.8], 40)
    table = scores(clustered, labels)
    nmi, auc, pure = [], [], []
    for k in range(2):
        inside = clusters.labels[k] >= 0
        nmi.append(normalized_mutual_info_score(labels[inside], clusters.labels[k][inside]) if inside.any() else 0)
        area = roc_auc_score(labels, trajectories.values[k, :, -1])
        auc.append(max(area, 1 - area))
        pure += [labels[clusters.labels[k] == c].mean() for c in range(clusters.labels[k].max() + 1)]
    for measure, expected in (("nmi", nmi), ("auc", auc), ("homogeneity", pure)):
        assert table.loc[measure, "value"] == pytest.approx(max(expected), abs=1e-12)
    assert table.loc["nmi", "vector"] == 1 + int(np.argmax(nmi))
    best = table.loc["homogeneity"]
    members = clusters.labels[best["vector"] - 1] == best["cluster"]
    assert best["size"] == members.sum()
    assert best["recall"] == pytest.approx(labels[members].sum() / labels.sum())


def test_a_construction_that_is_a_cluster_beats_both_nulls(clustered) -> None:
    table = scores(clustered, np.repeat([False, False, True], 40), permutations=99)
    assert (table["p_value"] == 0.01).all()
    assert (table["within_p_value"] == 0.01).all()
    assert table.loc["homogeneity", "value"] == 1


def test_what_the_token_decides_is_not_beyond_the_token(clustered) -> None:
    """The label is that of one target token: permuting among equal tokens changes nothing."""
    labels = np.repeat([False, False, True], 40)
    table = scores(clustered, labels, targets=labels.astype(np.int64))
    assert (table["p_value"] < 0.05).all()
    assert (table["within_p_value"] == 1).all()


def test_p_values_are_uniform_under_the_null(clustered) -> None:
    """Labels at random: p is uniform over 1/40 … 1, its mean of 150 draws 0.51 with a standard error of 0.024."""
    draws = []
    for seed in range(150):
        labels = np.random.default_rng(seed).permutation(np.arange(TOKENS) < 40)
        draws.append(scores(clustered, labels, permutations=39, seed=1000 + seed).loc["auc", "p_value"])
    assert 0.41 < np.mean(draws) < 0.61
    assert 0.01 < np.mean(np.array(draws) <= 0.1) < 0.2


def test_permutations_keep_counts_within_groups() -> None:
    generator = np.random.default_rng(0)
    labels, groups = generator.random(60) < 0.4, generator.integers(0, 5, 60)
    free, within = permuted_labels(labels, 20, None, 0), permuted_labels(labels, 20, groups, 0)
    assert (free.sum(axis=0) == labels.sum()).all()
    assert len(np.unique(free, axis=1).T) > 15
    assert len(np.unique(within, axis=1).T) > 15
    for g in range(5):
        assert (within[groups == g].sum(axis=0) == labels[groups == g].sum()).all()


def test_nothing_to_score(clustered) -> None:
    table = scores(clustered, np.zeros(TOKENS, np.bool_))
    assert table["value"].isna().all()
    assert (table["tokens"] == 0).all()
    assert len(no_scores()) == 0
    assert list(no_scores()) == [*COLUMNS, "reading"]
