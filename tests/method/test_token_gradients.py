"""Projections by each token's gradient, against those by images and against autograd."""

from typing import Any

import pytest
import torch

from oracles import random_directions
from polca.method import reverse
from polca.method.reverse import projected_gradients
from polca.method.token_gradients import linear_part


def gradient_bytes(sequences: int) -> int:
    """Of so many sequences of three targets of a layer of 4 × 6 weights in float64."""
    return sequences * 3 * 4 * 6 * 8


@pytest.mark.parametrize("buffer_bytes", [1, gradient_bytes(2), 2**20])  # blocks of one sequence, of two, of all five
def test_linear_part_is_the_sum_over_positions(buffer_bytes: int) -> None:
    draw = torch.Generator().manual_seed(1)
    source, deltas, weight = (
        torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((5, 7, 6), (5, 7, 4, 3), (8, 4, 6))
    )
    found = linear_part(source, deltas, weight, buffer_bytes)
    torch.testing.assert_close(found, torch.einsum("ntoq,koi,nti->nkq", deltas, weight, source), rtol=1e-12, atol=1e-12)
    by_images = reverse._linear_part(source, deltas, weight, 2**20)
    torch.testing.assert_close(found, by_images, rtol=1e-12, atol=1e-12)


def test_a_whole_model_against_autograd(make_problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: every linear layer's share by gradients."""
    calls = []

    def by_gradients(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        return linear_part(*arguments)

    problem = make_problem()
    directions = random_directions(problem.params, 3)
    monkeypatch.setattr(reverse, "_linear_part", by_gradients)
    _, dense, _ = projected_gradients(problem.loss, problem.params, problem.batch, directions, buffer_bytes=2**12)
    leaves = {name: p.clone().requires_grad_() for name, p in problem.params.items()}
    expected = []
    for loss in problem.loss(leaves, problem.batch).reshape(-1):
        grads = torch.autograd.grad(loss, list(leaves.values()), retain_graph=True)
        parts = [(g * directions[name]).flatten(1).sum(1) for name, g in zip(leaves, grads, strict=True)]
        expected.append(torch.stack(parts).sum(0))
    assert len(calls) == 2 * 6 + 1
    torch.testing.assert_close(dense.reshape(-1, 3), torch.stack(expected), rtol=1e-10, atol=1e-12)
