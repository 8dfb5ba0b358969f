"""Small problems and slow, plain computations that tests compare with."""

from dataclasses import dataclass

import torch
from torch import Tensor

from polca.method.curvature import Layout
from polca.tasks.transformer import TokenLoss


@dataclass
class Problem:
    """A tiny arithmetic model with data."""

    loss: TokenLoss
    params: dict[str, Tensor]
    batch: tuple[Tensor, Tensor]


def random_directions(params: dict[str, Tensor], count: int, seed: int = 0) -> dict[str, Tensor]:
    """`count` directions by parameter name, of length about 1."""
    generator = torch.Generator().manual_seed(seed)
    scale = sum(p.numel() for p in params.values()) ** -0.5
    return {
        name: torch.randn((count, *p.shape), generator=generator, dtype=p.dtype) * scale for name, p in params.items()
    }


def moved(params: dict[str, Tensor], directions: dict[str, Tensor], index: int, distance: float) -> dict[str, Tensor]:
    """θ + distance · b."""
    return {name: p + distance * directions[name][index] for name, p in params.items()}


def dense_hessian(problem) -> torch.Tensor:
    """The explicit Hessian of the mean loss, by plain autograd on the flat vector."""
    layout = Layout.of(problem.params)
    return torch.autograd.functional.hessian(
        lambda flat: problem.loss(layout.split(flat), problem.batch).mean(), layout.flatten(problem.params)
    )


class InMemory:
    """Checkpoints in a dict."""

    def __init__(self, content) -> None:
        self.content = content

    def steps(self):
        return sorted(self.content)

    def load(self, step):
        return self.content[step]
