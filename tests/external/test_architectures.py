"""Architectures of transformers, as the table in docs/your-own-model.md has them, and models that are refused early."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polca.errors import PolcaError
from polca.external.analyze import analyze, check_forward
from polca.external.modules import ModuleLoss, parameters_of
from polca.external.sequences import from_batches
from polca.method.checkpoints import MemoryCheckpoints

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("architectures", ROOT / "benchmarks" / "architectures.py")
assert spec is not None
assert spec.loader is not None
architectures: Any = importlib.util.module_from_spec(spec)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    import sys

    sys.modules["architectures"] = architectures  # dataclasses look there
    spec.loader.exec_module(architectures)


def rows() -> dict[str, list[str]]:
    """The table's cells by architecture."""
    text = (ROOT / "docs" / "your-own-model.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- architectures -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found is not None
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in found[1].splitlines()[2:]]
    return {name: others for name, *others in cells}


@pytest.mark.parametrize("name", sorted(rows()))
def test_table(name: str) -> None:
    """Derivatives are taken as the table says, and are those of reverse mode to a millionth of the largest.

    Some models take their softmax in single precision.
    """
    found, said = architectures.outcome(name), rows()[name]
    assert found.way == said[0]
    assert found.reason == said[3]
    for error, shown in ((found.first, said[1]), (found.second, said[2])):
        assert error < 2e-6 or shown == "–"
        assert np.isnan(error) == (shown == "–")


def test_table_is_whole() -> None:
    assert rows().keys() == architectures.ARCHITECTURES.keys()


class Doubled(torch.autograd.Function):
    """An operation of one's own in the old style, which forward mode cannot follow."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return 2 * gradient


class Own(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Jets can follow what the operation is made of, but `lgamma` has no rule here.
        return Doubled.apply(torch.lgamma(self.layer(x).square() + 1))


def test_no_forward_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before the basis, in one line."""
    from polca.external import analyze as module

    monkeypatch.setattr(module, "hessian_basis", lambda *_, **__: pytest.fail("the basis was computed"))
    model, checkpoints = Own(), MemoryCheckpoints()
    for step in range(3):
        checkpoints.save(step, parameters_of(model))
    data = from_batches([(torch.randn(8, 4), torch.zeros(8, dtype=torch.int64))], "data")
    with pytest.raises(PolcaError, match="no derivative in forward mode") as error:
        analyze(ModuleLoss(model), checkpoints, data.batches(8), data.batches(8))
    assert "\n" not in str(error.value)
    plain = torch.nn.Linear(4, 3)
    check_forward(ModuleLoss(plain), parameters_of(plain), data.batches(8)[0], True)
