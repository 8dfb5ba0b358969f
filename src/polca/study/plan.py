"""What a preset will take before it is run: arithmetic, disk, memory and time of each heavy stage (`polca plan`).

The unit is one forward pass. In matrix products, which are nearly all of the arithmetic, an update of training costs 3
of them, the graph of a gradient 4, a product with the Hessian on that graph 6, projections on K directions 1 + 2K by
forward mode or 1 + targets + K by backward passes, and K directions with exact curvature 1 + 4K (tests count the
products). How many Hessian products Lanczos needs is known only afterwards: `PRODUCTS` is assumed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polca.machine.files import PresetPaths
from polca.study.english_settings import EnglishSettings, read_english
from polca.study.settings import ArithmeticSettings, read_arithmetic
from polca.tasks import arithmetic
from polca.tasks.transformer import ModelConfig, parameter_count

PRODUCTS = 9
"""Hessian products that Lanczos needs for one vector, about what the laptop and wikipedia runs needed."""
SHARES = {"train": 0.6, "basis": 0.6, "project": 0.7}
"""Share of the matrix-product rate that each kind of stage reaches on one core, rounded from measurements."""
GRAPH_BYTES = 1 << 28
"""As in pipelines/english_basis.py: logits of the Hessian sample up to which its whole graph is kept."""
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
        return self.flops / (rate * SHARES[self.stage.split("_")[1]])


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
        f"{name}_train",
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
        f"{name}_basis",
        forward_flops(config, length) * examples * count * (4 + 6 * PRODUCTS if held == examples else 10 * PRODUCTS),
        weights * count,
        processes * (PROCESS_BYTES + weights * (max(vectors) + 40) + graph),
    )


def _project(
    config: ModelConfig, length: int, sequences: int, batch: int, units: float, kept: int, held: int,
    checkpoints: int, workers: int, name: str,
) -> StageCost:  # fmt: skip
    """`units`: forward passes a checkpoint; `kept`: numbers stored a token; `held`: vectors in memory."""
    tokens = sequences * (config.targets or length)
    rows = min(batch, sequences) * length
    # Values and derivatives of the widest layer, several at a time.
    buffers = 4 * rows * held * (6 * config.mlp_width + 12 * config.width) + 16 * rows * config.output_vocabulary
    return StageCost(
        f"{name}_project",
        forward_flops(config, length) * sequences * units * checkpoints,
        4 * checkpoints * tokens * (1 + kept),
        workers * (PROCESS_BYTES + 4 * parameter_count(config) * (held + 2) + buffers)
        + 4 * checkpoints * tokens * (1 + kept),
    )


def _arithmetic(settings: ArithmeticSettings) -> list[StageCost]:
    config, length = settings.model, arithmetic.CONTEXT - 1
    training, basis, polca = settings.training, settings.basis, settings.polca
    vectors, targets = basis.vectors * basis.per_step, arithmetic.OUTPUT_DIGITS
    dense = ("hessian", "shuffled_hessian", "random")
    exact = [name for name in dense if name in polca.curvature_of]
    plain = len(dense) - len(exact)
    units = sum(1 + 4 * vectors for _ in exact) + 1 + targets + plain * vectors
    kept = len(dense) * vectors + len(exact) * vectors + settings.lca_parameters
    return [
        _train(config, length, training.steps, training.batch_size, training.checkpoint_interval, "arithmetic"),
        _basis(
            config, length, basis.hessian_examples, basis.hessian_examples, [vectors] * 2, settings.workers,
            "arithmetic",
        ),
        _project(
            config, length, settings.evaluation_examples, polca.batch_sequences, units, kept, len(dense) * vectors,
            training.steps // polca.interval + 1, settings.workers, "arithmetic",
        ),
    ]  # fmt: skip


def _english(settings: EnglishSettings) -> list[StageCost]:
    length = settings.sizes.context
    training, basis, polca = settings.training, settings.basis, settings.polca
    vectors = basis.vectors * basis.per_step
    exact = "hessian" in polca.curvature_of
    # Without kept graphs every product makes each batch's anew.
    examples = basis.hessian_examples
    kept = 4 * examples * (length + 1) * settings.vocabulary <= GRAPH_BYTES
    config = settings.model()
    return [
        _train(config, length, training.steps, training.batch_size, training.checkpoint_interval, "english"),
        _basis(config, length, examples, examples if kept else polca.batch_sequences, [vectors], 1, "english"),
        _project(
            settings.model(evaluated=True), length, settings.data.evaluation_contexts, polca.batch_sequences,
            1 + (4 if exact else 2) * vectors, vectors * (2 if exact else 1), vectors,
            training.steps // polca.interval + 1, settings.workers, "english",
        ),
    ]  # fmt: skip


def plan(paths: PresetPaths) -> list[StageCost]:
    """The heavy stages of a preset, in the order of the pipeline.

    Raises:
        PolcaError: a parameter is missing or impossible.
    """
    return [*_arithmetic(read_arithmetic(paths.params)), *_english(read_english(paths.params))]


def wall_seconds(costs: Sequence[StageCost], rate: float, workers: int, cores: int) -> float:
    """Both settings' chains side by side on `cores` cores: training and English bases keep one core busy each."""

    def alone(cost: StageCost) -> float:
        many = cost.stage in ("arithmetic_basis", "arithmetic_project", "english_project")
        return cost.core_seconds(rate) / (min(workers, cores) if many else 1)

    chains = [sum(alone(c) for c in costs if c.stage.startswith(setting)) for setting in ("arithmetic", "english")]
    return max(*chains, sum(cost.core_seconds(rate) for cost in costs) / cores)


def matrix_product_rate(seconds: float = 0.3) -> float:
    """Operations a second of float32 matrix products on one core of this machine, measured for `seconds`."""
    a = np.ones((512, 512), np.float32)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        a @ a
        count += 1
    return 2 * 512**3 * count / (time.perf_counter() - start)
