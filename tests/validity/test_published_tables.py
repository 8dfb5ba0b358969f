"""Probes of a made-up run in the published scale's form are those of its trajectories."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from polca.method.decomposition import Trajectories
from polca.study.archive import compress
from polca.study.published import PublishedScale
from polca.tasks.arithmetic import probes
from polca.validity.published_tables import probe_tables
from synthetic import additions


@pytest.fixture
def run() -> PublishedScale:
    rng, (tokens, place, carry) = np.random.default_rng(0), additions(30)
    steps = 20 * np.arange(6)
    archives = {}
    for name, strategy in (("polca", "polca"), ("polca_random", "polca")):
        walks = rng.normal(size=(3, 120, 6)).cumsum(axis=2)
        values = (walks - walks[:, :, :1]).astype(np.float32)
        archives[name] = compress(Trajectories(strategy, values, steps, projected=True), 0)
    losses = np.abs(rng.normal(size=(6, 120))).astype(np.float16).astype(np.float32)
    return PublishedScale(archives, tokens, place, carry, losses, steps, np.zeros(80, np.float32))


def test_the_loss_is_probed_with_as_many_numbers_as_a_signature_too(run) -> None:
    """One vector's signature has three numbers: of the six losses the first, the middle and the last."""
    one = {
        name: replace(
            archive,
            values=archive.values[:1],
            vector_steps=archive.vector_steps[:1],
            relative_error=archive.relative_error[:1],
        )
        for name, archive in run.archives.items()
    }
    table = probe_tables(replace(run, archives=one))["probes"]
    assert table.groupby("analysis")["features"].first().to_dict() == {
        **{"polca": 3, "polca_random": 3, "loss": 6, "loss_change": 5, "loss_few": 3, "loss_change_few": 3}
    }
    few = Trajectories("loss", np.ascontiguousarray(run.losses.T[None][:, :, [0, 2, 5]]), run.steps[[0, 2, 5]], False)
    labels = {"tokens": run.tokens, "place": run.place, "carry": run.carry}
    expected = probes.probe_tables("loss_few", few, labels)["probes"]
    pd.testing.assert_frame_equal(table[table["analysis"] == "loss_few"].reset_index(drop=True), expected)


def test_every_analysis_is_probed(run) -> None:
    tables = probe_tables(run)
    labels = {"tokens": run.tokens, "place": run.place, "carry": run.carry}
    names = ["polca", "polca_random", "loss", "loss_change"]
    loss = Trajectories("loss", run.losses.T[None], run.steps, projected=False)
    change = np.diff(run.losses.astype(np.float64), axis=0).T[None].astype(np.float32)
    changes = Trajectories("loss_change", change, run.steps[1:], projected=False)
    for name, known in (("polca", run.trajectories["polca"]), ("loss", loss), ("loss_change", changes)):
        expected = probes.probe_tables(name, known, labels)
        for table, rows in expected.items():
            assert tables[table]["analysis"].unique().tolist() == names
            mine = tables[table][tables[table]["analysis"] == name].reset_index(drop=True)
            pd.testing.assert_frame_equal(mine, rows)
