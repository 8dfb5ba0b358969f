"""Permutation nulls: p-values are uniform where there is nothing to find, and small where there is."""

import numpy as np
import pytest
from scipy.stats import kstest

from polca.errors import PolcaError
from polca.method.clustering import memberships
from polca.validity.permutation import (
    Null,
    label_null,
    p_value,
    simple_flags,
    simple_null,
    simple_row,
    time_null,
    vector_null,
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
        null = label_null(labels, place, carry, 99, rng, within_place=within_place)
        found.append(p_value(null.observed.max(), null.drawn.max(axis=0)))
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.10


def test_a_cluster_of_carries_stands_out_and_one_of_a_digit_does_not_within_digits() -> None:
    rng = np.random.default_rng(2)
    place = np.tile([0, 1, 2, 3], 100)
    carry = (rng.random(400) < 0.5) & (place < 3)
    pure = np.where(carry & (place == 1), 0, 1)[None]
    assert label_null(pure, place, carry, 199, rng, within_place=True).row()["p_value"] == 1 / 200
    digit = np.where(place == 1, 0, -1)[None]
    row = label_null(digit, place, carry, 199, rng).row()
    assert row["p_value"] == 1 / 200
    # It has all tokens of its digit: no swap within digits can change it.
    assert label_null(digit, place, carry, 199, rng, within_place=True).row()["p_value"] == 1


def test_vectors_above_the_null_of_the_maximum() -> None:
    null = Null(np.array([0.9, 0.5, 0.0]), np.tile(np.linspace(0, 0.6, 100), (3, 1)))
    row = null.row()
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
    options = {"filters": True, "min_cluster_size": 30, "min_samples_divisor": 15}
    null = vector_null(values, labels, place, carry, 19, rng, **options)
    assert null.observed.tolist() == [1.0, 0.0]
    assert null.drawn.max() < 1
    assert null.row()["p_value"] == 1 / 20


def test_shuffled_times() -> None:
    """One sharp drop at the end: later than τ as it is; anywhere when increments swap their times."""
    steps = np.arange(0, 210, 10)
    values = np.zeros((1, 6, 21))
    values[..., 18:] = -1
    observed, drawn = time_null(
        values, steps, np.zeros((1, 6), int), 400, np.random.default_rng(4), delta=10, flat_step=150
    )
    assert observed == 1
    # The printed formula finds the end of the drop, 10 … 190; it is beyond 150 for increments 16 to 19 of 0 to 19.
    assert drawn.mean() == pytest.approx(4 / 20, abs=0.06)
    share, none = time_null(values, steps, np.full((1, 6), -1), 10, np.random.default_rng(4), delta=10, flat_step=150)
    assert np.isnan(share)
    assert not len(none)


def test_simple_labels() -> None:
    """A cluster of one tag among many is simple, and by chance it would not be."""
    rng = np.random.default_rng(5)
    names = tuple("ABCDEFGHIJ")
    tags = rng.integers(0, 10, (500, 4))
    labels = np.where(np.arange(500) < 40, 0, -1)[None]
    tags[:40, 3] = 7
    inside, vectors = memberships(labels)
    flags = simple_flags(inside, tags, names, 0.7, 2)
    assert flags.tolist() == [True]
    row = simple_row(flags, simple_null(inside, tags, names, 0.7, 2, 99, rng), vectors)
    assert row["clusters_simple"] == row["vectors_simple"] == 1
    assert row["clusters_null_mean"] == 0
    assert row["clusters_p_value"] == 0.01
