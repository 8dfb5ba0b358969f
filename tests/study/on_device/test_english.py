"""English at a tiny size on a CPU: a folder made at home, and a run on it against the stages' own functions."""

import io
import shutil
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from polca.machine.checkout import ROOT
from polca.machine.files import read_json, read_npz, write_json, write_npz
from polca.study.archive import Archive
from polca.study.in_memory import Study, carry
from polca.study.in_memory.__main__ import gpu_batch, main
from polca.study.on_device import jobs, results
from polca.study.on_device.english import FILES, CarriedEnglish
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.tasks.english.task import EnglishTask
from polca.typing import Reading
from tiny_preset import make_preset

TOKENS = 6 * (16 - 2)
ANALYSES = {"loss": 1, "loss_fine": 1, "polca": 2, "polca_fine": 2}
"""Vectors of each."""
EXAMPLES = 3
"""Of the Hessian sample, where the preset has 4."""
HOME = ("spacy", "tokenizers", "polca.tasks.english.tagging")
"""What is at home alone."""


def command(params: Path, data: Path, out: Path, *others: str) -> int:
    given = ["--preset", str(params), "--task", "english", "--data", str(data), "--out", str(out)]
    return main([*given, "--device", "cpu", "--workers", "1", *others])


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_preset(tmp_path_factory.mktemp("english"))


@pytest.fixture(scope="module")
def task(params: Path) -> EnglishTask:
    return Preset.read(PresetPaths.of(params)).english()


