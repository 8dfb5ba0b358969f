"""A run of the GPU's command, at a tiny size on a CPU, through the stages that begin with its archives."""

import io
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import yaml

from polca.errors import PolcaError
from polca.explorer.presets import preset_page
from polca.machine.checkout import ROOT
from polca.machine.files import read_csv, read_json, read_npz, write_json
from polca.method.clustering import Clusters
from polca.report.verify import verify
from polca.study.archive import Archive
from polca.study.in_memory.__main__ import main
from polca.study.on_device import jobs
from polca.study.paths import PresetPaths
from polca.study.published import read_published_scale
from polca.study.published_run import COMMAND, RunFacts, TaskFacts, arithmetic_task, as_run, english_task, run_folders
from polca.study.settings import Preset
from polca.study.stages.published import addition_facts, known_facts, run_facts
from polca.typing import Reading
from tiny_preset import Stage, make_preset, quick_figures, run_stage

pytestmark = pytest.mark.thorough

STAGES = (
    "published",
    "published_cluster",
    "published_english",
    "published_signatures",
    "published_scale",
    "published_figures",
    "tables",
    "figures",
)
SCORED = ("fisher", "lca", "polca_paper")
KEPT = ("loss", "loss_change", "polca_first_order", "polca")
NOT_MADE = ("polca_paper_current", "polca_exact")
"""They need the exact curvature of every token."""
COMPARED = ("polca_random", "polca_shuffled_hessian")


class Threads(ThreadPoolExecutor):
    """In place of processes, which take seconds to start."""

    _processes: Mapping[int, Any] = {}

    def __init__(self, workers: int, **_: Any) -> None:
        super().__init__(workers)


