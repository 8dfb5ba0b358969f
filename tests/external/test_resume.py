"""`polca analyze` again: after a kill, with other options, with other checkpoints."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from polca.errors import PolcaError

pytestmark = pytest.mark.thorough

RESULTS = {
    *("basis.safetensors", "projections.npz", "clusters.npz", "clusters.csv", "tokens.json", "summary.json"),
    *("projected_losses.pdf", "projected_losses.png"),
}


class Stopped(BaseException):
    """As a kill would, it passes everything that catches errors."""


def results(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in out.iterdir() if p.name in RESULTS}


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was computed, a letter a piece: b a basis vector, p the projections of a checkpoint."""
    from polca.method import bases, projections

    done: list[str] = []

    def noted(letter: str, function: Any) -> Any:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            done.append(letter)
            return result

        return wrapped

    monkeypatch.setattr(bases, "lanczos", noted("b", bases.lanczos))
    monkeypatch.setattr(projections, "_at_checkpoint", noted("p", projections._at_checkpoint))
    return done


def stop_at(monkeypatch: pytest.MonkeyPatch, module: str, name: str, count: int) -> None:
    """Stop at the call after so many."""
    import importlib

    place, seen = importlib.import_module(f"polca.method.{module}"), []
    inner = getattr(place, name)

    def stopping(*arguments: Any, **options: Any) -> Any:
        if len(seen) == count:
            raise Stopped
        seen.append(1)
        return inner(*arguments, **options)

    monkeypatch.setattr(place, name, stopping)


def run(command: Any, work: list[str], out: Path, *options: str) -> str:
    """Letters of what a run that succeeds computed."""
    work.clear()
    result = command(out, *options)
    assert result.exception is None, result.exception
    return "".join(work)


