"""The path integral against closed forms, SciPy, and the loss change that a complete basis must add up to."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from oracles import InMemory, random_directions
from polca.errors import PolcaError
from polca.method.bases import Basis
from polca.method.curvature import Layout
from polca.validity.path_integral import PathGradients, levels, nodes, path_gradients, spread, weights


def complete_basis(params, seed: int = 0) -> Basis:
    """A random orthonormal basis of the whole space."""
    layout = Layout.of(params)
    size = layout.flatten(params).numel()
    square = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = torch.linalg.qr(square)[0]
    split = [layout.split(row) for row in rows]
    vectors = {name: torch.stack([part[name] for part in split]) for name in params}
    nothing = np.full(size, np.nan)
    return Basis("complete", vectors, np.full(size, -1), nothing, nothing, np.zeros(size, np.int64))


@pytest.fixture
def path(make_problem):
    """Path gradients of a tiny network on a complete basis between two far apart points."""
    problem = make_problem(width=4, layers=1, examples=3)
    step = random_directions(problem.params, 2, seed=5)
    points = {0: problem.params}
    for i in range(2):
        points[i + 1] = {name: p + 1.5 * step[name][i] for name, p in points[i].items()}
    found = path_gradients(
        problem.loss,
        InMemory(points),
        complete_basis(problem.params),
        [problem.batch],
        steps=[0, 1, 2],
        intervals=[0, 1],
        count=17,
    )
    with torch.no_grad():
        losses = np.stack([problem.loss(points[i], problem.batch).reshape(-1).numpy() for i in range(3)])
    return found, np.diff(losses, axis=0)


def test_a_complete_basis_adds_up_to_the_loss_change(path) -> None:
    found, change = path
    assert np.abs(change).max() > 0.1
    np.testing.assert_allclose(found.integral().sum(axis=2), change, atol=1e-6)
    np.testing.assert_allclose(found.whole(), change, atol=1e-6)


def test_coarser_rules_are_worse(path) -> None:
    """The nested rules converge to the loss change; the trapezoid alone does not reach it here."""
    found, change = path
    errors = [np.abs(found.integral(n).sum(axis=2) - change).max() for n in levels(17)]
    assert errors[0] > 1e-3
    assert all(b < a / 3 for a, b in pairwise(errors[:4]))


def test_gradients_along_a_vector_are_those_of_autograd(path, make_problem) -> None:
    found, _ = path
    problem = make_problem(width=4, layers=1, examples=3)
    basis = complete_basis(problem.params)
    params = {n: p.clone().requires_grad_() for n, p in problem.params.items()}
    loss = problem.loss(params, problem.batch).reshape(-1)[2]
    gradient = torch.autograd.grad(loss, list(params.values()))
    expected = sum((g * basis.vectors[n][7]).sum() for n, g in zip(params, gradient, strict=True))
    assert found.gradients[0, 0, 2, 7] == pytest.approx(float(expected), abs=1e-10)


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_weights(count: int) -> None:
    """Sum to 1; exact for polynomials below degree `count`; good for smooth functions."""
    x, w = nodes(count), weights(count)
    assert (x[0], x[-1]) == (0, 1)
    for degree in range(count):
        assert w @ x**degree == pytest.approx(1 / (degree + 1), abs=1e-13)
    if count == 9:
        assert w @ np.exp(-3 * x) == pytest.approx(quad(lambda s: np.exp(-3 * s), 0, 1)[0], abs=1e-7)


def test_known_rules() -> None:
    np.testing.assert_allclose(weights(2), [0.5, 0.5])
    np.testing.assert_allclose(weights(3), [1 / 6, 4 / 6, 1 / 6])


def test_nested_nodes() -> None:
    assert levels(9) == [2, 3, 5, 9]
    np.testing.assert_allclose(nodes(9)[::4], nodes(3), atol=1e-15)
    with pytest.raises(PolcaError, match="must be a power of two and one"):
        levels(8)


def test_spread() -> None:
    assert spread(100, 10) == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert spread(7, 7) == list(range(7))
    with pytest.raises(PolcaError, match="there are 3 intervals"):
        spread(3, 4)


def test_quadratic_needs_two_nodes() -> None:
    """On a quadratic loss gradients are linear along the segment: the trapezoid rule is the integral, in any basis."""
    rng = np.random.default_rng(0)
    hessian = rng.normal(size=(6, 6))
    hessian = hessian + hessian.T
    start, step = rng.normal(size=(2, 6))
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    fractions = nodes(5)
    gradients = np.stack([hessian @ (start + s * step) for s in fractions])
    found = PathGradients(
        intervals=np.array([0]),
        steps=np.array([[0, 1]]),
        fractions=fractions,
        losses=np.zeros((1, 5, 1)),
        gradients=(gradients @ basis)[None, :, None],
        along=(gradients @ step)[None, :, None],
        movements=(step @ basis)[None],
    )
    end = start + step
    change = 0.5 * (end @ hessian @ end - start @ hessian @ start)
    for count in (2, 3, 5):
        assert found.integral(count).sum() == pytest.approx(change, abs=1e-12)
        assert found.whole(count).item() == pytest.approx(change, abs=1e-12)


def test_round_trip_and_refusals(path, tmp_path, make_problem) -> None:
    found, _ = path
    found.save(tmp_path / "path.npz")
    np.testing.assert_array_equal(PathGradients.load(tmp_path / "path.npz").gradients, found.gradients)
    with pytest.raises(PolcaError, match="nodes = 4: expected one of 2, 3, 5, 9, 17"):
        found.integral(4)
    problem = make_problem(width=4, layers=1)
    basis = complete_basis(problem.params)
    options = {"steps": [0, 1], "count": 5}
    with pytest.raises(PolcaError, match=r"intervals \[1\]: expected some of 0 … 0"):
        path_gradients(problem.loss, InMemory({0: problem.params}), basis, [], intervals=[1], **options)
