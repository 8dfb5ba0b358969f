"""What every stage script shares: its one option, one-line errors, and a folder in which it can resume."""

import errno
import inspect
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from polca.errors import PolcaError
from polca.machine import distributed, resume
from polca.machine.files import PARTIAL, writing
from polca.machine.pinned import start_pinned
from polca.machine.runtime import use_device
from polca.study.paths import PresetPaths, TaskPaths
from polca.study.settings import Preset
from polca.tasks.task import Task

UNFINISHED = shutil.ignore_patterns(PARTIAL)

_script: Path | None = None
"""The stage's script, on whose code its unfinished work depends."""


def _one_line(error: Exception) -> str | None:
    """What to say of bad input or a full disk; None where the traceback should be seen."""
    if isinstance(error, PolcaError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return f"{error.filename or 'output'}: {error.strerror}: free some space, or correct the permissions"
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
    global _script
    _script = Path(inspect.getfile(body))

    def command(params: Params, device: Device = None) -> None:
        _run(params, device, parallel, body)

    typer.run(command)


def run_task(body: Callable[[Preset, Task, TaskPaths], None], parallel: bool = False) -> None:
    """The same for a stage of one task, `--params … --task arithmetic`."""
    global _script
    _script = Path(inspect.getfile(body))

    def command(
        params: Params,
        task: Annotated[str, typer.Option(help="One of the preset's tasks.")],
        device: Device = None,
    ) -> None:
        _run(params, device, parallel, lambda preset: body(preset, preset.task(task), preset.paths.task(task)))

    typer.run(command)


@contextmanager
def resumable(preset: Preset, stage: str, *sections: str) -> Iterator[Path]:
    """A folder in which a killed stage goes on, if its code and these sections of the parameters are the same.

    Outputs cannot serve for this: DVC deletes them before a stage starts.
    """
    params = preset.params
    facts = json.dumps({section: params.get(section) for section in sections}, sort_keys=True, default=str)
    with resume.resumable(preset.paths.work, stage, [facts.encode()], entry=_script) as work:
        yield work


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
