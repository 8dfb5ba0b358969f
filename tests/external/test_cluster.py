"""`polca cluster`: kept projections clustered again are what an analysis with these options gives, to the byte."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import tiny_analysis
from polca.cli import app
from polca.errors import PolcaError
from polca.external.analyze import write_analysis
from polca.external.results import clustered_again
from polca.external.sentences import SMALL_SHARE, finer, sentences, warnings
from polca.external.settings import AnalysisSettings
from polca.machine.files import read_csv
from polca.method.clustering import Clusters
from tiny_preset import quick_figures


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """Figures are compared by what they show; `test_analyze` compares whole files."""
    with quick_figures():
        yield


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "results"
    write_analysis(tiny_analysis.analysis(), tiny_analysis.evaluation(), folder)
    return folder


def cluster(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["cluster", *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "explorer.html")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ((), {}),
        (("--raw",), {"standardise": False}),
        (("--min-cluster-size", 20, "--min-samples-divisor", 50), {"min_cluster_size": 20, "min_samples_divisor": 50}),
        (("--delta", 20, "--tau", 20), {"delta": 20, "flat_step": 20}),
    ],
)
def test_the_same_as_an_analysis(kept: Path, tmp_path: Path, options: tuple[object, ...], settings: Any) -> None:
    """Every file, with the contexts, the figures and what all directions say."""
    result = cluster(kept, "--out", tmp_path / "again", *options)
    assert result.exception is None, result.exception
    write_analysis(tiny_analysis.analysis(**settings), tiny_analysis.evaluation(), tmp_path / "anew")
    found, wanted = contents(tmp_path / "again"), contents(tmp_path / "anew")
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []


def test_options_change_the_results(kept: Path, tmp_path: Path) -> None:
    assert cluster(kept, "--raw", "--out", tmp_path / "raw").exception is None
    settings = json.loads((tmp_path / "raw" / "summary.json").read_text())["settings"]
    assert settings["standardise"] is False
    labels = [Clusters.load(folder / "clusters.npz").labels for folder in (kept, tmp_path / "raw")]
    assert not np.array_equal(*labels)


def test_results_that_are_replaced_are_named(kept: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "results that are there" not in cluster(kept, "--out", out).output
    again = cluster(kept, "--raw", "--out", out).output
    assert f"{out}: the results that are there are replaced" in again
    # Into its own folder too, where the basis stays as it is.
    before = (out / "basis.safetensors").read_bytes()
    assert cluster(out, "--standardise", "--out", out).exception is None
    assert (out / "basis.safetensors").read_bytes() == before
    assert contents(out) == contents(kept)


def test_nothing_found_offers_finer_clusters(kept: Path, tmp_path: Path) -> None:
    """With the command to take, which the page of the folder follows."""
    out = tmp_path / "none"
    output = cluster(kept, "--min-cluster-size", 200, "--out", out).output
    assert "HDBSCAN found no cluster" in output
    assert "which are not the paper's" in output
    (offer,) = [line for line in output.splitlines() if line.startswith("a finer clustering, not the paper's: ")]
    size, divisor = finer(AnalysisSettings(min_cluster_size=200, min_samples_divisor=100))
    assert (size, divisor) == (100, 200)
    assert offer.endswith(f"--min-cluster-size {size} --min-samples-divisor {divisor} --out {out}_finer")
    words = offer.partition("polca ")[2].split()
    assert CliRunner().invoke(app, words).exception is None
    assert (tmp_path / "none_finer" / "summary.json").is_file()
    assert len(read_csv(out / "clusters.csv")) == 0
    assert CliRunner().invoke(app, ["explore", str(out)]).exception is None


def test_a_small_share_is_a_warning() -> None:
    """Below the threshold, of either sign, and first of all."""
    found = tiny_analysis.analysis()
    for share, warned in ((SMALL_SHARE / 2, True), (-SMALL_SHARE / 2, True), (2 * SMALL_SHARE, False), (np.nan, False)):
        changed = replaced(found, share)
        assert bool(warnings(changed)) == warned
        assert sentences(changed)[0].startswith("Warning: ") == warned


def replaced(found: Any, share: float) -> Any:
    from dataclasses import replace

    return replace(found, complete=replace(found.complete, fraction=share))


class TestRefusals:
    def test_no_results(self, tmp_path: Path) -> None:
        refused = cluster(tmp_path, "--out", tmp_path / "out").exception
        assert isinstance(refused, PolcaError)
        assert str(refused).startswith(f"{tmp_path}: no summary.json: ")
        assert not (tmp_path / "out").exists()

    def test_impossible_options(self, kept: Path, tmp_path: Path) -> None:
        for options, words in (
            (("--min-cluster-size", 1), "min_cluster_size = 1"),
            (("--delta", 7), "delta = 7"),
            (("--tau", -1), "flat_step = -1"),
            (("--workers", 0), "workers = 0"),
        ):
            refused = cluster(kept, "--out", tmp_path / "out", *options).exception
            assert isinstance(refused, PolcaError), options
            assert words in str(refused)
        assert not (tmp_path / "out").exists()

    def test_parts_that_do_not_fit(self, kept: Path, tmp_path: Path) -> None:
        import shutil

        folder = tmp_path / "results"
        shutil.copytree(kept, folder)
        texts = json.loads((folder / "tokens.json").read_text())
        texts["names"], texts["sequence"], texts["place"] = (texts[n][:-1] for n in ("names", "sequence", "place"))
        (folder / "tokens.json").write_text(json.dumps(texts))
        with pytest.raises(PolcaError, match="are not those of projections"):
            clustered_again(folder)
        (folder / "basis.safetensors").unlink()
        with pytest.raises(PolcaError, match=r"basis\.safetensors: no such checkpoint file"):
            clustered_again(folder)
