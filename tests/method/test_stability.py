"""Labels that outlast small changes, and labels that do not."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import polca.method.stability as module
from oracles import library_labels
from polca.errors import PolcaError
from polca.method.clustering import cluster
from polca.method.decomposition import Trajectories
from polca.method.densities import hdbscan_labels
from polca.method.stability import Stability, stability

SIZES: dict[str, Any] = {"min_cluster_size": 10, "min_samples_divisor": 15}


def found(values: np.ndarray, labels: np.ndarray, seed: int = 0, **options: Any) -> Stability:
    chosen = {**SIZES, "standardise": False, "repeats": 4, "noise": 0.01, **options}
    return stability(values, labels, rng=np.random.default_rng(seed), **chosen)


def two_blobs(tokens: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Trajectories of two far groups, each of a size and a shape of its own, and their groups."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.arange(tokens) % 2)
    steps = np.linspace(0, 1, 12)
    shapes = np.where(group[:, None], -9 * steps**4, -1 * steps**0.3)
    return (shapes * (1 + 0.01 * rng.normal(size=(tokens, 12)))).astype(np.float32), group


@pytest.mark.parametrize("standardise", [False, True])
def test_two_far_groups_are_stable(standardise: bool) -> None:
    values, group = two_blobs()
    assert found(values, group, standardise=standardise) == Stability(1.0, 1.0)
    # What the labels are called does not matter.
    assert found(values, 1 - group, standardise=standardise) == Stability(1.0, 1.0)


@pytest.mark.parametrize("standardise", [False, True])
def test_labels_of_noise_are_not(standardise: bool) -> None:
    """One cloud, split at random: HDBSCAN finds neither half again."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(200, 12)).astype(np.float32)
    result = found(values, rng.integers(0, 2, 200), standardise=standardise)
    assert abs(result.bootstrap) < 0.1
    assert abs(result.perturbed) < 0.1


def test_one_of_two_changes_can_matter_alone() -> None:
    """A gap of a tenth of the noise between two heaps: drawing tokens again leaves it, moving them closes it."""
    rng = np.random.default_rng(2)
    group = np.arange(80) % 2
    # Each trajectory varies by about 1 over time, and the groups differ by 0.1 at one of its points.
    values = np.tile(np.linspace(0, -3, 8), (80, 1)) + 0.001 * rng.normal(size=(80, 8))
    values[:, 4] += 0.1 * group
    calm, moved = (found(values, group, noise=noise) for noise in (1e-6, 1.0))
    assert calm == Stability(1.0, 1.0)
    assert moved.bootstrap == 1.0
    assert moved.perturbed < 0.1


@pytest.mark.parametrize("labels", [[-1] * 30, [-2] * 30, [-3] * 30, [-1] * 15 + [-2] * 15])
def test_without_clusters_it_is_not_defined(labels: list[int]) -> None:
    values, _ = two_blobs(30)
    result = found(values, np.array(labels))
    assert np.isnan([result.bootstrap, result.perturbed]).all()


def test_nothing_to_draw() -> None:
    result = found(np.zeros((0, 5)), np.zeros(0, np.int64))
    assert np.isnan([result.bootstrap, result.perturbed]).all()


