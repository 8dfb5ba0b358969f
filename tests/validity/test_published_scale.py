"""Tables of a run at the published scale, on a made-up one of 240 tokens whose clusters are known."""

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from polca.machine.checkout import ROOT
from polca.machine.files import read_params, write_csv
from polca.method.clustering import cluster
from polca.method.decomposition import Trajectories
from polca.study.archive import compress
from polca.study.paths import PresetPaths, TaskPaths
from polca.study.published import PublishedScale
from polca.study.settings import Preset
from polca.study.stages.cluster import cluster_analysis
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.typing import Reading
from polca.validity.published_scale import (
    Run,
    best_table,
    in_both_readings,
    readings_table,
    specification_parts,
    specification_table,
)
from polca.validity.settings import SpecificationSettings
from polca.validity.specification import Grid

TOKENS, POINTS = 240, 21
PUBLISHED = read_params(ROOT / "data" / "published.yaml")
PLACE = np.tile(np.arange(4), TOKENS // 4)
CARRY = (np.arange(TOKENS) % 8 < 4) & (PLACE < 3)


def curves(late: np.ndarray, seed: int) -> np.ndarray:
    """Tokens of a mask fall late, the others early, by amounts of their own."""
    rng = np.random.default_rng(seed)
    at = np.arange(POINTS)
    shapes = np.where(late[:, None], -np.clip((at - 13) / 4, 0, 1), -np.minimum(at / 4, 1))
    values = (shapes + 0.01 * rng.normal(size=(TOKENS, POINTS))) * np.exp(rng.normal(size=(TOKENS, 1)))
    return (values - values[:, :1]).astype(np.float32)


@pytest.fixture(scope="module")
def run() -> Run:
    """Vector 1 sets carries of the 100s apart; vector 2 those of the 1000s, so that none of its clusters is eligible.

    Along random vectors all tokens rise, which drops every vector.
    """
    steps = 20 * np.arange(POINTS)
    first = np.stack([curves(CARRY & (PLACE == 1), 0), curves(CARRY & (PLACE == 0), 1)])
    archives = {
        name: compress(Trajectories("polca", values, steps, projected=True, vector_steps=np.array(at)), 0)
        for name, values, at in (
            ("polca_first_order", first, [200, 400]),
            ("polca", first / 2, [200, 400]),
            ("polca_random", -first, [-1, -1]),
        )
    }
    losses = np.tile(np.interp(steps, [0, 100], [3, 1])[:, None], TOKENS).astype(np.float32)
    tokens = np.zeros((TOKENS // 4, 12), np.uint8)
    kept = PublishedScale(archives, tokens, PLACE, CARRY, losses, steps, np.zeros(400, np.float32))
    task = Preset.read(PresetPaths.named("paper")).arithmetic()
    settings = task.settings.changed(clustering={"min_cluster_size": 15, "min_samples_divisor": 15})
    return Run(kept, ArithmeticTask(settings, task.folder))


def plain(task: ArithmeticTask) -> ArithmeticTask:
    """Without stability, which clusters ten times more."""
    return ArithmeticTask(task.settings.changed(stability={"analyses": ()}), task.folder)


def test_tables(run: Run, tmp_path: Path) -> None:
    trajectories = run.trajectories(run.analyses)
    assert list(trajectories) == ["polca_first_order", "polca", "polca_random", "loss", "loss_change"]
    assert trajectories["loss_change"].steps[0] == 20
    out = TaskPaths(tmp_path, "arithmetic")
    for reading in get_args(Reading):
        # In the order of the task's analyses, as the stage writes them.
        made = [
            cluster_analysis(plain(run.task), name, trajectories[name], run.losses, run.labels, reading).tables
            for name in ("loss", "loss_change", "polca_first_order", "polca", "polca_random")
        ]
        for name in ("clusters", "vectors"):
            write_csv(out.of_reading(reading).table(name), *(tables[name] for tables in made))
    tables = {name: in_both_readings(out, name, list(trajectories)) for name in ("clusters", "vectors")}
    assert tables["vectors"]["analysis"].unique().tolist() == list(trajectories)
    clusters, vectors = tables["clusters"], tables["vectors"]
    for reading in ("standardised", "raw"):
        for name, t in trajectories.items():
            alone = cluster(t, min_cluster_size=15, standardise=reading == "standardised")
            mine = (clusters["analysis"] == name) & (clusters["reading"] == reading)
            assert clusters.loc[mine, "size"].tolist() == alone.cluster_size.tolist()
            of_vectors = vectors[(vectors["analysis"] == name) & (vectors["reading"] == reading)]
            assert of_vectors["kept"].tolist() == alone.vector_kept.tolist()
    best = best_table(clusters, vectors).set_index(["reading", "analysis"])
    row = best.loc[("standardised", "polca_first_order")]
    assert (row["vectors"], row["kept"], row["with_clusters"], row["clusters"]) == (2, 2, 2, 4)
    assert (row["vector_1"], row["homogeneity_1"], row["recall_1"], row["size_1"]) == (1, 1, 1 / 2, 30)
    assert pd.isna(row["vector_3"])
    # The late half of the clusters ends its fall at step 340; the mean loss is flat by step 100.
    assert row["hidden"] == 0.5
    assert row["hidden_published"] == 0
    assert row["auc_100s"] == pytest.approx(0.5, abs=0.2)
    nothing = best.loc[("standardised", "polca_random")]
    assert (nothing["kept"], nothing["clusters"]) == (0, 0)
    assert pd.isna([nothing["vector_1"], nothing["homogeneity_1"], nothing["hidden"], nothing["auc_100s"]]).all()
    evidence = readings_table(run, tables, trajectories, PUBLISHED)
    rows = evidence.set_index(["observable", "analysis", "reading"])["value"]
    assert rows["clusters_per_vector", "polca_first_order", "standardised"] == 2
    assert rows["clusters_per_vector", "polca_random", "raw"] == 0
    assert rows["orders_cosine_similarity", "polca", ""] == pytest.approx(1)
    assert rows["orders_relative_l2_norm", "polca", ""] == pytest.approx(0.5)
    assert {"figure_4_vector_1", "figure_4_vector_2"} <= set(evidence["observable"])


def test_specifications_in_parts(run: Run) -> None:
    grid = SpecificationSettings(thinning=(1, 2), length=(1.0, 0.4), permutations=10)
    trajectories = run.trajectories(run.analyses)
    parts = specification_parts(grid)
    cells = pd.concat([specification_table(run, trajectories, part) for part in parts.values()], ignore_index=True)
    assert len(parts) == 4
    both = {"none": trajectories["polca_first_order"], "trapezoid": trajectories["polca"]}
    together = Grid.of(run.labels, run.task.settings, grid).of_trajectories(both, trajectories["loss"])
    ordered = pd.concat([cells[cells["form"] == form] for form in both], ignore_index=True)
    pd.testing.assert_frame_equal(ordered, together)
    assert len(cells) == 2**5
    # Δ of 100 steps is too long for the first 160.
    assert cells.loc[cells["length"] == 0.4, "hidden"].isna().all()
    whole = cells[(cells["length"] == 1) & (cells["reading"] == "standardised")]
    assert (whole["homogeneity"] == 1).all()
