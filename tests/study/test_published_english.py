"""A run of English by the GPU's command, at a tiny size on a CPU, through the stages that begin with its archives.

The oracle is what the ordinary stages make: the run's own clusters are theirs, of the trajectories before any archive.
"""

import io
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import get_args
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import yaml

from polca.errors import PolcaError
from polca.explorer.presets import preset_page
from polca.machine.checkout import ROOT
from polca.machine.files import read_json, read_npz
from polca.method.clustering import Clusters
from polca.report.figures import save_figures
from polca.report.verify import verify
from polca.study.archive import Archive
from polca.study.in_memory import carry
from polca.study.in_memory.__main__ import main
from polca.study.on_device import jobs, results
from polca.study.paths import PresetPaths
from polca.study.published import read_published_english
from polca.study.published_run import RunFacts, as_run, english_task, run_folders
from polca.study.results import PresetResults, read_table
from polca.study.settings import Preset
from polca.study.stages.published import import_run
from polca.study.stages.signatures import all_signature_tables, compared_trajectories
from polca.tasks.english.task import EnglishTask
from polca.typing import Reading
from tiny_preset import QUICK, Stage, make_preset, quick_figures, run_stage

pytestmark = pytest.mark.thorough

STAGES = ("published", "published_cluster", "published_english", "published_signatures", "tables")
EXAMPLES = 3
"""Of the Hessian sample, where the preset has 4."""
VECTORS = 3
"""That the preset asks for; the run has 2."""


@pytest.fixture(scope="module")
def whole(threads: type[ThreadPoolExecutor], tmp_path_factory: pytest.TempPathFactory) -> PresetPaths:
    """A checkout with runs of both tasks, after all stages; without the text, the tagger and spaCy."""
    root = tmp_path_factory.mktemp("checkout")
    params = make_preset(root)
    published, carried = root / "data" / "published", root / "carried"
    with mock.patch.object(jobs, "ProcessPoolExecutor", threads), mock.patch.object(results, "MOST_BYTES", 4500):
        common = ["--preset", str(params), "--device", "cpu", "--workers", "1", "--minutes", "60"]
        assert main([*common, "--out", str(published / "arithmetic")]) == 0
        assert carry.main(["--preset", str(params), "--out", str(carried)]) == 0
        english = ["--task", "english", "--data", str(carried), "--hessian-examples", str(EXAMPLES)]
        assert main([*common, *english, "--out", str(published / "english")]) == 0
    assert (published / "english" / "polca_2_of_2.npz").is_file()
    shutil.rmtree(root / "data" / "corpora")
    (root / "data" / "tagger").unlink()
    given = yaml.safe_load(params.read_text())
    given["english"]["basis"]["vectors"] = VECTORS
    params.write_text(yaml.safe_dump(given))
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copy(ROOT / "data" / "published.yaml", root / "data")
    shutil.copy(ROOT / "data" / "expected.yaml", root / "data")
    # As Python does for a script: the stages' own folder comes first.
    path = mock.patch.object(sys, "path", [str(ROOT / "pipelines"), *sys.path])
    with path, mock.patch.dict(sys.modules, {"spacy": None}), quick_figures():
        for stage in STAGES:
            done = run_stage(Stage(stage), params)
            assert done.code == 0, (stage, done.errors)
        paths = PresetPaths.of(params)
        own = PresetResults.of(paths, as_run(Preset.read(paths)).params)
        save_figures(replace(own, arithmetic=None), paths.figures)  # those of addition take as long again
    return paths


@pytest.fixture(scope="module")
def folder(whole: PresetPaths) -> Path:
    return run_folders(whole.root)["english"]


@pytest.fixture(scope="module")
def right(whole: PresetPaths) -> EnglishTask:
    """The ordinary task, on the folder that was made at home."""
    preset = Preset.read(whole)
    return EnglishTask(preset.english().settings, whole.root / "carried")


@pytest.fixture(autouse=True)
def no_scripts_left() -> Iterator[None]:
    """Stage scripts that others import are modules of short names."""
    yield
    for name in ("cluster", "signatures"):
        sys.modules.pop(name, None)


