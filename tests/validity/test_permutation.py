"""Permutation nulls: p-values are uniform where there is nothing to find, and small where there is."""

import numpy as np
import pytest
from scipy.stats import kstest

from polca.errors import PolcaError
from polca.method.clustering import memberships
from polca.method.decomposition import Trajectories
from polca.tasks.settings import BreakthroughSettings, ClusteringSettings
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


def test_a_cluster_of_carries_stands_out_and_one_of_a_digit_does_not_within_digits() -> None:
    rng = np.random.default_rng(2)
    place = np.tile([0, 1, 2, 3], 100)
    carry = (rng.random(400) < 0.5) & (place < 3)
    pure = np.where(carry & (place == 1), 0, 1)[None]
    study = clustered(pure, place, carry)
    assert best_row(study.swap_skills(199, rng, within_place=True))["p_value"] == 1 / 200
    study = clustered(np.where(place == 1, 0, -1)[None], place, carry)
    assert best_row(study.swap_skills(199, rng))["p_value"] == 1 / 200
    # It has all tokens of its digit: no swap within digits can change it.
    assert best_row(study.swap_skills(199, rng, within_place=True))["p_value"] == 1


def test_vectors_above_the_null_of_the_maximum() -> None:
    null = np.tile(np.linspace(0, 0.6, 100), (3, 1))
    row = best_row(np.concatenate([[[0.9], [0.5], [0.0]], null], axis=1))
    assert (row["vectors_eligible"], row["vectors_above"], row["vectors_alone"]) == (2, 1, 1)
    assert row["observed"] == 0.9
    assert 0.56 < row["null_95"] < 0.58


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
    scores = clustered(labels, place, carry, values).swap_vectors(19, rng, settings)
    assert scores[:, 0].tolist() == [1.0, 0.0]
    assert scores[:, 1:].max() < 1
    assert best_row(scores)["p_value"] == 1 / 20


def test_shuffled_times() -> None:
    """One sharp drop at the end: later than τ as it is; anywhere when increments swap their times."""
    values = np.zeros((1, 6, 21))
    values[..., 18:] = -1
    skills, settings = (np.zeros(6, int), np.zeros(6, bool)), BreakthroughSettings(delta=10, flat_step=150)
    found = clustered(np.zeros((1, 6), int), *skills, values).swap_times(400, np.random.default_rng(4), settings)
    assert found[0] == 1
    # The printed formula finds the end of the drop, 10 … 190; it is beyond 150 for increments 16 to 19 of 0 to 19.
    assert found[1:].mean() == pytest.approx(4 / 20, abs=0.06)
    none = clustered(np.full((1, 6), -1), *skills, values).swap_times(10, np.random.default_rng(4), settings)
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
