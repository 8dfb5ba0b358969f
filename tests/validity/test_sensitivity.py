"""One factor at a time: thinning keeps what it must, and each row is what the settings would give by themselves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from polca.study.analyses import analyse

from polca.errors import PolcaError
from polca.method.projections import Projections
from polca.study.settings import read_arithmetic
from polca.validity.sensitivity import default, first_vectors, measure, sensitivity
from polca.validity.settings import read_chance, read_completeness, read_sensitivity

PRESETS = Path(__file__).parents[2] / "presets"
WITH = ("smoke", "laptop", "wikipedia")


@pytest.fixture
def world():
    settings = read_arithmetic(PRESETS / "smoke" / "params.yaml")
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
    tables = analyse("polca", {"hessian": p}, place, carry, settings).tables
    assert found["clusters"] == len(tables["clusters"]) > 0
    best = best_clusters(tables["clusters"], "polca")["homogeneity"]
    assert found["best_homogeneity"] == best.iloc[0]
    assert found["hidden"] == tables["clusters"]["hidden"].mean()


def test_a_row_for_every_value(world) -> None:
    settings, p, place, carry = world
    table = sensitivity(p, place, carry, settings, read_sensitivity(PRESETS / "smoke" / "params.yaml"))
    defaults = table[table["default"]]
    assert sorted(defaults["factor"]) == sorted(table["factor"].unique())
    measured = ["best_homogeneity", "clusters", "outliers", "dropped"]
    assert (defaults[measured].nunique() == 1).all()
    own = default(p, settings)
    row = table[(table["factor"] == "min_cluster_size") & (table["value"] == 30)].iloc[0]
    assert row["clusters"] == measure(p, place, carry, replace(own, min_cluster_size=30))["clusters"]


@pytest.mark.parametrize("preset", WITH)
def test_shipped_settings_are_sound(preset) -> None:
    path = PRESETS / preset / "params.yaml"
    assert read_chance(path).permutations >= 200
    assert read_completeness(path).path_nodes == 9
    assert read_sensitivity(path).thinning[0] == 1


def test_laptop_and_wikipedia_ask_alike() -> None:
    laptop, wikipedia = (yaml.safe_load((PRESETS / n / "params.yaml").read_text()) for n in ("laptop", "wikipedia"))
    assert laptop["validity"] == wikipedia["validity"]


@pytest.mark.parametrize(
    ("part", "name", "value", "read", "message"),
    [
        ("completeness", "path_nodes", 8, read_completeness, "path_nodes = 8: must be a power of two and one"),
        ("completeness", "path_intervals", 0, read_completeness, "path_intervals = 0: must be at least 1"),
        ("completeness", "path_tolerance", 0, read_completeness, "path_tolerance = 0: must be above 0"),
        ("chance", "permutations", 0, read_chance, "permutations = 0: must be at least 1"),
        ("sensitivity", "delta", [5, 1], read_sensitivity, r"delta = \[5, 1\]: expected a rising list"),
    ],
)
def test_impossible_settings(tmp_path, part, name, value, read, message) -> None:
    params = yaml.safe_load((PRESETS / "laptop" / "params.yaml").read_text())
    params["validity"][part][name] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(PolcaError, match=message):
        read(tmp_path / "params.yaml")
    del params["validity"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(PolcaError, match=f"missing parameter 'validity.{part}'"):
        read(tmp_path / "params.yaml")
