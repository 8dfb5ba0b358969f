"""The explorer's command on what `polca analyze` wrote: files that do not fit are refused, and where the page goes."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import tiny_analysis
from elements import Elements, unpack
from polca.cli import app
from polca.errors import PolcaError
from polca.explorer import analysis_page
from polca.explorer.analyses import AGAIN
from polca.external.analyze import top_tokens, write_analysis
from polca.external.token_texts import TokenTexts
from polca.machine.checkout import ROOT
from synthetic_explorer import HOSTILE
from tiny_analysis import written
from tiny_images import train_on_images


def test_summary_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder left by a run that could not write its tokens has no summary, and is no results."""
    written(tmp_path)

    def full(*_: Any) -> None:
        raise PolcaError("the disk is full")

    monkeypatch.setattr(TokenTexts, "save", full)
    with pytest.raises(PolcaError, match="disk"):
        written(tmp_path)
    with pytest.raises(PolcaError, match=r"no summary\.json"):
        analysis_page(tmp_path)


def spoilt_json(name: str, **values: Any) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        old = json.loads((results / name).read_text(encoding="utf-8"))
        (results / name).write_text(json.dumps(old | values), encoding="utf-8")

    return spoil


def spoilt_settings(**values: Any) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        old = json.loads((results / "summary.json").read_text(encoding="utf-8"))["settings"]
        spoilt_json("summary.json", settings=old | values)(results)

    return spoil