def test_facts(whole: PresetPaths) -> None:
    runs = RunFacts.load(whole)
    assert runs is not None
    facts = runs.tasks["english"]
    assert (facts.steps, facts.of_steps, facts.vectors, facts.of_vectors) == (40, 40, 2, VECTORS)
    assert facts.changed == {"english.basis.vectors": 2, "english.basis.hessian_examples": EXAMPLES}
    assert facts.archived == ("loss", "polca", "polca_fine", "loss_fine")
    assert (facts.scored, facts.missing, facts.cut) == ((), (), True)
    assert facts.words == (
        "A cut of a run at the published scale (data/published/english): 40 of 40 steps, 2 of 3 vectors, "
        "a Hessian sample of 3 instead of 4."
    )
    assert "No run of" not in runs.words
    task = english_task(Preset.read(whole))
    assert (task.settings.basis.vectors, task.settings.basis.hessian_examples) == (2, EXAMPLES)


def test_what_is_read_is_what_the_run_left(whole: PresetPaths, folder: Path, right: EnglishTask) -> None:
    out, tokens = whole.task("english"), read_npz(folder / "tokens.npz")
    parts = [Archive.load(folder / f"polca_{i}_of_2.npz").trajectories().values for i in (1, 2)]
    for name in ("polca", "polca_fine"):
        found = Archive.load(out.trajectory(name)).trajectories()
        np.testing.assert_array_equal(found.values, np.concatenate(parts))
        at = read_npz(out.projected_losses)
        np.testing.assert_array_equal(at[name], np.moveaxis(found.values[:, :, [1, 2, 4]], 2, 0))
    for name in ("loss", "loss_fine"):
        np.testing.assert_array_equal(Archive.load(out.trajectory(name)).matrix(0).T, tokens["losses"])
    np.testing.assert_array_equal(read_npz(out.losses)["losses"], tokens["losses"])
    for name, labels in read_npz(right.file("labels.npz")).items():
        np.testing.assert_array_equal(read_npz(out.labels)[name], labels)


def test_facts_of_projections_are_those_of_the_run(whole: PresetPaths, folder: Path) -> None:
    """The run made them from gradients and displacements."""
    found, known = read_json(whole.task("english").facts), read_json(folder / "summary.json")
    for name in ("tokens", "checkpoints", "vectors", "flat_step", "delta", "corpus", "parameters", "completeness"):
        assert found[name] == known[name], name
    for name in ("loss_first", "loss_last", "perplexity_last", "target_unigram_entropy"):
        assert found[name] == pytest.approx(known[name]), name


@pytest.mark.parametrize("reading", get_args(Reading))
def test_clusters_are_those_of_the_ordinary_stages(whole: PresetPaths, folder: Path, reading: Reading) -> None:
    """Of exact archives the very same, with their names, parts of speech and contexts."""
    out = whole.task("english", reading)
    with zipfile.ZipFile(folder / "clusters.zip") as packed:
        member = {name: packed.read(name) for name in packed.namelist()}
    for name in ("loss", "loss_fine", "polca", "polca_fine"):
        labels = np.load(io.BytesIO(member[f"{reading}/labels/{name}.npy"]))
        np.testing.assert_array_equal(Clusters.load(out.cluster(name)).labels, labels)
    keys = ["analysis", "vector"]
    for table in ("clusters", "vectors", "contexts"):
        own = read_table(out.table(table)).sort_values(keys, kind="stable", ignore_index=True)
        theirs = whole.root / "theirs.csv"
        theirs.write_bytes(member[f"{reading}/{table}.csv"])
        same = read_table(theirs).sort_values(keys, kind="stable", ignore_index=True)
        assert len(own) > 0
        pd.testing.assert_frame_equal(own, same[own.columns], check_dtype=False, rtol=1e-7)


def test_what_all_directions_tell_apart(whole: PresetPaths, right: EnglishTask) -> None:
    out = whole.task("english")
    kept = {name: Archive.load(out.trajectory(name)).trajectories() for name in ("loss", "polca")}
    with mock.patch("polca.study.stages.signatures.token_map", QUICK["polca.study.stages.signatures.token_map"]):
        tables = all_signature_tables(right, compared_trajectories(right, kept, {}), read_npz(out.labels))
    assert set(tables) == {"signatures", "joint"}
    for name, rows in tables.items():
        pd.testing.assert_frame_equal(read_table(out.signatures / f"{name}.csv"), rows, check_dtype=False, rtol=1e-7)


