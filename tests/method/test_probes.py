"""Probes, neighbours and η² against scikit-learn and SciPy; structure is found where it is, and only there."""

import numpy as np
import pytest
from scipy.stats import f_oneway
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from polca.errors import PolcaError
from polca.method import probes
from polca.method.probes import (
    chance_agreement,
    nearest_rows,
    neighbour_agreement,
    neighbour_null,
    probe_auc,
    rounded_auc,
    same_label,
    variance_explained,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class TestProbe:
    def test_it_is_scikit_learn_s_cross_validation(self, rng) -> None:
        """With another solver, whose optimum is the same."""
        features = rng.normal(size=(150, 6)) * np.array([1, 10, 0.1, 1, 1, 1]) + 3
        labels = features[:, 0] + 0.1 * features[:, 1] + rng.normal(size=150) > 3.3
        model = make_pipeline(StandardScaler(), LogisticRegression(solver="lbfgs", tol=1e-10, max_iter=10_000))
        cut = StratifiedKFold(5, shuffle=True, random_state=0)
        expected = cross_val_score(model, features, labels, cv=cut, scoring="roc_auc").mean()
        assert probe_auc(features, labels) == pytest.approx(expected, abs=1e-12)
        assert 0.7 < expected < 0.99

    def test_a_separable_label_is_found(self, rng) -> None:
        features = rng.normal(size=(120, 4))
        features[:, 2] += 20 * (np.arange(120) % 3 == 0)
        assert probe_auc(features, np.arange(120) % 3 == 0) == 1

    def test_noise_is_chance(self, rng) -> None:
        """Mean of 20 draws about 0.5, one way or the other: it is not turned round."""
        draws = np.array([probe_auc(rng.normal(size=(80, 5)), rng.random(80) < 0.4, seed=s) for s in range(20)])
        assert abs(draws.mean() - 0.5) < 4 * draws.std() / 20**0.5
        assert draws.min() < 0.5 < draws.max()

    def test_more_features_than_rows(self, rng) -> None:
        features = rng.normal(size=(60, 200))
        labels = np.arange(60) < 30
        assert 0.2 < probe_auc(features, labels) < 0.8
        features[:, :50] += 3 * labels[:, None]
        assert probe_auc(features, labels) > 0.95

    def test_folds_of_groups_do_not_leak(self, rng) -> None:
        """Features that say which group a row is of, and a label that each group has wholly or not at all."""
        groups = np.repeat(np.arange(30), 8)
        labels = (rng.permutation(30) < 15)[groups]
        features = np.eye(30)[groups]
        assert probe_auc(features, labels) == 1
        assert probe_auc(features, labels, groups) == 0.5
        # What does tell the label is still found.
        both = np.column_stack([features, labels + rng.normal(0, 0.1, 240)])
        assert probe_auc(both, labels, groups) == 1

    def test_too_few_members_are_no_probe(self, rng) -> None:
        features, labels = rng.normal(size=(50, 2)), np.arange(50) < 4
        assert np.isnan(probe_auc(features, labels))
        assert np.isnan(probe_auc(features, ~labels))
        assert np.isfinite(probe_auc(features, labels, folds=4))
        assert np.isnan(probe_auc(features, np.zeros(50, np.bool_)))
        # Twenty members, but in four groups.
        groups = np.arange(50) // 5
        assert np.isnan(probe_auc(features, groups < 4, groups))
        assert np.isfinite(probe_auc(features, groups < 5, groups))

    def test_folds_without_a_class_are_left_out(self, rng) -> None:
        """A class that lies almost wholly in one group: some folds test one class only."""
        groups = np.repeat(np.arange(10), 10)
        labels = (groups == 0) | ((np.arange(100) % 10 == 0) & (groups < 5))
        features = labels[:, None] + rng.normal(0, 0.01, (100, 1))
        assert probe_auc(features, labels, groups) == 1

    def test_the_seed_decides(self, rng) -> None:
        features, labels = rng.normal(size=(60, 3)), rng.random(60) < 0.5
        assert probe_auc(features, labels) == probe_auc(features, labels)
        assert probe_auc(features, labels) != probe_auc(features, labels, seed=1)

    def test_tables_have_six_digits(self) -> None:
        assert rounded_auc(0.123456789) == 0.123457
        assert np.isnan(rounded_auc(float("nan")))


class TestNeighbours:
    def test_they_are_scikit_learn_s(self, rng, monkeypatch) -> None:
        features, labels = rng.normal(size=(200, 7)), rng.integers(0, 4, 200)
        theirs = NearestNeighbors(n_neighbors=11, algorithm="brute").fit(features)
        expected = theirs.kneighbors(features, return_distance=False)[:, 1:]
        np.testing.assert_array_equal(nearest_rows(features), expected)
        assert neighbour_agreement(features, labels) == (labels[expected] == labels[:, None]).mean()
        monkeypatch.setattr(probes, "_BLOCK", 200 * 7)
        np.testing.assert_array_equal(nearest_rows(features), expected)

    def test_ties_go_to_the_smaller_row(self) -> None:
        """Rows that are all the same, then one on a line between two."""
        assert nearest_rows(np.ones((4, 2)), 2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
        assert nearest_rows(np.array([[2.0], [1.0], [0.0]]), 1).tolist() == [[1], [0], [1]]

    def test_known_structure_is_found_and_none_where_there_is_none(self, rng) -> None:
        labels = np.repeat(np.arange(5), 40)
        heaps = 10 * np.eye(5)[labels] + rng.normal(size=(200, 5))
        assert neighbour_agreement(heaps, labels) == 1
        near = nearest_rows(rng.normal(size=(200, 5)))
        null = neighbour_null(near, labels)
        assert null.min() < same_label(near, labels) < null.max()
        assert null.mean() == pytest.approx(chance_agreement(labels), abs=0.003)
        assert neighbour_null(nearest_rows(heaps), labels).max() < 0.3

    def test_chance_is_that_of_pairs(self, rng) -> None:
        labels = rng.choice(list("abc"), 30, p=[0.6, 0.3, 0.1])
        pairs = labels[:, None] == labels
        assert chance_agreement(labels) == pytest.approx((pairs.sum() - 30) / (30 * 29))
        p = np.unique(np.tile(labels, 1000), return_counts=True)[1] / 30_000
        assert chance_agreement(np.tile(labels, 1000)) == pytest.approx((p**2).sum(), abs=1e-4)
        assert np.isnan(chance_agreement(labels[:1]))

    def test_labels_swap_within_groups(self, rng) -> None:
        """What a group decides is not beyond it; a label inside the groups is."""
        groups, inside = np.repeat(np.arange(4), 50), np.tile(np.arange(2), 100)
        near = nearest_rows(np.column_stack([100 * groups, 10 * inside]) + rng.normal(size=(200, 2)))
        assert (neighbour_null(near, groups, 20, within=groups) == 1).all()
        null = neighbour_null(near, 2 * groups + inside, within=groups)
        assert null.mean() == pytest.approx(24 / 49, abs=0.01)
        assert null.max() < same_label(near, 2 * groups + inside) == 1

    def test_the_seed_decides(self, rng) -> None:
        near, labels = nearest_rows(rng.normal(size=(50, 2))), rng.integers(0, 3, 50)
        first = neighbour_null(near, labels, 10)
        np.testing.assert_array_equal(first, neighbour_null(near, labels, 10))
        assert (first != neighbour_null(near, labels, 10, seed=1)).any()
        # Kinds are what counts, not how they are written.
        np.testing.assert_array_equal(first, neighbour_null(near, np.array(list("abc"))[labels], 10))


class TestVarianceExplained:
    def test_it_is_that_of_the_analysis_of_variance(self, rng) -> None:
        labels = rng.integers(0, 5, 90)
        values = rng.normal(size=90) + 0.3 * labels + 1e3
        f = f_oneway(*(values[labels == c] for c in range(5))).statistic
        assert variance_explained(values, labels) == pytest.approx(4 * f / (4 * f + 85), rel=1e-9)

    def test_all_and_nothing(self, rng) -> None:
        labels = np.arange(60) % 3
        assert variance_explained(7.0 * labels, labels) == pytest.approx(1)
        assert variance_explained(np.arange(60.0), np.zeros(60, np.int64)) == pytest.approx(0, abs=1e-12)
        assert np.isnan(variance_explained(np.full(60, 0.1), labels))
        assert np.isnan(variance_explained(np.zeros(0), np.zeros(0, np.int64)))
        draws = [variance_explained(rng.normal(size=60), labels) for _ in range(300)]
        assert np.mean(draws) == pytest.approx(2 / 59, abs=0.006)


def test_bad_input_is_refused(rng) -> None:
    features, labels = rng.normal(size=(20, 2)), np.arange(20) < 10
    gap = np.where(np.arange(20)[:, None] == 3, np.nan, features)
    for call, message in (
        (lambda: probe_auc(features[:, 0], labels), "features"),
        (lambda: probe_auc(gap, labels), "finite"),
        (lambda: probe_auc(features, labels[1:]), r"labels \(19,\): give one for each of the 20 rows"),
        (lambda: probe_auc(features, labels, np.arange(3)), r"labels \(3,\)"),
        (lambda: probe_auc(features, labels, folds=1), "folds = 1"),
        (lambda: nearest_rows(gap), "finite"),
        (lambda: nearest_rows(features, 20), "neighbours = 20"),
        (lambda: nearest_rows(features, 0), "neighbours = 0"),
        (lambda: neighbour_agreement(features, labels[1:]), "labels"),
        (lambda: same_label(nearest_rows(features), labels[1:]), "labels"),
        (lambda: neighbour_null(nearest_rows(features), labels, within=labels[1:]), "labels"),
        (lambda: variance_explained(features[:, 0], labels[1:]), "labels"),
    ):
        with pytest.raises(PolcaError, match=message):
            call()
