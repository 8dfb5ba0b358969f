"""What a command costs: wall time, peak memory of all its processes, disk that the checkout takes afterwards.

    python benchmarks/measure_run.py --output benchmarks/laptop_run.json --directory <fresh clone> -- make repro

Memory is the proportional set size (shared pages counted once), summed over the process tree and sampled each second.
"""

import json
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer

INTERVAL = 1.0
"""Seconds between samples of memory."""


def tree_memory(process: psutil.Process) -> int:
    """Proportional set size of a process and its descendants, in bytes; those that end meanwhile count nothing."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def processor() -> str:
    """Maker and family of the CPU."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    name, family = (re.search(rf"^{key}\s*: (.*)$", text, re.MULTILINE) for key in ("model name", "cpu family"))
    return f"{name[1] if name else platform.machine()}, family {family[1] if family else '?'}"


def disk(directory: Path) -> int:
    """Bytes that a directory takes, hard links counted once."""
    seen: dict[tuple[int, int], int] = {}
    for path in directory.rglob("*"):
        if not path.is_symlink() and path.is_file():
            status = path.stat()
            seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def main(
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")],
    directory: Annotated[Path, typer.Option(help="Where to run it.")] = Path(),
) -> None:
    """Run a command and write what it took."""
    start, peak = time.monotonic(), 0
    with subprocess.Popen(command, cwd=directory) as child:
        root = psutil.Process(child.pid)
        while child.poll() is None:
            try:
                peak = max(peak, tree_memory(root))
            except psutil.Error:
                continue
            time.sleep(INTERVAL)
    wall = time.monotonic() - start
    result = {
        "command": " ".join(command),
        "exit_code": child.returncode,
        "wall_seconds": round(wall),
        "peak_memory_mib": round(peak / 2**20),
        "disk_mib": round(disk(directory) / 2**20),
        "cores": psutil.cpu_count(),
        "processor": processor(),
        "python": platform.python_version(),
    }
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    raise typer.Exit(child.returncode)


if __name__ == "__main__":
    typer.run(main)
