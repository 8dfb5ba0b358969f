"""What `polca plan` says: costs by stage, time here and on a GPU, and what may not fit."""

import shutil
from collections.abc import Sequence

import psutil
from rich.console import Console
from rich.table import Column, Table

from polca.machine.parallel import default_workers
from polca.study.paths import PresetPaths
from polca.study.plan import GPU_WIDTH, Rate, StageCost, matrix_product_rate, plan, wall_seconds
from polca.study.settings import Preset

GIB = 2**30


def spoken(seconds: float) -> str:
    """A duration in the largest unit of which there are at least one and a half."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            number = seconds / length
            return f"{number:,.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def shortages(costs: Sequence[StageCost], free_memory: float, free_disk: float) -> list[str]:
    """A warning for memory and for disk, where the run needs more bytes than are free."""
    said = []
    largest, disk = max(costs, key=lambda cost: cost.memory), sum(cost.disk for cost in costs)
    if largest.memory > free_memory:
        said.append(
            f"Warning: memory: {largest.stage} takes {largest.memory / GIB:.1f} GiB, and {free_memory / GIB:.1f} are "
            "free: close other programs, or set POLCA_WORKERS lower."
        )
    if disk > free_disk:
        said.append(
            f"Warning: disk: results take {disk / GIB:.1f} GiB, and {free_disk / GIB:.1f} are free: make room in runs/."
        )
    return said


def on_load(rate: Rate) -> str:
    """Whether the machine was busy while its rate was measured."""
    if rate.busy is None:
        return "Whether other work slows this machine cannot be told: its clock is not known."
    if not rate.busy:
        return ""
    return (
        f"Warning: this machine is busy: the measurement had {rate.core_share:.0%} of a core"
        + (f", and an idle one gives {rate.idle / 1e9:.0f} GFLOP/s or more" if rate.idle is not None else "")
        + ". Idle, it is faster than said here; run polca plan again then."
    )


def print_plan(paths: PresetPaths) -> None:
    """Measure this machine and print the estimate for a preset.

    Raises:
        PolcaError: a parameter is missing or impossible.
    """
    workers = cores = default_workers()
    preset, console = Preset.read(paths), Console()
    costs, rate = plan(preset, workers), matrix_product_rate()
    wide = {name for name in preset.sources if preset.task(name).model().width >= GPU_WIDTH}  # type: ignore[attr-defined]
    on_gpu = [cost.gpu_seconds() if cost.stage.split("@")[1] in wide else None for cost in costs]
    numbers = ("TFLOP", "disk, MiB", "memory, MiB", "one core", "one H100")
    table = Table("stage", *(Column(name, justify="right") for name in numbers))
    for cost, gpu in zip(costs, on_gpu, strict=True):
        values = (cost.flops / 1e12, cost.disk / 2**20, cost.memory / 2**20)
        times = (spoken(cost.core_seconds(rate.value)), "–" if gpu is None else spoken(gpu))
        table.add_row(cost.stage, *(f"{value:,.0f}" for value in values), *times)
    console.print(table)
    wall = wall_seconds(costs, rate.value, workers, cores)
    free_disk = shutil.disk_usage(paths.root).free
    lines = [
        f"Here: about {spoken(wall)} without the light stages ({rate.value / 1e9:.0f} GFLOP/s a core, {cores} cores, "
        f"{workers} workers), {sum(c.disk for c in costs) / GIB:.1f} GiB of results. These are estimates, good to a "
        "factor of two.",
        "On one H100: "
        + (
            f"about {spoken(sum(filter(None, on_gpu)))}, from measured pieces (float32, clustering apart)."
            if wide
            else f"not estimated, because it was measured at the published width of {GPU_WIDTH} alone."
        ),
        on_load(rate),
        *shortages(costs, psutil.virtual_memory().available, free_disk),
    ]
    for line in filter(None, lines):
        console.print(line, markup=False, highlight=False)