class TestStopped:
    @pytest.mark.parametrize(
        ("place", "count", "done", "rest"),
        [(("bases", "lanczos"), 1, "b", "b" + "p" * 6), (("projections", "_at_checkpoint"), 4, "bbpppp", "pp")],
        ids=["basis", "projections"],
    )
    @pytest.mark.parametrize("inside", [False, True], ids=["beside", "inside"])
    def test_goes_on(
        self,
        place: tuple[str, str],
        count: int,
        done: str,
        rest: str,
        inside: bool,
        command: Any,
        work: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The rest alone is computed, to the same bytes, also where results lie among the checkpoints."""
        out = tmp_path / "run" / "out" if inside else tmp_path / "out"
        assert run(command, work, tmp_path / "whole") == "bb" + "p" * 6
        work.clear()
        with monkeypatch.context() as patch:
            stop_at(patch, *place, count)
            with pytest.raises(Stopped):
                command(out)
        assert "".join(work) == done
        (out / "notes.txt").write_text("somebody's")
        (tmp_path / "run" / "notes.txt").write_text("somebody's")
        assert run(command, work, out) == rest
        assert results(out) == results(tmp_path / "whole")
        assert results(out).keys() == RESULTS

    def test_killed(self, command: Any, work: list[str], tmp_path: Path) -> None:
        """By SIGKILL, in a process of its own, at any moment."""
        assert run(command, work, tmp_path / "whole") == "bb" + "p" * 6
        code = (
            "import sys, time\nfrom polca.method import projections\ninner = projections._at_checkpoint\n"
            "def slow(*a):\n    time.sleep(0.5)\n    return inner(*a)\n"
            "projections._at_checkpoint = slow\nfrom polca.cli import app\napp(sys.argv[1:])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, *command.arguments(tmp_path / "out")],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            stderr=subprocess.DEVNULL,
        )
        pieces = tmp_path / "out" / "work" / "projections"
        try:
            while len(list(pieces.glob("[0-9]*.npz"))) < 2:
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        left = 6 - len(list(pieces.glob("[0-9]*.npz")))
        assert 0 < left < 5
        assert run(command, work, tmp_path / "out") == "p" * left
        assert results(tmp_path / "out") == results(tmp_path / "whole")


class TestAgain:
    """A finished analysis once more."""

    @pytest.mark.parametrize(
        "options",
        [("--min-cluster-size", "8"), ("--raw",), ("--delta", "20"), ("--flat-step", "20"), ("--workers", "2"), ()],
        ids=" ".join,
    )
    def test_what_costs_nothing(self, options: tuple[str, ...], command: Any, work: list[str], tmp_path: Path) -> None:
        """Basis and projections are taken up, and the results are those of a first run."""
        run(command, work, tmp_path / "out")
        assert run(command, work, tmp_path / "out", *options) == ""
        run(command, work, tmp_path / "first", *(() if "--workers" in options else options))
        assert results(tmp_path / "out") == results(tmp_path / "first")

    @pytest.mark.parametrize(
        ("options", "computed"),
        [
            (("--seed", "1"), "bbpppppp"),
            (("--tokens", "20"), "pppppp"),
            (("--basis-steps", "30,40"), "bpppppp"),
            (("--tolerance", "0.1"), "bbpppppp"),
            (("--second-order", "exact"), "pppppp"),
        ],
        ids=str,
    )
    def test_what_costs(
        self, options: tuple[str, ...], computed: str, command: Any, work: list[str], tmp_path: Path
    ) -> None:
        if options[0] == "--basis-steps":  # the first vector is the same, and the second is not
            first = ("--basis-steps", "30,50")
            with pytest.MonkeyPatch.context() as patch:
                stop_at(patch, "projections", "project_bases", 0)
                stop_at(patch, "bases", "lanczos", 1)
                with pytest.raises(Stopped):
                    command(tmp_path / "out", *first)
        else:
            run(command, work, tmp_path / "out")
        assert run(command, work, tmp_path / "out", *options) == computed
        run(command, work, tmp_path / "first", *options)
        assert results(tmp_path / "out") == results(tmp_path / "first")

    def test_one_copy_of_the_basis(self, command: Any, work: list[str], tmp_path: Path) -> None:
        run(command, work, tmp_path / "out")
        assert (tmp_path / "out" / "basis.safetensors").samefile(tmp_path / "out" / "work" / "basis.safetensors")
        (tmp_path / "out" / "work" / "basis.safetensors").write_bytes(b"damaged")
        assert run(command, work, tmp_path / "out") == "bb"

    def test_checkpoints_left_out_and_taken_in(self, command: Any, work: list[str], tmp_path: Path) -> None:
        at = ("--basis-steps", "20,50")
        run(command, work, tmp_path / "out", *at)
        assert run(command, work, tmp_path / "out", *at, "--steps", "0,20,40,50") == ""
        run(command, work, tmp_path / "first", *at, "--steps", "0,20,40,50")
        assert results(tmp_path / "out") == results(tmp_path / "first")
        assert run(command, work, tmp_path / "out", *at) == ""

    @pytest.mark.parametrize("stopped", [False, True], ids=["finished", "stopped"])
    def test_basis_steps_that_would_move(
        self, stopped: bool, command: Any, work: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a checkpoint the default steps are others: said before the basis is lost, with both ways out."""
        out = tmp_path / "out"
        if stopped:
            with monkeypatch.context() as patch:
                stop_at(patch, "projections", "_at_checkpoint", 6)
                stop_at(patch, "bases", "lanczos", 2)
                stop_at(patch, "projections", "_movements", 0)
                with pytest.raises(Stopped):
                    command(out)
        else:
            assert run(command, work, out) == "bb" + "p" * 6
        (tmp_path / "run" / "step_000040.safetensors").unlink()
        work.clear()
        result = command(out)
        assert isinstance(result.exception, PolcaError)
        assert "keep it with --basis-steps 30,50, or take --basis-steps 20,50" in str(result.exception)
        assert not work
        assert run(command, work, out, "--basis-steps", "30,50") == ""
        assert run(command, work, out, "--basis-steps", "20,50") == "bb" + "p" * 5
        assert run(command, work, out) == ""

    def test_checkpoint_that_was_changed(self, command: Any, work: list[str], tmp_path: Path) -> None:
        """One that gives no basis vector costs its own projections; one that does costs what follows from it."""
        at = ("--basis-steps", "20,50")
        run(command, work, tmp_path / "out", *at)
        files = tmp_path / "run"
        shutil.copy(files / "step_000030.safetensors", files / "step_000010.safetensors")
        assert run(command, work, tmp_path / "out", *at) == "p"
        run(command, work, tmp_path / "first", *at)
        assert results(tmp_path / "out") == results(tmp_path / "first")
        shutil.copy(files / "step_000040.safetensors", files / "step_000020.safetensors")
        assert run(command, work, tmp_path / "out", *at) == "bbpppppp"

    def test_factory_that_was_changed(self, command: Any, work: list[str], tmp_path: Path) -> None:
        """The module looks the same, and computes something else."""
        run(command, work, tmp_path / "out")
        own = tmp_path / "own_model.py"
        own.write_text(own.read_text() + "\n\nSCALE = 2\n")
        assert run(command, work, tmp_path / "out") == "bb" + "p" * 6


class TestChecks:
    """Everything that can be refused is refused before the first product, and leaves nothing behind."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--min-cluster-size", "1"), "min_cluster_size = 1: must be at least 2"),
            (("--min-samples-divisor", "0"), "min_samples_divisor = 0: must be at least 1"),
            (("--delta", "15"), "delta = 15: not a positive multiple of the interval of 10"),
            (("--delta", "30"), "delta = 30: 6 points"),
            (("--delta", "10", "--steps", "0,10,30,50"), "not evenly spaced"),
            (("--workers", "0"), "workers = 0"),
            (("--tolerance", "0"), "tolerance = 0"),
            (("--max-matvecs", "1"), "max_matvecs = 1: must be at least 2"),
            (("--tolerance", "nan"), "tolerance = nan"),
            (("--flat-step", "-1"), "flat_step = -1"),
            (("--steps", "0"), "1 checkpoint chosen"),
            (("--basis-steps", "7,10"), "basis_steps: no checkpoint of step 7"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
    )
    def test_options(
        self, options: tuple[str, ...], message: str, command: Any, work: list[str], tmp_path: Path
    ) -> None:
        result = command(tmp_path / "out", *options)
        assert isinstance(result.exception, PolcaError), result.exception
        assert message in str(result.exception)
        assert not work
        assert not (tmp_path / "out").exists()

    def test_damaged_checkpoint(self, command: Any, work: list[str], tmp_path: Path) -> None:
        """Found at the start; left out, the analysis runs; repaired, it costs its own projections."""
        middle = tmp_path / "run" / "step_000030.safetensors"
        whole = middle.read_bytes()
        middle.write_bytes(whole[: len(whole) - 8])
        result = command(tmp_path / "out", "--basis-steps", "20,50")
        assert isinstance(result.exception, PolcaError)
        assert "step_000030.safetensors: not a readable safetensors file" in str(result.exception)
        assert not work
        assert not (tmp_path / "out").exists()
        assert run(command, work, tmp_path / "out", "--basis-steps", "20,50", "--steps", "0,10,20,40,50") == "bbppppp"
        middle.write_bytes(whole)
        assert run(command, work, tmp_path / "out", "--basis-steps", "20,50") == "p"

    def test_checkpoint_of_another_model(self, command: Any, work: list[str], tmp_path: Path) -> None:
        from polca.method.checkpoints import CheckpointDirectory

        other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
        CheckpointDirectory(tmp_path / "run").save(40, other.state_dict())
        result = command(tmp_path / "out")
        assert "step_000040.safetensors: parameter '3" in str(result.exception)
        assert not work

    def test_two_at_once(self, command: Any, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        with FileLock(tmp_path / "out" / "analyze.lock"):
            result = command(tmp_path / "out")
        assert isinstance(result.exception, PolcaError)
        assert "out: analyze is running already" in str(result.exception)
