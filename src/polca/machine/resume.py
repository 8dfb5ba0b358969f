"""A folder in which work goes on where it was stopped, for the stages of a preset."""

import fnmatch
import hashlib
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from polca.errors import PolcaError
from polca.machine import distributed
from polca.machine.code import code_hash
from polca.machine.files import PARTIAL, unwritable
from polca.machine.runtime import device


def fingerprint(entry: Path | str | None, facts: Iterable[bytes]) -> str:
    """16 hexadecimal digits of facts and code, so that work of another version is never taken up.

    Args:
        entry: script or module whose code makes the work, as in `code_hash`.
        facts: everything else on which the work depends.
    """
    # On a GPU, and in another number of processes, results agree within rounding only.
    place = f"{code_hash(entry)} {torch.__version__} {device().type} {distributed.world_size()}"
    digest = hashlib.sha256(place.encode())
    for fact in facts:
        digest.update(len(fact).to_bytes(8, "big") + fact)
    return digest.hexdigest()[:16]


def _holds_work(folder: Path) -> bool:
    """Whether a whole file is in it; what a killed process was writing is none."""
    inside = (path.relative_to(folder).parts for path in folder.rglob("*") if path.is_file())
    return any(not fnmatch.filter(parts, PARTIAL) for parts in inside)


def _remove_empty(folders: Iterable[Path]) -> None:
    with suppress(OSError):  # something has been put there, or it was never made
        for folder in folders:
            folder.rmdir()


@contextmanager
def resumable(folder: Path, name: str, facts: Iterable[bytes], *, entry: Path | str | None = None) -> Iterator[Path]:
    """A folder `<name>-<fingerprint>` inside `folder` that a kill leaves and the next run takes up.

    Success removes it, and work of other code or facts is removed at once. Where a run fails before it has kept a
    file, nothing stays, nor do the folders that were made for it. Under torchrun the first process sees to this.

    Args:
        folder: made where it does not exist.
        name: of the work; one run at a time does it.
        facts: everything on which it depends, besides code, device and number of processes.
        entry: script or module whose code makes the work, as in `code_hash`; None is the whole package.

    Raises:
        PolcaError: another run does the same work in `folder`, or it cannot be written.
    """
    mine = folder / f"{name}-{fingerprint(entry, facts)}"
    made = [missing for missing in (folder, *folder.parents) if not missing.exists()]
    first = distributed.is_first()
    with ExitStack() as stack:
        if first:
            lock = folder / f"{name}.lock"
            stack.callback(_remove_empty, made)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                # A stage that outlives a killed `make` would otherwise share its folder with the next run.
                stack.enter_context(FileLock(lock, timeout=0))
                stack.callback(lock.unlink, missing_ok=True)
                for other in folder.iterdir():
                    if other != mine and re.fullmatch(rf"{re.escape(name)}-([0-9a-f]{{16}}|done)", other.name):
                        shutil.rmtree(other, ignore_errors=True)
                mine.mkdir(exist_ok=True)
            except Timeout as error:
                raise PolcaError(f"{folder}: {name} is running already: wait for it, or stop it") from error
            except OSError as error:
                raise unwritable(folder, error) from error
            if _holds_work(mine):
                print(f"{name}: resuming an unfinished run", file=sys.stderr, flush=True)
        distributed.barrier()
        try:
            yield mine
        except BaseException:
            if first and not _holds_work(mine):
                shutil.rmtree(mine, ignore_errors=True)
            raise
        made.clear()
        distributed.barrier()
        if first:
            # Renamed first, so that no half-removed folder is ever taken up.
            shutil.rmtree(mine.replace(mine.with_name(f"{name}-done")), ignore_errors=True)
