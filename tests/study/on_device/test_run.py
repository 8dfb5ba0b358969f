"""The whole command at a tiny size on a CPU: what it writes, whole and cut off, and what the cores make of a vector."""

import io
import json
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.machine.files import read_csv, read_json
from polca.method.projections import Projections
from polca.study.archive import Archive, compress
from polca.study.archive_parts import joined
from polca.study.in_memory.__main__ import main
from polca.study.on_device import results, run
from polca.study.on_device.bases import Directions
from polca.study.on_device.jobs import Cores, Job, Shared, archived, clustered, facts
from polca.study.on_device.projections import Projected
from polca.study.paths import PresetPaths
from polca.study.published import read_published_scale
from polca.study.settings import Preset
from polca.study.stages.cluster import ExactLosses, cluster_analysis
from polca.study.stages.trajectories import decompose_analysis, known_facts
from polca.tasks.task import Task
from polca.typing import Reading
from tiny_jobs import SHARED, killed, number
from tiny_preset import make_preset

pytestmark = pytest.mark.thorough

ARCHIVES = {
    "polca_first_order": ("polca_first_order", 5),
    "polca": ("polca", 5),
    "polca_random": ("polca", 5),
    "polca_shuffled_hessian": ("polca", 5),
    "polca_5_steps": ("polca", 9),
}
"""Strategy and points of each archive."""
LCA = 10
OTHERS = {"loss": 1, "loss_change": 1, "fisher": 2, "lca": LCA, "polca_paper": 2}
"""Vectors of the analyses whose trajectories are not kept."""
FILES = {*(f"{name}.npz" for name in ARCHIVES), "tokens.npz", "clusters.zip", "summary.json"}


def command(params: Path, out: Path, *others: str) -> int:
    return main(["--preset", str(params), "--device", "cpu", "--workers", "1", "--out", str(out), *others])


def members(path: Path) -> dict[str, Any]:
    """The members of a zip: tables, arrays, and JSON."""
    with zipfile.ZipFile(path) as packed:
        read = {"csv": pd.read_csv, "npy": np.load, "json": json.load}
        return {name: read[name.rsplit(".")[-1]](io.BytesIO(packed.read(name))) for name in packed.namelist()}


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_preset(tmp_path_factory.mktemp("device"))


@pytest.fixture(scope="module")
def task(params: Path) -> Task:
    return Preset.read(PresetPaths.of(params)).arithmetic()


