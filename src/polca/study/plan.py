"""What a preset will take before it is run: arithmetic, disk, memory and time of each heavy stage (`polca plan`).

The unit is one forward pass. In matrix products, which are nearly all of the arithmetic, an update of training costs 3
of them, the graph of a gradient 4, a product with the Hessian on that graph 6, projections on K directions 1 + 2K by
forward mode or 1 + targets + K by backward passes, and K directions with exact curvature 1 + 4K (tests count the
products). How many Hessian products Lanczos needs is known only afterwards: `PRODUCTS` is assumed.
"""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import psutil

from polca.study.settings import Preset
from polca.tasks.task import TransformerTask
from polca.tasks.transformer import ModelConfig, parameter_count

PRODUCTS = 9
"""Hessian products that Lanczos needs for one vector, about what the laptop and wikipedia runs needed."""
SHARES = {"train": 0.6, "basis": 0.6, "project": 0.7}
"""Share of the matrix-product rate that each kind of stage reaches on one core, rounded from measurements."""
GPU_RATES: Mapping[str, float] = {
    "train@arithmetic": 15e12,  # 2.15 ms a step of 64 additions, replayed as a CUDA graph
    "basis@arithmetic": 23e12,  # 0.55 s a vector on 1,250 additions
    "project@arithmetic": 39e12,  # 0.36 s a checkpoint: 5,000 tokens, 60 vectors
    "train@english": 38e12,  # 33 ms a step of 64 windows of 128 tokens
    "basis@english": 24e12,  # 2.7 ms a window and product, 25 windows at once
    "project@english": 24e12,  # 29 ms for 10 windows and 5 vectors
}
"""Operations a second on one NVIDIA H100 in float32, as counted here, from the pieces beside them (published sizes).

Narrower models reach far less, because launching kernels takes longer than the kernels.
"""
GPU_WIDTH = 512
"""The published width, below which nothing is said of a GPU."""
PER_CYCLE, SHARE_OF_PEAK = 32, 0.6
"""float32 operations a cycle of a core with AVX2; of these, what an idle core reaches at least."""
WHOLE_CORE, ATTEMPTS = 0.9, 3
"""Share of a core that a process has to itself; how often the rate is measured on a busy machine."""
PROCESS_BYTES = 350 * 2**20
"""What a process holds once PyTorch is imported."""


@dataclass(frozen=True)
class StageCost:
    """One heavy stage.

    Attributes:
        flops: floating-point operations of its matrix products.
        disk: bytes of its results.
        memory: bytes at its peak, all its processes together, where its batches are the preset's.
    """

    stage: str
    flops: float
    disk: float
    memory: float

    def core_seconds(self, rate: float) -> float:
        """Seconds on one core whose matrix products run at `rate` operations a second."""
        return self.flops / (rate * SHARES[self.stage.split("@")[0]])

    def gpu_seconds(self) -> float:
        """Seconds on one H100."""
        return self.flops / GPU_RATES[self.stage]


def forward_flops(config: ModelConfig, length: int) -> float:
    """Operations of the matrix products of a forward pass over one sequence of `length` tokens."""
    width, mlp = config.width, config.mlp_width
    targets = config.targets or length
    keys = 2 * width * width * length
    # In the last block, queries, output and MLP are computed at the predicting positions only.
    blocks = sum(
        keys + at * (2 * width * width + 2 * width * mlp + 2 * length * width)
        for at in [length] * (config.layers - 1) + [targets]
    )
    return 2.0 * (blocks + targets * width * config.output_vocabulary)


