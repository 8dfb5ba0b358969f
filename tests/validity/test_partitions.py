"""Label arrays say the same as `clustering`, `scores` and `breakthrough` do."""

import numpy as np
import pytest

from polca.method.breakthrough import add_breakthroughs, breakthroughs, hidden_fraction
from polca.method.clustering import cluster, memberships, partition
from polca.method.decomposition import Trajectories
from polca.tasks.arithmetic.scores import best_clusters, cluster_scores
from polca.validity.permutation import best_homogeneities, clustered_curves, hidden_share


@pytest.fixture
def world():
    """Three vectors, 240 tokens in groups of one size and shape per vector, 21 points; the third vector rises."""
    rng = np.random.default_rng(0)
    place, carry = rng.integers(0, 4, 240), rng.random(240) < 0.4
    carry &= place != 3
    slopes = np.stack([1 + 3.0 * ((place == 1) & carry), 1 + 2.0 * (place == 2), -np.ones(240)])
    size, power = (np.abs(slopes)[..., None] * (1 + 0.05 * rng.normal(size=(3, 240, 1))) for _ in range(2))
    values = (-np.sign(slopes)[..., None] * size * np.linspace(0, 1, 21) ** power).astype(np.float32)
    values[0, ::9] *= -1
    return Trajectories("polca", values, np.arange(0, 210, 10), projected=True), place, carry


@pytest.mark.parametrize("standardise", [False, True])
def test_partition_is_that_of_cluster(world, standardise: bool) -> None:
    trajectories, place, carry = world
    for filters in (True, False):
        options = {"min_cluster_size": 12, "min_samples_divisor": 15, "standardise": standardise}
        wanted = cluster(trajectories, filters=filters, **options)
        labels = partition(trajectories.values, drop_vectors=filters, drop_tokens=filters, **options)
        np.testing.assert_array_equal(labels, wanted.labels)
    inside, vectors = memberships(labels)
    assert len(inside) == len(wanted) >= 2
    np.testing.assert_array_equal(vectors, wanted.cluster_vector)

    table = cluster_scores(wanted, place, carry)
    listed, wanted_best = best_clusters(table, "polca"), np.zeros(3)
    assert len(listed)
    wanted_best[listed["vector"] - 1] = listed["homogeneity"]
    assert best_homogeneities(labels, place[None], carry[None])[:, 0].tolist() == wanted_best.tolist()

    table = add_breakthroughs(table, breakthroughs(trajectories, wanted, delta=20, flat_step=100))
    for sign, column in (("printed", "hidden"), ("corrected", "hidden_onset")):
        curves = clustered_curves(trajectories.values, labels)
        share = hidden_share(curves, trajectories.steps, delta=20, flat_step=100, sign=sign)
        assert share == hidden_fraction(table, "polca", column)[0]


def test_no_cluster() -> None:
    labels = np.full((2, 5), -1)
    assert memberships(labels)[0].shape == (0, 5)
    carry, place = np.ones((1, 5), bool), np.ones((1, 5), int)
    assert best_homogeneities(labels, place, carry).tolist() == [[0], [0]]
    assert np.isnan(hidden_share(clustered_curves(np.zeros((2, 5, 9)), labels), np.arange(9), delta=1, flat_step=3))
