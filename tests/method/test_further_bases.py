"""Further bases against dense matrices from plain autograd, and linear algebra of another library."""

import numpy as np
import pytest
import torch

from oracles import InMemory, dense_hessian
from polca.errors import PolcaError
from polca.method.bases import LanczosOptions, hessian_basis, random_basis
from polca.method.curvature import Layout
from polca.method.further_bases import (
    curvature_basis,
    gauss_newton_operator,
    gradient_covariance_operator,
    sliding_window_basis,
    step_basis,
    subspace_overlap,
    trajectory_pca_basis,
)


@pytest.fixture
def trained(make_problem):
    """Three parameter sets of one tiny model, and its data in two unequal batches."""
    problems = {10 * (i + 1): make_problem(width=4, layers=1, examples=6, seed=i) for i in range(3)}
    first = problems[10]
    inputs, targets = first.batch
    batches = [(inputs[:4], targets[:4]), (inputs[4:], targets[4:])]
    return first.loss, InMemory({s: p.params for s, p in problems.items()}), batches, first.batch


def dense_gauss_newton(loss, params, batch):
    """Σ_x J_xᵀ (diag p − p pᵀ) J_x / N with J written out, the middle factor as autograd's Hessian of cross-entropy."""
    layout = Layout.of(params)

    def logits(flat):
        return torch.func.functional_call(loss.skeleton, layout.split(flat), (batch[0],)).flatten(0, 1)

    flat = layout.flatten(params)
    jacobian, values, targets = torch.autograd.functional.jacobian(logits, flat), logits(flat), batch[1].flatten()
    total = torch.zeros(len(flat), len(flat), dtype=flat.dtype)
    for j, z, y in zip(jacobian, values, targets, strict=True):
        middle = torch.autograd.functional.hessian(lambda z, y=y: torch.nn.functional.cross_entropy(z, y), z)
        total += j.T @ middle @ j
    return total / len(targets)


def dense_covariance(loss, params, batch):
    layout = Layout.of(params)
    gradients = torch.autograd.functional.jacobian(
        lambda flat: loss(layout.split(flat), batch).flatten(), layout.flatten(params)
    )
    return gradients.T @ gradients / len(gradients)


def projected_top(matrices):
    """Algorithm 1 with dense matrices: top eigenvector of each outside the span so far."""
    found = torch.zeros(0, len(matrices[0]), dtype=torch.float64)
    for matrix in matrices:
        projector = torch.eye(len(matrix), dtype=torch.float64) - found.T @ found
        found = torch.cat([found, torch.linalg.eigh(projector @ matrix @ projector)[1][:, -1:].T])
    return found


