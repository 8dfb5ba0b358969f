"""Heavy stages without DVC, stopped and taken up again, packed and put in place elsewhere."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from polca.errors import PolcaError
from polca.study.elsewhere import UNFINISHED, app
from tiny_preset import contents, make_preset, run_stage

SETTINGS = ("arithmetic", "english")
LIGHT = ("tables", "figures")


def elsewhere(root: Path, command: str, *options: Any) -> Result:
    return CliRunner().invoke(app, [command, *map(str, options), "--preset", "tiny", "--root", str(root)])


def done(root: Path, command: str, *options: Any) -> str:
    result = elsewhere(root, command, *options)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`home`: text, tags and what came back; `bare`: where the heavy stages ran, interrupted; `whole`: all in one."""
    made = {name: tmp_path_factory.mktemp(name) for name in ("home", "bare", "whole")}
    params = {name: make_preset(root) for name, root in made.items()}
    for name in ("home", "whole"):
        for stage in ("english_corpus", "english_tag"):
            assert run_stage(stage, params[name]).code == 0
    for setting in SETTINGS:
        for step in ("train", "basis", "project", "cluster"):
            assert run_stage(f"{setting}_{step}", params["whole"]).code == 0
    done(made["home"], "pack", "inputs", made["home"] / "inputs")
    done(made["bare"], "unpack", made["home"] / "inputs" / "part_1.zip", "--content", "inputs")
    stopped = elsewhere(made["bare"], "run", "--minutes", 0.02)
    assert stopped.exit_code == UNFINISHED
    assert "the time is over" in stopped.output
    done(made["bare"], "run", "--minutes", 5)
    done(made["bare"], "pack", "results", made["bare"] / "results", "--mebibytes", 0.02)
    for name in ("home", "whole"):
        (made[name] / "data" / "published.yaml").symlink_to(Path(__file__).parents[2] / "data" / "published.yaml")
    return made


def parts(roots: dict[str, Path]) -> list[Path]:
    return sorted((roots["bare"] / "results").iterdir())


def test_same_results_as_in_one_go(roots: dict[str, Path]) -> None:
    there, here = (contents(roots[name], "runs/tiny") for name in ("bare", "whole"))
    assert there == here


def test_report_and_second_run(roots: dict[str, Path]) -> None:
    """What is done is not done again."""
    report = roots["bare"] / "paper" / "tiny" / "elsewhere_english.json"
    before = report.read_bytes()
    assert "s left" not in done(roots["bare"], "run")
    assert report.read_bytes() == before
    found = json.loads(before)
    assert found["machine"]["device"] == "cpu"
    assert all(stage["finished"] and stage["seconds"] > 0 for stage in found["stages"].values())


def test_tables_and_figures_from_what_came_back(roots: dict[str, Path]) -> None:
    """Bytes as where everything is, though neither checkpoints nor projections are here."""
    assert len(parts(roots)) > 1
    assert all(p.stat().st_size < 0.02 * 2**20 for p in parts(roots))
    done(roots["home"], "unpack", *parts(roots))
    assert not list((roots["home"] / "runs").rglob("*projections*"))
    for name in ("home", "whole"):
        for stage in LIGHT:
            assert run_stage(stage, roots[name] / "presets" / "tiny" / "params.yaml").code == 0
    here, there = (contents(roots[name], "figures", "paper/tiny/tables") for name in ("home", "whole"))
    assert here == there
    assert len(here) > 20


def spoilt(path: Path, target: Path, name: str | None = None, content: bytes = b"x") -> Path:
    """A copy of an archive with one more member, or cut off."""
    shutil.copy(path, target)
    if name is None:
        target.write_bytes(path.read_bytes()[:-30])
    else:
        with zipfile.ZipFile(target, "a") as archive:
            archive.writestr(name, content)
    return target


@pytest.mark.parametrize(
    "name",
    [
        None,
        "../outside",
        "/etc/passwd",
        "runs/tiny/arithmetic/clusters/../../../../outside",
        "src/polca/tasks/transformer.py",
        "runs/tiny/arithmetic/checkpoints/step_000000.safetensors",
        "runs/tiny/arithmetic/clusters.csv/x",
        "runs\\tiny",
    ],
)
def test_foreign_archives_change_nothing(name: str | None, roots: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_preset(root)
    before = contents(tmp_path)
    bad = spoilt(parts(roots)[0], tmp_path / "bad.zip", name)
    result = elsewhere(root, "unpack", bad, *parts(roots)[1:])
    bad.unlink()
    assert isinstance(result.exception, PolcaError), result.exception
    assert "pack it again" in str(result.exception)
    assert contents(tmp_path) == before


def test_missing_part(roots: dict[str, Path], tmp_path: Path) -> None:
    make_preset(tmp_path)
    result = elsewhere(tmp_path, "unpack", *parts(roots)[1:])
    assert isinstance(result.exception, PolcaError)
    assert "in none of the archives" in str(result.exception)
    assert not (tmp_path / "runs").exists()


def test_pack_before_run(tmp_path: Path) -> None:
    make_preset(tmp_path)
    result = elsewhere(tmp_path, "pack", "results", tmp_path / "out")
    assert isinstance(result.exception, PolcaError)
    assert "run the stage that writes it first" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_failing_stage_ends_the_run(tmp_path: Path) -> None:
    """English without its inputs."""
    make_preset(tmp_path)
    result = elsewhere(tmp_path, "run", "--setting", "english", "--minutes", 2)
    assert result.exit_code == 1
