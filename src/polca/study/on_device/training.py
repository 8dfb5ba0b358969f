"""Training by replay of one CUDA graph: an update is about two hundred small kernels, slower to start than to run.

What `tasks.training.train` does, with the batch, the rate and the losses on the device, so that no update waits for the
host. Without a GPU the same update runs as it stands.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.products import PortableProducts
from polca.machine.runtime import device, on_device
from polca.method.checkpoints import MemoryCheckpoints
from polca.tasks.settings import TrainingSettings
from polca.typing import TokenLossFunction

CHUNK = 500
"""Updates whose data go to the device at once; after each chunk the losses are looked at."""
NOTED = 5000
"""Updates from one word on the loss to the next."""
WARM_UP = 3
"""Updates before a graph is captured, in which libraries choose kernels and take their memory."""

Update = Callable[[], None]


class BudgetedCheckpoints(MemoryCheckpoints):
    """Checkpoints on the device on which they were made, and in the host's memory beyond a budget.

    Args:
        budget: bytes on the device; None for no bound.
    """

    def __init__(self, budget: int | None = None) -> None:
        super().__init__()
        self._budget, self.used = budget, 0

    def save(self, step: int, parameters: Mapping[str, Tensor]) -> None:
        """Keep a copy of the parameters of `step`."""
        size = sum(p.numel() * p.element_size() for p in parameters.values())
        if self._budget is not None and self.used + size > self._budget:
            parameters = {name: p.detach().cpu() for name, p in parameters.items()}
        else:
            self.used += size
        super().save(step, parameters)


def capture(update: Update) -> Update:
    """An update as one CUDA graph to replay."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update()
    return graph.replay


def prepared(
    update: Update, reset: Update, note: Callable[[str], None], capturing: Callable[[Update], Update]
) -> Update:
    """An update to call again and again, captured after a few on a stream of their own, which `reset` undoes.

    Where it cannot be captured, `note` says so and the update is run as it stands.
    """
    stream = torch.cuda.Stream() if device().type == "cuda" else None
    try:
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                update()
        if stream is not None:
            torch.cuda.current_stream().wait_stream(stream)
        replay = capturing(update)
    except RuntimeError as error:
        if stream is not None:
            torch.cuda.synchronize()
        note(f"no CUDA graph, training goes step by step: {str(error).splitlines()[0]}")
        replay = update
    reset()
    return replay


def train_on_device(
    token_loss: TokenLossFunction,
    parameters: Mapping[str, Tensor],
    batches: Callable[[int], tuple[Tensor, ...]],
    config: TrainingSettings,
    checkpoints: BudgetedCheckpoints,
    keep: Collection[int],
    note: Callable[[str], None] = lambda text: None,
    capturing: Callable[[Update], Update] | None = None,
) -> pd.DataFrame:
    """Train with AdamW from `parameters`, as `tasks.training.train`, on `runtime.device()`.

    Args:
        token_loss: `(params, batch) → losses [sequences, targets]`; their mean is minimised.
        batches: the tensors of an update's batch, of the same shapes in every update.
        checkpoints: where the steps of `keep` go.
        note: told where no graph could be captured, and of the loss every 5,000 updates.
        capturing: makes an update fast to repeat; by default `capture` on a GPU, nothing on a CPU.

    Returns:
        Log with columns `step`, `loss` (nats, of the batch before the update), `learning_rate`.

    Raises:
        PolcaError: the loss is not finite.
    """
    place, initial = device(), {name: p.detach() for name, p in parameters.items()}
    params = {name: p.to(place, copy=True).requires_grad_() for name, p in initial.items()}
    leaves = list(params.values())
    rate = torch.tensor(config.rate(0), device=place)
    optimizer = torch.optim.AdamW(
        leaves,
        lr=rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
        capturable=place.type == "cuda",
    )
    batch = tuple(part.clone() for part in on_device(batches(0)))
    loss = torch.zeros((), device=place, dtype=leaves[0].dtype)

    def update() -> None:
        mean = token_loss(params, batch).mean()
        loss.copy_(mean.detach())
        for p, gradient in zip(leaves, torch.autograd.grad(mean, leaves), strict=True):
            p.grad = gradient.contiguous()
        optimizer.step()

    def reset() -> None:
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(initial[name])
            for state in optimizer.state.values():
                for value in state.values():
                    value.zero_()

    if 0 in keep:
        checkpoints.save(0, params)
    losses = torch.zeros(config.steps, device=place, dtype=loss.dtype)
    if capturing is None and place.type == "cuda":
        capturing = capture
    with PortableProducts():
        replay = update if capturing is None else prepared(update, reset, note, capturing)
        for first in range(0, config.steps, CHUNK):
            steps = range(first, min(first + CHUNK, config.steps))
            data: list[Any] = [on_device(torch.stack(parts)) for parts in zip(*map(batches, steps), strict=True)]
            for step in steps:
                rate.fill_(config.rate(step))
                for part, ahead in zip(batch, data, strict=True):
                    part.copy_(ahead[step - first])
                replay()
                losses[step] = loss
                if step + 1 in keep:
                    checkpoints.save(step + 1, params)
            if not (finite := torch.isfinite(losses[: steps.stop])).all():
                at = int(torch.argmin(finite.int()))
                raise PolcaError(
                    f"training: the loss is {float(losses[at])} at step {at}: lower training.learning_rate or check "
                    "the data"
                )
            if steps.stop % NOTED == 0:
                note(f"step {steps.stop}: training loss {float(losses[steps.stop - 1]):.4f}")
    rates = [config.rate(step) for step in range(config.steps)]
    return pd.DataFrame({"step": range(config.steps), "loss": losses.double().tolist(), "learning_rate": rates})
