"""Probes of a made-up run at the published scale are those of its trajectories."""

import numpy as np
import pandas as pd
import pytest

from polca.method.decomposition import Trajectories
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.study.stages.signatures import all_signature_tables, change_of
from polca.tasks.arithmetic import probes
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.validity.published_tables import few_points_tables, in_order
from synthetic import additions

STEPS = 20 * np.arange(6)
Made = tuple[ArithmeticTask, dict[str, Trajectories], dict[str, np.ndarray]]


@pytest.fixture
def made(tmp_path) -> Made:
    rng, (tokens, place, carry) = np.random.default_rng(0), additions(30)
    trajectories = {}
    for name in ("polca", "polca_random"):
        walks = rng.normal(size=(3, 120, 6)).cumsum(axis=2)
        values = (walks - walks[:, :, :1]).astype(np.float32)
        trajectories[name] = Trajectories("polca", values, STEPS, projected=True)
    losses = np.abs(rng.normal(size=(1, 120, 6))).astype(np.float32)
    loss = Trajectories("loss", losses, STEPS, projected=False)
    settings = Preset.read(PresetPaths.named("paper")).arithmetic().settings
    task = ArithmeticTask(settings, tmp_path)
    return task, trajectories | {"loss": loss, "loss_change": change_of(loss)}, {
        "tokens": tokens, "place": place, "carry": carry,
    }  # fmt: skip


def test_the_loss_is_probed_with_as_many_numbers_as_a_signature_too(made: Made) -> None:
    """One vector's signature has three numbers: of the six losses the first, the middle and the last."""
    task, trajectories, labels = made
    one = {name: Trajectories(t.name, t.values[:1], t.steps, t.projected) for name, t in trajectories.items()}
    made = all_signature_tables(task, dict(reversed(one.items())), labels)
    few = [few_points_tables(name, one, 3, task, labels) for name in ("loss", "loss_change")]
    tables = in_order(made, list(one), few)
    table = tables["probes"]
    assert table["analysis"].unique().tolist() == [*one, "loss_few", "loss_change_few"]
    assert table.groupby("analysis")["features"].first().to_dict() == {
        **{"polca": 3, "polca_random": 3, "loss": 6, "loss_change": 5, "loss_few": 3, "loss_change_few": 3}
    }
    by_hand = Trajectories("loss", np.ascontiguousarray(one["loss"].values[:, :, [0, 2, 5]]), STEPS[[0, 2, 5]], False)
    expected = probes.probe_tables("loss_few", by_hand, one["loss"], labels)["probes"]
    pd.testing.assert_frame_equal(table[table["analysis"] == "loss_few"].reset_index(drop=True), expected)
    # These are not mapped.
    assert set(tables["joint"]["analysis"]) == {"polca", "polca_random", "loss", "loss_change"}
    for name in ("signatures", "joint"):
        kept = tables[name][tables[name]["analysis"].isin(list(one))]
        expected = made[name].set_index("analysis").loc[list(one)].reset_index()
        pd.testing.assert_frame_equal(kept.reset_index(drop=True), expected)


def test_as_many_points_as_numbers_are_left_as_they_are(made: Made) -> None:
    task, trajectories, labels = made
    assert few_points_tables("loss", trajectories, 6, task, labels) == {}
