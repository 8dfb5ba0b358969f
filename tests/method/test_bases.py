"""Algorithm 1 against dense linear algebra; the other bases by their definitions."""

import warnings

import numpy as np
import pytest
import torch

from oracles import InMemory, dense_hessian
from polca.errors import PolcaError
from polca.method.bases import Basis, axis_basis, hessian_basis, random_basis, with_rayleigh_quotients


@pytest.fixture
def trained(make_problem):
    """Three parameter sets and their explicit Hessians."""
    problems = {10 * (i + 1): make_problem(width=4, layers=1, examples=6, seed=i) for i in range(3)}
    first = problems[10]
    for p in problems.values():
        p.loss, p.batch = first.loss, first.batch
    return (
        first,
        InMemory({s: p.params for s, p in problems.items()}),
        {s: dense_hessian(p) for s, p in problems.items()},
    )


@pytest.mark.parametrize("order", [(10, 20, 30), (20, 30, 10)])
def test_algorithm_1(trained, order) -> None:
    problem, checkpoints, dense = trained
    basis = hessian_basis(problem.loss, checkpoints, [problem.batch], steps=order, per_step=2, tolerance=1e-10)
    found = basis.flat()
    torch.testing.assert_close(found @ found.T, torch.eye(6, dtype=torch.float64), atol=1e-10, rtol=0)
    expected = torch.zeros(0, found.shape[1], dtype=torch.float64)
    for i, step in enumerate(order):
        projector = torch.eye(found.shape[1], dtype=torch.float64) - expected.T @ expected
        values, vectors = torch.linalg.eigh(projector @ dense[step] @ projector)
        np.testing.assert_allclose(basis.eigenvalues[2 * i : 2 * i + 2], values.flip(0)[:2].numpy(), atol=1e-8)
        expected = torch.cat([expected, vectors.flip(1)[:, :2].T])
    overlap = (found @ expected.T).abs()
    torch.testing.assert_close(overlap, torch.eye(6, dtype=torch.float64), atol=1e-6, rtol=0)
    assert basis.steps.tolist() == [s for s in order for _ in range(2)]


def test_interrupted_basis_goes_on_to_the_same(trained, tmp_path) -> None:
    problem, checkpoints, _ = trained
    whole = hessian_basis(problem.loss, checkpoints, [problem.batch], steps=(10, 20, 30))

    def failing(params, batch):
        if any(p is checkpoints.content[30][n] for n, p in params.items()) or torch.equal(
            params["embed.weight"], checkpoints.content[30]["embed.weight"]
        ):
            raise KeyboardInterrupt
        return problem.loss(params, batch)

    with pytest.raises(KeyboardInterrupt):
        hessian_basis(failing, checkpoints, [problem.batch], steps=(10, 20, 30), resume=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    resumed = hessian_basis(problem.loss, checkpoints, [problem.batch], steps=(10, 20, 30), resume=tmp_path)
    assert torch.equal(whole.flat(), resumed.flat())
    assert np.array_equal(whole.eigenvalues, resumed.eigenvalues)


def test_random_basis_is_orthonormal_and_seeded(make_problem) -> None:
    params = make_problem().params
    basis = random_basis(params, 5, steps=range(5), seed=1)
    flat = basis.flat()
    torch.testing.assert_close(flat @ flat.T, torch.eye(5, dtype=torch.float64), atol=1e-12, rtol=0)
    assert torch.equal(flat, random_basis(params, 5, steps=range(5), seed=1).flat())
    assert not torch.equal(flat, random_basis(params, 5, steps=range(5), seed=2).flat())


def test_rayleigh_quotients(trained) -> None:
    problem, checkpoints, dense = trained
    basis = random_basis(checkpoints.load(10), 3, steps=[10, 30, 10], seed=1)
    basis = with_rayleigh_quotients(basis, problem.loss, checkpoints, [problem.batch])
    flat = basis.flat(list(problem.params))
    for k, step in enumerate((10, 30, 10)):
        assert basis.eigenvalues[k] == pytest.approx((flat[k] @ dense[step] @ flat[k]).item(), rel=1e-9)


def test_axes_are_the_largest_parameters() -> None:
    params = {"a": torch.tensor([[1.0, -9.0], [3.0, 0.0]]), "b": torch.tensor([5.0, -3.0])}
    assert axis_basis(params, 4).axes == (("a", 1), ("b", 0), ("a", 2), ("b", 1))


def test_round_trip(trained, tmp_path) -> None:
    _, checkpoints, _ = trained
    for basis in (random_basis(checkpoints.load(10), 3, steps=[1, 2, 3]), axis_basis(checkpoints.load(10), 4)):
        basis.save(tmp_path / "basis.safetensors")
        again = Basis.load(tmp_path / "basis.safetensors")
        assert again.kind == basis.kind
        assert again.axes == basis.axes
        assert set(again.vectors) == set(basis.vectors)
        assert all(torch.equal(again.vectors[n], v) for n, v in basis.vectors.items())
        np.testing.assert_array_equal(again.eigenvalues, basis.eigenvalues)


def test_bad_input_is_named(trained, tmp_path) -> None:
    problem, checkpoints, dense = trained
    size = len(dense[10])
    with pytest.raises(PolcaError, match=rf"more than the model's {size} parameters"):
        hessian_basis(problem.loss, checkpoints, [problem.batch], steps=[10], per_step=size + 1)
    with pytest.raises(PolcaError, match=r"lca\.parameters"):
        axis_basis(checkpoints.load(10), size + 1)
    with pytest.raises(PolcaError, match=r"basis\.vectors"):
        random_basis(checkpoints.load(10), size + 1, steps=[])
    foreign = tmp_path / "foreign.safetensors"
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, foreign)
    with pytest.raises(PolcaError, match="not a basis file"):
        Basis.load(foreign)


