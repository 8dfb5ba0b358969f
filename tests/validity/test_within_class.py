"""Clusters of carries inside one digit, on made-up trajectories."""

import numpy as np
import pytest

from polca.method.decomposition import Trajectories
from polca.tasks.arithmetic.probes import digit_values
from polca.tasks.settings import ClusteringSettings
from polca.validity.within_class import within_class_table
from synthetic import additions

SIZES = ClusteringSettings(min_cluster_size=60, min_samples_divisor=15)
POINTS = np.linspace(0, 1, 9)


@pytest.fixture(scope="module")
def labels() -> dict[str, np.ndarray]:
    tokens, place, carry = additions(600)
    return {"tokens": tokens, "place": place, "carry": carry}


def curves(labels, sees_carry: bool) -> Trajectories:
    """Of each token at its digit's level; carries of the 100s fall late, where they are seen, all others early."""
    rng, digit = np.random.default_rng(0), digit_values(labels["tokens"])
    late = np.flatnonzero((labels["place"] == 1) & labels["carry"])
    shape = np.tile(np.minimum(4 * POINTS, 1), (len(digit), 1))
    if sees_carry:
        shape[late] = np.clip(4 * POINTS - 3, 0, 1)
    values = -(shape + 0.02 * rng.normal(size=shape.shape)) * (1 + digit[:, None])
    return Trajectories("polca", (values - values[:, :1]).astype(np.float32)[None], np.arange(9), projected=True)


def test_carries_are_found_within_digits_where_they_are(labels) -> None:
    found = within_class_table(
        {"polca": curves(labels, True), "polca_random": curves(labels, False)}, labels, SIZES, 50
    )
    assert found["digit"].tolist() == [*map(str, range(10)), "all"] * 4
    table = found[found["reading"] == "standardised"].set_index(["analysis", "digit"])
    assert table.loc[("polca", "all"), "observed"] > 0.9
    assert table.loc[("polca", "all"), "p_value"] == pytest.approx(1 / 51)
    assert table.loc[("polca_random", "all"), "p_value"] > 0.05
    # Every token of the 100s, 10s and 1s is of one digit.
    assert table.loc[("polca", "all"), "tokens"] == 1800 == table.loc["polca"].drop("all")["tokens"].sum()
    means = table.loc["polca"].drop("all")[["observed", "null_mean"]].mean()
    assert table.loc[("polca", "all"), ["observed", "null_mean"]].tolist() == pytest.approx(means.tolist())


def test_other_analyses_are_left_out(labels) -> None:
    loss = Trajectories("loss", curves(labels, True).values, np.arange(9), projected=False)
    assert within_class_table({"loss": loss}, labels, SIZES).empty
