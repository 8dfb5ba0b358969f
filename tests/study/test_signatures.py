"""What all vectors together tell apart, on made-up trajectories: found where it was put, and only there."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.manifold import TSNE

from polca.method.decomposition import Trajectories
from polca.method.probes import neighbour_agreement
from polca.method.projections import Projections
from polca.method.signatures import signatures
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.study.stages.signatures import (
    COLUMNS,
    JOINT_COLUMNS,
    all_signature_tables,
    change_of,
    compared_analyses,
    compared_trajectories,
    control_trajectories,
    joint_scores,
    map_of,
    signature_scores,
)
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.probes import digit_values, skills
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.english.skills import skills as english_skills
from polca.tasks.task import Skill
from synthetic import additions

STEPS = np.arange(9) * 100
LEARNT = 400
"""When the made-up carry is learnt."""


@pytest.fixture(autouse=True)
def _short_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups this far apart stand apart on a map soon."""
    monkeypatch.setattr("sklearn.manifold.TSNE", partial(TSNE, max_iter=300))


@pytest.fixture(scope="module")
def labels() -> dict[str, np.ndarray]:
    tokens, place, carry = additions(120)
    return {"tokens": tokens, "place": place, "carry": carry}


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> ArithmeticTask:
    settings = Preset.read(PresetPaths.named("smoke")).arithmetic().settings
    return ArithmeticTask(settings, Path(tmp_path_factory.mktemp("data")))


def projections(labels: dict[str, np.ndarray], structured: bool) -> Projections:
    """Classes in the gradient from the beginning, and the carry of the 100s from `LEARNT` on; or noise alone."""
    rng, digit = np.random.default_rng(1), digit_values(labels["tokens"])
    angle = 2 * np.pi * digit / 10
    circles = np.stack([f(n * angle) for n in (1, 3) for f in (np.cos, np.sin)], axis=1)
    carry = (labels["place"] == PLACES.index("100s")) * (2.0 * labels["carry"] - 1)
    gradients = 0.15 * rng.normal(size=(len(STEPS), len(digit), 5))
    if structured:
        gradients[:, :, :4] += circles
        gradients[STEPS >= LEARNT, :, 4] += carry
    return Projections(
        steps=STEPS,
        losses=np.abs(rng.normal(2, 0.1, (len(STEPS), len(digit)))).astype(np.float32),
        gradients=gradients.astype(np.float32),
        movements=-np.ones((len(STEPS) - 1, 5), np.float32),
        vector_steps=np.arange(5),
        eigenvalues=np.ones(5, np.float32),
    )


def decomposed(p: Projections) -> Trajectories:
    """First order, by its definition."""
    allocated = p.gradients[:-1].astype(np.float64) * p.movements[:, None]
    values = np.concatenate([np.zeros_like(allocated[:1]), allocated.cumsum(axis=0)])
    return Trajectories("polca", values.transpose(2, 1, 0).astype(np.float32), p.steps, projected=True)


def tables_of(task: ArithmeticTask, labels, structured: bool):
    p = projections(labels, structured)
    loss = Trajectories("loss", np.ascontiguousarray(p.losses.T[None]), STEPS, projected=False)
    known = {name: decomposed(p) for name in compared_analyses(task) if name not in ("loss", "loss_change")}
    compared = compared_trajectories(task, known | {"loss": loss, "loss_change": change_of(loss)}, {"hessian": p})
    return all_signature_tables(task, compared, labels)


def test_classes_are_found_from_the_beginning_and_a_skill_from_when_it_was_learnt(task, labels) -> None:
    tables = tables_of(task, labels, structured=True)
    agreement = tables["signatures"].set_index(["analysis", "label"])["agreement"]
    # The class is in the gradients of the first checkpoint already.
    assert agreement["polca", "digit"] > 0.9
    assert agreement["gradients_first_hessian", "digit"] > 0.9
    assert agreement["loss", "digit"] < 0.2
    beyond = tables["signatures"].set_index(["analysis", "label"])["within_null_95"]
    key = "digit_place_carry"
    assert agreement["gradients_last_hessian", key] > beyond["gradients_last_hessian", key] + 0.05
    assert agreement["gradients_first_hessian", key] < beyond["gradients_first_hessian", key] + 0.03
    emergence = tables["emergence"].set_index(["analysis", "place", "vector"])
    assert LEARNT <= emergence.loc[("polca", "100s", 5), "visible_step"] <= LEARNT + 200
    joint = tables["joint"].set_index(["analysis", "label"])["ari"]
    assert joint["polca", "digit"] > 0.9
    assert abs(joint["loss", "digit"]) < 0.1
    assert "gradients_first_hessian" not in joint.index.get_level_values(0)


