"""Permutation nulls: p-values are uniform where there is nothing to find, and small where there is."""

import numpy as np
import pytest
from scipy.stats import kstest

from polca.errors import PolcaError
from polca.method.clustering import memberships
from polca.method.decomposition import Trajectories
from polca.tasks.settings import ClusteringSettings
from polca.validity.permutation import Clustered, best_row, by_chance, p_value, simple_null, simple_row


def clustered(labels, place, carry, values=None, projected: bool = True) -> Clustered:
    """An analysis of these trajectories, 10 steps from point to point; of constant ones where none are given."""
    values = np.zeros((*labels.shape, 2), np.float32) if values is None else values
    return Clustered(
        Trajectories("polca", values, 10 * np.arange(values.shape[2]), projected=projected), labels, place, carry
    )


def test_p_value_counts_ties() -> None:
    assert p_value(2.0, np.array([1.0, 2.0, 3.0, 0.0])) == 3 / 5
    assert p_value(5.0, np.zeros(99)) == 1 / 100
    with pytest.raises(PolcaError, match="no permutation"):
        p_value(1.0, np.empty(0))


@pytest.mark.parametrize("within_place", [False, True])
def test_p_values_are_uniform_under_the_null(within_place: bool) -> None:
    """Clusters that know nothing of the skills: over many worlds every p-value is as likely as any other."""
    rng = np.random.default_rng(1)
    # Large clusters of the two places that count: homogeneity takes many values, so that ties are rare.
    place = np.repeat([1, 2], 200)
    found = []
    for _ in range(300):
        carry = rng.random(400) < 0.5
        labels = rng.integers(-1, 4, (3, 400))
        scores = clustered(labels, place, carry).swap_skills(99, rng, within_place=within_place)
        found.append(by_chance(scores.max(axis=0))["p_value"])
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.10


def test_a_cluster_of_carries_stands_out_and_one_of_a_digit_does_not() -> None:
    rng = np.random.default_rng(2)
    place = np.tile([0, 1, 2, 3], 100)
    carry = (rng.random(400) < 0.5) & (place < 3)
    pure = np.where(carry & (place == 1), 0, 1)[None]
    study = clustered(pure, place, carry)
    assert best_row(study.swap_skills(199, rng, within_place=True))["p_value"] == 1 / 200
    study = clustered(np.where(place == 1, 0, -1)[None], place, carry)
    # No swap among all leaves it with the carries of two digits alone, so that it has nothing to be compared with.
    free = best_row(study.swap_skills(199, rng))
    assert (free["observed"] > 0.4, free["eligible_draws"]) == (True, 0)
    assert np.isnan(free["p_value"])
    # It has all tokens of its digit: no swap within digits can change it.
    assert best_row(study.swap_skills(199, rng, within_place=True))["p_value"] == 1


def test_vectors_above_the_null_of_the_maximum() -> None:
    null = np.tile(np.linspace(0, 0.6, 100), (3, 1))
    row = best_row(np.concatenate([[[0.9], [0.5], [0.0]], null], axis=1))
    assert (row["vectors_eligible"], row["vectors_above"], row["vectors_alone"]) == (2, 1, 1)
    assert row["observed"] == 0.9
    assert 0.56 < row["null_95"] < 0.58
    # The first of the hundred draws has no eligible cluster.
    assert (row["permutations"], row["eligible_draws"], row["p_least"]) == (100, 0.99, 1 / 100)


class TestWhereClustersAreEligible:
    """Whether a draw has an eligible cluster says nothing about how pure it is: those without one are no null."""

    def test_only_eligible_draws_are_compared(self) -> None:
        """By hand: of six draws two vectors have the maxima 0.2, none, 0.7, none, 0.9, 0.5; observed is 0.7."""
        scores = np.array([[0.7, 0.2, 0.0, 0.7, 0.0, 0.0, 0.5], [0.1, 0.1, 0.0, 0.3, 0.0, 0.9, 0.0]])
        row = best_row(scores)
        # Of four draws two are at least as large: (1 + 2) / (1 + 4). Of all six it would have been 3 / 7.
        assert row["p_value"] == 3 / 5
        assert row["null_mean"] == pytest.approx((0.2 + 0.7 + 0.9 + 0.5) / 4)
        assert row["null_95"] == 0.9
        assert (row["permutations"], row["eligible_draws"], row["p_least"]) == (6, 4 / 6, 1 / 5)
        assert (row["vectors_eligible"], row["vectors_above"]) == (2, 0)

    def test_a_vector_alone_is_compared_with_its_own_eligible_draws(self) -> None:
        """Of vector 2 only 5 of 100 draws have a cluster, all worse: p = 1/6, and not 1/101."""
        scores = np.concatenate([[[0.9], [0.8]], np.full((2, 100), 0.5)], axis=1)
        scores[1, 6:] = 0
        row = best_row(scores)
        assert (row["p_value"], row["eligible_draws"]) == (1 / 101, 1)
        assert (row["vectors_above"], row["vectors_alone"]) == (2, 1)

    def test_few_eligible_draws_bound_the_p_value(self) -> None:
        """However pure the cluster, three draws cannot make it less likely than one in four."""
        scores = np.zeros((1, 1000))
        scores[0, [0, 5, 6, 7]] = 1.0, 0.1, 0.2, 0.3
        row = best_row(scores)
        assert row["p_value"] == row["p_least"] == 1 / 4
        # Nor does it stand out among vectors, or alone.
        assert (row["vectors_above"], row["vectors_alone"]) == (0, 0)
        assert row["eligible_draws"] == 3 / 999

    def test_nothing_observed_is_nothing_to_test(self) -> None:
        """Without an eligible cluster p is not 1, which would be a result."""
        row = best_row(np.array([[0.0, 0.5, 0.6]]))
        assert row["observed"] == 0
        assert np.isnan([row[name] for name in ("p_value", "null_mean", "null_95")]).all()
        assert (row["eligible_draws"], row["p_least"]) == (1, 1 / 3)
        assert (row["vectors_eligible"], row["vectors_above"], row["vectors_alone"]) == (0, 0, 0)

    def test_no_draw_is_nothing_to_test_against(self) -> None:
        """An eligible cluster where chance has none: no p-value, and the best that one could be is 1."""
        row = best_row(np.array([[0.8, 0.0, 0.0]]))
        assert row["observed"] == 0.8
        assert np.isnan([row[name] for name in ("p_value", "null_mean", "null_95")]).all()
        assert (row["eligible_draws"], row["p_least"], row["vectors_above"]) == (0, 1, 0)

    def test_p_values_are_uniform_where_some_draws_have_none(self) -> None:
        """One carry in six is of a place that does not count, so that clusters are eligible by luck; p is uniform."""
        rng = np.random.default_rng(6)
        place, found = np.repeat([0, 1, 2], [102, 249, 249]), []
        for _ in range(400):
            carry = rng.random(600) < 0.5
            study = clustered(rng.integers(-1, 4, (1, 600)), rng.permutation(place), carry)
            found.append(best_row(study.swap_skills(79, rng)))
        assert 0.5 < np.mean([row["eligible_draws"] for row in found]) < 1
        known = np.array([row["p_value"] for row in found])
        assert kstest(known[np.isfinite(known)], "uniform").pvalue > 0.01


