"""Maps of tokens: structure is kept and none is made; the same bits; bad input."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from polca.errors import PolcaError
from polca.method.maps import joint_clusters, token_map

GROUPS = np.repeat(np.arange(4), 40)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Four groups at the corners of a simplex in eight dimensions."""
    return np.random.default_rng(0).normal(size=(160, 8)) + 12 * np.eye(8)[GROUPS]


def test_groups_become_clusters(features) -> None:
    clusters = joint_clusters(token_map(features), 20)
    assert adjusted_rand_score(GROUPS, clusters) > 0.95
    assert clusters.max() == 3


def test_noise_has_no_groups() -> None:
    noise = np.random.default_rng(1).normal(size=(160, 8))
    assert abs(adjusted_rand_score(GROUPS, joint_clusters(token_map(noise), 20))) < 0.1


def test_the_same_bits_twice(features) -> None:
    assert token_map(features).tobytes() == token_map(features).tobytes()
    assert token_map(features).dtype == np.float32


def test_tokens_that_are_all_alike_share_a_place() -> None:
    assert not token_map(np.ones((9, 3))).any()


def test_few_tokens_have_a_map() -> None:
    assert np.isfinite(token_map(np.arange(12.0).reshape(6, 2) ** 2)).all()


@pytest.mark.parametrize("features", [np.zeros((4, 3)), np.zeros((9, 1)), np.zeros(9), np.full((9, 2), np.nan)])
def test_bad_features_are_refused(features) -> None:
    with pytest.raises(PolcaError, match="a map needs finite numbers"):
        token_map(features)