def spoilt_clusters(**change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        found = tiny_analysis.analysis().clusters
        replace(found, **{n: f(getattr(found, n).copy()) for n, f in change.items()}).save(results / "clusters.npz")

    return spoil


def spoilt_table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        change(pd.read_csv(results / "clusters.csv")).to_csv(results / "clusters.csv", index=False)

    return spoil


def fewer_tokens(results: Path) -> None:
    tiny_analysis.evaluation().part(0, 39).texts().save(results / "tokens.json")


def other_tokens(results: Path) -> None:
    texts = tiny_analysis.evaluation().texts()
    replace(texts, names=[*texts.names[7:], *texts.names[:7]]).save(results / "tokens.json")


def other_projections(results: Path) -> None:
    p = tiny_analysis.analysis().projections
    replace(p, gradients=1.01 * p.gradients).save(results / "projections.npz")


def fewer_projections(results: Path) -> None:
    p = tiny_analysis.analysis().projections
    replace(p, gradients=p.gradients[:, 1:], losses=p.losses[:, 1:]).save(results / "projections.npz")


def other_strategy(results: Path) -> None:
    """Clusters of the exact loss beside projections and settings of POLCA."""
    tiny_analysis.analysis(strategy="loss").clusters.save(results / "clusters.npz")


def first(value: int) -> Callable[[np.ndarray], np.ndarray]:
    """A change of an array's first number."""

    def change(array: np.ndarray) -> np.ndarray:
        array.flat[0] = value
        return array

    return change


class TestBadInput:
    @pytest.mark.parametrize("name", ["projections.npz", "clusters.npz", "clusters.csv", "tokens.json", "summary.json"])
    @pytest.mark.parametrize("how", ["missing", "cut", "foreign", "folder"])
    def test_files(self, name: str, how: str, results: Path, tmp_path: Path) -> None:
        """One line that names the file, or the folder where its summary is not there."""
        directory = tmp_path / "results"
        shutil.copytree(results, directory)
        path = directory / name
        content = path.read_bytes()
        path.unlink()
        if how == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif how == "foreign":
            path.write_bytes({"npz": b"PK\x05\x06" + bytes(18), "csv": b"a,b\n1,2\n"}.get(path.suffix[1:], b'{"a": 1}'))
        elif how == "folder":
            path.mkdir()
        with pytest.raises(PolcaError) as refused:
            analysis_page(directory)
        message, no_summary = str(refused.value), name == "summary.json" and how in ("missing", "folder")
        assert message.startswith(f"{directory if no_summary else path}: ")
        assert message.endswith(AGAIN)
        assert len(message) > len(f"{path}: : {AGAIN}") + 5
        assert "\n" not in message
        assert "make repro" not in message

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (spoilt_json("summary.json", steps=[0, 10]), r"summary\.json: other steps or tokens"),
            (spoilt_json("summary.json", tokens=3), r"summary\.json: other steps or tokens"),
            (spoilt_json("summary.json", settings=7), r"summary\.json: holds no settings"),
            (spoilt_settings(strategy="magic"), r"summary\.json: holds no settings .*'magic'"),
            (spoilt_settings(spell=1), r"summary\.json: holds no settings"),
            (spoilt_settings(standardise="no"), r"summary\.json: holds no settings .*standardise = 'no'"),
            (spoilt_settings(flat_step="<b>"), r"summary\.json: flat_step is '<b>'"),
            (spoilt_settings(second_order="exact"), r"projections\.npz: does not fit summary\.json .*token_curvatures"),
            (spoilt_settings(strategy="loss"), r"clusters\.npz: other tokens, vectors or steps"),
            (spoilt_settings(second_order="none"), r"clusters\.npz: its clusters are not of the trajectories"),
            (other_projections, r"clusters\.npz: its clusters are not of the trajectories"),
            (fewer_projections, r"summary\.json: other steps or tokens"),
            (other_strategy, r"clusters\.npz: other tokens, vectors or steps"),
            (spoilt_clusters(vector_steps=first(7)), r"clusters\.npz: other tokens, vectors or steps"),
            (spoilt_clusters(loss_steps=first(7)), r"clusters\.npz: other tokens, vectors or steps"),
            (spoilt_clusters(labels=lambda a: np.where(a == -1, -4, a)), r"clusters\.npz: its labels"),
            (spoilt_clusters(labels=lambda a: a[:, ::-1]), r"clusters\.npz: its clusters are not of the trajectories"),
            (spoilt_clusters(cluster_vector=first(9)), r"clusters\.npz: its labels"),
            (spoilt_clusters(cluster_size=first(1)), r"clusters\.npz: its labels"),
            (spoilt_clusters(medoid=first(280)), r"clusters\.npz: its labels"),
            (spoilt_clusters(nearest=first(-2)), r"clusters\.npz: its labels"),
            (fewer_tokens, r"tokens\.json: 273 tokens"),
            (other_tokens, r"clusters\.csv: its tokens are not those of tokens\.json"),
            (spoilt_table(lambda t: t.drop(columns="hidden")), r"clusters\.csv: lacks columns"),
            (spoilt_table(lambda t: t.iloc[:-1]), r"clusters\.csv: has not the clusters"),
            (spoilt_table(lambda t: t.iloc[::-1]), r"clusters\.csv: has not the clusters"),
            (spoilt_table(lambda t: t.assign(break_step="soon")), r"clusters\.csv: break_step or hidden"),
            (spoilt_table(lambda t: t.assign(hidden="yes")), r"clusters\.csv: break_step or hidden"),
            (spoilt_table(lambda t: t.assign(top_tokens=HOSTILE)), r"clusters\.csv: its tokens"),
        ],
    )
    def test_files_that_do_not_fit(
        self, spoil: Callable[[Path], None], message: str, results: Path, tmp_path: Path
    ) -> None:
        directory = tmp_path / "results"
        shutil.copytree(results, directory)
        spoil(directory)
        with pytest.raises(PolcaError, match=message) as refused:
            analysis_page(directory)
        assert str(refused.value).startswith(str(directory))
        assert str(refused.value).endswith(AGAIN)
        assert "\n" not in str(refused.value)


def explore(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["explore", *arguments])