def test_swapping_vectors_destroys_what_a_vector_tells() -> None:
    """Two vectors, one of which splits tokens by carry: only the true assignment has the pure cluster."""
    rng = np.random.default_rng(3)
    carry = np.arange(80) < 40
    place = np.ones(80, np.int64)
    steps = np.linspace(0, -1, 6)
    values = np.stack([np.where(carry, 1.0, 5.0), np.full(80, 3.0)])[..., None] * steps
    values = (values + 0.01 * rng.normal(size=(2, 80, 1)) * steps).astype(np.float32)
    labels = np.stack([np.where(carry, 0, 1), np.full(80, -1)])
    settings = ClusteringSettings(min_cluster_size=30, min_samples_divisor=15)
    scores = clustered(labels, place, carry, values).swap_vectors(19, rng, settings, standardise=False)
    assert scores[:, 0].tolist() == [1.0, 0.0]
    assert scores[:, 1:].max() == 0
    assert best_row(scores)["vectors_above"] == 0, "nothing to compare with"


def test_swapped_vectors_are_clustered_in_the_reading_that_is_asked_for() -> None:
    """Carries fall late, on every vector alike, and tokens have all sizes: only shapes tell them apart, in any draw."""
    rng = np.random.default_rng(7)
    carry = np.arange(80) < 40
    late, early = np.linspace(0, 1, 12) ** 6, np.linspace(0, 1, 12) ** 0.5
    size = 10 ** rng.uniform(-2, 2, (2, 80, 1))
    values = -size * (np.where(carry[:, None], late, early) + 0.01 * rng.random((2, 80, 12)) * np.linspace(0, 1, 12))
    study = clustered(np.full((2, 80), -1), np.ones(80, np.int64), carry, values.astype(np.float32))
    settings = ClusteringSettings(min_cluster_size=20, min_samples_divisor=15)
    by_shape, raw = (study.swap_vectors(5, rng, settings, standardise=flag)[:, 1:] for flag in (True, False))
    assert (by_shape == 1).all()
    assert raw.max() < 1


def test_shuffled_times() -> None:
    """One sharp drop at the end: later than τ as it is; anywhere when increments swap their times."""
    values = np.zeros((1, 6, 21))
    values[..., 18:] = -1
    skills, eq_9 = (np.zeros(6, int), np.zeros(6, bool)), {"delta": 10, "flat_step": 150}
    found = clustered(np.zeros((1, 6), int), *skills, values).swap_times(400, np.random.default_rng(4), **eq_9)
    assert found[0] == 1
    # The printed formula finds the end of the drop, 10 … 190; it is beyond 150 for increments 16 to 19 of 0 to 19.
    assert found[1:].mean() == pytest.approx(4 / 20, abs=0.06)
    none = clustered(np.full((1, 6), -1), *skills, values).swap_times(10, np.random.default_rng(4), **eq_9)
    assert len(none) == 1
    assert np.isnan(none).all()
    assert np.isnan([*by_chance(none).values()]).all()


def test_simple_labels() -> None:
    """A cluster of one tag among many is simple, and by chance it would not be."""
    rng = np.random.default_rng(5)
    names = tuple("ABCDEFGHIJ")
    tags = rng.integers(0, 10, (500, 4))
    labels = np.where(np.arange(500) < 40, 0, -1)[None]
    tags[:40, 3] = 7
    inside, vectors = memberships(labels)
    flags = simple_null(inside, tags, names, 0.7, 2, 99, rng)
    assert flags[0].tolist() == [True]
    row = simple_row(flags, vectors)
    assert row["clusters_simple"] == row["vectors_simple"] == 1
    assert row["clusters_null_mean"] == 0
    assert row["clusters_p_value"] == 0.01
