"""Copies of the checkout in which whole runs are made, and the environment of those runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from polca.machine.pinned import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[1]
LOCK = "presets/smoke/dvc.lock"
RESULTS = ("figures/smoke", "paper/smoke", LOCK)
CHECKS = "paper/smoke/validity/"
"""Of `make validity`, which is not run here: for the paper's pipeline they are an input."""


def copy_checkout(target: Path) -> None:
    """Copy what git holds or would hold, without the smoke preset's results."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if os.path.lexists(ROOT / name) and (not name.startswith(RESULTS) or name.startswith(CHECKS)):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    (target / CHECKS).mkdir(parents=True, exist_ok=True)  # as `make` does
    subprocess.run(["git", "init", "--quiet"], cwd=target, check=True)


def environment(root: Path) -> dict[str, str]:
    """For stages and DVC in the checkout `root`."""
    return {
        **os.environ,
        **ENVIRONMENT,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(root / "src"),
        "SHELL": "/bin/sh",
        # None of the user's own DVC settings, and nothing left behind outside the copy.
        **{f"DVC_{kind}_DIR": f"{root}.dvc" for kind in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")},
    }
