"""What the machine's cores do while the GPU goes on: archive, cluster and score, one vector a job.

Projections lie in a scratch folder, of which a job maps its own vector. Everything else is the code of the stages, of
which each step treats vectors apart.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property, partial
from heapq import heappop, heappush
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from polca.machine.files import write_npz
from polca.machine.parallel import _exit_with_parent
from polca.machine.runtime import configure_torch
from polca.method.clustering import cluster
from polca.method.decomposition import Trajectories
from polca.method.projections import Projections
from polca.study.archive import Archive, compress
from polca.study.on_device.projections import Projected
from polca.study.stages.cluster import ExactLosses, cluster_analysis
from polca.study.stages.trajectories import decompose_analysis, known_facts
from polca.tasks.task import Labels, Task
from polca.typing import Reading


@dataclass(frozen=True)
class Job:
    """One vector of one analysis.

    Attributes:
        analysis: of the task.
        source: folder of the projections in the scratch folder.
        vector: from 0.
    """

    analysis: str
    source: str
    vector: int


@dataclass(frozen=True)
class Vector:
    """The clusters of one vector.

    Attributes:
        labels: `[X]` by reading, as in `Clusters`.
        tables: by reading and name, the task's own.
        guarded: intervals whose second-order term eq. 4's guard set to 0.
    """

    labels: dict[str, NDArray[np.int16]]
    tables: dict[str, dict[str, pd.DataFrame]]
    guarded: int


@dataclass(frozen=True)
class Shared:
    """What every job of a run needs: the task, its tokens' labels, and the scratch folder."""

    task: Task
    labels: Labels
    scratch: Path

    def write(self, source: str, projected: Projected, name: str) -> int:
        """Put the projections on basis `name` into the folder `source`; gives the number of vectors."""
        folder, own, basis = self.scratch / source, projected.vectors(name), projected.bases[name]
        folder.mkdir(parents=True)
        np.save(folder / "gradients.npy", projected.gradients[own])
        arrays: dict[str, NDArray[Any]] = {
            "steps": projected.steps,
            "losses": projected.losses,
            "movements": projected.movements[:, own],
            "vector_steps": basis.steps,
            "eigenvalues": basis.eigenvalues.astype(np.float32),
        }
        write_npz(folder / "others.npz", arrays)
        return len(basis)

    def projections(self, source: str, own: slice = slice(None)) -> Projections:
        """Those of some vectors, mapped into memory."""
        with np.load(self.scratch / source / "others.npz") as others:
            read = {name: others[name] for name in others.files}
        read |= {name: read[name][own] for name in ("vector_steps", "eigenvalues")}
        read["movements"] = read["movements"][:, own]
        gradients = np.load(self.scratch / source / "gradients.npy", mmap_mode="r")[own]
        return Projections(gradients=np.moveaxis(gradients, 0, 2), **read)

    def trajectories(self, job: Job) -> Trajectories:
        """Those of one vector."""
        basis = self.task.analyses[job.analysis].basis or job.source
        own = self.projections(job.source, slice(job.vector, job.vector + 1))
        return decompose_analysis(self.task, job.analysis, {basis: own})

    @cached_property
    def losses(self) -> ExactLosses:
        """The exact losses of all training, for every analysis."""
        with np.load(self.scratch / "hessian" / "others.npz") as others:
            return ExactLosses(others["steps"], others["losses"])


def archived(shared: Shared, job: Job, relative_error: float) -> Archive:
    """Trajectories of one vector as they are kept."""
    return compress(shared.trajectories(job), relative_error)


def clustered(shared: Shared, job: Job) -> Vector:
    """Clusters of one vector's trajectories in both readings, scored."""
    trajectories, labels, tables = shared.trajectories(job), {}, {}
    for reading in get_args(Reading):
        done = cluster_analysis(shared.task, job.analysis, trajectories, shared.losses, shared.labels, reading)
        labels[reading], tables[reading] = done.clusters.labels[0], done.tables
        for table in done.tables.values():
            table["vector"] += job.vector
    return Vector(labels, tables, trajectories.guarded)


def agreement(shared: Shared, job: Job, archive: Archive, labels: dict[str, NDArray[np.int16]]) -> dict[str, float]:
    """Adjusted Rand index, by reading, of labels from the archive with those from the trajectories themselves."""
    sizes, trajectories = shared.task.clustering(job.analysis), archive.trajectories()
    found = {}
    for reading in get_args(Reading):
        again = cluster(
            trajectories,
            min_cluster_size=sizes.min_cluster_size,
            min_samples_divisor=sizes.min_samples_divisor,
            standardise=reading == "standardised",
        )
        found[reading] = float(adjusted_rand_score(labels[reading], again.labels[0]))
    return found


def facts(shared: Shared, sources: Sequence[str]) -> dict[str, Any]:
    """`known_facts` of the projections on some bases: completeness, losses by place, and the task's own."""
    return known_facts(shared.task, {source: shared.projections(source) for source in sources})


Done = Callable[["Future[tuple[float, Any]]"], None]
_shared: dict[str, Shared] = {}


def _start() -> None:
    _exit_with_parent()
    configure_torch()


def _call(function: Callable[..., Any], shared: Shared, *arguments: Any) -> tuple[float, Any]:
    """Seconds and result. Each process keeps one `Shared` of a run, so that losses are read once."""
    start = time.perf_counter()
    value = function(_shared.setdefault(str(shared.scratch), shared), *arguments)
    return time.perf_counter() - start, value


class Cores:
    """Processes beside the one that drives the GPU: what is urgent first, otherwise in the order of asking."""

    def __init__(self, workers: int) -> None:
        self.workers, self.stopped = workers, False
        self._pool = self._processes()
        self._lock = threading.RLock()
        self._queue: list[tuple[bool, int, Done, tuple[Any, ...]]] = []
        self._asked = self._running = 0

    def _processes(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=_start)
        for _ in range(self.workers):  # a process starts with its first job, and takes seconds to import what it needs
            pool.submit(int)
        return pool

    def submit(
        self, done: Done, function: Callable[..., Any], shared: Shared, *arguments: Any, urgent: bool = False
    ) -> None:
        """Have `function(shared, …)` done, and `done` told of its seconds and result, in another thread."""
        with self._lock:
            self._asked += 1
            heappush(self._queue, (not urgent, self._asked, done, (function, shared, *arguments)))
        self._fill()

    def _fill(self) -> None:
        with self._lock:
            # One more than there are processes, so that none waits for the next.
            while self._queue and self._running <= self.workers:
                *_, done, job = heappop(self._queue)
                self._running += 1
                try:
                    future = self._pool.submit(_call, *job)
                except BrokenProcessPool:  # one process was killed, and with it all that was being done
                    self._pool = self._processes()
                    future = self._pool.submit(_call, *job)
                future.add_done_callback(partial(self._ended, done))

    def _ended(self, done: Done, future: "Future[tuple[float, Any]]") -> None:
        with self._lock:
            self._running -= 1
        self._fill()
        done(future)

    def stop(self) -> None:
        """End all processes, whatever they are at."""
        with self._lock:
            self.stopped = True
            self._queue.clear()
            processes = list((self._pool._processes or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
