"""`pipelines/run.py`: two chains at once, then the rest; a chain that fails is not passed over."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]

FAKE_DVC = """
import pathlib, sys, time
target = sys.argv[-1].rsplit(":", 1)[-1].split("/")[-1]
here = pathlib.Path(".")
with open("calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
if target.endswith("_cluster"):
    here.joinpath(target).touch()
    other = {"english_cluster": "arithmetic_cluster", "arithmetic_cluster": "english_cluster"}[target]
    for _ in range(500):  # only side by side does each see the other
        if here.joinpath(other).exists():
            break
        time.sleep(0.02)
    else:
        sys.exit(9)
print(target, "speaks")
sys.exit(3 if here.joinpath("fail", target).exists() else 0)
"""


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_under_test", ROOT / "pipelines" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "fake.py").write_text(FAKE_DVC)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "DVC", (sys.executable, str(tmp_path / "fake.py")))
    return module


def outcome(runner: ModuleType, **options: object) -> int:
    import typer

    with pytest.raises(typer.Exit) as caught:
        runner.main(**options)
    return caught.value.exit_code


def test_chains_run_side_by_side_then_the_rest(runner: ModuleType, tmp_path: Path) -> None:
    assert outcome(runner, preset="laptop", force=False) == 0
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sorted(calls[:2]) == [f"--wait-for-lock repro {s}_cluster" for s in ("arithmetic", "english")]
    assert calls[2:] == ["--wait-for-lock repro dvc.yaml"]
    assert "english_cluster speaks" in (tmp_path / ".work/laptop/english.log").read_text()


def test_other_preset_by_force(runner: ModuleType, tmp_path: Path) -> None:
    assert outcome(runner, preset="smoke", force=True) == 0
    calls = (tmp_path / "calls").read_text().splitlines()
    pipeline = "presets/smoke/dvc.yaml"
    assert f"--wait-for-lock repro --force {pipeline}:english_cluster" in calls
    assert (
        calls[2] == f"--wait-for-lock repro --force --single-item {pipeline}:tables {pipeline}:figures {pipeline}:paper"
    )


@pytest.mark.parametrize("chain", ["arithmetic", "english"])
def test_a_failed_chain_ends_it(
    chain: str, runner: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fail").mkdir()
    (tmp_path / "fail" / f"{chain}_cluster").touch()
    assert outcome(runner, preset="laptop", force=False) == 3
    assert len((tmp_path / "calls").read_text().splitlines()) == 2, "the rest was run in spite of it"
    if chain == "english":
        assert "english_cluster speaks" in capfd.readouterr().err


def test_a_second_run_is_refused(runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".work/smoke").mkdir(parents=True)
    with FileLock(tmp_path / ".work/smoke/run.lock"):
        assert outcome(runner, preset="smoke", force=False) == 1
    assert capsys.readouterr().err == "error: preset smoke is being run already: wait for that run, or stop it\n"
    assert not (tmp_path / "calls").exists()


def test_a_folder_that_cannot_be_written(
    runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".work").write_text("a file in the folder's place")
    assert outcome(runner, preset="smoke", force=False) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / '.work'}")
    assert not (tmp_path / "calls").exists()
