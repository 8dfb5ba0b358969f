"""Run a preset with DVC: the two settings' chains of stages side by side, then the stages that need both.

Training and bases keep one core busy each, so that two cores do best with one chain each. The English chain is the
longer one, so the arithmetic chain, whose projections take two processes, gives way to it. Two progress bars would be
drawn over each other: the English chain reports to a file.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from filelock import FileLock, Timeout

ROOT = Path(__file__).resolve().parents[1]
DVC = (sys.executable, "-m", "dvc")
LAST_LINES = 20
GIVE_WAY = ("nice", "-n", "10")


def command(preset: str, *stages: str, force: bool = False) -> list[str]:
    """`dvc repro` of stages of a preset, or of all."""
    pipeline = "dvc.yaml" if preset == "laptop" else f"presets/{preset}/dvc.yaml"
    targets = [stage if preset == "laptop" else f"{pipeline}:{stage}" for stage in stages] or [pipeline]
    options = ["--force"] if force else []
    if force and len(stages) > 1:
        options.append("--single-item")  # what these need has just been made
    # Two runs share one lock, which DVC would give up on after three seconds.
    return [*DVC, "--wait-for-lock", "repro", *options, *targets]


def run_chains(preset: str, force: bool) -> int:
    """Both chains at once; returns the first exit status that is not 0."""
    log = ROOT / ".work" / preset / "english.log"
    typer.echo(f"two chains side by side: arithmetic, shown here, and English, in {log.relative_to(ROOT)}")
    with log.open("w", encoding="utf-8") as handle:
        # In the terminal's own process group, so that Ctrl-C stops both.
        english = subprocess.Popen(
            command(preset, "english_cluster", force=force), cwd=ROOT, stdout=handle, stderr=subprocess.STDOUT
        )
        try:
            arithmetic = subprocess.run(
                [*GIVE_WAY, *command(preset, "arithmetic_cluster", force=force)], cwd=ROOT
            ).returncode
            if english.poll() is None:
                typer.echo(f"the arithmetic chain is through; the English one goes on in {log.relative_to(ROOT)}")
            status = english.wait()
        except KeyboardInterrupt:
            english.wait()
            raise
    if status:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        typer.echo("\n".join(["the English chain failed; its last lines:", *tail]), err=True)
    return arithmetic or status


def main(
    preset: Annotated[str, typer.Option(help="Name of a folder in presets/.")] = "laptop",
    force: Annotated[bool, typer.Option(help="Run stages whose results are up to date as well.")] = False,
) -> None:
    """Run all stages of a preset whose inputs changed."""
    work = ROOT / ".work" / preset
    try:
        work.mkdir(parents=True, exist_ok=True)
        with FileLock(work / "run.lock", timeout=0):
            if status := run_chains(preset, force):
                raise typer.Exit(status)
            last = ("tables", "figures", "paper") if force else ()
            raise typer.Exit(subprocess.run(command(preset, *last, force=force), cwd=ROOT).returncode)
    except Timeout:
        typer.echo(f"error: preset {preset} is being run already: wait for that run, or stop it", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"error: {error.filename or work}: {error.strerror}: free space or mend the rights", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