class TestConvergence:
    def test_vectors_that_missed_the_tolerance_are_named(self, make_problem) -> None:
        problem = make_problem(width=4, layers=1)
        checkpoints = InMemory({0: problem.params, 1: problem.params})
        with pytest.warns(UserWarning, match=r"vector 1, 2 of 2 missed the tolerance 0.001 .*raise max_matvecs = 3"):
            basis = hessian_basis(problem.loss, checkpoints, [problem.batch], steps=[0, 1], max_matvecs=3)
        # The residual against the operator itself: with three products it is far from an eigenvector.
        hessian = dense_hessian(problem)
        flat = basis.flat(list(problem.params))
        off = hessian @ flat[0] - basis.eigenvalues[0] * flat[0]
        assert off.norm().item() > 0.01 * abs(basis.eigenvalues[0])
        assert basis.missed(1e-3).tolist() == [0, 1]
        assert basis.missed(100).tolist() == []

    def test_nothing_is_said_of_those_that_did_not(self, make_problem) -> None:
        problem = make_problem()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            basis = hessian_basis(problem.loss, InMemory({0: problem.params}), [problem.batch], steps=[0])
        assert basis.missed().tolist() == []
        assert random_basis(problem.params, 2, steps=[0, 0]).missed().tolist() == []

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_matvecs": 1}, "max_matvecs = 1: must be at least 2"),
            ({"max_matvecs": 3, "per_step": 4}, "max_matvecs = 3: must be at least 4"),
            ({"which": "largest"}, "which = 'largest': expected one of algebraic, magnitude"),
            ({"tolerance": -1.0}, "tolerance = -1.0"),
            ({"per_step": 0}, "per_step = 0"),
            ({"steps": []}, "steps is empty"),
        ],
        ids=str,
    )
    def test_impossible_options(self, options, message, make_problem) -> None:
        problem = make_problem()
        with pytest.raises(PolcaError, match=message):
            hessian_basis(problem.loss, InMemory({0: problem.params}), [problem.batch], **{"steps": [0], **options})

    def test_no_data(self, make_problem) -> None:
        problem = make_problem()
        with pytest.raises(PolcaError, match="data is empty"):
            hessian_basis(problem.loss, InMemory({0: problem.params}), [], steps=[0])
