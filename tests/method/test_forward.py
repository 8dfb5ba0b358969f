"""Forward mode against autograd and finite differences in float64."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from oracles import moved, random_directions
from polca.method.basic_rules import structural
from polca.method.forward import directional_derivatives, nested_jvp
from polca.method.jets import Jet, PendingLinear, UnsupportedOperation


def test_projection_is_the_gradient_along_each_direction(make_problem) -> None:
    problem = make_problem()
    directions = random_directions(problem.params, 3)
    losses, first, _ = directional_derivatives(problem.loss, problem.params, directions, problem.batch)
    leaves = {name: p.clone().requires_grad_() for name, p in problem.params.items()}
    expected = problem.loss(leaves, problem.batch)
    torch.testing.assert_close(losses, expected.detach(), rtol=1e-12, atol=1e-12)
    for n in range(expected.shape[0]):
        for target in range(expected.shape[1]):
            gradient = torch.autograd.grad(expected[n, target], list(leaves.values()), retain_graph=True)
            for k in range(3):
                along = sum((g * directions[name][k]).sum() for name, g in zip(leaves, gradient, strict=True))
                assert first[k, n, target].item() == pytest.approx(along.item(), rel=1e-10, abs=1e-13)


def test_curvature_is_the_second_difference(make_problem) -> None:
    problem = make_problem()
    directions = random_directions(problem.params, 3)
    _, _, second = directional_derivatives(problem.loss, problem.params, directions, problem.batch)
    h = 2e-3

    def loss(k: int, distance: float) -> torch.Tensor:
        return problem.loss(moved(problem.params, directions, k, distance), problem.batch)

    for k in range(3):
        # Fourth-order central difference: error O(h⁴), rounding about 1e-15/h².
        difference = (-loss(k, 2 * h) + 16 * loss(k, h) - 30 * loss(k, 0) + 16 * loss(k, -h) - loss(k, -2 * h)) / (
            12 * h * h
        )
        assert second is not None
        torch.testing.assert_close(second[k], difference, rtol=1e-6, atol=1e-8)


def test_fallback_is_the_same(make_problem) -> None:
    """Nested `torch.func.jvp` with a composed layer norm; a model that jets do not know takes this way by itself."""
    problem = make_problem()
    directions = random_directions(problem.params, 2)
    expected = directional_derivatives(problem.loss, problem.params, directions, problem.batch)

    def unknown(params, batch):
        return torch.sin(problem.loss(params, batch))

    for result, reference in zip(
        nested_jvp(problem.loss, problem.params, directions, problem.batch), expected, strict=True
    ):
        torch.testing.assert_close(result, reference, rtol=1e-9, atol=1e-12)
    _, first, second = directional_derivatives(unknown, problem.params, directions, problem.batch)
    torch.testing.assert_close(first, torch.cos(expected[0]) * expected[1])
    torch.testing.assert_close(second, torch.cos(expected[0]) * expected[2] - torch.sin(expected[0]) * expected[1] ** 2)
    _, alone, _ = nested_jvp(problem.loss, problem.params, directions, problem.batch, second_order=False)
    torch.testing.assert_close(alone, expected[1], rtol=1e-9, atol=1e-12)


def test_float32_is_close_to_float64(make_problem) -> None:
    problem = make_problem(width=32, layers=3, examples=8)
    directions = random_directions(problem.params, 2)
    exact = directional_derivatives(problem.loss, problem.params, directions, problem.batch)
    single = directional_derivatives(
        problem.loss,
        {n: p.float() for n, p in problem.params.items()},
        {n: v.float() for n, v in directions.items()},
        problem.batch,
    )
    for a, b in zip(single, exact, strict=True):
        assert a is not None
        assert b is not None
        assert ((a - b).abs().max() / b.abs().max()).item() < 1e-4


@pytest.mark.parametrize("function", [F.gelu, torch.relu, torch.tanh, lambda x: torch.softmax(x, -1)])
def test_elementwise_rules_against_double_backward(function) -> None:
    torch.manual_seed(1)
    x, d = torch.randn(4, 5, dtype=torch.float64), torch.randn(2, 4, 5, dtype=torch.float64)
    out = function(Jet.make(x, d))
    for k in range(2):
        value, first = torch.autograd.functional.jvp(function, x, d[k])
        _, second = torch.autograd.functional.jvp(
            lambda y, k=k: torch.autograd.functional.jvp(function, y, d[k], create_graph=True)[1], x, d[k]
        )
        torch.testing.assert_close(out.value, value)
        torch.testing.assert_close(out.first[k], first)
        expected = second if out.second is not None else torch.zeros_like(second)
        torch.testing.assert_close(torch.zeros_like(second) if out.second is None else out.second[k], expected)


def test_first_order_alone_is_the_same(make_problem) -> None:
    problem = make_problem()
    directions = random_directions(problem.params, 2)
    _, both, _ = directional_derivatives(problem.loss, problem.params, directions, problem.batch)
    _, alone, none = directional_derivatives(
        problem.loss, problem.params, directions, problem.batch, second_order=False
    )
    assert none is None
    # Without the second order the derivatives of the logits stay in factors, whose sums run in another order.
    torch.testing.assert_close(both, alone, rtol=1e-12, atol=1e-14)


def test_unknown_operations_are_refused() -> None:
    with pytest.raises(UnsupportedOperation, match="no second-order forward rule"):
        torch.sin(Jet.make(torch.ones(2), torch.ones(1, 2)))
    with pytest.raises(UnsupportedOperation, match="from the front"):
        structural(torch.Tensor.transpose)(Jet.make(torch.ones(2, 3), torch.ones(1, 2, 3)), 0, 1)


def test_derivatives_of_logits_are_never_formed(make_problem, monkeypatch) -> None:
    """They would be the largest arrays by far: directions × tokens × vocabulary."""
    formed: list[int] = []
    original = PendingLinear.first

    def noting(self):
        formed.append(len(self.w0))
        return original(self)

    monkeypatch.setattr(PendingLinear, "first", noting)
    problem = make_problem(width=6)
    directional_derivatives(
        problem.loss, problem.params, random_directions(problem.params, 2), problem.batch, second_order=False
    )
    assert 6 in formed
    assert 10 not in formed, "the ten output digits are the vocabulary"


@pytest.mark.parametrize("transposed", [True, False])
def test_cross_entropy_on_linear_outputs(transposed: bool) -> None:
    """Logits `[R, V]`, and `[N, V, T]`, with and without a bias that moves, against autograd."""
    generator = torch.Generator().manual_seed(5)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x, params = draw(3, 4, 5), {"scale": draw(5), "weight": draw(7, 5), "bias": draw(7)}
    target = torch.randint(7, (3, 4), generator=generator)

    def loss(p, _):
        logits = F.linear(x * p["scale"], p["weight"], p["bias"])
        if transposed:
            return F.cross_entropy(logits.transpose(-2, -1), target, reduction="none")
        return F.cross_entropy(logits.flatten(-3, -2), target.reshape(-1), reduction="none")

    def flat(p, _):
        return F.cross_entropy(F.linear(x[0] * p["scale"], p["weight"]), target[0], reduction="none")

    for function in (loss, flat):
        directions = random_directions(params, 3)
        _, first, _ = directional_derivatives(function, params, directions, None, second_order=False)
        for k in range(3):
            along = {name: direction[k] for name, direction in directions.items()}
            _, expected = torch.func.jvp(partial(function, _=None), (params,), (along,))
            torch.testing.assert_close(first[k], expected, rtol=1e-12, atol=1e-14)
