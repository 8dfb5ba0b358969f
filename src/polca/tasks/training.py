"""Deterministic training that writes checkpoints and resumes after a kill to the same bits (App. D)."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.distributed import is_first, shard, sum_over_ranks, world_size
from polca.machine.files import read_tensors, write_tensors
from polca.machine.products import PortableProducts
from polca.machine.progress import progress
from polca.machine.runtime import device, on_device
from polca.method.checkpoints import WritableCheckpoints
from polca.tasks.settings import TrainingSettings
from polca.typing import TokenLossFunction


def _kept(path: Path | None) -> dict[str, Tensor] | None:
    """The state of an unfinished run; None where there is none. A damaged one costs the time already spent."""
    with suppress(PolcaError):
        if path is not None and path.is_file():
            return read_tensors(path)
    return None


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
    losses: list[float] = []
    state = None if resume is None else resume / "state.safetensors"
    if (kept := _kept(state)) is not None:
        losses = kept["losses"].tolist()
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(kept[f"parameter.{name}"])
                optimizer.state[p] = {
                    "step": torch.tensor(float(len(losses)), device=device()),
                    "exp_avg": on_device(kept[f"first.{name}"].clone()),
                    "exp_avg_sq": on_device(kept[f"second.{name}"].clone()),
                }
    elif is_first():
        checkpoints.save(0, params)
    for p in leaves:
        p.requires_grad_()

    with progress(description, config.steps, len(losses)) as bar, PortableProducts():
        for step in range(len(losses), config.steps):
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
            losses.append(value)
            done = step + 1
            if is_first() and done % config.checkpoint_interval == 0:
                checkpoints.save(done, params)
            if state is not None and is_first() and done % config.resume_interval == 0 and done < config.steps:
                tensors = {"losses": torch.tensor(losses, dtype=torch.float64)}
                for name, p in params.items():
                    moments = optimizer.state[p]
                    tensors |= {f"parameter.{name}": p, f"first.{name}": moments["exp_avg"]}
                    tensors[f"second.{name}"] = moments["exp_avg_sq"]
                write_tensors(state, tensors)
            bar.advance(note=f"loss {value:.3f}")
    steps = range(config.steps)
    return pd.DataFrame({"step": steps, "loss": losses, "learning_rate": [config.rate(step) for step in steps]})
