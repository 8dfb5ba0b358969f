"""Skill profiles by hand, and matching against permutations that are known."""

import numpy as np
import pandas as pd
import pytest

from polca.method.clustering import cluster
from polca.method.decomposition import Trajectories
from polca.validity.profiles import (
    CELLS,
    cluster_profiles,
    compare_profiles,
    match,
    profile_distances,
    skill_cells,
    stability,
    vector_profiles,
)

SKILLS = len(CELLS)


def compositions(rows: int, seed: int = 0):
    return np.random.default_rng(seed).dirichlet(np.full(SKILLS, 0.3), rows)


def test_cells_are_digit_and_carry() -> None:
    place, carry = np.array([0, 0, 1, 2, 3]), np.array([True, False, True, False, False])
    assert [CELLS[c] for c in skill_cells(place, carry)] == [
        "1000s_carry", "1000s_nocarry", "100s_carry", "10s_nocarry", "1s_nocarry",
    ]  # fmt: skip


def test_vector_profile_weighs_skills_alike() -> None:
    """Four tokens of one skill fall by 1 each, one token of another rises by 3: shares 1/4 and −3/4."""
    values = np.zeros((2, 5, 3), np.float32)
    values[0, :4, -1], values[0, 4, -1] = -1, 3
    trajectories = Trajectories("polca", values, np.arange(3), projected=True)
    profiles = vector_profiles(trajectories, np.array([2, 2, 2, 2, 5]))
    expected = np.zeros((2, SKILLS))
    expected[0, 2], expected[0, 5] = 0.25, -0.75
    np.testing.assert_allclose(profiles, expected)


def test_cluster_profile_is_its_composition() -> None:
    """Two heaps far apart, the first with three tokens of one skill and one of another."""
    values = np.zeros((1, 10, 2), np.float32)
    values[0, :, 1] = [-1, -1.1, -1.2, -1.3, -9, -9.1, -9.2, -9.3, -9.4, -9.5]
    clusters = cluster(
        Trajectories("polca", values, np.arange(2), projected=True),
        min_cluster_size=3,
        min_samples_divisor=10,
        standardise=False,
    )
    profiles = cluster_profiles(clusters, np.array([0, 0, 0, 1, 6, 6, 6, 6, 6, 6]))
    assert sorted(profiles[:, 0].tolist()) == [0, 0.75]
    assert sorted(profiles[:, 6].tolist()) == [0, 1]


def test_distance_of_compositions_is_total_variation() -> None:
    a = np.eye(SKILLS)[:2]
    np.testing.assert_allclose(profile_distances(a, (a + np.roll(a, 3, axis=1)) / 2), [[0.5, 1], [1, 0.5]])


@pytest.mark.parametrize("count", [3, 10])
def test_matching_recovers_a_known_permutation(count: int) -> None:
    one = compositions(count)
    order = np.random.default_rng(1).permutation(count)
    noisy = one[order] + np.random.default_rng(2).normal(0, 1e-3, one.shape)
    left, right, distances = match(one, noisy)
    assert left.tolist() == list(range(count))
    assert order[right].tolist() == list(range(count))
    assert (distances < 0.02).all()


def test_rows_beyond_the_others_are_left() -> None:
    one = compositions(5)
    left, right, distances = match(one, one[[4, 1]])
    assert dict(zip(left.tolist(), right.tolist(), strict=True)) == {4: 0, 1: 1}
    np.testing.assert_allclose(distances, 0)


def test_stability_tells_shared_skills_from_chance() -> None:
    """The same profiles in other orders are matched; independent ones, on average, no better than renamed ones."""
    base = compositions(6)
    shuffled = [base[np.random.default_rng(s).permutation(6)] for s in range(3)]
    shared = stability(shuffled, 99)
    assert shared["matched"] == pytest.approx(0)
    assert shared["unmatched"] > 0.3
    assert shared["same_index"] > 0.1
    assert shared["p_value"] == pytest.approx(0.01)
    p_values = [stability([compositions(4, 2 * s), compositions(4, 2 * s + 1)], 39)["p_value"] for s in range(60)]
    # Uniform over 1/40 … 1: the mean of 60 is 0.51 with a standard error of 0.037.
    assert 0.36 < np.mean(p_values) < 0.66
    assert np.isnan([*stability([base, base[:0]], 5).values()]).all()


def test_table_names_the_partners() -> None:
    base = compositions(3)
    rows = []
    for seed, order in ((0, [0, 1, 2]), (7, [2, 0, 1])):
        for vector, row in enumerate(base[order], 1):
            rows.append(
                {"seed": seed, "kind": "vector", "vector": vector, "cluster": -1, **dict(zip(CELLS, row, strict=True))}
            )
    matches, found = compare_profiles(pd.DataFrame(rows), 19)
    assert dict(zip(matches["vector"], matches["other_vector"], strict=True)) == {1: 2, 2: 3, 3: 1}
    assert set(matches["other_seed"]) == {7}
    assert found["vector"]["matched"] == pytest.approx(0)
    assert np.isnan(found["cluster"]["matched"])
    assert found["cluster"]["items"] == 0
