"""Hessian products and eigenpairs: closed form → dense autograd → SciPy."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from oracles import dense_hessian
from polca.errors import PolcaError
from polca.method.curvature import HessianOperator, lanczos, norm


@pytest.fixture
def small(make_problem):
    problem = make_problem(width=4, layers=1, examples=6)
    return problem, dense_hessian(problem)


@pytest.mark.parametrize("keep_graphs", [True, False])
def test_products_are_those_of_the_dense_hessian(small, keep_graphs) -> None:
    problem, dense = small
    inputs, targets = problem.batch
    chunks = [(inputs[:1], targets[:1]), (inputs[1:4], targets[1:4]), (inputs[4:], targets[4:])]
    operator = HessianOperator(problem.loss, problem.params, chunks, keep_graphs)
    v = torch.randn(len(dense), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(operator(v), dense @ v, rtol=1e-10, atol=1e-12)


def test_closed_form_of_a_quadratic() -> None:
    """H of ½ Σ a_i θ_i² is diag(a)."""
    a = torch.tensor([3.0, -7.0, 1.0, 5.0], dtype=torch.float64)
    operator = HessianOperator(
        lambda p, _: (0.5 * a * p["x"] ** 2).sum().reshape(1, 1), {"x": torch.ones(4, dtype=torch.float64)}, [None]
    )
    top = lanczos(operator, 4, 2, dtype=torch.float64, tolerance=1e-12)
    np.testing.assert_allclose(top.values, [5, 3], rtol=1e-12)
    large = lanczos(operator, 4, 2, dtype=torch.float64, which="magnitude", tolerance=1e-12)
    np.testing.assert_allclose(large.values, [-7, 5], rtol=1e-12)
    assert abs(abs(large.vectors[0, 1].item()) - 1) < 1e-12


def test_eigenpairs_are_those_of_eigh_and_eigsh(small) -> None:
    problem, dense = small
    operator = HessianOperator(problem.loss, problem.params, [problem.batch])
    result = lanczos(operator, len(dense), 4, tolerance=1e-10, dtype=torch.float64)
    assert result.converged
    values, vectors = torch.linalg.eigh(dense)
    np.testing.assert_allclose(result.values, values.flip(0)[:4].numpy(), atol=1e-8)
    overlap = (result.vectors @ vectors.flip(1)[:, :4]).abs()
    torch.testing.assert_close(overlap, torch.eye(4, dtype=torch.float64), atol=1e-8, rtol=0)
    other = eigsh(
        LinearOperator(dense.shape, matvec=lambda v: operator(torch.from_numpy(v.ravel().copy())).numpy(), dtype=float),
        k=4, which="LA", tol=1e-10, return_eigenvectors=False,
    )  # fmt: skip
    np.testing.assert_allclose(np.sort(result.values), np.sort(other), atol=1e-8)


def test_residuals_are_true_and_stop_the_iteration(small) -> None:
    problem, dense = small
    operator = HessianOperator(problem.loss, problem.params, [problem.batch])
    loose = lanczos(operator, len(dense), 1, tolerance=1e-2, dtype=torch.float64)
    tight = lanczos(operator, len(dense), 1, tolerance=1e-9, dtype=torch.float64)
    assert loose.matvecs < tight.matvecs < len(dense)
    for result, tolerance in ((loose, 1e-2), (tight, 1e-9)):
        v = result.vectors[0]
        true = (dense @ v - result.values[0] * v).norm().item()
        assert true == pytest.approx(result.residuals[0], rel=1e-3, abs=1e-11)
        assert true <= tolerance * abs(result.values[0]) + 1e-11


def test_runner_up_and_starting_from_it(small) -> None:
    """The runner-up is the next eigenvector; started near an eigenvector, Lanczos needs fewer products for the same."""
    problem, dense = small
    operator = HessianOperator(problem.loss, problem.params, [problem.batch])
    _, vectors = torch.linalg.eigh(dense)
    found = lanczos(operator, len(dense), 2, tolerance=1e-10, dtype=torch.float64)
    assert found.runner_up is not None
    assert (found.runner_up @ vectors[:, -3]).abs().item() == pytest.approx(1, abs=1e-4)
    cold = lanczos(operator, len(dense), 1, tolerance=1e-6, dtype=torch.float64)
    warm = lanczos(operator, len(dense), 1, tolerance=1e-6, dtype=torch.float64, start=3 * vectors[:, -1])
    assert warm.matvecs < cold.matvecs
    assert (warm.vectors[0] @ vectors[:, -1]).abs().item() == pytest.approx(1, abs=1e-9)


def test_single_precision_keeps_its_digits() -> None:
    """A diagonal matrix of a million entries: norms added up in float32 would put the eigenvalues 3e-5 off."""
    diagonal = 30 * torch.rand(1_000_000, generator=torch.Generator().manual_seed(0))
    diagonal[7], diagonal[9] = 44.5, 40
    result = lanczos(lambda v: diagonal * v, len(diagonal), 2, tolerance=1e-6)
    np.testing.assert_allclose(result.values, [44.5, 40], rtol=5e-7)
    assert norm(result.vectors[0]) == pytest.approx(1, abs=5e-7)
    v = result.vectors[0].double()
    assert (diagonal.double() * v - 44.5 * v).norm().item() < 1e-6 * 44.5


def test_a_start_at_another_eigenvector_misses_nothing() -> None:
    """Without the random part the iteration would end at once, at the eigenvalue 1."""
    matrix = torch.diag(torch.tensor([1.0, 5.0, 3.0, 2.0], dtype=torch.float64))
    start = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    result = lanczos(lambda v: matrix @ v, 4, 1, tolerance=1e-9, dtype=torch.float64, start=start)
    np.testing.assert_allclose(result.values, [5], rtol=1e-9)
    everything = lanczos(lambda v: matrix @ v, 4, 4, tolerance=0.0, dtype=torch.float64)
    assert everything.runner_up is None


def test_projected_operator(small) -> None:
    """The pairs of ΠHΠ, orthogonal to the vectors already found."""
    problem, dense = small
    operator = HessianOperator(problem.loss, problem.params, [problem.batch])
    found, _ = torch.linalg.qr(
        torch.randn(len(dense), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    )
    projector = torch.eye(len(dense), dtype=torch.float64) - found @ found.T
    expected = torch.linalg.eigvalsh(projector @ dense @ projector).flip(0)[:2]
    result = lanczos(operator, len(dense), 2, orthogonal_to=found.T.contiguous(), tolerance=1e-10, dtype=torch.float64)
    np.testing.assert_allclose(result.values, expected.numpy(), atol=1e-8)
    assert (result.vectors @ found).abs().max() < 1e-10


def test_more_vectors_than_dimensions() -> None:
    with pytest.raises(PolcaError, match=r"k = 3 eigenvectors wanted of a space of 2 dimensions"):
        lanczos(lambda v: v, 4, 3, orthogonal_to=torch.eye(4)[:2])


def test_the_whole_space_is_exact() -> None:
    matrix = torch.diag(torch.arange(1.0, 6.0, dtype=torch.float64))
    result = lanczos(lambda v: matrix @ v, 5, 5, tolerance=0.0, dtype=torch.float64)
    assert result.converged
    np.testing.assert_allclose(result.values, [5, 4, 3, 2, 1], rtol=1e-12)


def test_nan_is_named() -> None:
    with pytest.raises(PolcaError, match="NaN or infinite"):
        lanczos(lambda v: v * float("nan"), 4)


def test_vectors_kept_as_tensors_are_the_same() -> None:
    """As on a GPU, with a basis to be orthogonal to; within rounding, and here on the CPU."""
    generator = torch.Generator().manual_seed(2)
    matrix = torch.randn(150, 150, dtype=torch.float64, generator=generator)
    matrix = matrix + matrix.T
    basis = torch.linalg.qr(torch.randn(150, 3, dtype=torch.float64, generator=generator)).Q.T.contiguous()
    arrays, tensors = (
        lanczos(lambda v: matrix @ v, 150, 2, orthogonal_to=basis, tolerance=1e-10, dtype=torch.float64, place=place)
        for place in (None, torch.device("cpu"))
    )
    assert arrays.matvecs == tensors.matvecs > 32  # so that the room for vectors has grown
    outside = torch.eye(150, dtype=torch.float64) - basis.T @ basis
    expected = torch.linalg.eigvalsh(outside @ matrix @ outside).flip(0)[:2].numpy()
    for found in (arrays, tensors):
        np.testing.assert_allclose(found.values, expected, rtol=1e-9)
        torch.testing.assert_close(found.vectors @ basis.T, torch.zeros(2, 3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(tensors.vectors, arrays.vectors, rtol=0, atol=1e-7)
