"""`pipelines/run.py`: hashes of the code, the chains of tasks side by side, then the rest; a failed chain ends it."""

import importlib.util
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest
import typer
from filelock import FileLock

from polca.study.paths import PresetPaths
from tiny_preset import CHAIN

ROOT = Path(__file__).resolve().parents[2]

FAKE_DVC = """
import os, pathlib, sys, time
target = sys.argv[-1].rsplit(":", 1)[-1].split("/")[-1]
here = pathlib.Path(".")
with open("calls", "a") as calls:
    print(*sys.argv[1:], file=calls)
if target.startswith("signatures@"):
    here.joinpath(target).write_text(str(os.nice(0)))
    if here.joinpath("hang").exists():
        here.joinpath(f"pid.{target}").write_text(str(os.getpid()))
        time.sleep(60)
    other = {"signatures@english": "signatures@arithmetic", "signatures@arithmetic": "signatures@english"}[target]
    for _ in range(500 * (not here.joinpath("alone").exists())):  # only side by side does each see the other
        if here.joinpath(other).exists():
            break
        time.sleep(0.02)
    else:
        sys.exit(0 if here.joinpath("alone").exists() else 9)
print(target, "speaks")
sys.exit(3 if here.joinpath("fail", target).exists() else 0)
"""


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script in a checkout that has parameters and, in place of DVC, a module that notes how it is called."""
    spec = importlib.util.spec_from_file_location("run_under_test", ROOT / "pipelines" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "dvc.py").write_text(FAKE_DVC)  # `python -m dvc` looks into its own folder first
    for params in (ROOT / "params.yaml", *ROOT.glob("presets/*/params.yaml")):
        (tmp_path / params.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(params, tmp_path / params.relative_to(ROOT))
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "PresetPaths", SimpleNamespace(named=lambda name: PresetPaths.named(name, tmp_path)))
    return module


def outcome(runner: ModuleType, preset: str, force: bool = False, report: bool = False) -> int:
    with pytest.raises(typer.Exit) as caught:
        runner.main(preset=preset, force=force, report=report)
    return caught.value.exit_code


def calls(root: Path) -> list[str]:
    """What was asked of DVC, without what is asked of it every time."""
    lines = (root / "calls").read_text().splitlines()
    assert all(line.startswith("--wait-for-lock repro --single-item ") for line in lines)
    return [line.removeprefix("--wait-for-lock repro --single-item ") for line in lines]


def in_order(last: list[str]) -> list[str]:
    """The calls after the chains: tables and figures run side by side, so that either is called first."""
    return [*sorted(last[:2]), *last[2:]]


def test_chains_run_side_by_side_then_the_rest(runner: ModuleType, tmp_path: Path) -> None:
    assert outcome(runner, "laptop") == 0
    first, *chains = calls(tmp_path)
    assert first == "code"
    assert sorted(chains[:2]) == [" ".join(f"{stage}@{task}" for stage in CHAIN) for task in ("arithmetic", "english")]
    assert in_order(chains[2:]) == ["figures", "tables", "paper@paper"]
    assert "signatures@english speaks" in (tmp_path / ".work/laptop/english.log").read_text()
    nice = {task: int((tmp_path / f"signatures@{task}").read_text()) for task in ("arithmetic", "english")}
    assert nice["arithmetic"] == min(nice["english"] + 10, 19), "the last chain is the longest: the others give way"


def test_other_preset_by_force(runner: ModuleType, tmp_path: Path) -> None:
    assert outcome(runner, "smoke", force=True) == 0
    first, *chains = calls(tmp_path)
    pipeline = "--force presets/smoke/dvc.yaml:"
    assert first == f"{pipeline}code"
    assert all(chain.startswith(f"{pipeline}data@") for chain in chains[:2])
    assert chains[0].count("presets/smoke/dvc.yaml:") == len(CHAIN)
    assert in_order(chains[2:]) == [f"{pipeline}{stage}" for stage in ("figures", "tables", "paper@paper")]


def test_a_preset_of_one_task_without_report(runner: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "alone").touch()
    assert outcome(runner, "wikipedia") == 0
    found = [call.replace("presets/wikipedia/dvc.yaml:", "") for call in calls(tmp_path)]
    assert found[:2] == ["code", " ".join(f"{stage}@english" for stage in CHAIN)]
    assert in_order(found[2:]) == ["figures", "tables"]


def test_the_published_scale_begins_with_archives(
    runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(runner, "paper") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / 'data' / 'published'}: no run at the published scale")
    assert "python -m polca.study.in_memory --preset paper" in said
    (tmp_path / "data/published/cut").mkdir(parents=True)
    made = tmp_path / "runs/paper/published_scale"
    made.mkdir(parents=True)
    (made / "best.csv").write_text("new")
    (made / "best.csv").chmod(0o444)
    (tmp_path / "runs/paper/published_figures").mkdir()
    (tmp_path / "runs/paper/published_figures/directions.pdf").write_text("drawn")
    (tmp_path / "paper/published_scale").mkdir(parents=True)
    (tmp_path / "paper/published_scale/README.md").write_text("stays")
    for _ in range(2):
        assert outcome(runner, "paper") == 0
    found = [call.replace("presets/paper/dvc.yaml:", "") for call in calls(tmp_path)[:5]]
    stages = "published published_cluster published_english published_signatures published_scale published_figures"
    assert found[:2] == ["code", stages]
    assert in_order(found[2:]) == ["figures", "tables", "paper@paper"]
    shown = {path.name: path.read_text() for path in (tmp_path / "paper/published_scale").iterdir()}
    assert shown == {"best.csv": "new", "directions.pdf": "drawn", "README.md": "stays"}


def test_report_alone(runner: ModuleType, tmp_path: Path) -> None:
    assert outcome(runner, "laptop", report=True) == 0
    first, *last = calls(tmp_path)
    assert [first, *in_order(last)] == ["code", "figures", "tables", "paper@paper"]


def test_a_failed_hash_of_the_code_ends_it(runner: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "fail").mkdir()
    (tmp_path / "fail" / "code").touch()
    assert outcome(runner, "laptop") == 3
    assert calls(tmp_path) == ["code"]


@pytest.mark.parametrize("chain", ["arithmetic", "english"])
def test_a_failed_chain_ends_it(
    chain: str, runner: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fail").mkdir()
    (tmp_path / "fail" / f"signatures@{chain}").touch()
    assert outcome(runner, "laptop") == 3
    assert len(calls(tmp_path)) == 3, "the rest was run in spite of it"
    said = capfd.readouterr().err
    assert f"the chain of {chain} failed" in said
    assert chain == "arithmetic" or "signatures@english speaks" in said


def test_a_second_run_is_refused(runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".work/smoke").mkdir(parents=True)
    with FileLock(tmp_path / ".work/smoke/run.lock"):
        assert outcome(runner, "smoke") == 1
    assert capsys.readouterr().err == "error: preset smoke is being run already: wait for that run, or stop it\n"
    assert not (tmp_path / "calls").exists()


def test_a_folder_that_cannot_be_written(
    runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".work").write_text("a file in the folder's place")
    assert outcome(runner, "smoke") == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / '.work'}")
    assert not (tmp_path / "calls").exists()


STARTED = """
import importlib.util, pathlib, sys, types
from polca.study.paths import PresetPaths
spec = importlib.util.spec_from_file_location("run_under_test", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.ROOT = root = pathlib.Path.cwd()
module.PresetPaths = types.SimpleNamespace(named=lambda name: PresetPaths.named(name, root))
module.main(preset="laptop", force=False, report=False)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_chains_end_with_a_run_that_is_stopped(number: int, runner: ModuleType, tmp_path: Path) -> None:
    """They are in process groups of their own, which neither Ctrl-C nor a kill of the run reaches by itself."""
    (tmp_path / "hang").touch()
    process = subprocess.Popen(
        [sys.executable, "-c", STARTED, str(ROOT / "pipelines" / "run.py")], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while len(pids := list(tmp_path.glob("pid.*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    chains = [psutil.Process(int(path.read_text())) for path in pids]
    assert len(chains) == 2
    process.send_signal(number)
    assert process.wait(60) != 0
    assert psutil.wait_procs(chains, timeout=10)[1] == []
