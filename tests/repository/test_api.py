"""The public names, and the whole method through them on a model that the package does not know."""

import polca  # isort: skip

import ast
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from polca.cli import app


def test_every_public_name_resolves() -> None:
    import polca.method.breakthrough  # a submodule must not take the place of the function

    for name in polca.__all__:
        assert callable(getattr(polca, name)), name
    assert not hasattr(polca, "nothing")


FRESH = """
import json, sys
import polca
listed = dir(polca)
from polca.cli import main
said = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["polca", *words]
    try:
        main()
    except SystemExit as ended:
        said.append(ended.code)
slow = sorted({"torch", "numpy", "pandas", "matplotlib"} & sys.modules.keys())
print(json.dumps({
    "said": said, "slow": slow, "dir": listed,
    "types": {name: polca.__getattr__(name).__module__ for names in polca._MODULES.values() for name in names},
}))
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """Light commands in a process of their own: what it loaded, and what it said on standard error."""
    folder = tmp_path_factory.mktemp("fresh")
    commands = [["--help"], ["analyze", "--help"], ["plan", "nosuch"], ["verify", "nosuch"], ["explore", "nosuch"]]
    commands += [["metrics", "nosuch"], ["cluster", "nosuch", "--out", str(folder / "out")]]
    environment = {**os.environ, "PYTHONPATH": str(Path(polca.__file__).parents[1]), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", FRESH, json.dumps(commands)], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_light_commands_load_no_pytorch(fresh: tuple[dict[str, Any], str]) -> None:
    told, errors = fresh
    assert told["said"] == [0, 0, 1, 1, 1, 1, 1]
    assert told["slow"] == []
    assert len(errors.splitlines()) == 5
    assert all(line.startswith("error: ") and "nosuch" in line for line in errors.splitlines())


def test_names_are_listed_before_they_are_loaded(fresh: tuple[dict[str, Any], str]) -> None:
    """And each comes from the module that type checkers are told of."""
    told, _ = fresh
    assert set(polca.__all__) <= set(told["dir"])
    tree = ast.parse(Path(polca.__file__).read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    typed = {f"polca.{module}": names for module, names in polca._MODULES.items()}
    assert {node.module: tuple(a.name for a in node.names) for node in checked.body} == typed
    assert {name for names in typed.values() for name in names} | {"PolcaError"} == set(polca.__all__)
    assert told["types"] == {name: module for module, names in typed.items() for name in names}


def test_version_is_the_package_s() -> None:
    assert polca.__version__ == importlib.metadata.version("polca")
    assert CliRunner().invoke(app, ["--version"]).output.split() == [polca.__version__]


class Quadratic:
    """Checkpoints of gradient descent on ½ Σ a (θ − x)², three directions with curvatures 4, 2 and 1."""

    curvature = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)

    def __init__(self) -> None:
        theta, self.content = torch.ones(3, dtype=torch.float64), {}
        for step in range(6):
            self.content[step] = {"theta": theta}
            theta = theta - 0.1 * self.curvature * theta

    def steps(self) -> list[int]:
        return list(self.content)

    def load(self, step: int) -> dict[str, torch.Tensor]:
        return self.content[step]

    def loss(self, params, batch) -> torch.Tensor:
        """Tokens `[N, 1, 3]` → losses `[N, 1]`."""
        return (0.5 * self.curvature * (params["theta"] - batch) ** 2).sum(-1)


def test_a_quadratic_with_a_complete_basis_is_complete() -> None:
    """Basis to trajectories: trapezoid and exact allocations sum to the true loss change of every token."""
    run = Quadratic()
    tokens = torch.linspace(-0.3, 0.3, 24, dtype=torch.float64).reshape(8, 1, 3)
    basis = polca.hessian_basis(run.loss, run, [tokens], steps=[1], per_step=3, tolerance=1e-12)
    np.testing.assert_allclose(basis.eigenvalues, [4, 2, 1], rtol=1e-12)
    projections = polca.project(run.loss, run, basis, [tokens], curvature=True, method="forward")
    true = projections.losses[-1] - projections.losses[0]
    for form in ("trapezoid", "exact"):
        final = polca.decompose(projections, second_order=form).values[:, :, -1].sum(0)
        np.testing.assert_allclose(final, true, rtol=1e-5)
    first = polca.decompose(projections, second_order="none").values[:, :, -1].sum(0)
    assert np.abs(first - true).max() > 0.01  # the first order alone is not
