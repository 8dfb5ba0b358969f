"""What a command costs: wall and processor time, memory of all its processes, disk that the checkout takes afterwards.

    python benchmarks/measure_run.py --output benchmarks/laptop_run.json --directory <fresh clone> -- make repro

Memory is the proportional set size (shared pages counted once), summed over the process tree and sampled each second.
A stage's seconds are those between the first and the last sample in which its script was running.
"""

import json
import platform
import re
import resource
import subprocess
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer

INTERVAL = 1.0
"""Seconds between samples."""
SCRIPT = re.compile(r"pipelines/(\w+)\.py$")


def stage(command: list[str]) -> str | None:
    """The stage that a command line runs, called as DVC calls it (`train@arithmetic`); None where it runs none."""
    script = next((found[1] for argument in command if (found := SCRIPT.search(argument))), None)
    if script is None or "--task" not in command[:-1]:
        return script
    return f"{script}@{command[command.index('--task') + 1]}"


def shown(command: list[str]) -> str:
    """The command without the folders of this machine: `TREEBANK=/somewhere/name` is `TREEBANK=name`."""
    return re.sub(r"=/\S*/", "=", " ".join(command))


def sample(process: psutil.Process) -> tuple[int, set[str]]:
    """Bytes and stages of a process and its descendants; those that end meanwhile count nothing."""
    total, stages = 0, set()
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
            stages |= {name for name in [stage(member.cmdline())] if name is not None}
        except psutil.Error:
            continue
    return total, stages - {"run"}


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
    beside: Annotated[bool, typer.Option(help="Say that the machine has other work meanwhile.")] = False,
) -> None:
    """Run a command and write what it took."""
    start, peak = time.monotonic(), 0
    spans: dict[str, tuple[float, float]] = {}
    with subprocess.Popen(command, cwd=directory) as child:
        root = psutil.Process(child.pid)
        while child.poll() is None:
            try:
                memory, stages = sample(root)
            except psutil.Error:
                continue
            peak, now = max(peak, memory), time.monotonic()
            spans |= {stage: (spans.get(stage, (now, now))[0], now) for stage in stages}
            time.sleep(INTERVAL)
    wall, used = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "command": shown(command),
        "exit_code": child.returncode,
        "wall_seconds": round(wall),
        "cpu_seconds": round(used.ru_utime + used.ru_stime),
        "beside_other_work": beside,
        "stages": {stage: round(last - first) for stage, (first, last) in spans.items()},
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
