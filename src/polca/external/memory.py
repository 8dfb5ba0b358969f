"""What an analysis will hold in memory, said before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor

from polca.typing import TokenLossFunction

KRYLOV_BLOCK = 32
"""Lanczos makes room for so many vectors at a time (`method.curvature.lanczos`), which as a rule is enough."""
_WEIGHTS = 6
"""Copies of the weights: the model's, the checkpoint's, those under the graph, a gradient and two products."""
_SECOND_BACKWARD = 4
"""A graph that is differentiated twice holds about so many times what one backward pass needs."""
_LIVE = 4
"""Results of operations that a forward pass holds at once, of the size of the largest."""


@dataclass(frozen=True)
class Memory:
    """Bytes, within a factor of two.

    Attributes:
        weights: the model's weights in all their copies.
        basis: K vectors in weight space, and once more while they are written.
        lanczos: Krylov vectors of one block; `lanczos_most` is for as many as there may be products.
        batch: what the larger stage holds for one batch: two backward passes, or a forward pass with K tangents.
    """

    weights: int
    basis: int
    lanczos: int
    lanczos_most: int
    batch: int
    workers: int = 1

    @property
    def total(self) -> int:
        """The larger of the two stages."""
        making = self.weights + self.basis + self.lanczos + self.batch
        return max(making, self.workers * (self.weights + self.basis // 2 + self.batch))

    def sentence(self, free: int) -> str:
        """In GiB, against what is free, with the way to lower it where that is less."""

        def gib(size: int) -> str:
            return f"{size / 2**30:.2g}" if size < 10 * 2**30 else f"{size / 2**30:.0f}"

        said = (
            f"memory, roughly: basis {gib(self.basis)} GiB, Lanczos {gib(self.lanczos)} (at most "
            f"{gib(self.lanczos_most)}), a batch {gib(self.batch)}, weights {gib(self.weights)}; "
            f"together {gib(self.total)} of {gib(free)} GiB that are free"
        )
        if self.total <= free:
            return said
        parts = {"--vectors": self.basis, "--max-matvecs": self.lanczos, "--batch": self.batch}
        first = max(parts, key=lambda name: parts[name])
        others = ", ".join(name for name in (*parts, "--context", "--workers") if name != first)
        return f"{said}: this may not fit. Lower {first} first ({others} help too)"


def estimated(
    token_loss: TokenLossFunction,
    params: Mapping[str, Tensor],
    batch: Any,
    *,
    vectors: int,
    max_matvecs: int,
    curvature: bool,
    workers: int = 1,
) -> Memory:
    """What an analysis takes, from the size of the weights and one forward pass over `batch`.

    Args:
        batch: the largest one of the basis and of the evaluation.
        vectors: K.
    """
    vector = sum(p.numel() * p.element_size() for p in params.values())
    own = {p.untyped_storage().data_ptr() for p in params.values()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = token_loss({name: p.detach().view_as(p).requires_grad_() for name, p in params.items()}, batch)
    largest = max(kept.values(), default=losses.numel() * losses.element_size())
    tangents = vectors * (2 if curvature else 1)
    return Memory(
        weights=_WEIGHTS * vector,
        basis=2 * vectors * vector,
        lanczos=min(KRYLOV_BLOCK, max_matvecs) * vector,
        lanczos_most=max_matvecs * vector,
        batch=max(_SECOND_BACKWARD * sum(kept.values()), _LIVE * (1 + tangents) * largest),
        workers=workers,
    )


def free_memory() -> int:
    """Bytes that a new process could have without swapping."""
    return int(psutil.virtual_memory().available)
