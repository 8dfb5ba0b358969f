"""Recurrent and attention layers of PyTorch itself, and buffers of every type, against autograd."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from oracles import by_autograd
from polca.external.modules import ModuleCheckpoints, ModuleLoss
from polca.method.bases import hessian_basis
from polca.method.checkpoints import CheckpointDirectory
from polca.method.projections import project

IDS = torch.arange(40).reshape(4, 10) % 7


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.layer = kind(4, 5, batch_first=True)
        self.head = nn.Linear(5, 7)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layer(self.embedding(ids))[0])  # type: ignore[no-any-return]


class Encoder(nn.Module):
    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        layer = nn.TransformerEncoderLayer(4, 2, 6, 0.1, batch_first=True, norm_first=norm_first)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(4, 7)

    def forward(self, ids: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        mask = mask.to(self.head.weight.dtype)
        return self.head(self.layers(self.embedding(ids), mask, is_causal=True))  # type: ignore[no-any-return]


class Buffered(nn.Module):
    """Masks, counts and scales that a model keeps beside its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7)
        self.register_buffer("used", torch.tensor([True, True, False, True]))
        self.register_buffer("calls", torch.tensor(3))
        self.register_buffer("scale", torch.tensor([1.0, 0.5, 2.0, 1.5]))

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids) * self.used * self.scale / self.calls)  # type: ignore[no-any-return]


MODELS: dict[str, Any] = {
    "LSTM": lambda: Recurrent(nn.LSTM),
    "GRU": lambda: Recurrent(nn.GRU),
    "TransformerEncoder": lambda: Encoder(False),
    "TransformerEncoder, norm first": lambda: Encoder(True),
    "buffers": Buffered,
}


@pytest.mark.filterwarnings("ignore:forward mode")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_against_autograd(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """Saved as `state_dict` gives it, read back, a basis computed, and tokens projected on it."""
    torch.manual_seed(3)
    model = MODELS[name]().to(dtype)
    files, batch = CheckpointDirectory(tmp_path), (IDS[:, :-1], IDS[:, 1:])
    for step in (0, 10):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
        files.save(step, model.state_dict())
    loss, checkpoints = ModuleLoss(model), ModuleCheckpoints(tmp_path, model)
    assert checkpoints.load(0).keys() == dict(model.named_parameters()).keys()
    basis = hessian_basis(loss, checkpoints, [batch], steps=[10], per_step=2, tolerance=1e-4)
    found = project(loss, checkpoints, basis, [batch], method="forward", curvature=True)
    double = {n: p.double() for n, p in checkpoints.load(10).items()}
    vectors = {n: v.double() for n, v in basis.vectors.items()}
    first, second = by_autograd(ModuleLoss(model.double()), double, vectors, batch)
    rtol = 1e-10 if dtype == torch.float64 else 1e-4
    for value, expected in ((found.gradients, first), (found.token_curvatures, second)):
        assert value is not None
        expected = expected.flatten(1).T
        torch.testing.assert_close(
            torch.from_numpy(value[1]).double(), expected, rtol=rtol, atol=rtol * expected.abs().max().item()
        )
