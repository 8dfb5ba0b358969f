"""Probes of addition on made-up trajectories: classes and carries are found where they were put, and only there."""

import numpy as np
import pandas as pd
import pytest

from polca.errors import PolcaError
from polca.method.decomposition import Trajectories
from polca.method.probes import neighbour_agreement
from polca.method.signatures import signatures
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.probes import (
    PROBE_COLUMNS,
    SIGNATURE_COLUMNS,
    best_single_auc,
    carry_probes,
    digit_values,
    probe_tables,
    signature_scores,
)
from polca.tasks.arithmetic.scores import auc
from synthetic import additions

POINTS = np.array([0.0, 0.3, 0.7, 0.9, 1.0])
STEPS = np.arange(5) * 100


@pytest.fixture(scope="module")
def skills():
    tokens, place, carry = additions(120)
    return {"tokens": tokens, "place": place, "carry": carry}


def trajectories(levels: np.ndarray, name: str = "polca") -> Trajectories:
    """One curve a token and vector, each at its own level `[K, X]`."""
    values = (levels[:, :, None] * POINTS).astype(np.float32)
    return Trajectories(name, values, STEPS, projected=name == "polca")


@pytest.fixture(scope="module")
def structured(skills) -> Trajectories:
    """Four vectors place the digit on circles; two have the carries of the 100s in common, and noise besides."""
    rng, digit, tokens = np.random.default_rng(1), digit_values(skills["tokens"]), len(skills["place"])
    here = (skills["place"] == PLACES.index("100s")) * (2.0 * skills["carry"] - 1)
    shared = rng.normal(0, 3, tokens)
    angle = 2 * np.pi * digit / 10
    circles = [9 * f(n * angle) for n in (1, 3) for f in (np.cos, np.sin)]
    levels = np.stack([*circles, here + shared, here - shared])
    return trajectories(levels + rng.normal(0, 0.2, levels.shape))


@pytest.fixture(scope="module")
def nothing(skills) -> Trajectories:
    return trajectories(np.random.default_rng(2).normal(size=(4, len(skills["place"]))))


def test_digits_are_those_of_the_sums(skills) -> None:
    tokens = skills["tokens"].astype(np.int64)
    sums = tokens[:, :3] @ [100, 10, 1] + tokens[:, 4:7] @ [100, 10, 1]
    assert digit_values(skills["tokens"]).tolist() == [int(d) for s in sums for d in f"{s:04d}"]


def test_carries_are_found_where_they_are(skills, structured) -> None:
    """Along single vectors the carry is hidden by what two of them share; together they show it."""
    table = carry_probes("polca", structured, skills["place"], skills["carry"]).set_index("place")
    assert table["tokens"].tolist() == [120] * 3
    assert table.loc["100s", "auc"] > 0.98
    assert table.loc["100s", "best_single"] < 0.8
    assert table.loc["10s", "auc"] < 0.7
    last = structured.values[:, :, -1]
    at = skills["place"] == PLACES.index("100s")
    assert best_single_auc(structured, skills["carry"], at) == max(auc(row[at], skills["carry"][at]) for row in last)


def test_no_carries_where_there_are_none(skills, nothing) -> None:
    table = carry_probes("polca_random", nothing, skills["place"], skills["carry"])
    assert table["auc"].between(0.3, 0.7).all()
    # The best of many is above chance by itself.
    assert (table["best_single"] > 0.5).all()


def test_neighbours_have_the_digit_and_the_carry(skills, structured) -> None:
    table = signature_scores("polca", structured, **skills, permutations=50).set_index("label")
    digit = table.loc["digit"]
    assert digit["tokens"] == 360
    assert digit["kinds"] == 10
    below = skills["place"] > 0
    expected = neighbour_agreement(signatures(structured)[below], digit_values(skills["tokens"])[below])
    assert digit["agreement"] == expected > 0.9
    assert digit["chance"] == pytest.approx(0.1, abs=0.01)
    assert digit["null_95"] < 0.15
    assert digit["variance_max"] > 0.99
    assert digit["variance_mean"] < digit["variance_max"]
    carry = table.loc["place_carry"]
    assert (carry["tokens"], carry["kinds"]) == (480, 7)
    assert carry["agreement"] > carry["within_null_95"]
    assert table.loc["digit_place_carry", "agreement"] > table.loc["digit_place_carry", "within_null_95"]


def test_no_structure_where_there_is_none(skills, nothing) -> None:
    table = signature_scores("polca_random", nothing, **skills)
    assert (np.abs(table["agreement"] - table["chance"]) < 0.03).all()
    assert ((table["null_95"] - table["chance"]).between(0, 0.03)).all()
    # By chance (kinds − 1) / (tokens − 1) along each vector.
    assert (table["variance_max"] < 3 * table["kinds"] / table["tokens"]).all()


def test_what_place_decides_is_not_beyond_place(skills) -> None:
    """Vectors that know the place alone: carries agree more than by chance, but not more than within places."""
    rng = np.random.default_rng(3)
    levels = 10 * np.eye(4)[skills["place"]].T + rng.normal(size=(4, len(skills["place"])))
    row = signature_scores("polca", trajectories(levels), **skills).set_index("label").loc["place_carry"]
    assert row["agreement"] > row["null_95"] + 0.2
    assert row["agreement"] == pytest.approx(row["within_null_95"], abs=0.03)


def test_the_exact_loss_is_given_all_its_points(skills) -> None:
    """A carry that shows at one point between those of a signature, which the probe must still be given."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(1, len(skills["place"]), 5)).astype(np.float32)
    values[0, :, 3] += 10 * skills["carry"]
    loss = Trajectories("loss", values, STEPS, projected=False)
    tables = probe_tables("loss", loss, skills)
    assert (tables["probes"]["auc"] > 0.99).all()
    assert tables["probes"]["best_single"].isna().all()
    assert (tables["signatures"]["label"] == ["digit", "place", "place_carry", "digit_place_carry"]).all()


def test_few_tokens_leave_gaps_and_the_same_columns(skills) -> None:
    few = {"tokens": skills["tokens"][:3], "place": skills["place"][:12], "carry": skills["carry"][:12]}
    tables = probe_tables("polca", trajectories(np.arange(24.0).reshape(2, 12)), few)
    assert tables["probes"]["auc"].isna().all()
    whole = tables["signatures"].set_index("label")
    assert np.isnan(whole.loc["digit", "agreement"])  # nine tokens have no ten neighbours
    assert np.isfinite(whole.loc["place", "agreement"])
    flat = probe_tables("polca", trajectories(np.zeros((2, 12))), few)
    assert flat["signatures"]["variance_max"].isna().all()
    for found in (tables, flat):
        for table, columns in (("probes", PROBE_COLUMNS), ("signatures", SIGNATURE_COLUMNS)):
            assert list(found[table].columns) == list(columns)
            pd.testing.assert_series_equal(found[table].dtypes, tables[table].dtypes)


def test_labels_must_fit(skills, nothing) -> None:
    with pytest.raises(PolcaError, match=r"polca: carry \(479,\): give one for each of the 480 tokens"):
        carry_probes("polca", nothing, skills["place"], skills["carry"][1:])
    with pytest.raises(PolcaError, match=r"polca: tokens \(476,\)"):
        signature_scores("polca", nothing, skills["tokens"][1:], skills["place"], skills["carry"])
