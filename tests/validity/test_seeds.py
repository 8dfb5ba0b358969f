"""A whole seed, and the statistics of Tables 8–11."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from polca.machine.checkout import ROOT
from polca.machine.files import read_csv, read_params
from polca.machine.parallel import map_processes
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.tasks.arithmetic.scores import ROWS
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.validity.seeds import SeedsWork, run_seed, summarize_values, table_values
from polca.validity.settings import SeedsSettings, SpecificationSettings, on_grid, read
from synthetic import READINGS

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def tiny():
    """The smoke preset made smaller still."""
    preset = Preset.read(PresetPaths.named("smoke"))
    coarse = on_grid(preset.arithmetic(), read(preset, "seeds", SeedsSettings))
    settings = coarse.settings.changed(
        model={"layers": 1, "width": 8, "mlp_width": 8},
        data={"evaluation_examples": 20},
        training={"steps": 80},
        basis={"interval": 40, "vectors": 2, "hessian_examples": 8, "lca_parameters": 3},
        clustering={"min_cluster_size": 5},
    )
    return ArithmeticTask(settings, coarse.folder)


def test_a_seed_leaves_its_tables_and_no_checkpoints(tiny, tmp_path, quick_maps) -> None:
    work = SeedsWork(tiny, SpecificationSettings(thinning=(1, 2), length=(1.0,), permutations=5), tmp_path)
    done = map_processes(run_seed, work, [3, 4], workers=1, description="seeds", resume=tmp_path / "done")
    tables = {t: read_csv(tmp_path / "tables" / t / "3.csv") for t in ("clusters", "vectors", "profiles")}
    assert set(tables["vectors"]["seed"]) == {3}
    analyses = {name for rows in ROWS.values() for name in rows.values()}
    assert sorted(map(tuple, tables["vectors"][["analysis", "reading"]].drop_duplicates().to_numpy())) == sorted(
        product(analyses, READINGS)
    )
    # Profiles are of the reading that figures show.
    assert (tables["profiles"]["kind"] == "vector").sum() == 2
    shown = tables["clusters"].query("analysis == 'polca' and reading == 'standardised'")
    assert (tables["profiles"]["kind"] == "cluster").sum() == len(shown)
    cells = read_csv(tmp_path / "tables" / "specification" / "3.csv")
    assert set(cells["seed"]) == {3}
    assert set(cells["form"]) == {"none", "paper", "trapezoid"}
    assert set(cells["interval"]) == {tiny.settings.polca.interval}
    assert len(cells) == 3 * 2 * 2
    assert not list(tmp_path.rglob("*.safetensors"))
    # Another seed is another run: nothing of it is the same.
    other = read_csv(tmp_path / "tables" / "profiles" / "4.csv")
    assert float(done[0]["last_loss"]) != float(done[1]["last_loss"])
    assert not np.isclose(tables["profiles"]["10s_carry"][:2], other["10s_carry"][:2]).any()


def test_values_and_summary() -> None:
    """Two seeds by hand: one with an eligible cluster of homogeneity 0.8, one without; other clusters where raw."""
    analyses = dict.fromkeys(name for rows in ROWS.values() for name in rows.values())
    columns = ["seed", "analysis", "reading", "vector", "cluster", "size", "homogeneity", "recall", "f1"]
    clusters = pd.DataFrame(
        [
            (0, "polca", "standardised", 1, 0, 30, 0.8, 0.5, 0.6, True, True),
            (0, "polca", "standardised", 1, 1, 20, 0.9, 0.5, 0.6, False, False),
            (1, "polca", "standardised", 2, 0, 25, 0.9, 0.1, 0.2, False, True),
            (0, "polca", "raw", 1, 0, 40, 0.4, 0.5, 0.6, True, False),
            (1, "polca", "raw", 1, 0, 40, 0.6, 0.5, 0.6, True, False),
        ],
        columns=[*columns, "eligible", "hidden"],
    )
    vectors = pd.DataFrame(
        [
            {"seed": s, "analysis": a, "reading": r, "auc_1000s": 0.5, "auc_100s": 0.6 + 0.1 * s, "auc_10s": np.nan}
            for r in READINGS
            for s in (0, 1)
            for a in analyses
        ]
    )
    values = table_values(clusters, vectors)
    summary = summarize_values(values, read_params(ROOT / "data" / "published.yaml"))

    def of(table: int, row: str, measure: str, rank: int = 0, reading: str = "standardised") -> dict:
        mine = summary[(summary["table"] == table) & (summary["row"] == row) & (summary["measure"] == measure)]
        (found,) = mine[(mine["rank"] == rank) & (mine["reading"] == reading)].to_dict("records")
        return found

    for table, row in ((8, "polca"), (10, "hessian")):
        best = of(table, row, "homogeneity", 1)
        assert (best["mean"], best["seeds_with_value"], best["seeds"]) == (0.8, 1, 2)
        assert np.isnan(best["sd"])
        assert best["published"] == 0.973
        raw = of(table, row, "homogeneity", 1, "raw")
        assert (raw["mean"], raw["seeds_with_value"], raw["published"]) == (0.5, 2, 0.973)
    hidden = of(9, "polca", "fraction_hidden")
    assert (hidden["mean"], hidden["least"], hidden["largest"], hidden["published"]) == (0.75, 0.5, 1.0, 0.355)
    assert hidden["sd"] == pytest.approx(np.sqrt(0.125))
    assert of(9, "polca", "fraction_hidden", reading="raw")["mean"] == 0
    assert (of(9, "polca", "n_clusters")["mean"], of(9, "polca", "n_clusters", reading="raw")["mean"]) == (1.5, 1)
    assert of(11, "random", "n_clusters")["mean"] == 0
    assert of(8, "loss", "auc_100s")["mean"] == pytest.approx(0.65)
    assert of(8, "loss", "auc_10s")["seeds_with_value"] == 0
