"""What every stage script shares: its one option, one-line errors, and a folder in which it can resume."""

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock, Timeout

from polca.errors import PolcaError
from polca.machine import distributed
from polca.machine.files import read_params, writing
from polca.machine.runtime import device, start_pinned, use_device
from polca.study.paths import PresetPaths, TaskPaths
from polca.study.settings import Preset
from polca.tasks.task import Task

UNFINISHED = shutil.ignore_patterns(".*.partial*")
"""What a killed process left of a file that it was writing."""


def _one_line(error: Exception) -> str | None:
    """What to say of bad input or a full disk; None where the traceback should be seen."""
    if isinstance(error, PolcaError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return f"{error.filename or 'output'}: {error.strerror}: free space or mend the rights"
    return None


Params = Annotated[Path, typer.Option(help="The preset's params.yaml.")]
Device = Annotated[
    str | None, typer.Option(help="cpu or cuda, by default the preset's `device`, or cpu; heavy stages only.")
]


def _run(params: Path, device: str | None, parallel: bool, body: Callable[[Preset], None]) -> None:
    """Run a stage; bad input ends in one line and exit code 1."""
    start_pinned()
    try:
        if not parallel and distributed.requested():
            raise PolcaError("this stage runs in one process: start it with python instead of torchrun")
        with distributed.group():
            preset = Preset.read(PresetPaths.of(params))
            if parallel:
                use_device(device or str(preset.params.get("device", "cpu")))
            body(preset)
    except Exception as error:
        message = _one_line(error)
        # Where one process fails, others fail with it or for want of it: the first one speaks.
        first = distributed.fails_first()
        if message is None and first:
            raise
        if message is not None and first:
            typer.echo(f"error: {message}", err=True)
        raise typer.Exit(1) from error


def run(body: Callable[[Preset], None], parallel: bool = False) -> None:
    """Run a stage of a preset as a command, `--params presets/<name>/params.yaml`.

    Args:
        parallel: marks the heavy stages: torchrun may start them in several processes, and `--device cuda` is for them.
    """

    def command(params: Params, device: Device = None) -> None:
        _run(params, device, parallel, body)

    typer.run(command)


def run_task(body: Callable[[Preset, Task, TaskPaths], None], parallel: bool = False) -> None:
    """The same for a stage of one task, `--params … --task arithmetic`."""

    def command(
        params: Params,
        task: Annotated[str, typer.Option(help="One of the preset's tasks.")],
        device: Device = None,
    ) -> None:
        _run(params, device, parallel, lambda preset: body(preset, preset.task(task), preset.paths.task(task)))

    typer.run(command)


def _fingerprint(paths: PresetPaths, sections: tuple[str, ...]) -> str:
    """Hash of the parameters and of the code, so that work of another version is never taken up."""
    params: dict[str, Any] = read_params(paths.params)
    digest = hashlib.sha256(json.dumps({s: params.get(s) for s in sections}, sort_keys=True, default=str).encode())
    # On a GPU, and in another number of processes, results agree within rounding only.
    digest.update(f"{device().type} {distributed.world_size()}".encode())
    code = Path(__file__).parent
    for source in (*sorted(code.glob("*.py")), *sorted((code / "tasks").glob("*.py"))):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def resumable(paths: PresetPaths, stage: str, *sections: str) -> Iterator[Path]:
    """A folder that survives a kill and is removed on success; those of older code or parameters are removed at once.

    Outputs cannot serve for this: DVC deletes them before a stage starts.
    """
    mine = paths.work / f"{stage}-{_fingerprint(paths, sections)}"
    mine.mkdir(parents=True, exist_ok=True)
    try:
        # A stage that outlives a killed `make` would otherwise share its folder with the next run.
        first = distributed.is_first()
        with FileLock(paths.work / f"{stage}.lock", timeout=0) if first else nullcontext():
            if first:
                for other in paths.work.glob(f"{stage}-*"):
                    if other != mine:
                        shutil.rmtree(other, ignore_errors=True)
                if any(mine.iterdir()):
                    print(f"{stage}: resuming an unfinished run", file=sys.stderr, flush=True)
            distributed.barrier()
            yield mine
            distributed.barrier()
            if first:
                # Renamed first, so that no half-removed folder is ever resumed from.
                shutil.rmtree(mine.replace(mine.with_name(f"{stage}-done")), ignore_errors=True)
    except Timeout as error:
        raise PolcaError(f"{stage} of preset {paths.name} is running already: wait for it, or stop it") from error


def publish(work: Path, target: Path) -> None:
    """Put a finished folder of the work folder in its place, replacing what is there.

    The work folder keeps its own (hard links cost nothing): a stage that is killed before its end resumes from it.
    """
    with writing(target) as temporary:
        try:
            shutil.copytree(work, temporary, copy_function=os.link, ignore=UNFINISHED)
        except shutil.Error:  # a file system without hard links
            shutil.rmtree(temporary)
            shutil.copytree(work, temporary, ignore=UNFINISHED)
