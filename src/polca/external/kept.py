"""Finished pieces of an analysis, each kept for as long as what it depends on stays the same.

The folder `work` inside the results holds basis vectors, the whole basis, and the projections of each checkpoint.
Beside them `keys.json` says of each file what it was made from, as a hash. A run with other options removes the files
whose hash has changed, and takes up the others.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from polca.errors import PolcaError
from polca.machine.files import read_json, unwritable, write_json
from polca.machine.resume import fingerprint

WORK, WHOLE_BASIS, _KEYS = "work", "basis.safetensors", "keys.json"


@dataclass(frozen=True)
class Facts:
    """What the pieces depend on, as bytes.

    Attributes:
        loss: the model and its code, checkpoints apart.
        basis: settings and data of the basis.
        projections: settings and data of the projections.
        checkpoint: of each chosen step, what tells whether its file was changed.
    """

    loss: Sequence[bytes]
    basis: Sequence[bytes]
    projections: Sequence[bytes]
    checkpoint: Mapping[int, bytes]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def keys(facts: Facts, basis_steps: Sequence[int]) -> dict[str, str]:
    """The hash of every piece, by its file below the folder.

    A basis vector depends on those before it. The projections of a checkpoint depend on the whole basis, and their hash
    is in two parts, of which the second is the checkpoint's own.
    """
    found = {}
    chain = fingerprint("polca.method.bases", [*facts.loss, *facts.basis])
    for index, step in enumerate(basis_steps):
        chain = _hash(f"{chain} {step} ".encode() + facts.checkpoint[step])
        found[f"basis/{index:03d}_{step:06d}.safetensors"] = chain
    found[WHOLE_BASIS] = chain
    common = fingerprint("polca.method.projections", [chain.encode(), *facts.loss, *facts.projections])
    for step, own in facts.checkpoint.items():
        found[f"projections/{step}.npz"] = f"{common}-{_hash(own)}"
    return found


def basis_at_other_steps(out: Path, facts: Facts, basis_steps: Sequence[int]) -> list[int] | None:
    """The steps of a kept basis of as many vectors that still holds, where they are not `basis_steps`; else None.

    Steps that are spread over the checkpoints move when one of these is left out, and all work would be lost.
    """
    work = out / WORK
    known: Mapping[str, str] = {}
    with suppress(PolcaError):
        known = read_json(work / _KEYS)
    old = [int(name.rpartition("_")[2].partition(".")[0]) for name in sorted(known) if name.startswith("basis/")]
    other = len(old) == len(basis_steps) and old != list(basis_steps) and set(old) <= facts.checkpoint.keys()
    if not other or not any("basis" in name for name in _pieces(work)):
        return None
    return old if keys(facts, old)[WHOLE_BASIS] == known.get(WHOLE_BASIS) else None


def _pieces(work: Path) -> dict[str, Path]:
    return {p.relative_to(work).as_posix(): p for p in work.rglob("*") if p.is_file() and p.name != _KEYS}


def _remove_stale(work: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    """Remove pieces with another hash than the wanted one; returns the hashes of those that stay and are not wanted."""
    known: Mapping[str, str] = {}
    with suppress(PolcaError):
        known = read_json(work / _KEYS)
    common = {key.partition("-")[0] for name, key in wanted.items() if name.startswith("projections/")}
    others = {}
    for name, path in _pieces(work).items():
        key = known.get(name)
        # A checkpoint that is left out this time may be taken in again.
        unused = name not in wanted and name.startswith("projections/") and str(key).partition("-")[0] in common
        if unused:
            others[name] = str(key)
        elif key is None or key != wanted.get(name):
            path.unlink()
    return others


def _tidy(work: Path, made: Iterable[Path]) -> None:
    """Remove the folders where no piece is in them."""
    if work.is_dir() and not _pieces(work):
        shutil.rmtree(work, ignore_errors=True)
    with suppress(OSError):  # something else lies there, or it was never made
        for folder in made:
            folder.rmdir()


@contextmanager
def kept(out: Path, wanted: Mapping[str, str]) -> Iterator[Path]:
    """The folder `work` in `out`, in which all that is left fits the hashes `wanted`.

    It stays, for the next run. Where a run fails before it has kept a piece, nothing stays, nor do folders made for it.

    Raises:
        PolcaError: another run works in `out`, or it cannot be written.
    """
    work = out / WORK
    made = [missing for missing in (out, *out.parents) if not missing.exists()]
    with ExitStack() as stack:
        stack.callback(_tidy, work, made)
        try:
            out.mkdir(parents=True, exist_ok=True)
            lock = out / "analyze.lock"
            stack.enter_context(FileLock(lock, timeout=0))
            stack.callback(lock.unlink, missing_ok=True)
            work.mkdir(exist_ok=True)
            others = _remove_stale(work, wanted)
        except Timeout as error:
            raise PolcaError(f"{out}: analyze is running already: wait for it, or stop it") from error
        except OSError as error:
            raise unwritable(out, error) from error
        write_json(work / _KEYS, {**others, **wanted})
        pieces = _pieces(work)
        basis = "the basis" if WHOLE_BASIS in pieces else f"{sum(n.startswith('basis/') for n in pieces)} basis steps"
        projected = sum(name in wanted for name in pieces if name.startswith("projections/"))
        if pieces:
            print(
                f"analyze: taking up {basis} and the projections of {projected} checkpoints from {work}",
                file=sys.stderr,
                flush=True,
            )
        yield work


def share_basis(out: Path) -> None:
    """Let the basis in the results and the one in `work` be one file on the disk, where the file system can."""
    result, piece = out / WHOLE_BASIS, out / WORK / WHOLE_BASIS
    link = piece.with_suffix(".link")
    with suppress(OSError):
        link.unlink(missing_ok=True)
        os.link(result, link)
        link.replace(piece)