def _train(config: ModelConfig, length: int, steps: int, batch: int, interval: int, name: str) -> StageCost:
    weights = 4 * parameter_count(config)
    logits = 4 * batch * (config.targets or length) * config.output_vocabulary
    activations = 4 * batch * length * config.layers * (16 * config.width + 3 * config.mlp_width)
    return StageCost(
        f"train@{name}",
        3 * forward_flops(config, length) * batch * steps,
        weights * (steps // interval + 1),
        PROCESS_BYTES + 5 * weights + 4 * logits + activations,
    )


def _basis(
    config: ModelConfig, length: int, examples: int, held: int, vectors: Sequence[int], workers: int, name: str
) -> StageCost:
    """`held`: examples whose graph is in memory at once; `vectors`: of each Hessian basis, one process a basis."""
    weights, count = 4 * parameter_count(config), sum(vectors)
    graph = 4 * held * (
        6 * (config.targets or length) * config.output_vocabulary
        + length * config.layers * (40 * config.width + 10 * config.mlp_width)
    )  # fmt: skip
    processes = min(workers, len(vectors))
    return StageCost(
        f"basis@{name}",
        forward_flops(config, length) * examples * count * (4 + 6 * PRODUCTS if held == examples else 10 * PRODUCTS),
        weights * count,
        processes * (PROCESS_BYTES + weights * (max(vectors) + 40) + graph),
    )


def _project(
    config: ModelConfig, length: int, sequences: int, batch: int, units: float, kept: int, held: int,
    workers: int, name: str,
) -> StageCost:  # fmt: skip
    """`units`: forward passes over all checkpoints; `kept`: numbers stored a token; `held`: vectors in memory."""
    tokens = sequences * (config.targets or length)
    rows = min(batch, sequences) * length
    # Values and derivatives of the widest layer, several at a time.
    buffers = 4 * rows * held * (6 * config.mlp_width + 12 * config.width) + 16 * rows * config.output_vocabulary
    return StageCost(
        f"project@{name}",
        forward_flops(config, length) * sequences * units,
        4 * tokens * kept,
        workers * (PROCESS_BYTES + 4 * parameter_count(config) * (held + 2) + buffers) + 4 * tokens * kept,
    )


def _costs(task: TransformerTask, kinds: Sequence[str], workers: int) -> list[StageCost]:
    training, basis, polca = task.settings.training, task.settings.basis, task.settings.polca
    config, evaluated, length = task.model(), task.model(evaluated=True), task.length
    vectors, targets = basis.vectors * basis.per_step, evaluated.targets or length
    dense = [kind for kind in kinds if kind != "lca"]
    exact = [kind for kind in dense if kind in polca.curvature_of]
    axes, points = basis.lca_parameters if "lca" in kinds else 0, training.steps // polca.interval + 1
    curved = min(polca.curvature_points or points, points) if exact else 0

    def gradients(plain: int) -> int:
        """Units of a checkpoint's projections on so many dense bases, and on the axes."""
        forward = targets > plain * vectors and not axes
        return 1 + (2 * plain * vectors if forward else targets + plain * vectors) if plain or axes else 0

    units = curved * (len(exact) * (1 + 4 * vectors) + gradients(len(dense) - len(exact)))
    units += (points - curved) * gradients(len(dense))
    # Without kept graphs every product makes each batch's anew.
    held = basis.hessian_examples if task.keep_graphs else polca.batch_sequences
    hessians = [vectors for kind in dense if kind != "random"]
    return [
        _train(config, length, training.steps, training.batch_size, training.checkpoint_interval, task.name),
        _basis(config, length, basis.hessian_examples, held, hessians, workers, task.name),
        _project(
            evaluated, length, task.evaluation_sequences, polca.batch_sequences, units,
            points * (1 + len(dense) * vectors + axes) + curved * len(exact) * vectors, len(dense) * vectors,
            workers, task.name,
        ),
    ]  # fmt: skip


def plan(preset: Preset, workers: int) -> list[StageCost]:
    """The heavy stages of a preset's tasks, in the order of the pipeline.

    Raises:
        PolcaError: a parameter is missing or impossible.
    """
    tasks = [preset.arithmetic() if name == "arithmetic" else preset.english() for name in preset.sources]
    return [cost for task in tasks for cost in _costs(task, task.bases, workers)]


def wall_seconds(costs: Sequence[StageCost], rate: float, workers: int, cores: int) -> float:
    """The tasks' chains side by side on `cores` cores: training and English bases keep one core busy each."""

    def alone(cost: StageCost) -> float:
        many = cost.stage in ("basis@arithmetic", "project@arithmetic", "project@english")
        return cost.core_seconds(rate) / (min(workers, cores) if many else 1)

    tasks = {c.stage.split("@")[1] for c in costs}
    chains = [sum(alone(c) for c in costs if c.stage.endswith(task)) for task in tasks]
    return max(*chains, sum(cost.core_seconds(rate) for cost in costs) / cores)


# --- The rate of this machine -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rate:
    """How fast one core of this machine multiplies float32 matrices.

    Attributes:
        value: operations a second.
        core_share: CPU time over elapsed time while it was measured; below 1 where others use the core.
        idle: operations a second that an idle core gives at least; None where its clock is not known.
    """

    value: float
    core_share: float
    idle: float | None

    @property
    def busy(self) -> bool | None:
        """Whether other work slows the core; None where that cannot be told."""
        if self.core_share < WHOLE_CORE:
            return True
        return None if self.idle is None else self.value < self.idle


def idle_rate() -> float | None:
    """Operations a second that an idle core gives at least, by its clock; None where that is not known."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        clock = psutil.cpu_freq()
    except (OSError, RuntimeError, NotImplementedError):
        return None
    # Some virtual machines say 0.
    return SHARE_OF_PEAK * PER_CYCLE * clock.current * 1e6 if clock is not None and clock.current else None


def measure(seconds: float = 0.3) -> tuple[float, float]:
    """Operations a second of float32 matrix products, and the share of a core that they got."""
    a = np.ones((512, 512), np.float32)
    a @ a  # the first product loads the library
    start, own, count = time.perf_counter(), time.process_time(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        a @ a
        count += 1
    return 2 * 512**3 * count / elapsed, (time.process_time() - own) / elapsed


def matrix_product_rate(
    measured: Callable[[], tuple[float, float]] = measure, idle: Callable[[], float | None] = idle_rate
) -> Rate:
    """The best of up to `ATTEMPTS` measurements: again where the machine looks busy."""
    expected, best = idle(), Rate(0.0, 0.0, None)
    for _ in range(ATTEMPTS):
        rate = Rate(*measured(), expected)
        best = max(best, rate, key=lambda r: r.value)
        if not rate.busy:
            break
    return best
