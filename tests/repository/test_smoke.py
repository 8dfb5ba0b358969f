"""The smoke preset from nothing in a copy of the checkout: the committed files, byte for byte.

All stages run in one process, which spares each of them its start. `make thorough` has DVC run them once more, a
process for each stage, to the same bytes; then code is changed in that copy, and only what the change can change runs
again.
"""

import json
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

from checkout import CHECKS, LOCK, RESULTS, ROOT, copy_checkout, environment
from polca.report.tables.curves import PLOTS
from tiny_preset import STAGES, TASKS, contents

Contents = dict[str, bytes]


def results(root: Path) -> Contents:
    """Contents of all result files by their path below the checkout `root`."""
    found = (path for result in RESULTS for path in (root / result, *(root / result).rglob("*")))
    files = {path.relative_to(root).as_posix(): path for path in found if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(CHECKS)}


DVC = ("-m", "dvc", "repro", "presets/smoke/dvc.yaml")
IN_ONE_PROCESS = """
import json, runpy, sys
sys.path[0] = "pipelines"  # as for a script
for script, arguments in json.loads(sys.argv[1]):
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise
"""
ALL = [(f"pipelines/{s.script}.py", s.arguments("presets/smoke/params.yaml")) for s in STAGES]


def reproduce(root: Path, *command: str, **variables: str) -> list[str]:
    """Run the smoke preset in the checkout `root`; return the stages that ran."""
    done = subprocess.run(
        [sys.executable, *(command or DVC)],
        cwd=root,
        env={**environment(root), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{root.name}:\n{done.stdout[-6000:]}"
    return re.findall(r"(?m)^Running stage '(?:.*:)?([\w@]+)'", done.stdout)


class Run(NamedTuple):
    """A copy of the checkout after a run: its results, what stages left for other stages, and the stages that ran."""

    root: Path
    contents: Contents
    between: Contents
    stages: list[str]


def run_in_copy(root: Path, *command: str, **variables: str) -> Run:
    copy_checkout(root)
    stages = reproduce(root, *command, **variables)
    return Run(root, results(root), contents(root, "runs/smoke"), stages)


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("smoke") / "first copy"
    return run_in_copy(root, "-c", IN_ONE_PROCESS, json.dumps(ALL), TZ="UTC", LC_ALL="C.UTF-8", POLCA_WORKERS="1")


@pytest.fixture(scope="module")
def by_dvc(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """It differs from the other one in all that must not matter: place, processes, time zone, locale."""
    root = tmp_path_factory.mktemp("smoke") / "second copy"
    return run_in_copy(root, TZ="Asia/Kathmandu", LC_ALL="C", POLCA_WORKERS="2")


def different(one: Contents, other: Contents) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def test_every_figure_and_table_of_the_paper_is_there(at_once: Run) -> None:
    wanted = {f"figures/smoke/figure_{n:02d}.{kind}" for n in range(1, 12) for kind in ("pdf", "png")}
    wanted |= {f"paper/smoke/tables/table_{n:02d}.csv" for n in range(1, 13)}
    wanted |= {f"paper/smoke/plots/{name}/{task}.csv" for name in PLOTS for task in TASKS}
    wanted |= {f"figures/smoke/figure_D{n}.{kind}" for n in (1, 2, 3, 4) for kind in ("pdf", "png")}
    directions = {"arithmetic": ("signatures", "joint", "probes", "emergence"), "english": ("signatures", "joint")}
    wanted |= {f"paper/smoke/tables/{task}_{name}.csv" for task, names in directions.items() for name in names}
    wanted |= {f"paper/smoke/tables/{name}.csv" for name in ("claims", "readings")}
    wanted |= {f"paper/smoke/{name}" for name in ("metrics.json", "metrics_all.json", "paper.pdf", "index.html")}
    assert wanted == at_once.contents.keys()


def test_results_are_the_committed_ones(at_once: Run) -> None:
    """Bits are promised for PyTorch's CPU build on x86-64; the lock, which names the code, is not compared."""
    if not version("torch").endswith("+cpu") or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("another build of PyTorch or another processor: equal within rounding only")
    kept = results(ROOT)
    assert kept, "no results are kept: make repro PRESET=smoke"
    kept.pop(LOCK, None)
    assert different(kept, at_once.contents) == [], "differ from the checkout's: see make repro PRESET=smoke, git diff"


@pytest.mark.thorough
def test_every_stage_runs_once(by_dvc: Run) -> None:
    wanted = sorted("paper@paper" if stage.script == "paper" else str(stage) for stage in STAGES)
    assert sorted(by_dvc.stages) == wanted


@pytest.mark.thorough
def test_two_runs_give_the_same_bytes(at_once: Run, by_dvc: Run) -> None:
    """In all that is shown, and in all that stages leave for other stages; the lock is of the run by DVC alone."""
    assert different({**at_once.contents, LOCK: b""}, {**by_dvc.contents, LOCK: b""}) == []
    assert len(by_dvc.between) > 100
    assert different(at_once.between, by_dvc.between) == []


@pytest.mark.thorough
def test_only_what_a_change_of_code_can_change_runs_again(by_dvc: Run) -> None:
    """A comment is hashed and no more; another constant of the clustering leaves all that was trained as it is."""
    root, before = by_dvc.root, by_dvc.contents
    assert reproduce(root) == []
    files, clustering = (root / "src" / "polca" / name for name in ("machine/files.py", "method/clustering.py"))
    files.write_text(files.read_text(encoding="utf-8") + "\n# A remark.\n", encoding="utf-8")
    assert reproduce(root) == ["code"]
    # A unit of memory, on which no result depends.
    text, found = re.subn(r"(?m)^_BLOCK = .*$", "_BLOCK = 1 << 22", clustering.read_text(encoding="utf-8"))
    assert found == 1
    clustering.write_text(text, encoding="utf-8")
    again = reproduce(root)
    # Stages that read them find the same clusters, and some of these have the clustering in their own code.
    clustering_stages = [f"{stage}@{task}" for stage in ("cluster", "signatures") for task in TASKS]
    assert [*again[:1], *sorted(again[1:5])] == ["code", *clustering_stages]
    assert set(again[5:]) <= {"tables", "figures", "paper@paper"}
    after = results(root)
    assert different({**before, LOCK: b""}, {**after, LOCK: b""}) == []