def same_lines(found, expected) -> None:
    torch.testing.assert_close(
        (found @ expected.T).abs(), torch.eye(len(expected), dtype=torch.float64), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("make", "dense"),
    [(gauss_newton_operator, dense_gauss_newton), (gradient_covariance_operator, dense_covariance)],
    ids=["gauss_newton", "gradient_covariance"],
)
def test_products_are_those_of_the_dense_matrix(trained, make, dense) -> None:
    loss, checkpoints, batches, whole = trained
    params = checkpoints.load(20)
    operator, matrix = make(loss, params, batches), dense(loss, params, whole)
    for seed in range(3):
        v = torch.randn(len(matrix), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        torch.testing.assert_close(operator(v), matrix @ v, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize(
    ("kind", "dense"), [("gauss_newton", dense_gauss_newton), ("gradient_covariance", dense_covariance)]
)
def test_basis_is_algorithm_1_with_the_other_matrix(trained, kind, dense) -> None:
    loss, checkpoints, batches, whole = trained
    order = (20, 10, 30)
    basis = curvature_basis(kind, loss, checkpoints, batches, order, LanczosOptions(tolerance=1e-10))
    same_lines(basis.flat(), projected_top([dense(loss, checkpoints.load(s), whole) for s in order]))
    assert basis.steps.tolist() == list(order)


def test_sliding_window_averages_hessians(trained, make_problem) -> None:
    loss, checkpoints, batches, whole = trained
    hessians = []
    for step in (10, 20, 30):
        problem = make_problem(width=4, layers=1, examples=6)
        problem.loss, problem.params, problem.batch = loss, checkpoints.load(step), whole
        hessians.append(dense_hessian(problem))
    options = LanczosOptions(tolerance=1e-10)
    basis = sliding_window_basis(loss, checkpoints, batches, (10, 20, 30), options, window=2)
    means = [hessians[0], (hessians[0] + hessians[1]) / 2, (hessians[1] + hessians[2]) / 2]
    same_lines(basis.flat(), projected_top(means))
    alone = sliding_window_basis(loss, checkpoints, batches, (10, 20, 30), options, window=1)
    same_lines(alone.flat(), hessian_basis(loss, checkpoints, batches, steps=(10, 20, 30), tolerance=1e-10).flat())
    with pytest.raises(PolcaError, match="window = 0"):
        sliding_window_basis(loss, checkpoints, batches, steps=(10,), window=0)


def test_interrupted_basis_goes_on_to_the_same(trained, tmp_path) -> None:
    loss, checkpoints, batches, _ = trained
    whole = curvature_basis("gauss_newton", loss, checkpoints, batches, steps=(10, 20, 30))
    curvature_basis("gauss_newton", loss, checkpoints, batches, (10, 20), LanczosOptions(resume=tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "001_000020.safetensors").write_bytes(b"damaged")
    resumed = curvature_basis("gauss_newton", loss, checkpoints, batches, (10, 20, 30), LanczosOptions(resume=tmp_path))
    assert torch.equal(whole.flat(), resumed.flat())
    assert np.array_equal(whole.matvecs, resumed.matvecs)


def path_of(matrix) -> InMemory:
    """Checkpoints whose flat parameters are the rows of `matrix`."""
    return InMemory({i: {"a": row[:4].reshape(2, 2), "b": row[4:]} for i, row in enumerate(torch.from_numpy(matrix))})


def test_principal_directions_are_those_of_the_svd() -> None:
    matrix = np.random.default_rng(0).normal(size=(6, 9))
    basis = trajectory_pca_basis(path_of(matrix), 3, steps=range(6))
    expected = np.linalg.svd(matrix - matrix.mean(axis=0))[2][:3]
    same_lines(basis.flat(), torch.from_numpy(expected))
    with pytest.raises(PolcaError, match="6 checkpoints span fewer than 6"):
        trajectory_pca_basis(path_of(matrix), 6, steps=range(6))


def test_steps_span_the_path() -> None:
    matrix = np.random.default_rng(1).normal(size=(6, 9))
    basis = step_basis(path_of(matrix), steps=[2, 3, 5])
    flat = basis.flat().numpy()
    np.testing.assert_allclose(flat @ flat.T, np.eye(3), atol=1e-12)
    moves = np.stack([matrix[2] - matrix[0], matrix[3] - matrix[2], matrix[5] - matrix[3]])
    q, _ = np.linalg.qr(moves.T)
    same_lines(basis.flat(), torch.from_numpy(q.T.copy()))
    np.testing.assert_allclose(moves @ flat.T @ flat, moves, atol=1e-12)
    matrix[5] = matrix[3] + 2 * (matrix[3] - matrix[2])
    with pytest.raises(PolcaError, match="vector 3 depends"):
        step_basis(path_of(matrix), steps=[2, 3, 5])


def test_overlap() -> None:
    """Spans of coordinate axes overlap by the axes that they share."""
    params = {"a": torch.zeros(6, dtype=torch.float64)}
    one = random_basis(params, 6, steps=[0] * 6)
    assert subspace_overlap(one, one) == pytest.approx(1)
    eye = np.eye(6)
    two = step_basis(InMemory({i: {"a": torch.from_numpy(eye[:i].sum(0))} for i in range(4)}), steps=[1, 2, 3])
    other = step_basis(InMemory({i: {"a": torch.from_numpy(eye[2 : 2 + i].sum(0))} for i in range(4)}), steps=[1, 2, 3])
    assert subspace_overlap(two, other) == pytest.approx(1 / 3)
