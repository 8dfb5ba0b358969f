"""Shared small problems. `polca` comes first: it pins the environment before NumPy and PyTorch load."""

import polca  # noqa: F401  isort: skip

from collections.abc import Callable
from typing import Any

import pytest
import torch

from oracles import Problem
from polca.model import TokenLoss, initialize
from polca.runtime import configure_torch
from polca.tasks.arithmetic import batch, make_data, model_config

configure_torch()


@pytest.fixture(autouse=True)
def _row_of_the_reliability_table(request: pytest.FixtureRequest, record_property: Callable[[str, Any], None]) -> None:
    """What `@pytest.mark.reliability` says goes into the JUnit report, from which the table is made."""
    if mark := request.node.get_closest_marker("reliability"):
        record_property("row", mark.args[0])
        record_property("outcome", mark.args[1])


@pytest.fixture
def make_problem() -> Callable[..., Problem]:
    """Build a `Problem`; parameters are drawn larger than at initialisation, so that nothing is nearly linear."""

    def make(width: int = 8, layers: int = 2, examples: int = 5, dtype: Any = torch.float64, seed: int = 3) -> Problem:
        config = model_config(layers=layers, width=width, heads=2, mlp_width=2 * width)
        params = initialize(config, seed, dtype)
        generator = torch.Generator().manual_seed(seed)
        for p in params.values():
            p.add_(torch.randn(p.shape, generator=generator, dtype=dtype), alpha=0.1)
        return Problem(TokenLoss(config), params, batch(make_data(1, examples, seed).evaluation))

    return make
