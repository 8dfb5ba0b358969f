"""Stages as commands: one-line errors, resuming after a kill, one run at a time."""

import contextlib
import io
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import yaml
from filelock import FileLock

from polca.machine.code import modules_behind
from polca.machine.pinned import ENVIRONMENT

ROOT = Path(__file__).parents[2]


def command(stage: str, params: Path, task: str = "arithmetic") -> list[str]:
    return [sys.executable, str(ROOT / "pipelines" / f"{stage}.py"), "--params", str(params), "--task", task]


ENV = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200", "POLCA_WORKERS": "1"}


def run(stage: str, params: Path, task: str = "arithmetic") -> tuple[int, str]:
    """Run a stage in this process, since another takes seconds to start: its exit code and what it says of errors."""
    script, *arguments = command(stage, params, task)[1:]
    errors = io.StringIO()
    given, one_process = mock.patch.object(sys, "argv", [script, *arguments]), mock.patch.dict(os.environ, ENV)
    with given, one_process, contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        runpy.run_path(script, run_name="__main__")
    return int(ended.value.code or 0), errors.getvalue()


@pytest.fixture
def preset(tmp_path) -> Path:
    """A preset of the smallest size in a root of its own; a path with a space and an accent."""
    params = yaml.safe_load((ROOT / "presets" / "smoke" / "params.yaml").read_text())
    a = params["arithmetic"]
    a["model"] |= {"layers": 1, "width": 8, "heads": 2, "mlp_width": 16}
    a["data"]["evaluation_examples"] = 10
    a["training"] |= {"steps": 400, "batch_size": 4, "resume_interval": 10}
    a["basis"] |= {"vectors": 2, "hessian_examples": 4}
    path = tmp_path / "a päth" / "presets" / "tiny" / "params.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(params))
    return path


@pytest.mark.thorough
@pytest.mark.reliability(
    "kill −9 of training, once more from nothing",
    "resumes to the same bytes",
)
def test_killed_training_resumes_to_the_same_bytes(preset) -> None:
    out = preset.parents[2] / "runs" / "tiny"
    assert run("train", preset)[0] == 0
    whole = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert len(whole) == 42  # 41 checkpoints and the log
    process = subprocess.Popen(command("train", preset), env=ENV, stderr=subprocess.DEVNULL)
    work = preset.parents[2] / ".work" / "tiny"
    deadline = time.monotonic() + 60
    while not list(work.glob("*/state/state.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(work.glob("*/state/state.safetensors")), "the run ended before it could be killed"
    code, errors = run("train", preset)
    assert code == 0
    assert "resuming an unfinished run" in errors
    assert {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()} == whole
    assert not list(work.glob("*/state"))


SCRIPT = """
from polca.errors import PolcaError
from polca.machine.files import write_text
from polca.study.stage import resumable, run

def main(paths):
    with resumable(paths, "toy", "arithmetic") as work:
        write_text(work / "part.txt", "1")
        raise PolcaError(work.name)

run(main)
"""


def test_unfinished_work_is_of_the_stage_s_code_and_parameters(preset, tmp_path, monkeypatch, capsys) -> None:
    """Of its script, with all that this imports, and of the sections of parameters that it names."""
    script, params = tmp_path / "toy.py", yaml.safe_load(preset.read_text())
    monkeypatch.setattr(sys, "argv", ["toy.py", "--params", str(preset)])

    def left(code: str = SCRIPT, **changed: object) -> str:
        script.write_text(code)
        preset.write_text(yaml.safe_dump(params | changed))
        with pytest.raises(SystemExit):
            runpy.run_path(str(script), run_name="__main__")
        lines = capsys.readouterr().err.splitlines()
        name = lines[-1].removeprefix("error: ")
        assert [path.name for path in (preset.parents[2] / ".work" / "tiny").iterdir()] == [name]
        return name

    first = left()
    assert left("# A comment.\n" + SCRIPT) == left(english={}) == left() == first
    assert left(SCRIPT.replace('"1"', '"2"')) != first
    assert left(arithmetic={}) != first
    modules: list[Path] = []
    monkeypatch.setattr("polca.machine.resume.code_hash", lambda entry: modules.extend(modules_behind(entry)) or "hash")
    assert left() != first
    assert {"toy.py", "stage.py", "files.py", "resume.py", "errors.py", "pinned.env"} <= {path.name for path in modules}


def test_bad_input_is_one_line(preset, tmp_path) -> None:
    def error_of(stage: str, params: Path, task: str = "arithmetic") -> str:
        code, errors = run(stage, params, task)
        assert code == 1
        lines = [line for line in errors.splitlines() if not line.startswith("bases ")]  # the progress bar
        assert len(lines) == 1, errors
        return lines[0]

    nowhere = preset.parents[1] / "nowhere" / "params.yaml"
    message = "no such parameter file (presets here: tiny)"
    assert message in error_of("train", nowhere)
    by_itself = subprocess.run(command("train", nowhere), env=ENV, capture_output=True, text=True, check=False)
    assert by_itself.returncode == 1
    assert message in by_itself.stderr
    assert by_itself.stderr.count("\n") == 1
    assert "task 'chess': the preset has arithmetic, english" in error_of("train", preset, "chess")
    assert "step_000040.safetensors: no such checkpoint file" in error_of("basis", preset)
    assert run("train", preset)[0] == 0
    checkpoint = preset.parents[2] / "runs" / "tiny" / "arithmetic" / "checkpoints" / "step_000040.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert "step_000040.safetensors: not a readable safetensors file" in error_of("basis", preset)
    assert not (checkpoint.parents[1] / "bases").exists()
    work = preset.parents[2] / ".work" / "tiny"
    with FileLock(work / "arithmetic_train.lock"):
        assert "is running already" in error_of("train", preset)
    params = yaml.safe_load(preset.read_text())
    params["arithmetic"]["basis"]["vectors"] = 1000
    preset.write_text(yaml.safe_dump(params))
    assert "lower basis.vectors" in error_of("train", preset)
