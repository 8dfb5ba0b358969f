"""Reverse-mode projections against one plain gradient per token."""

import pytest
import torch
from torch.nn import functional as F

from oracles import random_directions
from polca.errors import PolcaError
from polca.method.reverse import projected_gradients


def token_gradients(problem) -> list[dict[str, torch.Tensor]]:
    leaves = {name: p.clone().requires_grad_() for name, p in problem.params.items()}
    losses = problem.loss(leaves, problem.batch).reshape(-1)
    grads = [torch.autograd.grad(loss, list(leaves.values()), retain_graph=True) for loss in losses]
    return [dict(zip(leaves, g, strict=True)) for g in grads]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("buffer_bytes", [1, 2**25])
def test_projections_are_autograd_gradients_times_basis(make_problem, dtype, tolerance, buffer_bytes) -> None:
    problem = make_problem(dtype=dtype)
    directions = random_directions(problem.params, 3)
    losses, dense, _ = projected_gradients(
        problem.loss, problem.params, problem.batch, directions, buffer_bytes=buffer_bytes
    )
    expected = torch.tensor(
        [[sum((g[n] * directions[n][k]).sum().item() for n in g) for k in range(3)] for g in token_gradients(problem)],
        dtype=dtype,
    )
    assert (dense.reshape(-1, 3) - expected).norm() <= tolerance * expected.norm()
    torch.testing.assert_close(losses, problem.loss(problem.params, problem.batch))


def test_every_single_parameter(make_problem) -> None:
    """Axes: the whole gradient of every token, entry by entry, through every kind of operation."""
    problem = make_problem(width=4, layers=1, examples=3)
    axes = [(name, i) for name, p in problem.params.items() for i in range(p.numel())]
    _, dense, sparse = projected_gradients(problem.loss, problem.params, problem.batch, {}, axes)
    assert dense.shape == (3, 4, 0)
    expected = torch.stack([torch.cat([g[n].reshape(-1) for n in problem.params]) for g in token_gradients(problem)])
    torch.testing.assert_close(sparse.reshape(12, -1), expected, rtol=1e-10, atol=1e-13)


def test_other_uses_of_a_parameter_are_refused() -> None:
    params = {"scale": torch.ones(3), "weight": torch.ones(3, 3)}

    def loss(p, x):
        return F.linear(x * p["scale"], p["weight"]).sum(-1)

    with pytest.raises(PolcaError, match=r"parameter 'scale' .* pass method='forward'"):
        projected_gradients(loss, params, torch.ones(2, 4, 3), {})
    with pytest.raises(PolcaError, match="parameter 'scale' is not used"):
        projected_gradients(lambda p, x: F.linear(x, p["weight"]).sum(-1), params, torch.ones(2, 4, 3), {})


def test_tied_weights_count_once(make_problem) -> None:
    """A weight used twice gets the sum of both uses, as autograd gives it."""
    table = torch.randn(5, 3, dtype=torch.float64)
    ids = torch.tensor([[0, 1, 2], [3, 4, 0]])

    def loss(p, x):
        logits = F.linear(torch.tanh(F.embedding(x, p["table"])), p["table"])
        return F.cross_entropy(logits.transpose(1, 2), x, reduction="none")

    direction = torch.randn(1, 5, 3, dtype=torch.float64)
    _, dense, _ = projected_gradients(loss, {"table": table}, ids, {"table": direction})
    leaf = table.clone().requires_grad_()
    for n, t in [(0, 0), (1, 2)]:
        (g,) = torch.autograd.grad(loss({"table": leaf}, ids)[n, t], leaf)
        assert dense[n, t, 0].item() == pytest.approx((g * direction[0]).sum().item(), rel=1e-10)
