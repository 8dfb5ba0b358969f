"""A task at any scale in one process and a given number of minutes: what a borrowed GPU is asked for.

In this order, with what is written after each piece:

1. training, the basis of Algorithm 1, and the projections on it and on LCA's parameters: always, cut at a checkpoint
   where time runs out;
2. while the machine's cores archive and cluster the trajectories: what TF32 costs, and App. C;
3. the shuffled and the random basis of Table 10, and the projections on them;
4. the 5-step grid;
5. once more the clusters, from the archives, to see that these keep them.

English has no other bases, no exact curvature and no published steps, so that 3, App. C and 4 are addition's.

A piece that would not end in time is left out, the summary says so, and the next one is looked at.
"""

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from polca.errors import PolcaError
from polca.machine.files import write_json
from polca.machine.runtime import device
from polca.study.on_device.bases import Directions, directions
from polca.study.on_device.jobs import Cores, Shared, facts
from polca.study.on_device.projections import Projected, Projector, app_c
from polca.study.on_device.results import BESIDE, MOST_FILES, Results, write_packed, write_packed_arrays
from polca.study.on_device.tf32 import eigenpair_error, gradient_error, tf32
from polca.study.on_device.training import BudgetedCheckpoints, train_on_device
from polca.study.published import ARCHIVED
from polca.tasks.task import Task

FIRST = ("loss", "loss_change", "polca_first_order", "polca")
"""Analyses that come first, and the only ones of further seeds."""
FINE_INTERVAL, FINE_LAST, FINE_VECTORS = 5, 4000, 20
"""Table 3's interval, where the text has 20; to the step at which the paper's figures end."""
MARGIN = 15.0
"""Seconds kept for the last files."""
BASIS_SHARE = 0.6
"""Of the time that training leaves, what the basis may take; the vectors that would come later are left out."""


@dataclass(frozen=True)
class Options:
    """How a run is made, whatever the task.

    Attributes:
        out: folder of the results.
        minutes: from the start to the end.
        tf32: what is in TF32 on a GPU, of `tf32.PIECES`.
        workers: processes that cluster.
        started: `time.monotonic` when the minutes began; None for the start of the run.
        checkpoint_bytes: of checkpoints on the device, the others go to the host's memory; None for no bound.
        beside: members of further zips by file name, written first: what reads the results needs them.
    """

    out: Path
    minutes: float
    tf32: frozenset[str] = frozenset()
    workers: int = 1
    started: float | None = None
    checkpoint_bytes: int | None = None
    beside: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)


@dataclass
class Clock:
    """Time since the start, and the seconds of each piece of a run."""

    minutes: float
    start: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Options) -> "Clock":
        """As the options say."""
        return cls(options.minutes) if options.started is None else cls(options.minutes, options.started)

    @property
    def left(self) -> float:
        """Seconds until the end, without the margin."""
        return 60 * self.minutes - MARGIN - (time.monotonic() - self.start)

    def say(self, text: str) -> None:
        """A line with the time, at once."""
        print(f"[{time.monotonic() - self.start:7.1f} s] {text}", flush=True)

    @contextmanager
    def piece(self, name: str) -> Iterator[None]:
        """Note the seconds of a piece, the device's work included."""
        start = time.monotonic()
        yield
        if device().type == "cuda":
            torch.cuda.synchronize()
        self.seconds[name] = round(time.monotonic() - start, 3)
        self.say(f"{name}: {self.seconds[name]:.1f} s")