def asks(params: Path, section: str, **values: Any) -> None:
    """Let the preset ask for something else."""
    given = yaml.safe_load(params.read_text())
    given["arithmetic"][section] |= values
    params.write_text(yaml.safe_dump(given))


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a run of 40 steps and 2 vectors, of a preset that asks for 80 and 3."""
    root = tmp_path_factory.mktemp("checkout")
    params = make_preset(root)
    with mock.patch.object(jobs, "ProcessPoolExecutor", Threads):
        out = root / "data" / "published" / "arithmetic"
        arguments = ["--device", "cpu", "--workers", "1", "--out", str(out), "--minutes", "60"]
        assert main(["--preset", str(params), *arguments]) == 0
    asks(params, "training", steps=80)
    asks(params, "basis", vectors=3)
    given = yaml.safe_load((ROOT / "params.yaml").read_text())
    given["validity"]["specification"] |= {"thinning": [1], "length": [1.0], "permutations": 10}
    (root / "params.yaml").write_text(yaml.safe_dump(given))
    shutil.copy(ROOT / "data" / "published.yaml", root / "data")
    shutil.copy(ROOT / "data" / "expected.yaml", root / "data")
    return params


def run_stages(params: Path) -> None:
    # As Python does for a script: the stages' own folder comes first.
    with mock.patch.object(sys, "path", [str(ROOT / "pipelines"), *sys.path]), quick_figures():
        for stage in STAGES:
            done = run_stage(Stage(stage), params)
            assert done.code == 0, (stage, done.errors)


@pytest.fixture(scope="module")
def whole(params: Path) -> PresetPaths:
    """All stages of the run with everything that the command makes."""
    run_stages(params)
    return PresetPaths.of(params)


@pytest.fixture(scope="module")
def partial(params: Path, whole: PresetPaths, tmp_path_factory: pytest.TempPathFactory) -> PresetPaths:
    """All stages of a run that has the trajectories of the Hessian basis alone."""
    root = tmp_path_factory.mktemp("partial")
    shutil.copytree(whole.root, root, dirs_exist_ok=True, symlinks=True)
    for name in ("runs", "paper", "figures", ".work"):
        shutil.rmtree(root / name, ignore_errors=True)
    folder = root / "data" / "published" / "arithmetic"
    for name in ("clusters.zip", *(f"{name}.npz" for name in COMPARED)):
        (folder / name).unlink()
    own = root / params.relative_to(whole.root)
    run_stages(own)
    return PresetPaths.of(own)


class TestFacts:
    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(PolcaError, match="no run at the published scale: make one on a GPU") as caught:
            run_folders(tmp_path)
        assert str(caught.value).endswith(COMMAND)
        for name in ("cut", "arithmetic"):  # a whole run takes the place of the cut one
            (tmp_path / "data" / "published" / name).mkdir(parents=True)
            assert {task: folder.name for task, folder in run_folders(tmp_path).items()} == {"arithmetic": name}
        (tmp_path / "data" / "published" / "english").mkdir()
        assert list(run_folders(tmp_path)) == ["arithmetic", "english"]

    def test_what_the_run_has_goes_first(self, whole: PresetPaths) -> None:
        preset, runs = Preset.read(whole), RunFacts.load(whole)
        assert runs is not None
        assert list(runs.tasks) == ["arithmetic"]
        facts = runs.tasks["arithmetic"]
        assert facts == TaskFacts(
            folder="data/published/arithmetic",
            steps=40,
            of_steps=80,
            vectors=2,
            of_vectors=3,
            hessian_examples=4,
            of_hessian_examples=4,
            archived=(*KEPT, *COMPARED),
            scored=SCORED,
            missing=NOT_MADE,
            changed={"arithmetic.training.steps": 40, "arithmetic.basis.vectors": 2},
        )
        assert facts.cut
        assert read_json(whole.paper / "run.json")["arithmetic"]["cut"] is True
        assert "A cut of a run" in facts.words
        assert runs.words == f"{facts.words} No run of English."
        assert "40 of 80 steps, 2 of 3 vectors. Not in this run: polca_paper_current, polca_exact." in facts.words
        own = as_run(preset)
        assert list(own.sources) == list(own.params["tasks"]) == ["arithmetic"]
        assert own.params["arithmetic"]["training"]["steps"] == 40
        assert preset.params["arithmetic"]["training"]["steps"] == 80, "the preset itself was changed"
        task = arithmetic_task(preset)
        assert list(task.analyses) == [*KEPT, *COMPARED]
        assert list(task.bases) == []
        assert task.settings.basis.vectors == 2

    def test_of_a_run_cut_before_its_last_basis_checkpoint(self, whole: PresetPaths, tmp_path: Path) -> None:
        """Its vectors are of steps beyond its end, which no preset may ask for."""
        shutil.copytree(whole.params.parent, tmp_path / "presets" / "tiny")
        paths = PresetPaths.of(tmp_path / "presets" / "tiny" / "params.yaml")
        facts = RunFacts.load(whole)
        assert facts is not None
        own = replace(facts.tasks["arithmetic"], changed={"arithmetic.training.steps": 30, "arithmetic.seed": 7})
        RunFacts({"arithmetic": own}).save(paths)
        settings = arithmetic_task(Preset.read(paths)).settings
        assert (settings.training.steps, settings.basis.vectors, settings.seed) == (30, 3, 7)

    def test_a_whole_run_is_no_cut(self, whole: PresetPaths, tmp_path: Path) -> None:
        shutil.copytree(whole.params.parent, tmp_path / "presets" / "tiny")
        params = tmp_path / "presets" / "tiny" / "params.yaml"
        asks(params, "training", steps=40)
        asks(params, "basis", vectors=2)
        shutil.copytree(whole.root / "data" / "published", tmp_path / "data" / "published")
        folder, preset = run_folders(tmp_path)["arithmetic"], Preset.read(PresetPaths.of(params))
        facts = run_facts(preset.arithmetic(), folder, tmp_path, read_published_scale(folder))
        assert (facts.cut, facts.changed) == (False, {})
        assert facts.words.startswith("A run at")

    def test_presets_that_compute_their_own(self, tmp_path: Path) -> None:
        preset = Preset.read(PresetPaths.of(make_preset(tmp_path)))
        assert as_run(preset) is preset
        assert arithmetic_task(preset) == preset.arithmetic()
        assert english_task(preset) == preset.english()

    def test_damaged_facts(self, whole: PresetPaths, tmp_path: Path) -> None:
        paths = PresetPaths("tiny", tmp_path)
        for found in ({"steps": 3}, {"arithmetic": {"steps": 3}}):
            write_json(paths.paper / "run.json", found)
            with pytest.raises(PolcaError, match=r"run\.json: not the facts of a run .*: run stage published again"):
                RunFacts.load(paths)

    def test_numbers_of_the_projections(self, whole: PresetPaths) -> None:
        """The run made them from gradients and displacements; its archives here are exact."""
        folder = run_folders(whole.root)["arithmetic"]
        run, right = read_published_scale(folder), read_json(folder / "summary.json")
        orders = {name: run.archives[name].trajectories() for name in ("polca_first_order", "polca")}
        task = Preset.read(whole).arithmetic()
        found = known_facts(run, task.settings, orders) | addition_facts(run, task, orders)
        for form in ("none", "trapezoid"):
            for name in ("fraction", "allocated"):
                assert found["completeness"][form][name] == pytest.approx(right["completeness"][form][name], rel=1e-4)
        assert found["table_12"] == pytest.approx(right["table_12"], rel=1e-4)
        for name in ("tokens", "checkpoints", "vectors", "flat_step", "delta", "second_order", "eigenvalue"):
            assert found[name] == right[name], name
        assert found["loss_last_by_place"] == pytest.approx(right["loss_last_by_place"])
        assert found["loss_first"] == pytest.approx(right["loss_first"])
        kept = read_json(whole.task("arithmetic").facts)
        assert (kept["completeness"], kept["app_c"]) == (right["completeness"], right["app_c"])

    def test_completeness_of_the_first_run(self) -> None:
        """Its own sums, made on the GPU before its trajectories were reduced in rank."""
        folder = ROOT / "data" / "published" / "cut"
        run, right = read_published_scale(folder), read_json(folder / "facts.json")
        names = {"polca_first_order": "hessian_first_order", "polca": "hessian_trapezoid"}
        orders = {name: run.archives[name].trajectories() for name in names}
        settings = Preset.read(PresetPaths.named("paper")).arithmetic().settings
        found = known_facts(run, settings, orders)["completeness"]
        for form, name in (("none", "polca_first_order"), ("trapezoid", "polca")):
            total = sum(right["final_mean_projected_loss"][names[name]])
            assert found[form]["allocated"] == pytest.approx(total, rel=1e-3)
            assert found[form]["fraction"] == pytest.approx(total / right["true_change_of_mean_loss"], rel=2e-3)


class TestStages:
    def test_what_is_read_is_what_the_run_left(self, whole: PresetPaths) -> None:
        out, run = whole.task("arithmetic"), read_published_scale(run_folders(whole.root)["arithmetic"])
        for name, archive in run.archives.items():
            found, right = Archive.load(out.trajectory(name)).trajectories(), archive.trajectories()
            np.testing.assert_array_equal(found.values, right.values)
            assert found.name == right.name
            assert found.vector_steps is not None
            assert found.vector_steps.tolist() == [20, 40]
            at = read_npz(out.projected_losses)
            assert at["steps"].tolist() == [10, 20, 40]
            np.testing.assert_array_equal(at[name], np.moveaxis(right.values[:, :, [1, 2, 4]], 2, 0))
        loss, change = (Archive.load(out.trajectory(name)).trajectories() for name in ("loss", "loss_change"))
        np.testing.assert_array_equal(loss.values[0].T, run.losses)
        np.testing.assert_allclose(change.values[0].T, np.diff(run.losses, axis=0), atol=1e-6)
        np.testing.assert_array_equal(read_npz(out.losses)["losses"], run.losses)
        labels = read_npz(out.labels)
        for name in ("tokens", "place", "carry"):
            np.testing.assert_array_equal(labels[name], getattr(run, name))
        log = read_csv(out.training_log)
        assert log["step"].tolist() == list(range(40))
        np.testing.assert_allclose(log["loss"], run.training_loss, rtol=1e-6)
        assert log["learning_rate"].iloc[[0, -1]].tolist() == pytest.approx(
            [rate := Preset.read(whole).arithmetic().settings.training.learning_rate / 4, 4 * rate]
        )

    @pytest.mark.parametrize("reading", get_args(Reading))
    def test_clusters_are_those_of_the_run(self, whole: PresetPaths, reading: Reading) -> None:
        """Of exact archives the very same, whatever machine clusters them."""
        out = whole.task("arithmetic", reading)
        with zipfile.ZipFile(run_folders(whole.root)["arithmetic"] / "clusters.zip") as packed:
            member = {name: io.BytesIO(packed.read(name)) for name in packed.namelist()}
        for name in (*KEPT, *COMPARED):
            right = np.load(member[f"{reading}/labels/{name}.npy"])
            np.testing.assert_array_equal(Clusters.load(out.cluster(name)).labels, right)
        for table in ("clusters", "vectors"):
            own, right = read_csv(out.table(table)), pd.read_csv(member[f"{reading}/{table}.csv"])
            right = right[right["analysis"] != "polca_5_steps"]
            own, right = (t.set_index(["analysis", "vector"]).sort_index() for t in (own, right))
            assert len(own) > 0
            pd.testing.assert_frame_equal(own, right[own.columns], check_dtype=False, rtol=1e-7)

    def test_tables_of_a_run_with_everything(self, whole: PresetPaths) -> None:
        for number in (1, 8, 9, 10, 11):
            assert "note" not in read_csv(whole.tables / f"table_{number:02d}.csv")
        steps = read_csv(whole.tables / "table_02.csv").set_index("setting").loc["steps"]
        assert steps["value"] == "40"
        assert read_json(whole.paper / "metrics_all.json")["arithmetic_lca_clusters"] is not None
        best = read_csv(whole.run / "published_scale" / "best.csv")
        assert set(best["analysis"]) == {*KEPT, *COMPARED, *SCORED}
        probes = read_csv(whole.run / "published_scale" / "signatures.csv")
        assert set(probes["analysis"]) >= {*KEPT, *COMPARED}

    def test_figures_of_addition_alone(self, whole: PresetPaths, partial: PresetPaths) -> None:
        names = {f"figure_{name}" for name in ("01", "02", "03", "04", "06", "07", "08", "D1", "D2", "D4")}
        for paths in (whole, partial):
            assert {path.stem for path in paths.figures.glob("*.png")} == names

    def test_what_is_missing_is_said(self, partial: PresetPaths) -> None:
        runs = RunFacts.load(partial)
        assert runs is not None
        facts = runs.tasks["arithmetic"]
        assert facts.archived == KEPT
        assert set(facts.missing) == {*SCORED, *COMPARED, *NOT_MADE}
        rows = read_csv(partial.tables / "table_09.csv").set_index(["strategy", "reading"])
        for name in ("fisher", "lca"):
            assert (rows.loc[name, "note"] == "not in this run").all()
            assert rows.loc[name, ["n_clusters", "fraction_hidden"]].isna().all(axis=None)
            assert rows.loc[name, "published_fraction_hidden"].notna().all()
        assert rows.loc["polca", "note"].isna().all()
        assert rows.loc["polca", "n_clusters"].notna().all()
        for number, head, absent in ((1, "strategy", {"lca"}), (8, "strategy", {"fisher", "lca"}), (10, "basis", None)):
            table = read_csv(partial.tables / f"table_{number:02d}.csv")
            noted = set(table.loc[table["note"] == "not in this run", head])
            assert noted == ({"random", "shuffled_hessian"} if absent is None else absent)
        claims = read_csv(partial.tables / "claims.csv").set_index("claim")["statistic"]
        assert "lca not in this run" in claims["polca_beats_first_order_beats_lca"].iloc[0]
        assert "polca_random, 100s not in this run" in claims["directions_tell_carries_apart"]

    def test_verify_and_explore(self, whole: PresetPaths, partial: PresetPaths) -> None:
        for paths in (whole, partial):
            expected = {"english_vectors_have_clusters": "no run", "polca_isolates_carries": "published"}
            (paths.root / "data" / "expected.yaml").write_text(yaml.safe_dump({"tiny": expected}))
            found = verify(paths)
            assert not [claim for claim in found.claims if claim.expected]  # which is of whole runs
            assert "40 of 80 steps" in found.run
            assert found.as_json()["run"] == found.run
            assert {row.setting for row in found.numbers.rows} == {"arithmetic"}
            assert "steps" in found.numbers.other_settings["arithmetic"]
            (setting,) = preset_page(paths).settings
            assert "A cut of a run" in setting.note
            names = {analysis.id for analysis in setting.analyses}
            assert names >= set(KEPT)
            assert not names & set(SCORED)


@pytest.fixture(autouse=True)
def no_scripts_left() -> Iterator[None]:
    """Stage scripts that others import are modules of short names."""
    yield
    for name in ("cluster", "signatures"):
        sys.modules.pop(name, None)