def test_nothing_is_found_where_there_is_nothing(task, labels) -> None:
    tables = tables_of(task, labels, structured=False)
    scores = tables["signatures"]
    assert (scores["agreement"] - scores["chance"]).abs().max() < 0.06
    assert tables["joint"]["ari"].abs().max() < 0.1
    assert tables["probes"].set_index("place").loc[["100s", "10s"], "auc"].between(0.25, 0.75).all()


def test_scores_are_those_of_the_signatures(labels) -> None:
    t = decomposed(projections(labels, structured=True))
    table = signature_scores("polca", t, skills(labels), permutations=50).set_index("label")
    digit, below = table.loc["digit"], labels["place"] > 0
    assert (digit["tokens"], digit["kinds"], digit["features"]) == (360, 10, 15)
    assert digit["agreement"] == neighbour_agreement(signatures(t)[below], digit_values(labels["tokens"])[below])
    assert digit["chance"] == pytest.approx(0.1, abs=0.01)
    assert np.isnan(digit["within_null_95"])
    assert list(table.reset_index().columns.sort_values()) == sorted(COLUMNS)


def test_what_place_decides_is_not_beyond_place(labels) -> None:
    """Vectors that know the place alone: carries agree more than by chance, but not more than within places."""
    rng = np.random.default_rng(3)
    levels = 10 * np.eye(4)[labels["place"]].T + rng.normal(size=(4, len(labels["place"])))
    t = Trajectories("polca", (levels[:, :, None] * [0, 0.5, 1]).astype(np.float32), np.arange(3), projected=True)
    row = signature_scores("polca", t, skills(labels)).set_index("label").loc["place_carry"]
    assert row["agreement"] > row["null_95"] + 0.2
    assert row["agreement"] == pytest.approx(row["within_null_95"], abs=0.03)


def test_controls_are_gradients_of_single_checkpoints(labels) -> None:
    p = projections(labels, structured=True)
    found = {c.name: c for c in control_trajectories({"hessian": p, "lca": p})}
    assert list(found) == [f"gradients_{moment}_hessian" for moment in ("first", "middle", "last")]
    for name, point in (("first", 0), ("middle", 4), ("last", 8)):
        control = found[f"gradients_{name}_hessian"]
        np.testing.assert_array_equal(control.values[:, :, 0], p.gradients[point].T)
        assert control.steps.tolist() == [STEPS[point]]


def test_tokens_that_are_not_asked_do_not_count() -> None:
    """On the map of some tokens, a label that is asked of fewer is scored on these."""
    among = np.array([True, True, True, True, False])
    mapped = Skill(np.array(list("aabbx")), among)
    other = Skill(np.array([0, 0, 1, 1, 1]), np.array([True, True, True, False, True]))
    table = joint_scores("polca", np.array([0, 0, 1, 1]), mapped, {"one": mapped, "two": other}).set_index("label")
    assert table["tokens"].tolist() == [4, 3]
    assert table["ari"].tolist() == [1, 1]
    assert table.loc["one", "clusters"] == 2
    assert list(table.reset_index().columns.sort_values()) == sorted(JOINT_COLUMNS)


def test_the_least_cluster_of_a_map_is_half_a_kind(labels) -> None:
    t = decomposed(projections(labels, structured=True))
    _, clusters = map_of(t, skills(labels)["digit"])
    sizes = np.bincount(clusters[clusters >= 0])
    assert len(clusters) == 360
    assert sizes.min() >= 360 // 20


def test_frequent_tokens_are_asked_by_name() -> None:
    """Ids 1 … 40, of which 40 is the most frequent; `<PAD>` is never asked."""
    ids = np.repeat(np.arange(41), np.arange(41) + 1)
    ids[ids == 0] = 1
    pad = np.zeros(500, np.int64)
    names = np.array(["NOUN", "VERB"])
    found = english_skills(
        np.concatenate([ids, pad]), np.arange(len(ids) + 500) % 2, names, lambda i: "same" if i[0] < 27 else f"t{i[0]}"
    )
    asked = found["token"]
    assert not asked.among[-500:].any()
    assert not found["part_of_speech"].among[-500:].any()
    kinds = np.unique(asked.values[asked.among]).tolist()
    assert kinds == sorted(["same (25)", "same (26)", *(f"t{i}" for i in range(27, 41))])
    assert found["part_of_speech"].values[:3].tolist() == ["NOUN", "VERB", "NOUN"]