def machine() -> dict[str, Any]:
    """What computes."""
    gpu = torch.cuda.get_device_name() if device().type == "cuda" else None
    return {
        "device": gpu or platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def changed(task: Task, **changes: Any) -> Task:
    """A task with other settings (`Section.changed`).

    Raises:
        PolcaError: an impossible one.
    """
    return replace(cast(Any, task), settings=task.settings.changed(**changes))  # type: ignore[no-any-return]


class Run:
    """One task's run.

    Args:
        whole: everything; otherwise what further seeds need, without files of its own.
    """

    def __init__(self, task: Task, options: Options, clock: Clock, cores: Cores, scratch: Path, whole: bool) -> None:
        self.task, self.options, self.clock, self.whole = task, options, clock, whole
        # Stability clusters ten times more than the analyses themselves.
        plain = changed(task, stability={"analyses": ()})
        self.shared = Shared(plain, task.token_labels(), scratch)
        last, kept = task.settings.training.steps, sum(name in ARCHIVED for name in task.analyses)
        # The 5-step grid and App. C are as far as the paper looks at the steps and the curvature of a task.
        fine = whole and task.settings.breakthroughs.published is not None
        spare = (MOST_FILES - len(BESIDE) - len(options.beside)) // max(1, kept + fine)
        self.results = Results(self.shared, cores, options.out if whole else None, clock.say, spare)
        self.grid = list(range(0, last + 1, task.settings.polca.interval))
        self.fine = list(range(0, min(last, FINE_LAST) + 1, FINE_INTERVAL)) if fine else []
        self.checkpoints = BudgetedCheckpoints(options.checkpoint_bytes)
        self.bases: dict[str, Directions] = {}
        self.left_out: list[str] = []
        self.app_c: dict[str, Any] = {}
        self.facts: dict[str, Any] = {
            "seed": task.settings.seed,
            "training_steps": last,
            "hessian_examples": task.settings.basis.hessian_examples,
            "machine": machine(),
            "tf32": sorted(options.tf32) if device().type == "cuda" else [],
        }
        self.arrays: dict[str, Any] = dict(self.shared.labels)

    def summary(self) -> dict[str, Any]:
        """All numbers of the run, for `summary.json`."""
        kept: dict[str, Any] = {
            "checkpoints_kept": len(self.checkpoints.steps()),
            "checkpoint_bytes_on_device": self.checkpoints.used,
        }
        if device().type == "cuda":
            kept["peak_bytes_on_device"] = torch.cuda.max_memory_allocated()
        bases = {name: basis.facts() for name, basis in self.bases.items()}
        own = {
            "bases": bases,
            "seconds": dict(self.clock.seconds),
            "left_out": [*self.left_out, *self.results.refused],
            "app_c": self.app_c,
        }
        return self.facts | self.results.summary() | kept | own

    def write(self) -> None:
        """Write what there is by now, archives and clusters apart."""
        if self.whole:
            write_json(self.options.out / "summary.json", self.summary())
            write_packed_arrays(self.options.out / "tokens.npz", self.arrays)

    def fits(self, name: str, seconds: float, jobs: int = 0) -> bool:
        """Whether a piece ends in time, with the jobs that it leaves to the cores; otherwise it is left out."""
        idle, all_jobs = self.results.seconds(jobs, alone=True), self.results.seconds(jobs)
        needed = max(seconds + idle, all_jobs)
        if needed <= self.clock.left:
            return True
        self.left_out.append(name)
        self.clock.say(f"{name} is left out: about {needed:.0f} s, with {max(0.0, self.clock.left):.0f} s left")
        return False

    @contextmanager
    def optional(self, name: str) -> Iterator[None]:
        """A piece without which the run goes on, should the device refuse it."""
        try:
            with self.clock.piece(name):
                yield
        except (RuntimeError, PolcaError) as error:
            reason = str(error).splitlines()[0]
            self.left_out.append(f"{name}: {reason}")
            self.clock.say(f"{name} is left out: {reason}")

    def over(self, count: int) -> Callable[[int], bool]:
        """Whether to stop projecting; says now and then how far it is of `count` checkpoints."""

        def asked(done: int) -> bool:
            if done % 50 == 0:
                self.clock.say(f"{done} of {count} checkpoints")
            return self.clock.left < MARGIN

        return asked

    def train(self) -> None:
        """Train, and keep the checkpoints of both grids."""
        settings = self.task.settings
        keep = {*self.grid, *self.fine, *settings.basis_steps()}
        with self.clock.piece("train"), tf32("train" in self.options.tf32):
            log = train_on_device(
                self.task.token_loss,
                self.task.initial(),
                self.task.batch,
                settings.training,
                self.checkpoints,
                keep,
                self.clock.say,
            )
        self.arrays["training_loss"] = log["loss"].to_numpy(np.float32)
        self.clock.say(f"training loss {log['loss'].iloc[0]:.4f} to {log['loss'].iloc[-1]:.4f}")

    def analyses(self, kinds: Sequence[str]) -> list[str]:
        """The analyses on some bases; without those that need every token's exact curvature, which takes hours."""
        names = [
            name
            for name, one in self.task.analyses.items()
            if (one.basis or "hessian") in kinds and one.second_order != "exact" and one.eigenvalue != "current"
        ]
        if "hessian" not in kinds:
            return names
        first = [name for name in FIRST if name in self.task.analyses]
        return [*first, *(name for name in names if name not in first)] if self.whole else first

    def begin(self, projected: Projected) -> None:
        """Hand projections to the cores, and keep what is small of them."""
        for name in projected.bases:
            own = projected.vectors(name)
            self.arrays[f"movements_{name}"] = projected.movements[:, own]
            self.arrays[f"mean_gradients_{name}"] = projected.gradients[own].mean(axis=2).T
            self.shared.write(name, projected, name)
        self.write()
        for name in self.analyses(list(projected.bases)):
            basis = self.task.analyses[name].basis
            vectors = 1 if basis is None else len(projected.bases[basis])
            self.results.begin(name, name, basis or "hessian", vectors, self.whole and name in ARCHIVED)
        if self.whole:
            self.results.report(facts, list(self.bases))

    def hessian(self) -> Projected:
        """The basis of Algorithm 1, and the projections on it and on LCA's parameters."""
        kinds = [kind for kind in ("hessian", "lca") if kind == "hessian" or (self.whole and kind in self.task.bases)]
        until = (1 - BASIS_SHARE) * self.clock.left

        def late() -> bool:
            return self.clock.left < until

        with self.clock.piece("basis hessian"):
            self.bases = {kind: self.directions(kind, late) for kind in kinds}
        if len(self.bases["hessian"]) < len(self.task.settings.basis_steps()) * self.task.settings.basis.per_step:
            self.left_out.append(f"vectors after step {self.bases['hessian'].steps[-1]}")
        projector = self.projector(self.bases)
        with self.clock.piece("project hessian"):
            projected = projector.run(self.grid, self.over(len(self.grid)))
        if len(projected.steps) < len(self.grid):
            self.left_out.append(f"checkpoints after step {projected.steps[-1]}")
        self.arrays |= {"steps": projected.steps, "losses": projected.losses}
        self.begin(projected)
        if self.whole and device().type == "cuda":
            self.tf32_errors(projector, self.grid[len(projected.steps) // 8])
        return projected

    def directions(self, kind: str, over: Callable[[], bool] = lambda: False) -> Directions:
        """A basis, its Hessian products as the options say."""
        return directions(self.task, kind, self.checkpoints, self.clock.say, over, "basis" in self.options.tf32)

    def projector(self, bases: Mapping[str, Directions]) -> Projector:
        """On some bases, as the options say."""
        return Projector(self.task, self.checkpoints, bases, "project" in self.options.tf32)

    def tf32_errors(self, projector: Projector, step: int) -> None:
        """What TF32 costs projections, and the pieces that were made in it, at one checkpoint."""
        seconds = 5 + 3 * self.clock.seconds["project hessian"] / len(self.grid)
        if not self.fits("TF32 error", seconds):
            return
        with self.optional("TF32 error"):
            found: dict[str, Any] = {"project": projector.tf32_error(step)}
            if "basis" in self.options.tf32:
                first = self.bases["hessian"]
                pair = int(first.steps[0]), first.rows[0], float(first.eigenvalues[0])
                found["basis"] = eigenpair_error(self.task, self.checkpoints, *pair)
            if "train" in self.options.tf32:
                found["train"] = gradient_error(self.task, self.checkpoints, step)
            self.facts["tf32_error"] = found

    def published_subset(self, projected: Projected) -> None:
        """App. C, of a task whose exact curvature is asked for."""
        if "hessian" in self.task.settings.polca.curvature_of and self.fits("App. C", 10):
            with self.optional("App. C"):
                self.app_c = app_c(self.task, self.checkpoints, projected)

    def compared_bases(self, steps: Sequence[int]) -> None:
        """The shuffled and the random basis."""
        kinds = [kind for kind in self.task.bases if kind not in self.bases]
        before, count = self.clock.seconds, len(self.bases["hessian"])
        seconds = 1.2 * before["basis hessian"] + 1.6 * before["project hessian"]
        if not kinds or not self.fits("bases compared", seconds, 2 * len(kinds) * count):
            return
        with self.optional("bases compared"):
            new: dict[str, Directions] = {kind: self.directions(kind) for kind in kinds}
            projected = self.projector(new).run(steps, self.over(len(steps)))
            if len(projected.steps) < len(steps):
                self.left_out.append(f"bases compared after step {projected.steps[-1]}")
            self.bases |= new
            self.begin(projected)

    def fine_grid(self, coarse: Projected) -> None:
        """The trajectories with a point every five steps, along the first vectors of the Hessian basis."""
        if not self.fine:
            return
        basis, name = self.bases["hessian"].first(FINE_VECTORS), f"polca_{FINE_INTERVAL}_steps"
        steps = [step for step in self.fine if step <= coarse.steps[-1]]
        missing = len(set(steps) - set(coarse.steps.tolist()))
        seconds = missing * self.clock.seconds["project hessian"] / len(coarse.steps)
        if not self.fits(name, seconds, 2 * len(basis)):
            return
        with self.optional(name):
            projected = self.projector({"hessian": basis}).run(steps, self.over(len(steps)), known=coarse)
            self.shared.write(name, projected, "hessian")
            self.results.begin(name, "polca", name, len(basis), True)
            self.write()

    def finish(self) -> None:
        """Wait for the cores as long as there is time."""
        while self.results.waiting and self.clock.left > 0:
            time.sleep(0.1)


def run_whole(task: Task, options: Options) -> None:
    """Trajectories, clusters, scores and facts of a task into `options.out`, at most eight files.

    Raises:
        PolcaError: a folder that cannot be written, or as the pieces.
        Exception: what a job on the cores raised that is no `PolcaError`, when all else is written.
    """
    clock, cores = Clock.of(options), Cores(options.workers)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            run = Run(task, options, clock, cores, Path(scratch), whole=True)
            clock.say(f"{task.name}, seed {task.settings.seed}, on {run.facts['machine']['device']}")
            for name, members in options.beside.items():
                write_packed(options.out / name, members)
            run.train()
            projected = run.hessian()
            run.published_subset(projected)
            run.compared_bases(projected.steps.tolist())
            run.fine_grid(projected)
            run.finish()
            if run.fits("clusters from the archives", 0, run.results.comparable):
                run.results.compare_archives()
                run.finish()
            cores.stop()
            run.results.write_clusters()
            run.write()
            clock.say(f"done; left out: {', '.join(run.summary()['left_out']) or 'nothing'}")
            run.results.check()
    finally:
        cores.stop()


def run_seeds(task: Task, seeds: Sequence[int], options: Options) -> None:
    """Scores of further seeds into `seeds.zip`: `seed_<n>/` with the members of `clusters.zip` and a `summary.json`.

    Raises:
        PolcaError: as `run_whole`.
    """
    clock, cores = Clock.of(options), Cores(options.workers)
    runs: list[Run] = []

    def write() -> None:
        members: dict[str, bytes] = {}
        for run in runs:
            own = {"summary.json": json.dumps(run.summary(), indent=2).encode(), **run.results.members()}
            members |= {f"seed_{run.task.settings.seed}/{name}": content for name, content in own.items()}
        write_packed(options.out / "seeds.zip", members)

    try:
        with tempfile.TemporaryDirectory() as scratch:
            for seed in seeds:
                if runs and not runs[-1].fits(f"seed {seed}", sum(runs[-1].clock.seconds.values())):
                    break
                run = Run(
                    changed(task, seed=seed),
                    options,
                    replace(clock, seconds={}),
                    cores,
                    Path(scratch) / str(seed),
                    whole=False,
                )
                clock.say(f"{task.name}, seed {seed}, on {run.facts['machine']['device']}")
                run.train()
                run.hessian()
                run.checkpoints = BudgetedCheckpoints()  # they would fill the device
                runs.append(run)
                write()
            for run in runs:
                run.finish()
            cores.stop()
            write()
            for run in runs:
                run.results.check()
    finally:
        cores.stop()