def test_tables_and_figures(whole: PresetPaths) -> None:
    names = {f"figure_{name}" for name in ("05", "09", "10", "11", "D3")}
    assert {path.stem for path in whole.figures.glob("*.png")} == names
    table = read_table(whole.tables / "table_06.csv").set_index("setting")["value"]
    assert table["Hessian sample"] == str(EXAMPLES)
    assert read_json(whole.paper / "metrics_all.json")["english_tokens"] == 84
    assert read_table(whole.tables / "claims.csv")["claim"].str.startswith("english_").any()


def test_verify_and_explore(whole: PresetPaths) -> None:
    claim = "english_most_vectors_have_a_simple_label"
    (whole.root / "data" / "expected.yaml").write_text(yaml.safe_dump({"tiny": {claim: "published"}}))
    found = verify(whole)
    assert not [one for one in found.claims if one.expected]  # which is of whole runs
    assert "2 of 3 vectors" in found.run
    assert "a Hessian sample of 3 instead of 4" in found.run
    assert "Hessian sample" in found.numbers.other_settings["english"]
    notes = {setting.id: setting.note for setting in preset_page(whole).settings}
    assert list(notes) == ["arithmetic", "english"]
    assert "Hessian sample" in notes["english"]
    assert "Hessian sample" not in notes["arithmetic"]


def test_without_a_run_of_english(whole: PresetPaths, tmp_path: Path) -> None:
    """Two folders that say so, and no task of English."""
    shutil.copytree(whole.params.parent, tmp_path / "presets" / "tiny")
    shutil.copytree(whole.root / "data" / "published" / "arithmetic", tmp_path / "data" / "published" / "arithmetic")
    paths = PresetPaths.of(tmp_path / "presets" / "tiny" / "params.yaml")
    with mock.patch.object(sys, "path", [str(ROOT / "pipelines"), *sys.path]):
        for stage in ("published", "published_english"):
            assert run_stage(Stage(stage), paths.params).code == 0
    for part in (paths.task("english").directory, paths.task("english").results):
        assert [path.name for path in part.iterdir()] == ["not_run.txt"]
    runs = RunFacts.load(paths)
    assert runs is not None
    assert list(runs.tasks) == ["arithmetic"]


def _other_text(folder: Path) -> None:
    with zipfile.ZipFile(folder / "text.zip") as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    results.write_packed(folder / "text.zip", {**members, "evaluation.txt": b"short"})


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no text": (lambda folder: (folder / "text.zip").unlink(), r"text\.zip: no such file: copy the run's folder again"),
    "no tokens": (lambda folder: (folder / "tokens.npz").unlink(), r"tokens\.npz: no such file: copy the run's"),
    "a part missing": (lambda folder: (folder / "polca_2_of_2.npz").unlink(), r"polca_2_of_2\.npz: no such file: copy"),
    "no archive": (
        lambda folder: [path.unlink() for path in folder.glob("polca_*")],
        r"english/polca\.npz: no such file: copy the run's folder again",
    ),
    "damaged": (lambda folder: (folder / "text.zip").write_bytes(b"PK"), r"text\.zip: not a readable zip of text"),
    "other text": (_other_text, r"text\.zip: damaged, or of another preset: copy the run's folder again \("),
    "of addition": (
        lambda folder: shutil.copy(folder.with_name("arithmetic") / "tokens.npz", folder),
        r"tokens\.npz: has arrays",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_folders(fault: str, whole: PresetPaths, tmp_path: Path) -> None:
    """One line that names the file and the way out."""
    spoil, message = BAD[fault]
    shutil.copytree(whole.root / "data" / "published", tmp_path / "published")
    folder = tmp_path / "published" / "english"
    spoil(folder)
    task = english_task(Preset.read(whole))
    paths = PresetPaths("tiny", tmp_path)
    own = EnglishTask(task.settings, paths.task("english").directory / "data")
    with pytest.raises(PolcaError, match=message) as caught:
        import_run(own, folder, read_published_english(folder), paths.task("english"))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_of_another_preset(whole: PresetPaths, folder: Path, tmp_path: Path) -> None:
    task = english_task(Preset.read(whole))
    paths = PresetPaths("tiny", tmp_path)
    other = EnglishTask(task.settings.changed(data={"context": 15}), paths.task("english").directory / "data")
    with pytest.raises(PolcaError, match=r"text\.zip: damaged, or of another preset"):
        import_run(other, folder, read_published_english(folder), paths.task("english"))
