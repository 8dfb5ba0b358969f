"""Images of three classes, and checkpoints of a model trained on them for a moment."""

from pathlib import Path

import torch

from polca.method.checkpoints import CheckpointDirectory


def train_on_images(model: torch.nn.Module, directory: Path) -> None:
    """Fifty steps, with a checkpoint every ten."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.2 * torch.randn_like(p))
    x, y = images()
    files = CheckpointDirectory(directory)
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    for step in range(51):
        if step % 10 == 0:
            files.save(step, model.state_dict())
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    y = torch.arange(60) % 3
    return torch.randn(60, 4, 4, generator=generator) + 0.5 * y[:, None, None], y
