"""The public names, and the whole method through them on a model that the package does not know."""

import polca  # isort: skip

import importlib.metadata

import numpy as np
import torch
from typer.testing import CliRunner

from polca.cli import app


def test_every_public_name_resolves() -> None:
    import polca.method.breakthrough  # a submodule must not take the place of the function

    for name in polca.__all__:
        assert callable(getattr(polca, name)), name
    assert not hasattr(polca, "nothing")


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