class TestCommand:
    def test_folder(self, results: Path, tmp_path: Path) -> None:
        """Into the folder itself, or where told."""
        directory = tmp_path / "results"
        shutil.copytree(results, directory)
        assert explore(str(directory)).exit_code == 0
        assert explore(str(directory), "--output", str(tmp_path / "page.html")).exit_code == 0
        html = (directory / "explorer.html").read_text(encoding="utf-8")
        assert html == (tmp_path / "page.html").read_text(encoding="utf-8")
        assert json.loads(Elements.of(html).scripts["data"])["settings"][0]["title"] == "Your checkpoints"

    def test_a_new_analysis_takes_the_old_page_away(self, tmp_path: Path) -> None:
        found, names = tiny_analysis.analysis(), tiny_analysis.evaluation()
        write_analysis(found, names, tmp_path)
        assert explore(str(tmp_path)).exit_code == 0
        assert (tmp_path / "explorer.html").is_file()
        write_analysis(found, names, tmp_path)
        assert not (tmp_path / "explorer.html").exists()

    def test_a_preset_comes_first(self, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its name alone is the preset, which here has no results; with a slash it is the folder."""
        monkeypatch.chdir(tmp_path)
        shutil.copytree(results, tmp_path / "mine")
        (tmp_path / "presets" / "mine").mkdir(parents=True)
        shutil.copy(ROOT / "params.yaml", tmp_path / "presets" / "mine")
        refused = explore("mine", "--root", str(tmp_path)).exception
        assert isinstance(refused, PolcaError)
        assert "preset mine: no results to show" in str(refused)
        assert explore("mine/", "--root", str(tmp_path)).exit_code == 0
        assert (tmp_path / "mine" / "explorer.html").is_file()

    def test_neither(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("")
        for name in ("nothing", "file"):
            refused = explore(name).exception
            assert isinstance(refused, PolcaError)
            assert re.fullmatch(rf"{name}: neither a preset \(known: .*laptop.*\) nor a folder: .*", str(refused))
        refused = explore("empty").exception
        assert isinstance(refused, PolcaError)
        assert str(refused).startswith("empty: no summary.json: ")
        assert not list(tmp_path.rglob("*.html"))


MODULE = """
import torch

def make():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))

def batches():
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, 4, generator=torch.Generator().manual_seed(5))
    return [(x + 0.5 * y[:, None, None], y)]
"""


def test_both_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`polca analyze` on images, and then the command that it names, to the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = "images_of_test_explorer_analyses"
    (tmp_path / f"{name}.py").write_text(MODULE)
    content: dict[str, Any] = {}
    exec(MODULE, content)
    ((_, y),) = content["batches"]()
    train_on_images(content["make"](), tmp_path / "run")
    options = ["--factory", f"{name}:make", "--data", f"{name}:batches", "--out", "my results", "--vectors", "2"]
    options += ["--tokens", "40", "--min-cluster-size", "5", "--min-samples-divisor", "100", "--tolerance", "0.01"]
    # Among so few images HDBSCAN finds no cluster of shapes.
    ran = CliRunner().invoke(app, ["analyze", "run", *options, "--raw"])
    sys.modules.pop(name, None)
    assert ran.exception is None, ran.exception
    assert ran.output.rstrip().endswith("polca explore 'my results/'")
    explored = explore("my results/")
    assert explored.exception is None, explored.exception
    html = (tmp_path / "my results" / "explorer.html").read_text(encoding="utf-8")
    (setting,) = json.loads(Elements.of(html).scripts["data"])["settings"]
    classes = y[16:56].tolist()
    assert setting["tokens"]["sequences"] == [[str(c)] for c in classes]
    assert [c["name"] for c in setting["facets"][0]["categories"]] == ["“1”", "“0”", "“2”"]
    assert setting["analyses"][0]["reading"] == "raw trajectories"
    labels = unpack(setting["analyses"][0]["labels"])
    assert labels.max() >= 0
    for vector, row in zip(setting["analyses"][0]["vectors"], labels, strict=True):
        for cluster in vector["clusters"]:
            members = np.flatnonzero(row == cluster["number"])
            assert cluster["name"] == top_tokens(str(classes[m]) for m in members)