def test_the_same_for_the_same_seed() -> None:
    """And another for another, where there is something to draw."""
    rng = np.random.default_rng(3)
    values = np.cumsum(rng.normal(size=(120, 9)), axis=1) + 5 * (np.arange(120) % 3)[:, None]
    labels = hdbscan_labels(values, 10, 8)
    assert labels.max() > 0
    one, again, other = (found(values, labels, seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert 0 < one.bootstrap < 1


def test_tokens_that_were_not_clustered_are_left_out() -> None:
    """Of a third dropped as rising nothing is drawn: whatever their values, the result is that of the others alone."""
    values, group = two_blobs(90)
    labels = np.where(np.arange(90) % 3 == 0, -2, group)
    kept = labels >= -1
    alone = found(values[kept], labels[kept])
    assert alone == Stability(1.0, 1.0)
    for filled in (0.0, 1e6, np.nan):
        with_others = np.where(kept[:, None], values, filled)
        assert found(with_others, labels) == alone
    rng = np.random.default_rng(4)
    noise, few = rng.normal(size=(90, 12)), np.where(kept, rng.integers(-1, 2, 90), -3)
    assert found(noise, few) == found(noise[kept], few[kept])


def test_outliers_are_a_group() -> None:
    """They stand for tokens that HDBSCAN must leave out again, and are not dropped from the comparison."""
    values, group = two_blobs(80)
    rng = np.random.default_rng(5)
    far = np.concatenate([values, 1000 * rng.normal(size=(20, 12))])
    labels = np.append(group, np.full(20, -1))
    assert found(far, labels).perturbed == 1.0
    # The same clusters with half of their tokens called outliers: what HDBSCAN finds is another partition.
    assert found(far, np.where(np.arange(100) % 4 < 2, -1, labels)).perturbed < 0.5


def test_against_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The definition again with scikit-learn's index and HDBSCAN itself, on the same draws."""
    rng = np.random.default_rng(6)
    values = (np.cumsum(rng.normal(size=(120, 9)), axis=1) + 4 * (np.arange(120) % 3)[:, None]).astype(np.float32)
    labels = hdbscan_labels(values, 12, 8)
    labels[::10] = -2
    seen: list[tuple[int, int, int]] = []

    def noted(rows: np.ndarray, size: int, samples: int) -> np.ndarray:
        seen.append((len(rows), size, samples))
        return hdbscan_labels(rows, size, samples)

    monkeypatch.setattr(module, "hdbscan_labels", noted)
    result = found(values, labels, min_cluster_size=12, noise=0.2, repeats=3)
    curves, known = values[labels >= -1].astype(np.float64), labels[labels >= -1]
    n, spread = len(curves), curves.std(axis=1, keepdims=True)
    draw, sums = np.random.default_rng(0), np.zeros(2)
    for repeat in range(3):
        tokens = sorted(set(draw.integers(n, size=n).tolist()))
        size = round(12 * len(tokens) / n)
        assert seen[2 * repeat : 2 * repeat + 2] == [(len(tokens), size, len(tokens) // 15), (n, 12, n // 15)]
        moved = curves + 0.2 * spread * draw.standard_normal(curves.shape)
        for i, (rows, least, names) in enumerate(((curves[tokens], size, known[tokens]), (moved, 12, known))):
            sums[i] += adjusted_rand_score(names, library_labels(rows, least, len(rows) // 15, "generic"))
    assert [result.bootstrap, result.perturbed] == pytest.approx(sums / 3)


def test_a_draw_holds_two_thirds_of_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 − 1/e of them, each once, and the least size of a cluster falls with their number."""
    values, group = two_blobs(2000)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(
        module, "hdbscan_labels", lambda rows, size, samples: seen.append((len(rows), size)) or np.zeros(len(rows))
    )
    found(values, group, min_cluster_size=100)
    for rows, size in seen[::2]:
        assert rows / 2000 == pytest.approx(1 - np.exp(-1), abs=0.03)
        assert size == pytest.approx(63, abs=3)
    assert set(seen[1::2]) == {(2000, 100)}


def test_noise_is_a_share_of_each_trajectory_s_own_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of trajectories over six decades each moves by as large a part of itself; a constant one does not move."""
    rng = np.random.default_rng(7)
    size = 10.0 ** np.arange(-3, 3)
    values = np.concatenate([size[:, None] * rng.normal(size=(6, 4000)), np.full((1, 4000), 5.0)])
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        module, "hdbscan_labels", lambda rows, size, samples: seen.append(rows) or np.zeros(len(rows), np.int64)
    )
    found(values, np.array([0, 0, 0, 0, 1, 1, 1]), noise=0.05, repeats=1)
    moved = (seen[1] - values).std(axis=1)
    np.testing.assert_allclose(moved[:6], 0.05 * values[:6].std(axis=1), rtol=0.1)
    assert moved[6] == 0


def test_clusters_of_a_reading_are_compared_in_it() -> None:
    """By shape there are two groups, by size there is none: only the same reading finds them again."""
    rng = np.random.default_rng(8)
    values, group = two_blobs(120)
    values = values / np.abs(values).max(axis=1, keepdims=True) * 10 ** rng.uniform(-2, 2, (120, 1))
    source = Trajectories("polca", values[None].astype(np.float32), 10 * np.arange(12), projected=True)
    labels = cluster(source, **SIZES).labels[0]
    assert adjusted_rand_score(group, labels) == 1
    assert found(values, labels, standardise=True) == Stability(1.0, 1.0)
    assert found(values, labels, standardise=False).perturbed < 0.5


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(PolcaError, match=r"stability: \(3,\) trajectories but labels \(4,\): give one for each token"):
        found(np.zeros((3, 5)), np.zeros(4, np.int64))
