"""One progress bar for every long loop: rich's, on standard error, with the time left."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from polca.machine import distributed


class Bar:
    """Handle on a running bar."""

    def __init__(self, progress: Progress, task: int) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move on by `steps` and show `note`."""
        self._progress.update(self._task, advance=steps, note=note)  # type: ignore[arg-type]


@contextmanager
def progress(description: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A bar from `done` to `total`."""
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    # One bar at a time: a worker's would be drawn over that of the process which waits for it.
    worker = multiprocessing.parent_process() is not None or not distributed.is_first()
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2, disable=worker) as bars:
        yield Bar(bars, bars.add_task(description, total=total, completed=done, note=""))
