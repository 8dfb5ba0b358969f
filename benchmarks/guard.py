"""What the test of derivatives (`polca.method.guard`) costs, as a share of a run's projections: `guard.json`.

    python benchmarks/guard.py

Addition at the laptop preset's scale, on untrained weights: times do not depend on their values. A batch is timed with
a guard that has not seen its operations, and again with the same guard. The difference is the test, which a run makes
once for reverse mode and once for curvature; the second time is what each batch of each checkpoint takes.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure_run import processor

from polca.machine.pinned import start_pinned
from polca.method.bases import axis_basis, random_basis
from polca.method.guard import Guard
from polca.study.paths import DEFAULT, PresetPaths
from polca.study.settings import Preset

REPEATS = 5


def medians(call: Callable[[Guard], Any]) -> tuple[float, float]:
    """Seconds of a batch with a new guard and with one that knows it."""
    new: list[float] = []
    known: list[float] = []
    for _ in range(REPEATS):
        guard = Guard()
        for seconds in (new, known):
            started = time.perf_counter()
            call(guard)
            seconds.append(time.perf_counter() - started)
    return statistics.median(new), statistics.median(known)


def main() -> None:
    """Time both modes and write the shares."""
    start_pinned()
    task = Preset.read(PresetPaths.named(DEFAULT)).arithmetic()
    settings, params, batches = task.settings, task.initial(), task.evaluation_batches()
    count, loss = settings.basis.vectors, task.evaluated_loss
    own = random_basis(params, count, steps=[0] * count).vectors
    plain = random_basis(params, 3 * count, steps=[0] * 3 * count).vectors  # Hessian, shuffled, random
    axes = axis_basis(params, settings.basis.lca_parameters).axes
    reverse = medians(lambda guard: guard.reverse(loss, params, batches[0], plain, axes))
    curved = medians(lambda guard: guard.forward(loss, params, own, batches[0], second_order=True))
    checkpoints = settings.training.steps // settings.polca.interval + 1
    points = settings.polca.curvature_points or checkpoints
    whole = len(batches) * (checkpoints * reverse[1] + points * curved[1])
    tests = reverse[0] - reverse[1] + curved[0] - curved[1]
    found = {
        "seconds": {"reverse": reverse, "curvature": curved, "tests": tests, "projections": whole},
        "share": tests / whole,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "threads": 1},
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"the tests take {tests:.2f} s of {whole:.0f} s of projections: {tests / whole:.2%}")


if __name__ == "__main__":
    main()
