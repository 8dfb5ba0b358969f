"""The smoke preset killed, spoilt, doubled and locked: minutes of `make reliability`. See docs/reliability.md."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from checkout import ROOT, copy_checkout, environment
from mutations import ABSENT, mutants
from tiny_preset import STAGES, TASKS, Stage, contents, make_preset

pytestmark = pytest.mark.slow

KILLS = 5
"""Of every stage, one after the other, before it is left to end."""
RESULTS = ("runs/smoke", "figures/smoke", "paper/smoke")


def start(root: Path, *command: str) -> subprocess.Popen[str]:
    """A Python command in the checkout `root`, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=root,
        env=environment(root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(root: Path, *command: str) -> str:
    """Run a Python command to its end."""
    process = start(root, *command)
    output = process.communicate()[0]
    assert process.returncode == 0, output[-3000:]
    return output


def results(root: Path) -> dict[str, bytes]:
    return contents(root, *RESULTS)


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose smoke preset has run."""
    root = tmp_path_factory.mktemp("reliability") / "Kopie ä"
    copy_checkout(root)
    run(root, "-m", "dvc", "repro", "presets/smoke/dvc.yaml")
    return root


def stage_command(stage: Stage) -> list[str]:
    return [f"pipelines/{stage.script}.py", *stage.arguments("presets/smoke/params.yaml")]


def outputs(root: Path, stage: Stage) -> list[Path]:
    """Files and folders that a stage writes, as DVC has noted them."""
    lock = yaml.safe_load((root / "presets/smoke/dvc.lock").read_text(encoding="utf-8"))
    name = "paper@paper" if stage == Stage("paper") else str(stage)
    return [root / out["path"] for out in lock["stages"][name]["outs"]]


LIGHT = (*(Stage("cluster", task) for task in TASKS), Stage("tables"), Stage("figures"))
"""Stages of seconds."""


@pytest.mark.reliability("kill −9 at a random moment, smoke preset", "resumes to the same bytes, no worker left")
@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_killed_at_random_moments(stage: Stage, smoke: Path, record_property: Any) -> None:
    before, outs = results(smoke), outputs(smoke, stage)

    def clear() -> None:  # as DVC does
        for path in outs:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    clear()
    started = time.monotonic()
    run(smoke, *stage_command(stage))
    seconds = time.monotonic() - started
    draw = np.random.default_rng(STAGES.index(stage))
    struck = 0
    for moment in draw.uniform(0.3, 1.0, KILLS):
        clear()
        process = start(smoke, *stage_command(stage))
        family = psutil.Process(process.pid)
        time.sleep(moment * seconds)
        workers = family.children(recursive=True) if process.poll() is None else []
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            struck += 1
        process.communicate()
        left = psutil.wait_procs(workers, timeout=20)[1]
        assert not left, f"{stage}: workers go on after the stage was killed"
        whole = {name: content for name, content in results(smoke).items() if ".partial" not in name}
        assert whole.items() <= before.items(), f"{stage}: half a result under its real name"
    clear()
    run(smoke, *stage_command(stage))
    assert results(smoke) == before
    record_property("tried", struck)


@pytest.mark.reliability("kill −9 of `dvc repro` and all its processes", "runs again to the same bytes")
def test_killed_graph(smoke: Path, record_property: Any) -> None:
    before, lock = results(smoke), (smoke / "presets/smoke/dvc.lock").read_bytes()
    shutil.rmtree(smoke / ".dvc/cache")  # results would be taken from there
    for stage in LIGHT:
        for path in outputs(smoke, stage):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for seconds in (4, 8, 12):
        process = start(smoke, "-m", "dvc", "repro", "presets/smoke/dvc.yaml")
        time.sleep(seconds)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    run(smoke, "-m", "dvc", "repro", "presets/smoke/dvc.yaml")
    assert results(smoke) == before
    assert (smoke / "presets/smoke/dvc.lock").read_bytes() == lock
    record_property("tried", 3)


@pytest.mark.reliability("every file of runs/ spoilt or removed, then `dvc repro`", "DVC's hashes tell; the same bytes")
def test_spoilt_results_are_made_again(smoke: Path, record_property: Any) -> None:
    before, lock = results(smoke), (smoke / "presets/smoke/dvc.lock").read_bytes()
    files = sorted(path for path in (smoke / "runs/smoke").rglob("*") if path.is_file())
    for number, path in enumerate(files):
        faults = mutants(path, number)
        fault = sorted(faults)[number % len(faults)]
        if path.suffix == ".safetensors" and number % 2:
            # One flipped bit of a weight, which no reader could notice.
            content = bytearray(path.read_bytes())
            content[-3] ^= 1
            mutant: bytes | None = bytes(content)
        else:
            mutant = faults[fault] if fault != ABSENT else None
        path.unlink()  # the files are hard links into DVC's cache, and write-protected for that
        if mutant is not None:
            path.write_bytes(mutant)
    run(smoke, "-m", "dvc", "repro", "presets/smoke/dvc.yaml")
    assert results(smoke) == before
    assert (smoke / "presets/smoke/dvc.lock").read_bytes() == lock
    record_property("tried", len(files))


@pytest.mark.reliability("two runs of one preset at once", "one line from the second; the first is not disturbed")
def test_two_runs_at_once(smoke: Path) -> None:
    before = results(smoke)
    shutil.rmtree(smoke / ".dvc/cache", ignore_errors=True)
    for stage in (*LIGHT, Stage("paper")):
        for path in outputs(smoke, stage):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    both = [start(smoke, "pipelines/run.py", "--preset", "smoke") for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], "\n\n".join(said)[-3000:]
    refused = said[[process.returncode for process in both].index(1)]
    assert refused == "error: preset smoke is being run already: wait for that run, or stop it\n"
    assert results(smoke) == before


@pytest.mark.reliability("checkout without the right to write", "one line that says so, nothing written")
@pytest.mark.skipif(os.name != "posix" or shutil.which("setpriv") is None, reason="needs setpriv")
@pytest.mark.parametrize("stage", [Stage("train", "arithmetic"), Stage("data", "english")], ids=str)
def test_read_only_checkout(stage: Stage, tmp_path: Path) -> None:
    root = tmp_path / "read only"
    params = make_preset(root)
    before = contents(root)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
    for folder in folders:
        folder.chmod(0o555)
    # The superuser may write everywhere, unless that right is given up.
    drop = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, str(ROOT / "pipelines" / f"{stage.script}.py"), *stage.arguments(params)]
    done = subprocess.run(command, env=environment(ROOT), capture_output=True, text=True)
    for folder in folders:
        folder.chmod(0o755)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(errors)) == (1, 1), done.stderr
    assert "Traceback" not in done.stderr
    assert "writable" in errors[0] or "rights" in errors[0]
    assert contents(root) == before
