"""Run a preset with DVC: the chains of its tasks side by side, then tables and figures, then the report.

Training and bases keep one core busy each, so that two cores do best with one chain each. The last task's chain is the
longest one and the others give way to it. Two progress bars would be drawn over each other: the first chain is shown,
the others report to files. Where one fails, the others are stopped.

The preset whose runs a GPU made has one chain, from their archives.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Annotated

import psutil
import typer
from filelock import FileLock, Timeout

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.study.paths import DEFAULT, PresetPaths
from polca.study.published_run import FROM_ARCHIVES, run_folders
from polca.study.settings import Preset

CHAIN = ("data", "labels", "train", "basis", "project", "trajectories", "cluster", "signatures")
PUBLISHED = (
    *("published", "published_cluster", "published_english", "published_signatures"),
    *("published_scale", "published_figures"),
)
LAST = ("tables", "figures")
LAST_LINES = 20
GIVE_WAY = ("nice", "-n", "10")


def command(paths: PresetPaths, stages: list[str], force: bool = False) -> list[str]:
    """`dvc repro` of some stages of a preset and no others: two runs cannot even look at the same stage at once."""
    pipeline = paths.pipeline.relative_to(ROOT).as_posix()
    options = ["--single-item", *(["--force"] if force else [])]
    # Two runs share one lock, which DVC would give up on after three seconds.
    return [
        *(sys.executable, "-m", "dvc", "--wait-for-lock", "repro"),
        *options,
        *(stage if paths.name == DEFAULT else f"{pipeline}:{stage}" for stage in stages),
    ]


def run_chains(paths: PresetPaths, chains: Mapping[str, list[str]], force: bool) -> int:
    """All chains of stages at once; returns the first exit status that is not 0, of the chain that failed first."""
    names = list(chains)
    logs = {name: paths.work / f"{name}.log" for name in names[1:]}
    if logs:
        others = ", ".join(f"{name} in {log.relative_to(ROOT)}" for name, log in logs.items())
        typer.echo(f"chains side by side: {names[0]} is shown here, {others}")
    running: dict[int, str] = {}
    processes: list[psutil.Popen] = []
    try:
        for name, stages in chains.items():
            whole = command(paths, stages, force)
            output = logs[name].open("w", encoding="utf-8") if name in logs else None
            # A group of its own, so that a chain is stopped with the stage that it is running.
            process = psutil.Popen(
                whole if name == names[-1] else [*GIVE_WAY, *whole],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                process_group=0,
            )
            running[process.pid] = name
            processes.append(process)
        alive = processes
        while alive:
            done, alive = psutil.wait_procs(alive, timeout=1)
            for process in done:
                name = running[process.pid]
                if process.returncode:
                    said = logs[name].read_text(encoding="utf-8", errors="replace").splitlines() if name in logs else []
                    typer.echo("\n".join([f"the chain of {name} failed", *said[-LAST_LINES:]]), err=True)
                    return int(process.returncode)
                if alive:
                    typer.echo(f"the chain of {name} is through; {', '.join(running[p.pid] for p in alive)} goes on")
    finally:
        for process in processes:
            if process.is_running():
                os.killpg(process.pid, signal.SIGINT)
        psutil.wait_procs(processes, timeout=30)
    return 0


def run_published(paths: PresetPaths, force: bool) -> int:
    """The chain that begins with the archives of a run; every report shows what it gives, so that git holds that."""
    status = subprocess.run(command(paths, list(PUBLISHED), force), cwd=ROOT).returncode
    if not status:
        shown = paths.root / "paper" / "published_scale"
        # Without modes, since DVC's own files are read-only.
        for name in PUBLISHED[-2:]:
            shutil.copytree(paths.run / name, shown, copy_function=shutil.copyfile, dirs_exist_ok=True)
    return status


def main(
    preset: Annotated[str, typer.Option(help="Name of a preset.")] = DEFAULT,
    force: Annotated[bool, typer.Option(help="Run stages whose results are up to date as well.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Tables, figures and report alone.")] = False,
) -> None:
    """Run all stages of a preset whose inputs changed."""
    # Ended from outside, it stops its chains as well: they are in groups of their own.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    # A script's background jobs begin with it ignored, and their children with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        paths = PresetPaths.named(preset)
        if archived := paths.name == FROM_ARCHIVES:
            run_folders(paths.root)
        read = Preset.read(paths)
        reports = [f"paper@{name}" for name in read.section("reports")]
        paths.work.mkdir(parents=True, exist_ok=True)
        with FileLock(paths.work / "run.lock", timeout=0):
            # The stages of all chains depend on the hashes of the code.
            status = subprocess.run(command(paths, ["code"], force), cwd=ROOT).returncode
            if not report:
                chains = {task: [f"{stage}@{task}" for stage in CHAIN] for task in read.sources}
                status = status or (run_published(paths, force) if archived else run_chains(paths, chains, force))
            status = status or run_chains(paths, {stage: [stage] for stage in LAST}, force)
            if reports:
                status = status or subprocess.run(command(paths, reports, force), cwd=ROOT).returncode
            raise typer.Exit(status)
    except Timeout:
        message = f"preset {preset} is being run already: wait for that run, or stop it"
    except PolcaError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or preset}: {error.strerror}: free space or correct the rights"
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
