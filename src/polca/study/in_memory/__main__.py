"""`python -m polca.study.in_memory`: a preset's task in one process, on one GPU, in a given number of minutes.

Needs no DVC, no spaCy and no network; docs/gpu.md says what a borrowed machine must have and what comes back.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from polca.errors import PolcaError
from polca.machine.parallel import default_workers
from polca.machine.pinned import start_pinned
from polca.machine.runtime import use_device
from polca.study.on_device.run import Options, changed, run_seeds, run_whole
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.tasks.task import Task

GPU_BATCH = 625
"""Sequences projected at once on a GPU, in whose memory they are nothing."""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(prog="python -m polca.study.in_memory", description=__doc__)
    options.add_argument("--preset", default="paper", help="name of a preset, or its params.yaml")
    options.add_argument("--task", default="arithmetic", choices=["arithmetic"], help="one of the preset's tasks")
    options.add_argument("--device", default="cuda", help="cuda or cpu")
    options.add_argument("--minutes", type=float, required=True, help="until all files are written")
    options.add_argument("--out", type=Path, required=True, help="folder of the results")
    options.add_argument("--tf32", action="store_true", help="projections in TF32, whose error is measured")
    options.add_argument("--seeds", type=int, nargs="+", help="scores of these seeds alone, into seeds.zip")
    options.add_argument("--steps", type=int, help="updates of training, by default the preset's")
    options.add_argument("--vectors", type=int, help="of each basis, by default the preset's")
    options.add_argument("--workers", type=int, help="processes that cluster, by default all cores but one")
    options.add_argument(
        "--checkpoint-memory", type=float, default=45.0, help="GB of checkpoints on the GPU; others go to the host"
    )
    return options


def chosen_task(given: argparse.Namespace) -> Task:
    """The preset's task, with the steps and vectors of the command line.

    Raises:
        PolcaError: no such preset, or an impossible number.
    """
    paths = PresetPaths.of(Path(given.preset)) if given.preset.endswith(".yaml") else PresetPaths.named(given.preset)
    task = Preset.read(paths).arithmetic()
    changes: dict[str, dict[str, int]] = {}
    if given.steps is not None:
        changes["training"] = {"steps": given.steps}
    if given.vectors is not None:
        changes["basis"] = {"vectors": given.vectors}
    if given.device == "cuda":
        changes["polca"] = {"batch_sequences": GPU_BATCH}
    return changed(task, **changes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; bad input ends in one line and 1."""
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
            tf32=given.tf32,
            workers=given.workers or max(1, default_workers() - 1),
            checkpoint_bytes=int(given.checkpoint_memory * 1e9) if given.device == "cuda" else None,
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
    sys.exit(main())
