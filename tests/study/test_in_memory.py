"""A task in one process gives, bit for bit, what the stage scripts give with files between them."""

import runpy
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_args
from unittest import mock

import numpy as np
import pytest
import yaml

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.machine.files import read_npz, write_csv, write_json
from polca.method.bases import Basis
from polca.method.breakthrough import breakthrough_steps
from polca.method.checkpoints import CheckpointDirectory
from polca.method.clustering import Clusters
from polca.method.projections import Projections
from polca.study import in_memory, stages
from polca.study.archive import Archive
from polca.study.in_memory import Study
from polca.study.paths import PresetPaths, TaskPaths
from polca.study.settings import TASKS, Preset
from polca.tasks.task import TransformerTask
from polca.typing import Reading
from polca.validity.bases import ScoringWork, bases_table, score_saved
from polca.validity.null_tables import arithmetic_tables, english_tables
from polca.validity.settings import ChanceSettings

pytestmark = pytest.mark.thorough

CHAIN = ("data", "labels", "train", "basis", "project", "trajectories", "cluster")
TEXT = "The old {0} of the {1} crossed the river, and the {1} refused it.\nIn {0} they sold the northern {1} twice.\n\n"


def make_preset(root: Path) -> Path:
    """A preset of the smallest size that every stage accepts, in a root of its own; returns its `params.yaml`."""
    params = yaml.safe_load((ROOT / "presets" / "smoke" / "params.yaml").read_text(encoding="utf-8"))
    for name in TASKS:
        params[name]["model"] |= {"layers": 1, "width": 8, "heads": 2, "mlp_width": 16}
        params[name]["training"] |= {"steps": 40, "batch_size": 4, "warmup_steps": 4}
        params[name]["basis"] |= {"vectors": 2, "hessian_examples": 4, "tolerance": 0.1}
    params["arithmetic"]["basis"] |= {"interval": 20, "lca_parameters": 3}
    params["arithmetic"]["data"]["evaluation_examples"] = 20
    params["arithmetic"]["clustering"]["min_cluster_size"] = 5
    params["arithmetic"]["breakthroughs"]["published"] = {"flat_step": 20, "delta": 10}
    english = params["english"]
    english["data"] |= {"vocabulary": 280, "context": 16, "evaluation_contexts": 6}
    english["data"]["corpus"]["source"] = "local"
    english["clustering"]["min_cluster_size"] = english["clustering"]["finer"]["min_cluster_size"] = 5
    params["tasks"]["english"]["data"] = "data/corpora/tiny"
    path = root / "params.yaml"
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    text = root / "data" / "corpora" / "tiny" / "text.txt"
    text.parent.mkdir(parents=True)
    words = ("harbour", "captain", "council", "winter", "letter", "market", "bridge", "storm")
    text.write_text("".join(TEXT.format(a, b) for a in words for b in words), encoding="utf-8")
    (root / "data" / "tagger").symlink_to(ROOT / "data" / "tagger")
    return path


def run_stage(stage: str, params: Path, task: str) -> None:
    """Run a stage script in this process, and in no other."""
    argv = [f"{stage}.py", "--params", str(params), "--task", task]
    script = str(ROOT / "pipelines" / f"{stage}.py")
    one_process = mock.patch("polca.machine.parallel.default_workers", return_value=1)
    with mock.patch.object(sys, "argv", argv), one_process, pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    assert not ended.value.code, f"{stage}@{task} failed"


@dataclass(frozen=True)
class Both:
    """One task, done by the stages (`out`) and in memory (`study`); `readings` are where the stages put each."""

    params: Path
    out: TaskPaths
    task: TransformerTask
    study: Study

    @property
    def readings(self) -> Iterator[TaskPaths]:
        return map(self.out.of_reading, get_args(Reading))


