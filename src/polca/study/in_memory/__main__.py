"""`python -m polca.study.in_memory`: a preset's task in one process, on one GPU, in a given number of minutes.

Needs no DVC, no spaCy and no network; docs/gpu.md says what a borrowed machine must have and what comes back. English
reads a folder that `python -m polca.study.in_memory.carry` wrote elsewhere.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from polca.errors import PolcaError
from polca.machine.parallel import default_workers
from polca.machine.pinned import start_pinned
from polca.machine.runtime import use_device
from polca.study.on_device.english import CARRY, CarriedEnglish
from polca.study.on_device.run import Options, changed, run_seeds, run_whole
from polca.study.on_device.tf32 import PIECES
from polca.study.paths import PresetPaths
from polca.study.published import TEXT
from polca.study.settings import TASKS, Preset
from polca.tasks.english.task import EnglishTask
from polca.tasks.task import Task, TransformerTask

GPU_BATCH = 625
"""Sequences at once on a GPU, in whose memory they are nothing, if their logits are few."""
GPU_LOGIT_BYTES = 1_600_000_000
"""Logits at once on a GPU, which take ten times as much with the graphs of a Hessian product: 104 windows of the
paper's English size, and 16 GB."""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(prog="python -m polca.study.in_memory", description=__doc__)
    options.add_argument("--preset", default="paper", help="name of a preset, or its params.yaml")
    options.add_argument("--task", default="arithmetic", choices=TASKS, help="one of the preset's tasks")
    options.add_argument("--device", default="cuda", help="cuda or cpu")
    options.add_argument("--minutes", type=float, required=True, help="until all files are written")
    options.add_argument("--out", type=Path, required=True, help="folder of the results")
    options.add_argument("--data", type=Path, help=f"folder of English text, tokens and labels, from `{CARRY}`")
    options.add_argument(
        "--tf32", nargs="*", choices=PIECES, help="what is in TF32, by default projections; the error is measured"
    )
    options.add_argument("--seeds", type=int, nargs="+", help="scores of these seeds alone, into seeds.zip")
    options.add_argument("--steps", type=int, help="updates of training, by default the preset's")
    options.add_argument("--vectors", type=int, help="of each basis, by default the preset's")
    options.add_argument("--hessian-examples", type=int, help="training sequences of the Hessian sample, likewise")
    options.add_argument("--workers", type=int, help="processes that cluster, by default all cores but one")
    options.add_argument(
        "--checkpoint-memory", type=float, default=45.0, help="GB of checkpoints on the GPU; others go to the host"
    )
    return options


def preset_of(given: str) -> Preset:
    """A preset by its name or by its `params.yaml`.

    Raises:
        PolcaError: there is none, or it is damaged.
    """
    return Preset.read(PresetPaths.of(Path(given)) if given.endswith(".yaml") else PresetPaths.named(given))


def gpu_batch(task: TransformerTask) -> int:
    """Sequences at once on a GPU."""
    model = task.model()
    return max(1, min(GPU_BATCH, GPU_LOGIT_BYTES // (4 * model.context * model.output_vocabulary)))


def chosen_task(given: argparse.Namespace) -> Task:
    """The preset's task, with the numbers of the command line.

    Raises:
        PolcaError: no such preset, an impossible number, or data that are missing or damaged.
    """
    task: Any = preset_of(given.preset).task(given.task)
    if isinstance(task, EnglishTask):
        if given.data is None:
            raise PolcaError(f"--task {task.name}: reads the folder that `{CARRY}` writes: name it with --data")
        task = CarriedEnglish(task.settings, given.data)
    elif given.data is not None:
        raise PolcaError(f"--data {given.data}: the task {task.name} draws its own data: leave it out")
    changes: dict[str, dict[str, int]] = {"basis": {}}
    if given.steps is not None:
        changes["training"] = {"steps": given.steps}
    if given.vectors is not None:
        changes["basis"]["vectors"] = given.vectors
    if given.hessian_examples is not None:
        changes["basis"]["hessian_examples"] = given.hessian_examples
    if given.device == "cuda":
        changes["polca"] = {"batch_sequences": gpu_batch(task)}
    task = changed(task, **changes)
    if isinstance(task, CarriedEnglish):
        task.check()
    return task  # type: ignore[no-any-return]


def main(arguments: Sequence[str] | None = None, started: float | None = None) -> int:
    """Run the command; bad input ends in one line and 1.

    Args:
        started: `time.monotonic` from which minutes are counted, by default when computing begins.
    """
    given = parser().parse_args(arguments)
    try:
        if not given.minutes > 0:
            raise PolcaError(f"--minutes {given.minutes}: must be more than 0")
        if given.workers is not None and given.workers < 1:
            raise PolcaError(f"--workers {given.workers}: must be at least 1")
        task = chosen_task(given)
        last = given.out / ("seeds.zip" if given.seeds else "summary.json")
        if last.exists():
            raise PolcaError(f"{last}: is there already: name another folder with --out, or move it away")
        use_device(given.device)
        if given.device == "cuda":
            torch.use_deterministic_algorithms(False)
        options = Options(
            out=given.out,
            minutes=given.minutes,
            tf32=frozenset() if given.tf32 is None else frozenset(given.tf32 or ["project"]),
            workers=given.workers or max(1, default_workers() - 1),
            started=started,
            checkpoint_bytes=int(given.checkpoint_memory * 1e9) if given.device == "cuda" else None,
            beside={TEXT: task.text_members()} if isinstance(task, CarriedEnglish) else {},
        )
        if given.seeds:
            run_seeds(task, given.seeds, options)
        else:
            run_whole(task, options)
    except PolcaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    start_pinned()
    # Imports count as well: a borrowed machine ends a command at its limit, whatever it was at.
    age = time.time() - psutil.Process().create_time()
    sys.exit(main(started=time.monotonic() - age))
