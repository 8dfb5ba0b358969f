"""The smoke preset from nothing, twice, in two copies of the checkout: the same files, byte for byte.

DVC runs one of them, a process for each stage. In the other, one process runs all stages. In the first copy code is
then changed, and only what the change can change runs again.
"""

import json
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from checkout import CHECKS, LOCK, RESULTS, ROOT, copy_checkout, environment
from polca.report.tables.curves import PLOTS
from tiny_preset import STAGES, TASKS, contents

Contents = dict[str, bytes]

pytestmark = pytest.mark.smoke


def results(root: Path) -> Contents:
    """Contents of all result files by their path below the checkout `root`."""
    found = (path for result in RESULTS for path in (root / result, *(root / result).rglob("*")))
    files = {path.relative_to(root).as_posix(): path for path in found if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(CHECKS)}


DVC = ("-m", "dvc", "repro", "presets/smoke/dvc.yaml")
IN_ONE_PROCESS = """
import json, runpy, sys
sys.path[0] = "pipelines"  # as for a script
for name, script, arguments in json.loads(sys.argv[1]):
    print(f"Running stage '{name}':", flush=True)
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise
"""
ALL = [(str(s), f"pipelines/{s.script}.py", s.arguments("presets/smoke/params.yaml")) for s in STAGES]


def reproduce(root: Path, *command: str, **variables: str) -> list[str]:
    """Run the smoke preset in the checkout `root`, announcing each stage; return the stages that ran."""
    log: list[str] = []
    with subprocess.Popen(
        [sys.executable, *(command or DVC)],
        cwd=root,
        env={**environment(root), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            log.append(line)
            if line.startswith("Running stage"):
                print(f"{root.name}: {line.strip()}", flush=True)
    assert process.returncode == 0, f"{root.name}:\n{''.join(log[-60:])}"
    return re.findall(r"(?m)^Running stage '(?:.*:)?([\w@]+)'", "".join(log))


@dataclass(frozen=True)
class Runs:
    """Two copies of the checkout and their results after the first run; the stages that DVC ran in the first."""

    roots: list[Path]
    contents: list[Contents]
    between: list[Contents]
    """What stages leave for other stages."""
    stages: list[str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Runs:
    """Two runs side by side that differ in all that must not matter: place, processes, time zone, locale."""
    roots = [tmp_path_factory.mktemp("smoke") / name for name in ("first copy", "second copy")]
    for root in roots:
        copy_checkout(root)
    # Minutes of silence look like a hang, so the stages are announced as they start.
    capture = request.config.pluginmanager.getplugin("capturemanager")
    together = ("-c", IN_ONE_PROCESS, json.dumps(ALL))
    with capture.global_and_fixture_disabled(), ThreadPoolExecutor(2) as pool:
        one = pool.submit(reproduce, roots[0], TZ="Asia/Kathmandu", LC_ALL="C", POLCA_WORKERS="2")
        other = pool.submit(reproduce, roots[1], *together, TZ="UTC", LC_ALL="C.UTF-8", POLCA_WORKERS="1")
        stages = one.result()
        other.result()
    between = [contents(root, "runs/smoke") for root in roots]
    return Runs(roots, [results(root) for root in roots], between, stages)


def different(one: Contents, other: Contents) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def test_every_stage_runs_once(runs: Runs) -> None:
    wanted = sorted("paper@paper" if stage.script == "paper" else str(stage) for stage in STAGES)
    assert sorted(runs.stages) == wanted


def test_every_figure_and_table_of_the_paper_is_there(runs: Runs) -> None:
    wanted = {f"figures/smoke/figure_{n:02d}.{kind}" for n in range(1, 12) for kind in ("pdf", "png")}
    wanted |= {f"paper/smoke/tables/table_{n:02d}.csv" for n in range(1, 13)}
    wanted |= {f"paper/smoke/plots/{name}/{task}.csv" for name in PLOTS for task in TASKS}
    wanted |= {f"figures/smoke/figure_D{n}.{kind}" for n in (1, 2, 3) for kind in ("pdf", "png")}
    directions = {"arithmetic": ("signatures", "joint", "probes", "emergence"), "english": ("signatures", "joint")}
    wanted |= {f"paper/smoke/tables/{task}_{name}.csv" for task, names in directions.items() for name in names}
    wanted |= {f"paper/smoke/tables/{name}.csv" for name in ("claims", "readings")}
    wanted |= {f"paper/smoke/{name}" for name in ("metrics.json", "metrics_all.json", "paper.pdf", "index.html")} | {
        LOCK
    }
    assert wanted == runs.contents[0].keys()


def test_two_runs_give_the_same_bytes(runs: Runs) -> None:
    """In all that is shown, and in all that stages leave for other stages; DVC's lock is of the first run alone."""
    one, other = runs.contents
    assert different({**one, LOCK: b""}, {**other, LOCK: b""}) == []
    assert len(runs.between[0]) > 100
    assert different(*runs.between) == []


def test_results_are_the_committed_ones(runs: Runs) -> None:
    """Bits are promised for PyTorch's CPU build on x86-64; the lock, which names the code, is not compared."""
    if not version("torch").endswith("+cpu") or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("another build of PyTorch or another processor: equal within rounding only")
    kept, new = results(ROOT), dict(runs.contents[0])
    assert kept, "no results are kept: make repro PRESET=smoke"
    kept.pop(LOCK, None), new.pop(LOCK)
    assert different(kept, new) == [], "differ from the checkout's: see make repro PRESET=smoke, git diff"


def test_only_what_a_change_of_code_can_change_runs_again(runs: Runs) -> None:
    """A comment is hashed and no more; another constant of the clustering leaves all that was trained as it is."""
    root, before = runs.roots[0], runs.contents[0]
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
