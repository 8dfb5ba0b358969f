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
from polca.validity.sensitivity import default, first_vectors, measure, sensitivity
from polca.validity.settings import SensitivitySettings, read

SMOKE = Preset.read(PresetPaths.named("smoke"))


@pytest.fixture
def world():
    settings = SMOKE.arithmetic().settings
    rng = np.random.default_rng(0)
    place, carry = np.tile(np.arange(4), 100), rng.random(400) < 0.4
    pull = np.stack([1 + 2.0 * (carry & (place == k % 3)) for k in range(4)], axis=1)
    gradients = pull[None] * (1 + 0.1 * rng.normal(size=(1, 400, 4))) * np.linspace(1, 0.2, 21)[:, None, None]
    p = Projections(
        steps=np.arange(21) * 10,
        losses=rng.random((21, 400)).astype(np.float32),
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


def test_the_default_is_the_analysis_polca(world) -> None:
    settings, p, place, carry = world
    found = measure(p, place, carry, default(p, settings))
    task, projections = SMOKE.arithmetic(), {"hessian": p}
    trajectories, labels = decompose_analysis(task, "polca", projections), {"place": place, "carry": carry}
    tables = cluster_analysis(task, "polca", trajectories, ExactLosses.of(projections), labels).tables
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
    row = table[(table["factor"] == "min_cluster_size") & (table["value"] == 30)].iloc[0]
    assert row["clusters"] == measure(p, place, carry, replace(own, min_cluster_size=30))["clusters"]
