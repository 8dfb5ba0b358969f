"""Probes of addition on made-up trajectories: classes and carries are found where they were put, and only there."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from polca.errors import PolcaError
from polca.method.decomposition import Trajectories
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.probes import (
    EMERGENCE_COLUMNS,
    PROBE_COLUMNS,
    best_single_auc,
    carry_emergence,
    carry_probes,
    digit_values,
    probe_tables,
    within_class_auc,
)
from polca.tasks.arithmetic.probes import skills as arithmetic_skills
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
    table = carry_probes(
        "polca", structured, skills["place"], skills["carry"], digit_values(skills["tokens"])
    ).set_index("place")
    assert table["tokens"].tolist() == [120] * 3
    assert table.loc["100s", "auc"] > 0.98
    assert table.loc["100s", "best_single"] < 0.8
    assert table.loc["10s", "auc"] < 0.7
    last = structured.values[:, :, -1]
    at = skills["place"] == PLACES.index("100s")
    assert best_single_auc(structured, skills["carry"], at) == max(auc(row[at], skills["carry"][at]) for row in last)


def test_no_carries_where_there_are_none(skills, nothing) -> None:
    table = carry_probes("polca_random", nothing, skills["place"], skills["carry"], digit_values(skills["tokens"]))
    assert table["auc"].between(0.3, 0.7).all()
    # The best of many is above chance by itself.
    assert (table["best_single"] > 0.5).all()


def test_the_exact_loss_is_given_all_its_points(skills) -> None:
    """A carry that shows at one point between those of a signature, which the probe must still be given."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(1, len(skills["place"]), 5)).astype(np.float32)
    values[0, :, 3] += 10 * skills["carry"]
    loss = Trajectories("loss", values, STEPS, projected=False)
    tables = probe_tables("loss", loss, loss, skills)
    assert (tables["probes"]["auc"] > 0.99).all()
    assert tables["probes"]["best_single"].isna().all()


def test_carries_within_a_digit() -> None:
    """By hand: in each class the positive ones are larger, though the classes lie far apart."""
    values, classes = np.array([1.0, 2, 101, 102, 50]), np.array([0, 0, 1, 1, 2])
    positive = np.array([False, True, False, True, True])
    assert within_class_auc(values, positive, classes) == 1
    assert within_class_auc(-values, positive, classes) == 1
    # One pair each way: neither.
    assert within_class_auc(np.array([1.0, 2, 102, 101]), positive[:4], classes[:4]) == 0.5
    assert np.isnan(within_class_auc(values[-1:], positive[-1:], classes[-1:]))
    # Of one class it is the plain area, by scikit-learn.
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=60), rng.random(60) < 0.4
    area = roc_auc_score(labels, scores)
    assert within_class_auc(scores, labels, np.zeros(60)) == pytest.approx(max(area, 1 - area), rel=1e-12)


def test_the_digit_hides_a_carry_along_one_vector(skills) -> None:
    """A vector that mostly says the digit, with a little carry in it."""
    digit = digit_values(skills["tokens"])
    level = np.where(skills["carry"], 0.5, 0.0) + np.random.default_rng(0).permutation(10)[digit]
    table = carry_probes("polca", trajectories(level[None]), skills["place"], skills["carry"], digit)
    row = table.set_index("place").loc["100s"]
    assert row["best_within_digit"] == 1
    assert row["best_single"] < 0.8


def test_a_carry_shows_when_it_was_learnt(skills) -> None:
    """One vector that knows the carry from the first interval, and one that learns it at step 300."""
    carry, rng = skills["carry"], np.random.default_rng(0)
    steps = np.arange(9) * 100
    noise = rng.normal(size=(2, len(carry), 1)) * (steps > 0)
    early = np.where(carry, 5.0, 0.0)[:, None] * (steps > 0)
    late = np.where(carry, 5.0, 0.0)[:, None] * (steps >= 300)
    values = (noise + np.stack([early, late])).astype(np.float32)
    exact = np.where(steps < 500, 2.0, 0.5) * np.ones((1, len(carry), 1))
    loss = Trajectories("loss", exact.astype(np.float32), steps, projected=False)
    found = carry_emergence("polca", Trajectories("polca", values, steps, True), loss, skills["place"], carry)
    table = found[found["place"] == "100s"].set_index("vector")
    assert table["visible_step"].tolist() == [100, 300]
    assert table["loss_half_step"].tolist() == [500, 500]
    assert (table["auc_last"] > 0.99).all()
    assert table.loc[1, "auc_first"] > 0.99 > 0.7 > table.loc[2, "auc_first"]
    assert carry_emergence("loss", loss, loss, skills["place"], carry).empty


def test_skills_are_those_of_the_additions(skills) -> None:
    asked = arithmetic_skills(skills)
    assert list(asked) == ["digit", "place", "place_carry", "digit_place_carry"]
    assert asked["digit"].among.sum() == 360
    digit = digit_values(skills["tokens"])
    assert len(np.unique(asked["place_carry"].values)) == 7
    both = np.stack([asked["digit_place_carry"].values, digit, skills["place"], skills["carry"]])
    assert len(np.unique(both, axis=1).T) == len(np.unique(both[0])) == len(np.unique(both[1:], axis=1).T)


def test_few_tokens_leave_gaps_and_the_same_columns(skills, nothing) -> None:
    few = {"tokens": skills["tokens"][:3], "place": skills["place"][:12], "carry": skills["carry"][:12]}
    short = trajectories(np.arange(24.0).reshape(2, 12))
    tables, whole = (probe_tables("polca", t, t, labels) for t, labels in ((short, few), (nothing, skills)))
    assert tables["probes"]["auc"].isna().all()
    for name, columns in (("probes", PROBE_COLUMNS), ("emergence", EMERGENCE_COLUMNS)):
        assert list(tables[name].columns) == list(columns)
        pd.testing.assert_series_equal(whole[name].dtypes, tables[name].dtypes)


def test_labels_must_fit(skills, nothing) -> None:
    digit = digit_values(skills["tokens"])
    with pytest.raises(PolcaError, match=r"polca: carry \(479,\): give one for each of the 480 tokens"):
        carry_probes("polca", nothing, skills["place"], skills["carry"][1:], digit)
    with pytest.raises(PolcaError, match=r"polca: place \(479,\)"):
        carry_emergence("polca", nothing, nothing, skills["place"][1:], skills["carry"])