@pytest.fixture(scope="module")
def carried(params: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "carried"
    assert carry.main(["--preset", str(params), "--out", str(folder)]) == 0
    return folder


def test_the_folder_holds_what_the_stages_write(
    carried: Path, task: EnglishTask, params: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training text in two bytes a token and packed, and read as it was; a second folder would not be the first."""
    right = EnglishTask(task.settings, tmp_path, task.source, task.root)
    right.write_data()
    assert {path.name for path in carried.iterdir()} == set(FILES)
    for name in ("evaluation.npz", "evaluation.txt", "corpus.json", "tokenizer.json"):
        assert (carried / name).read_bytes() == right.file(name).read_bytes()
    tokens, packed = (read_npz(folder / "training.npz")["tokens"] for folder in (tmp_path, carried))
    assert packed.dtype == np.uint16
    np.testing.assert_array_equal(packed, tokens)
    assert (carried / "training.npz").stat().st_size < tokens.nbytes / 2
    for ours, theirs in zip(CarriedEnglish(task.settings, carried).batch(7), right.batch(7), strict=True):
        assert ours.equal(theirs)
    for name, labels in right.token_labels().items():
        np.testing.assert_array_equal(read_npz(carried / "labels.npz")[name], labels)
    assert carry.main(["--preset", str(params), "--out", str(carried)]) == 1
    assert "carried: is there already" in capsys.readouterr().err


def test_another_corpus(params: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ["--corpus", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    assert carry.main(["--preset", str(params), *nowhere]) == 1
    assert f"{tmp_path / 'nowhere'}: no such directory" in capsys.readouterr().err
    assert carry.main(["--preset", "smoke", *nowhere]) == 1
    assert "english.data.corpus.source is embedded: leave it out" in capsys.readouterr().err


class TestWhole:
    @pytest.fixture(scope="class")
    @classmethod
    def out(
        cls,
        params: Path,
        carried: Path,
        threads: type[ThreadPoolExecutor],
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Path:
        """Without what is at home alone, and with a smaller Hessian sample."""
        out = tmp_path_factory.mktemp("results") / "out"
        with pytest.MonkeyPatch.context() as patch:
            for name in HOME:
                patch.setitem(sys.modules, name, None)
            patch.setattr(jobs, "ProcessPoolExecutor", threads)
            others = ("--minutes", "60", "--hessian-examples", str(EXAMPLES), "--tf32", "train", "basis", "project")
            assert command(params, carried, out, *others) == 0
        return out

    @pytest.fixture(scope="class")
    @classmethod
    def right(cls, task: EnglishTask, carried: Path) -> Study:
        """By the stages' functions, from the same files."""
        return Study(EnglishTask(task.settings.changed(basis={"hessian_examples": EXAMPLES}), carried))

    def test_files(self, out: Path) -> None:
        names = {"polca.npz", "tokens.npz", "text.zip", "clusters.zip", "summary.json"}
        assert {path.name for path in out.iterdir()} == names

    def test_the_text_goes_with_the_results(self, out: Path, carried: Path) -> None:
        """What names clusters at home, to the byte."""
        with zipfile.ZipFile(out / "text.zip") as packed:
            names = ["evaluation.npz", "evaluation.txt", "corpus.json", "tokenizer.json"]
            assert packed.namelist() == names
            for name in names:
                assert packed.read(name) == (carried / name).read_bytes()

    def test_trajectories_are_those_of_the_stages(self, out: Path, right: Study) -> None:
        tokens, projections = np.load(out / "tokens.npz"), right.projections["hessian"]
        np.testing.assert_allclose(tokens["training_loss"], right.training[0]["loss"], atol=1e-5)
        np.testing.assert_allclose(tokens["losses"], projections.losses, atol=1e-5)
        np.testing.assert_array_equal(tokens["steps"], [0, 10, 20, 30, 40])
        found, exact = Archive.load(out / "polca.npz").trajectories(), right.trajectories("polca")
        assert found.values.shape == (2, TOKENS, 5)
        assert np.abs(exact.values).max() > 0.01, "nothing moved, so nothing compared"
        np.testing.assert_allclose(found.values, exact.values, rtol=0, atol=1e-4 * np.abs(exact.values).max())
        gradients = projections.gradients.mean(axis=1)
        np.testing.assert_allclose(tokens["mean_gradients_hessian"], gradients, atol=1e-4 * np.abs(gradients).max())
        np.testing.assert_array_equal(found.vector_steps, right.task.settings.basis_steps())

    def test_summary(self, out: Path, right: Study) -> None:
        """Without App. C, other bases and the 5-step grid, which are no part of the task; what was chosen is said."""
        summary = read_json(out / "summary.json")
        assert summary["left_out"] == []
        assert set(summary["seconds"]) == {"train", "basis hessian", "project hessian"}
        assert summary["hessian_examples"] == EXAMPLES
        np.testing.assert_allclose(
            summary["bases"]["hessian"]["eigenvalues"], right.bases["hessian"].eigenvalues, rtol=1e-4
        )
        assert {name: entry["vectors"] for name, entry in summary["analyses"].items()} == ANALYSES
        assert summary["analyses"]["polca"]["archive_agreement"] == {"raw": [1, 1], "standardised": [1, 1]}
        assert summary["corpus"]["evaluation_tokens"] == TOKENS
        assert summary["tf32"] == [], "no TF32 on a CPU"

    def test_clusters_are_scored_by_parts_of_speech(self, out: Path) -> None:
        with zipfile.ZipFile(out / "clusters.zip") as packed:
            for reading in get_args(Reading):
                clusters, vectors = (
                    pd.read_csv(io.BytesIO(packed.read(f"{reading}/{name}.csv")), keep_default_na=False)
                    for name in ("clusters", "vectors")
                )
                assert dict(vectors["analysis"].value_counts()) == ANALYSES
                assert len(clusters) == vectors["n_clusters"].sum()
                assert f"{reading}/labels/polca_fine.npy" in packed.namelist()
                if reading == "raw":
                    assert {"NOUN", "DET", "ADJ"} & set("+".join(clusters["tags_0"]).split("+"))


def test_cut_off(in_threads: None, params: Path, carried: Path, tmp_path: Path) -> None:
    """No time at all: one vector, two checkpoints, and whole files."""
    assert command(params, carried, tmp_path / "out", "--minutes", "0.01") == 0
    left_out = read_json(tmp_path / "out" / "summary.json")["left_out"]
    assert left_out[:3] == ["vectors after step 20", "checkpoints after step 10", "clusters from the archives"]
    tokens = np.load(tmp_path / "out" / "tokens.npz")
    assert tokens["losses"].shape == (2, TOKENS)
    for path in (tmp_path / "out").glob("polca*.npz"):
        assert Archive.load(path).trajectories().values.shape == (1, TOKENS, 2)


def test_a_large_archive_in_several_files(
    in_threads: None, params: Path, carried: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are files to spare, vectors are shared out, and nothing is left out."""
    monkeypatch.setattr(results, "MOST_BYTES", 4500)
    assert command(params, carried, tmp_path / "out", "--minutes", "60") == 0
    paths = sorted((tmp_path / "out").glob("polca*"))
    assert [path.name for path in paths] == ["polca_1_of_2.npz", "polca_2_of_2.npz"]
    assert read_json(tmp_path / "out" / "summary.json")["analyses"]["polca"]["archive_files"] == 2
    parts = [Archive.load(path) for path in paths]
    assert [part.vector_steps.tolist() for part in parts] == [[20], [40]]
    assert all(part.relative_error.max() == 0 for part in parts), "made again with an error"


def _other_windows(folder: Path) -> None:
    labels = read_npz(folder / "labels.npz")
    write_npz(folder / "labels.npz", {**labels, "tags": labels["tags"][:5]})


def _large_token(folder: Path) -> None:
    tokens = read_npz(folder / "training.npz")["tokens"]
    tokens[3] = 300
    write_npz(folder / "training.npz", {"tokens": tokens})


def _other_corpus(folder: Path) -> None:
    write_json(folder / "corpus.json", {**read_json(folder / "corpus.json"), "evaluation_tokens": 5})


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    **{
        f"no {name}": (lambda folder, name=name: (folder / name).unlink(), f"{name}: no such file: make the folder")
        for name in FILES
    },
    "damaged": (lambda folder: (folder / "training.npz").write_bytes(b"PK"), "training.npz: not a readable .npz file"),
    "other windows": (_other_windows, "labels.npz: evaluation: tags (5, 17) do not fit tokens (6, 17)"),
    "other vocabulary": (_large_token, "training.npz: token 300, where english.data.vocabulary is 300"),
    "other corpus": (_other_corpus, "corpus.json: not about the 84 evaluated tokens beside it"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_data(fault: str, params: Path, carried: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the file, before anything is computed."""
    spoil, message = BAD[fault]
    spoil(shutil.copytree(carried, tmp_path / "data"))
    assert command(params, tmp_path / "data", tmp_path / "out", "--minutes", "60") == 1
    error = capsys.readouterr().err
    assert f"error: {tmp_path / 'data'}" in error
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_data_must_be_named(params: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--preset", str(params), "--task", "english", "--minutes", "1", "--out", str(tmp_path / "out")]
    assert main(given) == 1
    assert "--task english: reads the folder that" in capsys.readouterr().err


def test_the_published_size_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows at once, and graphs that stay on an 80 GB card, by the sizes of docs/gpu.md."""
    preset = Preset.read(PresetPaths.of(ROOT / "presets" / "paper" / "params.yaml"))
    assert (gpu_batch(preset.arithmetic()), gpu_batch(preset.english())) == (625, 104)
    settings = preset.english().settings
    monkeypatch.setattr("polca.study.on_device.english.device", lambda: type("Gpu", (), {"type": "cuda"}))
    kept = {
        n: CarriedEnglish(settings.changed(basis={"hessian_examples": n}), Path("nowhere")).keep_graphs
        for n in (200, 1000)
    }
    assert kept == {200: True, 1000: False}
