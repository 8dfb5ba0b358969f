"""The files that a run leaves, each written as soon as there is something to write, whole or not at all.

At most eight of them, of at most 15 MB each and 60 MB together: a borrowed machine gives back few and small files.
"""

import io
import threading
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import stacked, writing
from polca.study.archive import Archive
from polca.study.archive_parts import joined, part_paths
from polca.study.on_device.jobs import Cores, Job, Shared, Vector, agreement, archived, clustered

MOST_FILES, MOST_BYTES = 8, 10_000_000
"""Of archives, five in all; the other files together take about 10 MB. Of a larger archive each file holds some of the
vectors; without files to spare it is made again with twice the error."""
BESIDE = ("tokens.npz", "clusters.zip", "summary.json")
"""The files that are no archives."""


def write_packed(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a zip packed by bzip2, the same bytes for the same members: an `.npz` where they are arrays."""
    with writing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_BZIP2) as packed:
        for name, content in members.items():
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_BZIP2)


def array_bytes(array: NDArray[Any]) -> bytes:
    """An array as the content of an `.npy` file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def write_packed_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an `.npz` packed by bzip2."""
    write_packed(path, {f"{name}.npy": array_bytes(np.asarray(array)) for name, array in arrays.items()})


def table_bytes(table: pd.DataFrame) -> bytes:
    """A table as `machine.files.write_csv` writes it."""
    return table.to_csv(index=False, float_format="%.9g", lineterminator="\n").encode()


@dataclass
class _Analysis:
    """What has come of one analysis' vectors; `archives` is None where trajectories are not kept."""

    analysis: str
    source: str
    vectors: int
    error: float
    archives: dict[int, Archive] | None
    files: int = 0
    clusters: dict[int, Vector] = field(default_factory=dict)
    agreement: dict[int, dict[str, float]] = field(default_factory=dict)

    def job(self, k: int) -> Job:
        return Job(self.analysis, self.source, k)


class Results:
    """Analyses whose vectors are archived and clustered by the machine's cores, and the files made of them.

    Futures report in a thread of their own, so that the process that drives the GPU need not look after them.

    Args:
        out: folder of the files; None to write none before all is done.
        say: told of every file.
        archive_files: how many files one archive may fill.
    """

    def __init__(
        self, shared: Shared, cores: Cores, out: Path | None, say: Callable[[str], None], archive_files: int = 1
    ) -> None:
        self._archive_files = archive_files
        self._shared, self._cores, self._out, self._say = shared, cores, out, say
        self._lock = threading.RLock()
        self._analyses: dict[str, _Analysis] = {}
        self._waiting, self._seconds = 0, [0.0]
        self.facts: dict[str, Any] = {}
        self._reports = self._reported = 0
        self._errors: list[Exception] = []
        self.refused: list[str] = []

    def _submit(
        self, keep: Callable[[Any], None], function: Callable[..., Any], *arguments: Any, urgent: bool = False
    ) -> None:
        def done(future: "Future[tuple[float, Any]]") -> None:
            with self._lock:
                self._waiting -= 1
                if future.cancelled() or self._cores.stopped:
                    return
                try:
                    seconds, value = future.result()
                    self._seconds.append(seconds)
                    keep(value)
                except (PolcaError, BrokenProcessPool) as error:
                    # A run that was cut short may have too few points for a score; a process may lack memory.
                    self._refuse(f"{arguments[0].analysis if isinstance(arguments[0], Job) else 'facts'}: {error}")
                except Exception as error:  # nobody waits for this thread; `check` raises it
                    self._errors.append(error)
                    self._say(f"error: {error!r}")

        with self._lock:
            self._waiting += 1
        self._cores.submit(done, function, self._shared, *arguments, urgent=urgent)

    def begin(self, name: str, analysis: str, source: str, vectors: int, keep: bool) -> None:
        """Archive (with `keep`) and cluster one analysis' vectors."""
        error = self._shared.task.settings.archive.relative_error
        one = _Analysis(analysis, source, vectors, error, {} if keep else None)
        with self._lock:  # a job that ends meanwhile goes through them
            self._analyses[name] = one
        if keep:
            self._archive(name, one)
        for k in range(vectors):
            self._submit(partial(self._clustered, name, one, k), clustered, one.job(k))

    def report(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Add the facts that `function(shared, …)` gives; a later report replaces an earlier one."""
        self._reports += 1

        def keep(found: dict[str, Any], number: int = self._reports) -> None:
            if number > self._reported:
                self.facts, self._reported = found, number

        self._submit(keep, function, *arguments, urgent=True)

    def _archive(self, name: str, one: _Analysis) -> None:
        one.archives = {}
        for k in range(one.vectors):
            self._submit(partial(self._archived, name, one, k), archived, one.job(k), one.error, urgent=True)

    def _archived(self, name: str, one: _Analysis, k: int, found: Archive) -> None:
        assert one.archives is not None
        one.archives[k] = found
        if len(one.archives) < one.vectors:
            return
        paths = self._saved(name, [one.archives[k] for k in range(one.vectors)])
        if not paths:
            one.error = max(2 * one.error, 0.01)
            self._say(f"{name}.npz: more than {MOST_BYTES / 1e6:.0f} MB, made again with an error of {one.error}")
            self._archive(name, one)
            return
        one.files = len(paths)
        size, files = sum(path.stat().st_size for path in paths), ", ".join(path.name for path in paths)
        self._say(f"{files}: {one.vectors} vectors, {size / 1e6:.1f} MB, relative error {one.error}")

    def _saved(self, name: str, archives: list[Archive]) -> list[Path]:
        """Vectors in as few files as are small enough: `<name>.npz`, or `<name>_<n>_of_<count>.npz`; none if too many
        were needed."""
        assert self._out is not None
        count, paths = 1, [self._out / f"{name}.npz"]
        joined(archives).save(paths[0])
        while any(path.stat().st_size > MOST_BYTES for path in paths):
            size = sum(path.stat().st_size for path in paths)
            wanted = max(count + 1, -(-size // MOST_BYTES))
            possible = wanted <= min(self._archive_files, len(archives))
            if possible or count > 1:
                for path in paths:
                    path.unlink()
            if not possible:
                return []
            count, paths = wanted, part_paths(self._out / f"{name}.npz", wanted)
            for number, path in enumerate(paths):
                own = slice(number * len(archives) // count, (number + 1) * len(archives) // count)
                joined(archives[own]).save(path)
        return paths

    def _clustered(self, name: str, one: _Analysis, k: int, found: Vector) -> None:
        one.clusters[k] = found
        if len(one.clusters) == one.vectors:
            self.write_clusters()
            self._say(f"clusters of {name}")

    def compare_archives(self) -> None:
        """Cluster from the archives what was clustered from the trajectories themselves."""
        with self._lock:
            for one in self._analyses.values():
                for k in sorted(one.clusters.keys() & (one.archives or {}).keys()):
                    assert one.archives is not None
                    keep = partial(one.agreement.__setitem__, k)
                    self._submit(keep, agreement, one.job(k), one.archives[k], one.clusters[k].labels)

    def _refuse(self, reason: str) -> None:
        if reason not in self.refused:
            self.refused.append(reason)
            self._say(f"left out: {reason}")

    def check(self) -> None:
        """Raise what went wrong first in a job, but for what is left out as `refused`.

        Raises:
            Exception: that.
        """
        if self._errors:
            raise self._errors[0]

    @property
    def comparable(self) -> int:
        """How many vectors are both archived and clustered."""
        with self._lock:
            return sum(len(one.clusters.keys() & (one.archives or {}).keys()) for one in self._analyses.values())

    @property
    def waiting(self) -> int:
        """Jobs that are not done."""
        return self._waiting

    def seconds(self, more: int = 0, alone: bool = False) -> float:
        """Seconds that the cores need for `more` jobs and, unless `alone`, all that wait, by the mean of those done."""
        with self._lock:
            mean = sum(self._seconds) / max(1, len(self._seconds) - 1)
            return (more if alone else self._waiting + more) * mean / self._cores.workers

    def write_clusters(self) -> None:
        """Write `clusters.zip`, all that there is by now (see `members`)."""
        if self._out is not None:
            write_packed(self._out / "clusters.zip", self.members())

    def members(self) -> dict[str, bytes]:
        """`<reading>/<table>.csv`, and `<reading>/labels/<analysis>.npy` `[K, X]` of the analyses that are done."""
        members: dict[str, bytes] = {}
        parts: dict[str, list[pd.DataFrame]] = {}
        with self._lock:
            for name, one in self._analyses.items():
                ordered = [one.clusters[k] for k in sorted(one.clusters)]
                for vector in ordered:
                    for reading, tables in vector.tables.items():
                        for table, rows in tables.items():
                            parts.setdefault(f"{reading}/{table}.csv", []).append(rows.assign(analysis=name))
                if len(ordered) == one.vectors:
                    for reading in ordered[0].labels:
                        labels = np.stack([vector.labels[reading] for vector in ordered])
                        members[f"{reading}/labels/{name}.npy"] = array_bytes(labels)
        return {name: table_bytes(stacked(*rows)) for name, rows in sorted(parts.items())} | members

    def summary(self) -> dict[str, Any]:
        """What is known of the analyses, for `summary.json`."""
        with self._lock:
            analyses = {}
            for name, one in self._analyses.items():
                entry: dict[str, Any] = {
                    "vectors": one.vectors,
                    "clustered": len(one.clusters),
                    "guarded": sum(vector.guarded for vector in one.clusters.values()),
                }
                if one.archives is not None:
                    entry |= {"archived": len(one.archives), "archive_error": one.error, "archive_files": one.files}
                if one.agreement:
                    readings = next(iter(one.agreement.values()))
                    entry["archive_agreement"] = {
                        reading: [one.agreement.get(k, {}).get(reading) for k in range(one.vectors)]
                        for reading in readings
                    }
                analyses[name] = entry
            return {"analyses": analyses, **self.facts}
