"""Shared small problems, in the environment of the stages: it must be there before NumPy and PyTorch load."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PINNED = Path(__file__).parents[1] / "src" / "polca" / "machine" / "pinned.env"
os.environ.update(line.split("=", 1) for line in PINNED.read_text(encoding="utf-8").splitlines())

import torch  # noqa: E402

from oracles import Problem  # noqa: E402
from polca.machine.runtime import configure_torch  # noqa: E402
from polca.tasks.arithmetic.data import batch, make_data, model_config  # noqa: E402
from polca.tasks.transformer import TokenLoss, initialize  # noqa: E402

configure_torch()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The smoke preset first: one of two processes runs it, and the other all that takes as long."""
    items.sort(key=lambda item: item.path.name != "test_smoke.py")


@pytest.fixture(autouse=True)
def _row_of_the_reliability_table(request: pytest.FixtureRequest, record_property: Callable[[str, Any], None]) -> None:
    """What `@pytest.mark.reliability` says goes into the JUnit report, from which the table is made."""
    if mark := request.node.get_closest_marker("reliability"):
        record_property("row", mark.args[0])
        record_property("outcome", mark.args[1])


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One browser for all modules, which opens a tab for each; `browser.py` says where there is none."""
    from browser import launched

    with launched() as browser:
        yield browser


@pytest.fixture
def quick_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps without t-SNE, which takes a second or more each."""
    monkeypatch.setattr("polca.study.stages.signatures.token_map", lambda features: features[:, :2].astype("float32"))


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