@pytest.fixture(scope="module", params=TASKS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    root = tmp_path_factory.mktemp(f"{request.param}_in_memory")
    params = make_preset(root)
    for stage in CHAIN:
        run_stage(stage, params, request.param)
    preset = Preset.read(PresetPaths.of(params))
    task = preset.task(request.param)
    assert isinstance(task, TransformerTask)
    # Another folder, so that no file of the stages can be read.
    task = replace(task, folder=root / "memory")
    if request.param == "english":
        task.write_data()
    before = {path for path in root.rglob("*") if path.is_file()}
    yield Both(params, preset.paths.task(request.param), task, in_memory.run(task))
    assert {path for path in root.rglob("*") if path.is_file()} == before


def same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Equal in values and type; NaN is like NaN."""
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def test_training(both: Both, tmp_path: Path) -> None:
    log, checkpoints = both.study.training
    write_csv(tmp_path / "log.csv", log)
    assert (tmp_path / "log.csv").read_bytes() == both.out.training_log.read_bytes()
    kept = CheckpointDirectory(both.out.checkpoints)
    assert checkpoints.steps() == kept.steps() == list(range(0, 41, 10))
    for step in kept.steps():
        found, right = checkpoints.load(step), kept.load(step)
        assert list(found) == list(right), "random vectors are drawn in this order"
        assert all(same(found[name].numpy(), p.numpy()) for name, p in right.items())
    # Training has moved the parameters, so that equal files are not merely θ_0.
    first, last = checkpoints.load(0), checkpoints.load(40)
    assert any(not same(first[name].numpy(), p.numpy()) for name, p in last.items())


def test_bases(both: Both) -> None:
    assert [*both.study.bases] == both.task.bases
    assert {path.stem for path in both.out.bases.iterdir()} == set(both.study.bases)
    for kind, basis in both.study.bases.items():
        kept = Basis.load(both.out.basis(kind))
        assert list(kept.vectors) == list(basis.vectors)
        assert all(same(kept.vectors[name].numpy(), v.numpy()) for name, v in basis.vectors.items())
        assert kept.axes == basis.axes
        for field in ("steps", "eigenvalues", "residuals", "matvecs"):
            assert same(getattr(kept, field), getattr(basis, field)), f"{kind}: {field}"


def test_projections(both: Both) -> None:
    assert {path.stem for path in both.out.projections.iterdir()} == set(both.study.projections)
    for kind, found in both.study.projections.items():
        kept = Projections.load(both.out.projection(kind))
        for field in fields(Projections):
            assert same(getattr(kept, field.name), getattr(found, field.name)), f"{kind}: {field.name}"
        curved = kind in both.task.settings.polca.curvature_of
        assert (found.token_curvatures is not None) is curved


def test_trajectories_and_clusters(both: Both) -> None:
    assert len(both.task.analyses) == {"arithmetic": 11, "english": 4}[both.task.name]
    clustered = dict.fromkeys(get_args(Reading), 0)
    for name in both.task.analyses:
        kept, found = Archive.load(both.out.trajectory(name)).trajectories(), both.study.trajectories(name)
        assert same(kept.values, found.values)
        assert kept.guarded == found.guarded
        for out in both.readings:
            right, made = Clusters.load(out.cluster(name)), both.study.clusters(name, out.reading).clusters
            for field in Clusters.form:
                assert same(getattr(right, field), getattr(made, field)), f"{name}, {out.reading}: {field}"
            clustered[out.reading] += len(made)
    assert all(clustered.values()), "nothing was clustered, so nothing was compared"
    one, other = (Clusters.load(out.cluster("loss")).labels for out in both.readings)
    assert not same(one, other), "both readings have the same clusters"


def test_tables_and_summary(both: Both, tmp_path: Path) -> None:
    assert both.study.results()[1]["clusters"].equals(both.study.results(reading="standardised")[1]["clusters"])
    for out in both.readings:
        summary, tables = both.study.results(reading=out.reading)
        assert {path.stem for path in out.tables.iterdir()} == set(tables)
        for name, table in tables.items():
            write_csv(tmp_path / f"{name}.csv", table)
            assert (tmp_path / f"{name}.csv").read_bytes() == out.table(name).read_bytes(), (name, out.reading)
        write_json(tmp_path / "summary.json", summary)
        assert (tmp_path / "summary.json").read_bytes() == out.summary.read_bytes()
        assert {path.name for path in (out.results / out.reading).iterdir()} == {"clusters", "tables", "summary.json"}


def test_facts_of_the_losses(both: Both) -> None:
    """τ is of these losses, by its definition; the fall that the paper's τ stands for is known where it has one."""
    summary, _ = both.study.results(["loss"])
    breaks, p = both.task.settings.breakthroughs, both.study.projections["hessian"]
    mean = p.losses.astype(np.float64).mean(axis=1)
    made = (mean[0] - mean) / (mean[0] - mean[-1])
    assert mean[0] > mean[-1], "the loss does not fall, so nothing is told"
    assert summary["flat_step"] == p.steps[[m >= breaks.fall for m in made].index(True)]
    if breaks.published is None:
        assert summary["published_flat_step_fall"] is None
    else:
        at = p.steps.tolist().index(breaks.published.flat_step)
        assert summary["published_flat_step_fall"] == pytest.approx(made[at], rel=1e-12)


def test_projected_losses(both: Both) -> None:
    """The trajectories at a quarter, the half and the end of training."""
    kept = read_npz(both.out.projected_losses)
    own = {"arithmetic": ["polca_first_order", "polca", "polca_random", "polca_shuffled_hessian"]}
    assert set(kept) == {"steps", *own.get(both.task.name, ["polca", "polca_fine"])}
    assert kept.pop("steps").tolist() == [10, 20, 40]
    for name, values in kept.items():
        whole = both.study.trajectories(name).values
        np.testing.assert_array_equal(values, np.stack([whole[:, :, at] for at in (1, 2, 4)]))


@pytest.mark.parametrize("both", ["arithmetic"], indirect=True)
def test_hidden_breakthroughs_by_the_published_constants(both: Both) -> None:
    """As the preset's own would be with these constants, and beside its own, which are others."""
    breaks = both.task.settings.breakthroughs
    assert breaks.published is not None
    for reading in get_args(Reading):
        _, tables = both.study.results(["loss", "loss_change", "polca"], reading)
        for name, own in tables["clusters"].groupby("analysis"):
            trajectories, clusters = both.study.trajectories(name), both.study.clusters(name, reading).clusters
            for m, row in enumerate(own.itertuples()):
                curves = trajectories.values[clusters.cluster_vector[m], clusters.members(m)]
                late = breakthrough_steps(curves, trajectories.steps, breaks.published.delta).mean()
                assert row.hidden_published == (late > breaks.published.flat_step)


class TestChecks:
    """What `make validity` makes of the same results: each row is of the clusters of its own reading."""

    def best(self, both: Both, analysis: str, reading: Reading) -> float:
        """The best homogeneity of an eligible cluster, 0 where there is none."""
        table = both.study.clusters(analysis, reading).tables["clusters"]
        return float(table.loc[table["eligible"], "homogeneity"].max()) if table["eligible"].any() else 0.0

    @pytest.mark.parametrize("both", ["arithmetic"], indirect=True)
    def test_arithmetic_against_chance(self, both: Both) -> None:
        chance = ChanceSettings(seed=0, permutations=9, vector_permutations=1)
        tables = arithmetic_tables(Preset.read(PresetPaths.of(both.params)), chance)
        keys = [(name, reading) for reading in get_args(Reading) for name in both.task.analyses]
        for table in ("hidden", "beside"):
            assert list(tables[f"{table}"][["analysis", "reading"]].itertuples(index=False, name=None)) == keys
        best, hidden = tables["best"], tables["hidden"]
        assert set(best[["analysis", "reading"]].itertuples(index=False, name=None)) == set(keys)
        for row in hidden.to_dict("records"):
            own = both.study.clusters(row["analysis"], row["reading"]).tables["clusters"]
            assert row["clusters"] == len(own)
            assert row["observed"] == pytest.approx(own["hidden"].mean() if len(own) else np.nan, nan_ok=True)
            mine = best[(best["analysis"] == row["analysis"]) & (best["reading"] == row["reading"])]
            assert set(mine["observed"]) == {self.best(both, row["analysis"], row["reading"])}
        assert (hidden.groupby("analysis")["clusters"].nunique() > 1).any(), "both readings have the same clusters"

    @pytest.mark.parametrize("both", ["english"], indirect=True)
    def test_english_against_chance(self, both: Both) -> None:
        chance = ChanceSettings(seed=0, permutations=9, vector_permutations=1)
        tables = english_tables(Preset.read(PresetPaths.of(both.params)), chance)
        keys = ["analysis", "reading"]
        for row in tables["simple"].to_dict("records"):
            own = both.study.clusters(row["analysis"], row["reading"]).tables["clusters"]
            assert row["clusters_simple"] == own["simple"].sum()
            mine = tables["simple_clusters"]
            mine = mine[(mine["analysis"] == row["analysis"]) & (mine["reading"] == row["reading"])]
            assert mine["size"].tolist() == own["size"].tolist()
        assert len(tables["simple"][keys].drop_duplicates()) == 2 * len(both.task.analyses)

    @pytest.mark.parametrize("both", ["arithmetic"], indirect=True)
    def test_bases(self, both: Both) -> None:
        """Of the preset's own basis the row is that of its analysis `polca`, in each reading."""
        shared = ScoringWork(both.task, both.out.projections, both.study.labels)
        rows = {"hessian": score_saved(shared, "hessian")}
        table = bases_table(rows, {"hessian": {"gradient_evaluations": 7.0}})
        assert list(table["reading"]) == list(get_args(Reading))
        assert set(table["gradient_evaluations"]) == {7}
        for row in table.to_dict("records"):
            found = both.study.clusters("polca", row["reading"]).tables
            assert (row["clusters"], row["vectors"]) == (len(found["clusters"]), len(found["vectors"]))
            assert row["homogeneity"] == pytest.approx(self.best(both, "polca", row["reading"]) or np.nan, nan_ok=True)
            assert row["auc_100s"] == found["vectors"]["auc_100s"].max()
        assert table["completeness"].nunique() == 1, "it is of the projections, whatever was clustered"


def test_some_analyses(both: Both) -> None:
    summary, tables = both.study.results(["loss"])
    assert set(tables["vectors"]["analysis"]) == {"loss"}
    assert list(summary["guarded"]) == ["loss"]


def test_labels(both: Both) -> None:
    kept = read_npz(both.out.labels)
    assert set(kept) == set(both.study.labels)
    assert all(same(kept[name], np.asarray(values)) for name, values in both.study.labels.items())


def test_no_such_device(both: Both) -> None:
    with pytest.raises(PolcaError, match="device = 'abacus'"):
        in_memory.run(both.task, device="abacus")


@pytest.mark.parametrize("both", ["english"], indirect=True)  # of digit and carry there is nothing to choose
class TestLabelRule:
    """Labels are read where clusters are scored, and nowhere before."""

    @pytest.fixture
    def other(self, tmp_path: Path) -> Path:
        """The preset with another rule for labels, and a tagger that is not there."""
        params = make_preset(tmp_path)
        values = yaml.safe_load(params.read_text(encoding="utf-8"))
        values["english"]["labels"] = {"pipeline": "data/no_such_tagger", "coverage": 0.3, "simple_tags": 1}
        params.write_text(yaml.safe_dump(values), encoding="utf-8")
        return params

    def test_training_does_not_read_it(self, both: Both, other: Path) -> None:
        """Nor a tagger or labels: there are none."""
        out = PresetPaths.of(other).task("english")
        for stage in ("data", "train"):
            run_stage(stage, other, "english")
        assert not out.labels.exists()
        for path in sorted(both.out.checkpoints.iterdir()):
            assert (out.checkpoints / path.name).read_bytes() == path.read_bytes()

    def test_clusters_are_labelled_anew_without_training(self, both: Both) -> None:
        """The same projections; only what is said of their clusters changes."""
        settings = both.task.settings.changed(labels={"coverage": 0.05, "simple_tags": 1})
        other = Study(replace(both.task, settings=settings))
        other.__dict__["projections"] = both.study.projections  # where the cached property keeps them
        with mock.patch.object(stages, "train", side_effect=AssertionError("trained again")):
            found, before = other.clusters("loss"), both.study.clusters("loss")
        assert (found.tables["clusters"]["tags_0"] != before.tables["clusters"]["tags_0"]).any()
        assert same(found.clusters.labels, before.clusters.labels)


def test_only_clusters_depend_on_labels() -> None:
    """In the pipeline: what the stages read decides what a changed rule makes DVC run again."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    reading = set()
    for name, stage in pipeline.items():
        body = stage.get("do", stage)
        keys = [key for entry in body.get("params", []) for values in entry.values() for key in values or ["${key}"]]
        files = [dep for dep in body.get("deps", []) if isinstance(dep, str)]
        if any(key in ("${key}", "${key}.labels") for key in keys) or any(dep.endswith("labels.npz") for dep in files):
            reading.add(name)
    assert {"labels", "cluster"} <= reading
    assert not reading & {"data", "train", "basis", "project", "trajectories"}
