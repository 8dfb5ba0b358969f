"""The smoke preset from nothing, twice, in two copies of the checkout: the same files, byte for byte."""

import os
import platform
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from polca.machine.runtime import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
LOCK = "presets/smoke/dvc.lock"
RESULTS = ("figures/smoke", "paper/smoke", LOCK)
CHECKS = "paper/smoke/validity/"
"""Of `make validity`, which is not run here: for this pipeline they are an input."""

Contents = dict[str, bytes]

pytestmark = pytest.mark.smoke


def copy_checkout(target: Path) -> None:
    """Copy what git holds or would hold, without the smoke preset's results."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if os.path.lexists(ROOT / name) and (not name.startswith(RESULTS) or name.startswith(CHECKS)):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet"], cwd=target, check=True)


def results(root: Path) -> Contents:
    """Contents of all result files by their path below the checkout `root`."""
    found = (path for result in RESULTS for path in (root / result, *(root / result).rglob("*")))
    files = {path.relative_to(root).as_posix(): path for path in found if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(CHECKS)}


def reproduce(root: Path, **variables: str) -> Contents:
    """Run the smoke preset in the checkout `root`, announcing each stage; return its results."""
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root / "src"),
        "SHELL": "/bin/sh",
        # None of the user's own DVC settings, and nothing left behind outside the copy.
        **{f"DVC_{kind}_DIR": f"{root}.dvc" for kind in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")},
        **variables,
    }
    log: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "presets/smoke/dvc.yaml"],
        cwd=root,
        env=environment,
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
    return results(root)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> list[Contents]:
    """Results of two runs side by side that differ in all that must not matter: place, workers, time zone, locale."""
    first, second = (tmp_path_factory.mktemp("smoke") / name for name in ("first copy", "second copy"))
    for root in (first, second):
        copy_checkout(root)
    params = second / "presets/smoke/params.yaml"
    text, found = re.subn(r"(?m)^workers: \d+", "workers: 1", params.read_text())
    assert found == 1
    params.write_text(text)
    # Minutes of silence look like a hang, so the stages are announced as they start.
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled(), ThreadPoolExecutor(2) as pool:
        one = pool.submit(reproduce, first, TZ="UTC", LC_ALL="C.UTF-8")
        other = pool.submit(reproduce, second, TZ="Asia/Kathmandu", LC_ALL="C")
        return [one.result(), other.result()]


def different(one: Contents, other: Contents) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def test_every_figure_and_table_of_the_paper_is_there(runs: list[Contents]) -> None:
    wanted = {f"figures/smoke/figure_{n:02d}.{kind}" for n in range(1, 12) for kind in ("pdf", "png")}
    wanted |= {f"paper/smoke/tables/table_{n:02d}.csv" for n in range(1, 13)}
    wanted |= {"paper/smoke/metrics.json", "paper/smoke/tables/claims.csv", "paper/smoke/paper.pdf", LOCK}
    assert wanted == runs[0].keys()


def test_two_runs_give_the_same_bytes(runs: list[Contents]) -> None:
    assert different(*runs) == []


def test_results_are_the_committed_ones(runs: list[Contents]) -> None:
    """Bits are promised for PyTorch's CPU build on x86-64; the lock, which names the code, is not compared."""
    if not version("torch").endswith("+cpu") or platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("another build of PyTorch or another processor: equal within rounding only")
    kept, new = results(ROOT), dict(runs[0])
    assert kept, "no results are kept: make repro PRESET=smoke"
    kept.pop(LOCK, None), new.pop(LOCK)
    assert different(kept, new) == [], "differ from the checkout's: see make repro PRESET=smoke, git diff"
