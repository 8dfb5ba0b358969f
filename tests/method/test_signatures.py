"""Signatures against their definition ; what may change nothing; bad input."""

import numpy as np
import pytest

from polca.errors import PolcaError
from polca.method.decomposition import Trajectories
from polca.method.signatures import signatures, token_features
from polca.study.archive import compress

K, X, P = 3, 40, 9
STEPS = 50 * np.arange(P)


def made(seed: int = 0, scale: float = 1.0) -> Trajectories:
    """Random walks from 0 with heavy tails, so that some values are clipped."""
    walks = np.random.default_rng(seed).standard_t(1.5, size=(K, X, P)).cumsum(axis=2)
    values = (scale * (walks - walks[:, :, :1])).astype(np.float32)
    return Trajectories("polca", values, STEPS, projected=True)


def test_it_is_the_definition() -> None:
    t = made()
    found = signatures(t)
    assert found.shape == (X, 3 * K)
    assert found.dtype == np.float64
    for k in range(K):
        for a, point in enumerate((2, 4, 8)):
            column = t.values[k, :, point].astype(np.float64)
            centred = column - np.median(column)
            scaled = centred / np.mean(np.abs(centred))
            np.testing.assert_allclose(found[:, 3 * k + a], scaled.clip(-5, 5), rtol=1e-12, atol=1e-12)
    assert np.abs(found).max() == 5
    assert (np.abs(found) < 5).mean() > 0.8


@pytest.mark.parametrize(
    ("at", "points"),
    [
        ((0.0, 1.0), [0, 8]),
        ((0.19, 0.31), [2, 2]),  # 76 and 124 of 400
        ((0.0625, 0.1875), [0, 1]),  # half way between two points: the earlier
        (None, list(range(P))),
    ],
)
def test_shares_are_read_at_the_nearest_point(at, points) -> None:
    t = made()
    chosen = Trajectories("polca", t.values[:, :, points], STEPS[: len(points)], projected=True)
    np.testing.assert_array_equal(signatures(t, at), signatures(chosen, None))


def test_shares_count_from_the_first_step() -> None:
    """Of training from step 1,000 on a half is at 1,200, not at 700."""
    t = made()
    late = Trajectories("polca", t.values, STEPS + 1000, projected=True)
    np.testing.assert_array_equal(signatures(late, (0.5,)), signatures(t, (0.5,)))


def test_vectors_can_be_chosen() -> None:
    whole = signatures(made()).reshape(X, K, 3)
    for vectors, rows in (([2, 0], [2, 0]), (np.array([False, True, False]), [1]), ([-1], [2])):
        np.testing.assert_array_equal(signatures(made(), vectors=vectors), whole[:, rows].reshape(X, -1))


def test_units_and_order_of_tokens_do_not_matter() -> None:
    t, order = made(), np.random.default_rng(1).permutation(X)
    # A power of two, so that not even a digit changes.
    np.testing.assert_array_equal(signatures(made(scale=2.0**-40)), signatures(t))
    shuffled = Trajectories("polca", t.values[:, order], STEPS, projected=True)
    np.testing.assert_array_equal(signatures(shuffled), signatures(t)[order])


def test_a_column_without_scale_is_zero() -> None:
    """A constant column has none; one token that differs gives it one."""
    values = np.zeros((2, 5, 2), np.float32)
    values[0, :, 1] = [7, 7, 7, 7, 7]
    values[1, :, 1] = [7, 7, 7, 7, 12]
    found = signatures(Trajectories("polca", values, np.arange(2), projected=True), (0.0, 1.0))
    assert found[:, :3].tolist() == [[0.0] * 3] * 5
    assert found[:, 3].tolist() == [0, 0, 0, 0, 5]


def test_archives_serve_as_well() -> None:
    t = made()
    np.testing.assert_array_equal(signatures(compress(t, 0).trajectories()), signatures(t))
    calm = Trajectories("polca", np.tanh(t.values / 9), STEPS, projected=True)
    near = compress(calm, 0.001).trajectories()
    np.testing.assert_allclose(signatures(near), signatures(calm), atol=0.05)


def test_features_of_the_exact_loss_are_its_whole_trajectory() -> None:
    t = made()
    np.testing.assert_array_equal(token_features(t), signatures(t))
    loss = Trajectories("loss", t.values[:1], STEPS, projected=False)
    np.testing.assert_array_equal(token_features(loss), signatures(loss, at=None))
    assert token_features(loss).shape == (X, P)


def test_bad_input_is_refused() -> None:
    for options, message in (
        ({"at": ()}, "at = "),
        ({"at": (0.5, 1.1)}, "at = "),
        ({"at": (float("nan"),)}, "at = "),
        ({"vectors": [3]}, r"vectors = \[3\]: expected rows from 0 to 2"),
        ({"vectors": np.array([True])}, "vectors = "),
        ({"vectors": []}, "vectors = "),
        ({"vectors": 1}, "at least one, as a list"),
    ):
        with pytest.raises(PolcaError, match=message):
            signatures(made(), **options)
    with pytest.raises(PolcaError, match="no vectors, no tokens or no points"):
        signatures(Trajectories("polca", np.zeros((0, 3, 2), np.float32), np.arange(2), projected=True))
