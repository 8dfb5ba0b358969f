"""Results do not depend on the number of processes, nor on an interruption."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from polca.errors import PolcaError
from polca.machine.parallel import default_workers, map_processes


def square(shared, item):
    return {"value": np.array([shared * item**2]), "nested": {"a": np.arange(item)}}


def failing(shared, item):
    if item == 3:
        raise PolcaError("item 3 is bad")
    return square(shared, item)


@pytest.mark.parametrize("workers", [1, 2])
def test_order_and_form(workers, tmp_path) -> None:
    expected = [square(2, i) for i in (4, 1, 3)]
    for resume in (None, tmp_path, tmp_path):
        got = map_processes(square, 2, [4, 1, 3], workers=workers, description="test", resume=resume)
        assert [g["value"].tolist() for g in got] == [e["value"].tolist() for e in expected]
        assert [g["nested"]["a"].tolist() for g in got] == [e["nested"]["a"].tolist() for e in expected]


@pytest.mark.parametrize(("cores", "gibibytes", "workers"), [(8, 3.9, 3), (4, 64, 4), (8, 0.5, 1)])
def test_default_workers(cores: int, gibibytes: float, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded by the cores that this process may use and by memory; results do not depend on it."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(gibibytes * 2**30)))
    assert default_workers() == workers
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert default_workers() == workers


def test_as_many_workers_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("polca.machine.parallel.default_workers", lambda: seen.append(1) or 1)
    got = map_processes(square, 2, [4, 1], description="test")
    assert [g["value"].tolist() for g in got] == [[32], [2]]
    assert seen == [1]


@pytest.mark.parametrize("workers", [1, 2])
def test_finished_items_are_kept_when_one_fails(workers, tmp_path) -> None:
    with pytest.raises(PolcaError, match="item 3 is bad"):
        map_processes(failing, 2, [1, 2, 3], workers=workers, description="test", resume=tmp_path)
    assert {p.stem for p in tmp_path.iterdir()} <= {"1", "2"}
    got = map_processes(square, 2, [1, 2, 3], workers=workers, description="test", resume=tmp_path)
    assert [g["value"].tolist() for g in got] == [[2], [8], [18]]


def test_no_workers() -> None:
    with pytest.raises(PolcaError, match="workers = 0"):
        map_processes(square, 1, [1], workers=0, description="test")


STAGE = """
import sys, time
from pathlib import Path
from polca.machine.parallel import map_processes

def work(folder, item):
    import os
    (Path(folder) / f"{item}.pid").write_text(str(os.getpid()))
    time.sleep(600)

if __name__ == "__main__":
    map_processes(work, sys.argv[1], [0, 1], workers=2, description="sleep")
"""


@pytest.mark.thorough
@pytest.mark.reliability(
    "kill −9 of a stage with workers",
    "they end too",
)
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    """Even where the parent has no chance to stop them."""
    script = tmp_path / "stage.py"
    script.write_text(STAGE)
    parent = subprocess.Popen([sys.executable, script, tmp_path], stderr=subprocess.DEVNULL)

    def until(condition: Callable[[], bool]) -> bool:
        for _ in range(2400):
            if condition():
                return True
            time.sleep(0.05)
        return False

    notes = [tmp_path / f"{item}.pid" for item in (0, 1)]
    try:
        assert until(lambda: all(note.is_file() and note.read_text() for note in notes)), "the workers never started"
        workers = [psutil.Process(int(note.read_text())) for note in notes]
    finally:
        parent.kill()
        parent.wait()
    assert until(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers))
