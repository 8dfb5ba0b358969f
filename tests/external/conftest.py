"""A model of one's own that the command line analyses."""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from typer.testing import CliRunner

from polca.cli import app
from polca.machine.code import code_hash
from tiny_images import train_on_images
from tiny_preset import quick_figures, quick_map

hash_once = cache(code_hash)


@pytest.fixture(autouse=True)
def _hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package, whose hash every analysis takes, does not change while tests run."""
    for module in ("polca.external.opening", "polca.machine.resume"):
        monkeypatch.setattr(f"{module}.code_hash", hash_once)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`polca analyze` on a classifier of a few images, with figures that are not laid out and a map without t-SNE."""
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    train_on_images(module, tmp_path / "run")
    (tmp_path / "own_model.py").write_text(
        "import torch\nfrom tiny_images import images\n\n\n"
        "def make():\n    n = torch.nn\n"
        "    return n.Sequential(n.Flatten(), n.Linear(16, 8), n.Tanh(), n.Linear(8, 3))\n\n\n"
        "def batches():\n    return [images()]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_model", raising=False)
    small = ("--vectors", "2", "--tokens", "30", "--hessian-sequences", "30", "--min-cluster-size", "5")

    def arguments(out: Path, *options: str) -> list[str]:
        own = ["analyze", str(tmp_path / "run"), "--factory", "own_model:make", "--data", "own_model:batches"]
        return [*own, "--out", str(out), *small, *options]

    def call(out: Path, *options: str) -> Any:
        return CliRunner().invoke(app, arguments(out, *options))

    call.arguments = arguments  # type: ignore[attr-defined]
    with quick_figures(), mock.patch("polca.external.directions.token_map", quick_map):
        yield call
