"""A folder in which `polca analyze` goes on where it was stopped. (Stages of a preset have `study.stage.resumable`.)"""

import hashlib
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from polca.errors import PolcaError

NAME = ".unfinished"


def files_as_they_are(folder: Path) -> Iterator[bytes]:
    """Name, size and time of change of every file under `folder`, for a fingerprint that need not read them."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        facts = path.stat()
        yield f"{path.relative_to(folder)} {facts.st_size} {facts.st_mtime_ns}\n".encode()


def _fingerprint(facts: Iterable[bytes]) -> str:
    """Hash of the facts and of the package's code."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(len(fact).to_bytes(8, "big") + fact)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def unfinished(out: Path, facts: Iterable[bytes]) -> Iterator[Path]:
    """A folder inside `out` that a kill leaves, the next run with the same facts takes up, and success removes.

    Work with other facts, or of other code, is removed. Where a run fails before it has anything to keep, nothing
    stays.

    Args:
        out: the folder of results; made where it does not exist.
        facts: everything on which the results depend.

    Raises:
        PolcaError: another process is at work in `out`.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    work = out / NAME
    mine = work / _fingerprint(facts)
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work / "lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise PolcaError(f"{out}: another polca analyze writes there: wait for it, or choose another --out") from error
    except OSError as error:
        raise PolcaError(f"cannot write {out}: {error.strerror}: make it writable, or choose another --out") from error
    try:
        for other in work.iterdir():
            if other.is_dir() and other != mine:
                shutil.rmtree(other)
        if mine.is_dir():
            print(f"{out}: resuming an unfinished run", file=sys.stderr, flush=True)
        try:
            yield mine
        except BaseException:
            if not mine.is_dir():
                shutil.rmtree(work)
                with suppress(OSError):  # something else has been put there
                    for folder in made:
                        folder.rmdir()
            raise
        # Renamed first, so that no half-removed folder is ever taken up.
        if mine.is_dir():
            mine.replace(work / "done")
        shutil.rmtree(work)
    finally:
        lock.release()