class TestWhole:
    """With processes of its own."""

    @pytest.fixture(scope="class")
    @classmethod
    def out(cls, params: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        out = tmp_path_factory.mktemp("results") / "out"
        assert command(params, out, "--minutes", "60") == 0
        return out

    def test_files(self, out: Path) -> None:
        """At most eight, small, and nothing half-written beside them."""
        assert {path.name for path in out.iterdir()} == FILES
        assert len(FILES) <= 8
        assert all(path.stat().st_size <= results.MOST_BYTES for path in out.iterdir())

    def test_nothing_is_left_out(self, out: Path) -> None:
        summary = read_json(out / "summary.json")
        assert summary["left_out"] == []
        assert set(summary["analyses"]) == {*ARCHIVES, *OTHERS}
        for name, entry in summary["analyses"].items():
            assert entry["clustered"] == entry["vectors"] == OTHERS.get(name, 2)
            if name in ARCHIVES:
                assert entry["archived"] == 2
                # The preset's archives are exact, so that their clusters are the very same.
                assert entry["archive_agreement"] == {"raw": [1, 1], "standardised": [1, 1]}
        assert {"train", "basis hessian", "project hessian", "App. C", "bases compared", "polca_5_steps"} == set(
            summary["seconds"]
        )
        assert set(summary["bases"]) == {"hessian", "lca", "random", "shuffled_hessian"}
        assert {"trapezoid", "trapezoid_random", "trapezoid_lca"} < set(summary["completeness"])
        assert summary["app_c"]["terms_published_subset"] == 2 * 4 * 80
        assert summary["machine"]["torch"]

    def test_archives_are_of_the_projections_beside_them(self, out: Path) -> None:
        """The mean over tokens of eq. 8 from mean gradients and displacements, which the run keeps as well."""
        tokens = np.load(out / "tokens.npz")
        assert tokens["steps"].tolist() == [0, 10, 20, 30, 40]
        assert tokens["losses"].shape == (5, 80)
        assert tokens["training_loss"].shape == (40,)
        for name, basis in (("polca", "hessian"), ("polca_random", "random"), ("polca_first_order", "hessian")):
            gradients = tokens[f"mean_gradients_{basis}"].astype(np.float64)
            middle = gradients[:-1] if name == "polca_first_order" else (gradients[1:] + gradients[:-1]) / 2
            mean = np.cumsum(middle * tokens[f"movements_{basis}"], axis=0)
            values = Archive.load(out / f"{name}.npz").trajectories().values.mean(axis=1, dtype=np.float64)
            np.testing.assert_allclose(values[:, 1:], mean.T, rtol=1e-4, atol=1e-8)

    def test_archives(self, out: Path) -> None:
        for name, (strategy, points) in ARCHIVES.items():
            archive = Archive.load(out / f"{name}.npz")
            assert archive.name == strategy
            assert archive.trajectories().values.shape == (2, 80, points)
            assert set(archive.vector_steps) == {20, 40}
        fine, coarse = (Archive.load(out / f"{name}.npz").trajectories() for name in ("polca_5_steps", "polca"))
        assert fine.steps.tolist() == list(range(0, 41, 5))
        # Shorter intervals give about the same, and not the very same.
        difference = np.abs(fine.values[:, :, ::2] - coarse.values).max() / np.abs(coarse.values).max()
        assert 0 < difference < 0.5

    def test_scores_and_labels(self, out: Path) -> None:
        found = members(out / "clusters.zip")
        for reading in get_args(Reading):
            vectors = found[f"{reading}/vectors.csv"]
            for name, count in ({name: 2 for name in ARCHIVES} | OTHERS).items():
                own = vectors[vectors["analysis"] == name]
                assert own["vector"].tolist() == list(range(1, count + 1))
                labels = found[f"{reading}/labels/{name}.npy"]
                assert labels.shape == (count, 80)
                assert (own["n_clusters"] == np.maximum(labels.max(axis=1) + 1, 0)).all()
            assert len(found[f"{reading}/clusters.csv"]) == vectors["n_clusters"].sum() > 0
        assert not np.array_equal(found["raw/labels/loss.npy"], found["standardised/labels/loss.npy"])

    def test_can_be_read_again(self, out: Path, tmp_path: Path) -> None:
        """As a run at the published scale, without the bases that were left out as well."""
        found = read_published_scale(out)
        assert list(found.archives) == [name for name in ARCHIVES if name != "polca_5_steps"]
        tokens = np.load(out / "tokens.npz")
        for name in ("tokens", "place", "carry", "losses", "steps", "training_loss"):
            np.testing.assert_array_equal(getattr(found, name), tokens[name])
        for path in out.iterdir():
            shutil.copy(path, tmp_path)
        for name in ("polca_random", "polca_shuffled_hessian"):
            (tmp_path / f"{name}.npz").unlink()
        assert list(read_published_scale(tmp_path).archives) == ["polca_first_order", "polca"]
        (tmp_path / "polca.npz").unlink()
        with pytest.raises(PolcaError, match=r"polca.npz: no such file"):
            read_published_scale(tmp_path)
        archive = Archive.load(out / "polca.npz")
        replace(archive, values=archive.values[:, :8]).save(tmp_path / "polca.npz")
        with pytest.raises(PolcaError, match=r"polca.npz: trajectories of 8 tokens, where tokens.npz has 80"):
            read_published_scale(tmp_path)

    def test_is_not_overwritten(self, out: Path, params: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = (out / "summary.json").read_bytes()
        assert command(params, out, "--minutes", "60") == 1
        assert "summary.json: is there already: name another folder" in capsys.readouterr().err
        assert (out / "summary.json").read_bytes() == before


class TestCutOff:
    def test_at_once(self, in_threads: None, params: Path, tmp_path: Path) -> None:
        """No time at all: what is always made, cut at the first vector and the second checkpoint, and whole files."""
        assert command(params, tmp_path / "out", "--minutes", "0.01") == 0
        summary = read_json(tmp_path / "out" / "summary.json")
        pieces = ["vectors after step 20", "checkpoints after step 10", "App. C", "bases compared", "polca_5_steps"]
        # The cores may have come to clusters, which have too few points for Δ.
        assert summary["left_out"][:6] == [*pieces, "clusters from the archives"]
        assert all("hold no t with t ± delta" in reason for reason in summary["left_out"][6:])
        tokens = np.load(tmp_path / "out" / "tokens.npz")
        assert tokens["steps"].tolist() == [0, 10]
        assert tokens["losses"].shape == (2, 80)
        for path in (tmp_path / "out").glob("polca*.npz"):
            Archive.load(path)

    def test_after_the_first_bases(
        self, in_threads: None, params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The trajectories of the Hessian basis are there, and readable, whatever comes of the rest."""
        bases = run.Run.compared_bases

        def late(self: run.Run, steps: list[int]) -> None:
            while self.results.waiting:
                time.sleep(0.1)
            self.clock.start -= 3600
            bases(self, steps)

        monkeypatch.setattr(run.Run, "compared_bases", late)
        assert command(params, tmp_path / "out", "--minutes", "60") == 0
        left_out = read_json(tmp_path / "out" / "summary.json")["left_out"]
        assert left_out == ["bases compared", "polca_5_steps", "clusters from the archives"]
        there = {path.name for path in (tmp_path / "out").iterdir()}
        assert there == FILES - {f"polca_{name}.npz" for name in ("random", "shuffled_hessian", "5_steps")}
        assert "raw/labels/polca.npy" in members(tmp_path / "out" / "clusters.zip")

    @pytest.mark.parametrize("kind", [RuntimeError, PolcaError])
    def test_a_piece_that_the_device_refuses(
        self,
        kind: type[Exception],
        in_threads: None,
        params: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(*_: Any) -> None:
            raise kind("CUDA out of memory. Tried to allocate 1.00 TiB\nand more")

        monkeypatch.setattr(run, "app_c", refuse)
        assert command(params, tmp_path / "out", "--minutes", "60") == 0
        summary = read_json(tmp_path / "out" / "summary.json")
        assert summary["left_out"] == ["App. C: CUDA out of memory. Tried to allocate 1.00 TiB"]
        assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_minutes_begin_with_the_process() -> None:
    """Where the command says when that was, imports count as well."""
    options = run.Options(Path("nowhere"), minutes=2, started=time.monotonic() - 60)
    assert run.Clock.of(options).left == pytest.approx(60 - run.MARGIN, abs=5)
    assert run.Clock.of(replace(options, started=None)).left == pytest.approx(120 - run.MARGIN, abs=5)


def test_a_killed_process_costs_its_job_alone() -> None:
    """The next ones go to new processes."""
    cores, ended, found = Cores(1), threading.Event(), list[Any]()

    def done(future: "Future[tuple[float, Any]]") -> None:
        found.append(future.exception() or future.result()[1])
        ended.set()

    try:
        for job in ((killed,), (number, 7), (number, 8)):
            ended.clear()
            cores.submit(done, job[0], SHARED, *job[1:])
            assert ended.wait(120)
    finally:
        cores.stop()
    assert isinstance(found[0], BrokenProcessPool)
    assert found[1:] == [7, 8]


def test_further_seeds(in_threads: None, params: Path, tmp_path: Path) -> None:
    """Scores alone, of shorter runs on fewer vectors."""
    arguments = ["--seeds", "3", "4", "--steps", "30", "--vectors", "1", "--minutes", "60"]
    assert command(params, tmp_path / "out", *arguments) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["seeds.zip"]
    found = members(tmp_path / "out" / "seeds.zip")
    for seed in (3, 4):
        summary = found[f"seed_{seed}/summary.json"]
        assert (summary["seed"], summary["training_steps"]) == (seed, 30)
        for reading in get_args(Reading):
            vectors = found[f"seed_{seed}/{reading}/vectors.csv"]
            assert vectors["analysis"].tolist() == ["loss", "loss_change", "polca_first_order", "polca"]
    assert not found["seed_3/raw/vectors.csv"].equals(found["seed_4/raw/vectors.csv"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--minutes", "0"], "--minutes 0.0: must be more than 0"),
        (["--minutes", "1", "--workers", "0"], "--workers 0: must be at least 1"),
        (["--minutes", "1", "--vectors", "9"], "basis.vectors = 9"),
        (["--minutes", "1", "--steps", "15"], "does not divide steps = 15"),
        (["--minutes", "1", "--preset", "huge"], "preset 'huge': no such preset"),
        (["--minutes", "1", "--device", "abacus"], "device = 'abacus': expected cpu or cuda"),
        (["--minutes", "1", "--data", "carried"], "--data carried: the task arithmetic draws its own data"),
        (["--minutes", "1", "--hessian-examples", "0"], "basis.hessian_examples = 0"),
    ],
)
def test_bad_input(
    arguments: list[str], message: str, params: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, before anything is computed."""
    assert command(params, tmp_path / "out", *arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


class TestJobs:
    """One vector at a time gives what all at once give."""

    @pytest.fixture
    def projected(self, task: Task) -> Projected:
        rng, count = np.random.default_rng(5), 3
        drift = np.cumsum(rng.normal(size=(count, 5, 80)), axis=1)
        basis = Directions(None, np.array([20, 40, 40]), rng.normal(size=3), rng.normal(size=3), np.arange(3))  # type: ignore[arg-type]
        return Projected(
            steps=np.arange(0, 41, 10),
            losses=np.exp(np.cumsum(rng.normal(-0.3, 0.2, size=(5, 80)), axis=0)).astype(np.float32),
            gradients=drift.astype(np.float32),
            movements=rng.normal(size=(4, count)).astype(np.float32),
            bases={"hessian": basis},
        )

    @pytest.fixture
    def shared(self, task: Task, projected: Projected, tmp_path: Path) -> Shared:
        plain = type(task)(task.settings.changed(stability={"analyses": ()}), task.folder)  # type: ignore[call-arg]
        shared = Shared(plain, task.token_labels(), tmp_path)
        assert shared.write("hessian", projected, "hessian") == 3
        return shared

    @pytest.mark.parametrize("analysis", ["polca", "polca_paper", "fisher"])
    def test_clusters(self, analysis: str, shared: Shared, projected: Projected) -> None:
        whole: Projections = projected.of("hessian")
        trajectories = decompose_analysis(shared.task, analysis, {"hessian": whole})
        losses = ExactLosses(projected.steps, projected.losses)
        parts = [clustered(shared, Job(analysis, "hessian", k)) for k in range(3)]
        assert sum(part.guarded for part in parts) == trajectories.guarded
        for reading in get_args(Reading):
            right = cluster_analysis(shared.task, analysis, trajectories, losses, shared.labels, reading)
            assert len(right.clusters) > 0
            np.testing.assert_array_equal(np.stack([part.labels[reading] for part in parts]), right.clusters.labels)
            for name, table in right.tables.items():
                together = pd.concat([part.tables[reading][name] for part in parts], ignore_index=True)
                pd.testing.assert_frame_equal(together, table, check_dtype=False)

    @pytest.mark.parametrize("error", [0.0, 0.1])
    def test_archives(self, error: float, shared: Shared, projected: Projected) -> None:
        whole = decompose_analysis(shared.task, "polca", {"hessian": projected.of("hessian")})
        right = compress(whole, error)
        found = joined([archived(shared, Job("polca", "hessian", k), error) for k in range(3)])
        assert (found.name, found.guarded, found.projected) == (right.name, right.guarded, right.projected)
        np.testing.assert_array_equal(found.relative_error, right.relative_error)
        np.testing.assert_array_equal(found.vector_steps, [20, 40, 40])
        for k in range(3):
            np.testing.assert_array_equal(found.matrix(k), right.matrix(k))

    def test_facts(self, shared: Shared, projected: Projected) -> None:
        whole = {"hessian": projected.of("hessian")}
        assert json.dumps(facts(shared, ["hessian"])) == json.dumps(known_facts(shared.task, whole))


class TestSizes:
    def test_a_large_archive_is_made_again(
        self,
        in_threads: None,
        params: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Twice as coarse until it is small enough."""
        monkeypatch.setattr(results, "MOST_BYTES", 4000)
        monkeypatch.setattr(run.Run, "compared_bases", lambda *_: None)
        monkeypatch.setattr(run.Run, "fine_grid", lambda *_: None)
        assert command(params, tmp_path / "out", "--minutes", "60") == 0
        assert "polca.npz: more than 0 MB, made again with an error of 0.01" in capsys.readouterr().out
        entry = read_json(tmp_path / "out" / "summary.json")["analyses"]["polca"]
        assert entry["archive_error"] >= 0.01
        archive = Archive.load(tmp_path / "out" / "polca.npz")
        assert (tmp_path / "out" / "polca.npz").stat().st_size <= 4000
        assert (archive.relative_error <= entry["archive_error"]).all()


def test_packed_files_are_the_same_bytes(tmp_path: Path) -> None:
    """And plain `.npz` and CSV inside."""
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False])}
    results.write_packed_arrays(tmp_path / "one.npz", arrays)
    with zipfile.ZipFile(tmp_path / "one.npz") as packed:
        assert {member.date_time for member in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}, "the time of writing"
    found = np.load(tmp_path / "one.npz")
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    table = pd.DataFrame({"x": [1 / 3, float("nan")], "name": ["a", "b,c"]})
    (tmp_path / "t.csv").write_bytes(results.table_bytes(table))
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv"), table, rtol=1e-8)


ELSEWHERE = (
    "datasets", "dvc", "matplotlib", "pathspec", "plotly", "seaborn", "spacy", "thinc", "tokenizers",
    "transformers", "typer", "typst",
)  # fmt: skip
"""What a borrowed machine need not have; filelock comes with PyTorch."""


def test_needs_little() -> None:
    """The command and its jobs are imported, and HDBSCAN, without what only the pipeline and the report need."""
    code = f"""
import sys
sys.modules |= dict.fromkeys({ELSEWHERE!r})
import polca.study.in_memory.__main__, hdbscan, polca.tasks.arithmetic.scores, polca.tasks.arithmetic.facts
import polca.tasks.english.scores
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", [PolcaError, ValueError])
def test_an_error_in_a_job(
    kind: type[Exception], in_threads: None, params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be scored is left out with its reason; anything else ends the run, when all is written."""

    def unreadable(*_: Any) -> None:
        raise kind("no")

    monkeypatch.setattr(results.Results, "_clustered", unreadable)
    monkeypatch.setattr(run.Run, "compared_bases", lambda *_: None)
    monkeypatch.setattr(run.Run, "fine_grid", lambda *_: None)
    if kind is PolcaError:
        assert command(params, tmp_path / "out", "--minutes", "60") == 0
    else:
        with pytest.raises(ValueError, match=r"^no$"):
            command(params, tmp_path / "out", "--minutes", "60")
    summary = read_json(tmp_path / "out" / "summary.json")
    assert summary["analyses"]["polca"]["archived"] == 2
    refused = [f"{name}: no" for name in summary["analyses"]]
    assert sorted(summary["left_out"]) == (sorted(refused) if kind is PolcaError else [])
    assert Archive.load(tmp_path / "out" / "polca.npz").trajectories().values.shape == (2, 80, 5)
