"""One factor at a time: thinning keeps what it must, and each row is what the settings would give by themselves."""

from dataclasses import replace

import numpy as np
import pytest

from polca.errors import PolcaError
from polca.method.projections import Projections
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.study.stages.cluster import ExactLosses, cluster_analysis
from polca.study.stages.trajectories import decompose_analysis
from polca.tasks.arithmetic.scores import best_clusters
from polca.typing import Reading
from polca.validity.sensitivity import default, first_vectors, measure, sensitivity
from polca.validity.settings import SensitivitySettings, read
from synthetic import READINGS

SMOKE = Preset.read(PresetPaths.named("smoke"))


@pytest.fixture
def world():
    settings = SMOKE.arithmetic().settings
    rng = np.random.default_rng(0)
    place, carry = np.tile(np.arange(4), 100), rng.random(400) < 0.4
    told = np.stack([carry & (place == k % 3) for k in range(4)], axis=1)
    # Vector k tells the carries of one place apart, by size and by shape: they fall further, and later.
    pull, late = (1 + 2.0 * told * (1 + 0.1 * rng.normal(size=(400, 4))) for _ in range(2))
    gradients = pull[None] * (1 + 0.1 * rng.normal(size=(1, 400, 4))) * np.linspace(0.2, 1, 21)[:, None, None] ** late
    p = Projections(
        steps=np.arange(21) * 10,
        losses=(np.linspace(2, 1, 21)[:, None] ** 2 + 0.1 * rng.random((21, 400))).astype(np.float32),
        gradients=gradients.astype(np.float32),
        movements=np.full((20, 4), -0.01, np.float32),
        vector_steps=np.arange(4) * 40 + 40,
        eigenvalues=np.ones(4, np.float32),
    )
    return settings, p, place, carry


def test_values_that_the_projections_do_not_allow(world) -> None:
    settings, p, place, carry = world
    with pytest.raises(PolcaError, match=r"validity\.sensitivity\.thinning × polca\.interval = 30: does not fit"):
        measure(p, place, carry, replace(default(p, settings), interval=3))
    with pytest.raises(PolcaError, match="the basis has 4"):
        first_vectors(p, 5)


@pytest.mark.parametrize("reading", READINGS)
def test_the_default_is_the_analysis_polca(world, reading: Reading) -> None:
    settings, p, place, carry = world
    own = default(p, settings)
    assert own.reading == settings.plots.reading == "standardised"
    # τ is of these losses: the mean falls as (2 − t)², of which 0.87 of 3 is made once (2 − t)² ≤ 1.39, at t = 0.85.
    assert (own.flat_step, settings.breakthroughs.fall) == (170, 0.87)
    found = measure(p, place, carry, replace(own, reading=reading))
    task, projections = SMOKE.arithmetic(), {"hessian": p}
    trajectories, labels = decompose_analysis(task, "polca", projections), {"place": place, "carry": carry}
    tables = cluster_analysis(task, "polca", trajectories, ExactLosses.of(projections), labels, reading).tables
    assert found["clusters"] == len(tables["clusters"]) > 0
    best = best_clusters(tables["clusters"], "polca")["homogeneity"]
    assert found["best_homogeneity"] == best.iloc[0]
    assert found["hidden"] == tables["clusters"]["hidden"].mean()


def test_a_row_for_every_value(world) -> None:
    settings, p, place, carry = world
    table = sensitivity(p, place, carry, settings, read(SMOKE, "sensitivity", SensitivitySettings))
    defaults = table[table["default"]]
    assert sorted(defaults["factor"]) == sorted(table["factor"].unique())
    measured = ["best_homogeneity", "clusters", "outliers", "dropped"]
    assert (defaults[measured].nunique() == 1).all()
    own = default(p, settings)
    for reading in READINGS:
        (row,) = table[(table["factor"] == "reading") & (table["value"] == reading)].to_dict("records")
        wanted = measure(p, place, carry, replace(own, reading=reading))
        assert (row["clusters"], row["best_homogeneity"]) == (wanted["clusters"], wanted["best_homogeneity"])
        assert row["default"] == (reading == "standardised")
    row = table[(table["factor"] == "min_cluster_size") & (table["value"] == 30)].iloc[0]
    assert row["clusters"] == measure(p, place, carry, replace(own, min_cluster_size=30))["clusters"]
