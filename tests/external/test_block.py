"""Directions in chosen parameters: the Hessian's block from dense autograd, and the command line's option."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from oracles import InMemory, by_autograd
from polca.errors import PolcaError
from polca.external.block import block_basis, chosen_names
from polca.external.modules import ModuleLoss, parameters_of
from polca.method.bases import Basis, LanczosOptions
from polca.method.curvature import Layout
from polca.method.projections import project

NAMES = ("0.weight", "0.bias", "2.weight", "2.bias")


def test_block_of_the_hessian() -> None:
    """Its eigenpairs, exactly 0 elsewhere; and projections are what the chosen parameters did, though all moved."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    first = parameters_of(model)
    later = {name: p + 0.1 * torch.randn_like(p) for name, p in first.items()}
    x, y = torch.randn(12, 4, dtype=torch.float64), torch.arange(12) % 3
    loss, checkpoints = ModuleLoss(model), InMemory({0: first, 10: later})
    options = LanczosOptions(per_step=2, tolerance=1e-11)
    names = chosen_names(NAMES, "2.*")
    basis = block_basis(loss, checkpoints, [(x, y)], names, steps=[10], options=options)
    layout = Layout.of(later)
    dense = torch.autograd.functional.hessian(
        lambda flat: loss(layout.split(flat), (x, y)).mean(), layout.flatten(later)
    )
    inside = layout.flatten({name: torch.full_like(p, float(name in names)) for name, p in later.items()}) > 0
    values, vectors = torch.linalg.eigh(dense[inside][:, inside])
    np.testing.assert_allclose(basis.eigenvalues, values.flip(0)[:2], rtol=1e-9)
    flat = basis.flat(layout.names)
    assert not flat[:, ~inside].any()
    overlap = (flat[:, inside] @ vectors.flip(1)[:, :2]).abs()
    torch.testing.assert_close(overlap, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-7)
    found = project(loss, checkpoints, basis, [(x, y)])
    gradients, _ = by_autograd(loss, later, basis.vectors, (x, y))
    np.testing.assert_allclose(found.gradients[1], gradients.flatten(1).T, rtol=1e-9, atol=1e-12)
    step = layout.flatten({n: (later[n] - first[n]) * (n in names) for n in later})
    np.testing.assert_allclose(found.movements[0], flat @ step, rtol=1e-9)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [("2.*", ["2.weight", "2.bias"]), ("*.bias, 0.weight", ["0.weight", "0.bias", "2.bias"]), ("*", [*NAMES])],
)
def test_patterns(patterns: str, expected: list[str]) -> None:
    assert chosen_names(NAMES, patterns) == expected


def test_refusals() -> None:
    with pytest.raises(PolcaError, match=r"parameter_names: '3\.\*' fits no parameter \(0\.weight, "):
        chosen_names(NAMES, "2.*,3.*")
    model = nn.Linear(2, 3)
    checkpoints, data = InMemory({0: parameters_of(model)}), [(torch.ones(2, 2), torch.zeros(2, dtype=torch.int64))]
    with pytest.raises(PolcaError, match="3 numbers cannot hold 4 vectors"):
        block_basis(ModuleLoss(model), checkpoints, data, ["bias"], steps=[0], options=LanczosOptions(per_step=4))


def test_command(command: Any, tmp_path: Path) -> None:
    """The classifier's last layer alone; another choice makes the basis anew."""
    out = tmp_path / "out"
    for pattern, inside in (("3.*", {"3.weight", "3.bias"}), ("1.*", {"1.weight", "1.bias"})):
        result = command(out, "--parameter-names", pattern)
        assert result.exception is None, result.exception
        basis = Basis.load(out / "basis.safetensors")
        assert {name for name, v in basis.vectors.items() if v.any()} == inside
        assert json.loads((out / "summary.json").read_text())["settings"]["parameter_names"] == pattern
        assert f"Directions lie in the parameters {pattern} alone" in (out / "summary.txt").read_text()
    assert "fits no parameter" in str(command(tmp_path / "other", "--parameter-names", "9.*").exception)
    assert not (tmp_path / "other" / "basis.safetensors").exists()
