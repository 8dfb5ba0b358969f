"""Probes of one seed's analyses on made-up projections, and their statistics over seeds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polca.method.projections import Projections
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.study.stages.signatures import compared_analyses
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.validity.seeds import probes_of, summarize_probes
from synthetic import additions


def test_every_basis_is_probed_with_its_own_projections(tmp_path: Path, quick_maps: None) -> None:
    """The Hessian's vectors see carries, the random ones nothing; the exact loss is that of all bases."""
    tokens, place, carry = additions(60)
    rng = np.random.default_rng(0)

    def projections(sees: float) -> Projections:
        gradients = rng.normal(size=(5, 240, 2)) - sees * carry[:, None]
        return Projections(
            steps=np.arange(5) * 20,
            losses=np.full((5, 240), 2.0, np.float32),
            gradients=gradients.astype(np.float32),
            movements=np.ones((4, 2), np.float32),
            vector_steps=np.array([20, 40]),
            eigenvalues=np.ones(2, np.float32),
        )

    task = ArithmeticTask(Preset.read(PresetPaths.named("smoke")).arithmetic().settings, tmp_path)
    bases = {"hessian": projections(5), "shuffled_hessian": projections(5), "random": projections(0)}
    tables = probes_of(task, bases, {"tokens": tokens, "place": place, "carry": carry})
    assert set(tables) == {"probes", "signatures", "joint", "emergence", "within_class"}
    compared = compared_analyses(task)
    assert tables["joint"]["analysis"].unique().tolist() == compared
    controls = [
        f"gradients_{moment}_{basis}" for basis in ("hessian", "random") for moment in ("first", "middle", "last")
    ]
    for name in ("probes", "signatures"):
        assert tables[name]["analysis"].unique().tolist() == [*compared, *controls]
    by_analysis = tables["probes"].groupby("analysis")
    # Two vectors at three times; the exact loss at each of the grid's points.
    counts = by_analysis["features"].first()
    assert (counts["polca"], counts["loss"], counts["loss_change"]) == (6, 5, 4)
    for name in compared:
        areas = by_analysis.get_group(name)["auc"]
        if name in ("polca_random", "loss", "loss_change"):
            assert areas.between(0.2, 0.8).all()
        else:
            assert (areas > 0.99).all()
    assert (by_analysis.get_group("loss")["auc"] == 0.5).all()


def test_summary_of_probes() -> None:
    """Two seeds by hand, one of them with a place that could not be probed."""
    rows = [(0, "polca", "100s", 0.8), (0, "polca", "10s", np.nan), (1, "polca", "100s", 0.9), (1, "polca", "10s", 0.7)]
    signatures = pd.DataFrame({"seed": [0, 1], "analysis": "loss", "label": "digit", "agreement": [0.25, 0.75]})
    emergence = pd.DataFrame(
        [(0, 1, 0.6, 100), (0, 2, 0.9, 300), (1, 1, 0.8, 500), (1, 2, 0.7, 900)],
        columns=["seed", "vector", "auc_last", "visible_step"],
    ).assign(analysis="polca", place="100s")
    inside = pd.DataFrame({"seed": [0, 0, 1, 1], "digit": ["0", "all"] * 2, "observed": [9, 0.2, 9, 0.4]})
    tables = {
        "probes": pd.DataFrame(rows, columns=["seed", "analysis", "place", "auc"]).assign(tokens=20),
        "signatures": signatures,
        "joint": signatures.rename(columns={"agreement": "ari"}),
        "emergence": emergence,
        "within_class": inside.assign(analysis="polca", reading="raw"),
    }
    summary = summarize_probes(tables)
    keys = ["table", "analysis", "label", "measure"]
    assert list(summary.columns) == [*keys, "mean", "sd", "least", "largest", "seeds_with_value", "seeds"]
    found = summary.set_index(keys)
    assert len(found) == 4 + 1 + 1 + 2 + 1
    whole = found.loc[("probes", "polca", "100s", "auc")]
    assert whole.tolist() == pytest.approx([0.85, 0.005**0.5, 0.8, 0.9, 2, 2])
    assert found.loc[("probes", "polca", "10s", "auc"), ["mean", "seeds_with_value"]].tolist() == [0.7, 1]
    assert found.loc[("probes", "polca", "100s", "tokens"), ["mean", "sd"]].tolist() == [20, 0]
    assert found.loc[("signatures", "loss", "digit", "agreement"), "mean"] == 0.5
    assert found.loc[("joint", "loss", "digit", "ari"), "largest"] == 0.75
    # The best vector of each seed: the second, then the first.
    assert found.loc[("emergence", "polca", "100s", "visible_step"), "mean"] == 400
    assert found.loc[("within_class", "polca", "raw", "observed"), "mean"] == pytest.approx(0.3)
