"""Deterministic training that writes checkpoints and resumes after a kill to the same bits (App. D)."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.distributed import is_first, shard, sum_over_ranks, world_size
from polca.machine.files import read_json, read_tensors, write_json, write_tensors
from polca.machine.products import PortableProducts
from polca.machine.progress import progress
from polca.machine.runtime import device, on_device
from polca.method.checkpoints import WritableCheckpoints
from polca.tasks.settings import TrainingSettings
from polca.typing import TokenLossFunction


class _ResumeState:
    """What an interrupted run needs to go on, in a folder of its own, replaced whole at every save."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def load(self) -> tuple[int, dict[str, Tensor], dict[str, list[float]]] | None:
        """Step, parameters with the optimiser's moments, and log; None where there is nothing to go on from."""
        marker = self.directory / "state.json"
        if not marker.is_file():
            return None
        try:
            step = int(read_json(marker)["step"])
            log = read_json(self.directory / f"log_{step}.json")
            return step, read_tensors(self.directory / f"state_{step}.safetensors"), log
        except (PolcaError, KeyError, OSError):
            return None  # a damaged state costs the time already spent, nothing else

    def save(self, step: int, tensors: Mapping[str, Tensor], log: dict[str, list[float]]) -> None:
        write_tensors(self.directory / f"state_{step}.safetensors", tensors)
        write_json(self.directory / f"log_{step}.json", log)
        write_json(self.directory / "state.json", {"step": step})  # the commit: names files that are whole
        for path in self.directory.glob("*_*.*"):
            if path.stem.split("_")[-1] != str(step):
                path.unlink(missing_ok=True)


def _loss_and_gradients(
    token_loss: TokenLossFunction, params: Mapping[str, Tensor], batch: Any
) -> tuple[float, Sequence[Tensor]]:
    """Mean loss of a batch over its tokens, and its gradients; with several processes each takes a share of it."""
    leaves = list(params.values())
    if world_size() == 1:
        loss = token_loss(params, on_device(batch)).mean()
        return loss.item(), torch.autograd.grad(loss, leaves)
    losses = token_loss(params, on_device(shard([batch])[0]))
    total = losses.sum()
    tokens = torch.full_like(total, losses.numel())
    # Sums and their number of tokens: shares that differ in size then count as they should.
    *summed, total, tokens = sum_over_ranks([*torch.autograd.grad(total, leaves), total, tokens])
    return (total / tokens).item(), [gradient / tokens for gradient in summed]


def train(
    token_loss: TokenLossFunction,
    parameters: Mapping[str, Tensor],
    batches: Callable[[int], Any],
    config: TrainingSettings,
    checkpoints: WritableCheckpoints,
    resume: Path | None = None,
    description: str = "train",
) -> pd.DataFrame:
    """Train with AdamW and write a checkpoint every `checkpoint_interval` steps, step 0 included.

    Under torchrun each process takes its share of every batch; the first one writes.

    Args:
        token_loss: `(params, batch) → losses [sequences, targets]`; their mean is minimised.
        parameters: initial parameters by name; left unchanged.
        batches: gives the batch of an update from its number, so that a resumed run sees the same data.
        checkpoints: where checkpoints go.
        resume: folder for the state of an unfinished run; None keeps none.

    Returns:
        Log with columns `step`, `loss` (nats, of the batch before the update), `learning_rate`.

    Raises:
        PolcaError: the loss is not finite, or a file cannot be written.
    """
    params = {name: on_device(p.detach().clone()) for name, p in parameters.items()}
    leaves = list(params.values())
    optimizer = torch.optim.AdamW(
        leaves, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )
    log: dict[str, list[float]] = {"step": [], "loss": [], "learning_rate": []}
    state = None if resume is None else _ResumeState(resume)
    first = 0
    if state is not None and (saved := state.load()) is not None:
        first, tensors, entries = saved
        log = {name: entries[name] for name in log}
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(tensors[f"parameter.{name}"])
                optimizer.state[p] = {
                    "step": torch.tensor(float(first), device=device()),
                    "exp_avg": on_device(tensors[f"first.{name}"].clone()),
                    "exp_avg_sq": on_device(tensors[f"second.{name}"].clone()),
                }
    elif is_first():
        checkpoints.save(0, params)
    for p in leaves:
        p.requires_grad_()

    with progress(description, config.steps, first) as bar, PortableProducts():
        for step in range(first, config.steps):
            value, gradients = _loss_and_gradients(token_loss, params, batches(step))
            if not math.isfinite(value):
                raise PolcaError(
                    f"training: the loss is {value} at step {step}: lower training.learning_rate or check the data"
                )
            for p, gradient in zip(leaves, gradients, strict=True):
                # The fused CPU optimiser reads gradients as if they were contiguous, whatever their strides.
                p.grad = gradient.contiguous()
            for group in optimizer.param_groups:
                group["lr"] = config.rate(step)
            optimizer.step()
            for name, entry in (("step", step), ("loss", value), ("learning_rate", config.rate(step))):
                log[name].append(entry)
            done = step + 1
            if is_first() and done % config.checkpoint_interval == 0:
                checkpoints.save(done, params)
            if state is not None and is_first() and done % config.resume_interval == 0 and done < config.steps:
                moments = {f"parameter.{name}": p for name, p in params.items()}
                for name, p in params.items():
                    moments[f"first.{name}"] = optimizer.state[p]["exp_avg"]
                    moments[f"second.{name}"] = optimizer.state[p]["exp_avg_sq"]
                state.save(done, moments, log)
            bar.advance(note=f"loss {value:.3f}")
    return pd.DataFrame(log)
