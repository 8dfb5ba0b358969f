"""Small problems and slow, plain computations that tests compare with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from hdbscan import HDBSCAN
from scipy.spatial.distance import pdist, squareform
from torch import Tensor

from polca.method.curvature import Layout
from polca.method.projections import Projections
from polca.tasks.transformer import TokenLoss


@dataclass
class Problem:
    """A tiny arithmetic model with data."""

    loss: TokenLoss
    params: dict[str, Tensor]
    batch: tuple[Tensor, Tensor]


def random_directions(params: dict[str, Tensor], count: int, seed: int = 0) -> dict[str, Tensor]:
    """`count` directions by parameter name, of length about 1."""
    generator = torch.Generator().manual_seed(seed)
    scale = sum(p.numel() for p in params.values()) ** -0.5
    return {
        name: torch.randn((count, *p.shape), generator=generator, dtype=p.dtype) * scale for name, p in params.items()
    }


def moved(params: dict[str, Tensor], directions: dict[str, Tensor], index: int, distance: float) -> dict[str, Tensor]:
    """θ + distance · b."""
    return {name: p + distance * directions[name][index] for name, p in params.items()}


_hessians: dict[bytes, torch.Tensor] = {}


def dense_hessian(problem) -> torch.Tensor:
    """The explicit Hessian of the mean loss, by plain autograd on the flat vector; made once for equal problems."""
    layout = Layout.of(problem.params)
    flat = layout.flatten(problem.params)
    key = repr(problem.loss.skeleton.config).encode() + b"".join(t.numpy().tobytes() for t in (flat, *problem.batch))
    if key not in _hessians:
        _hessians[key] = torch.autograd.functional.hessian(
            lambda x: problem.loss(layout.split(x), problem.batch).mean(), flat
        )
    return _hessians[key].clone()


def by_autograd(
    loss: Callable[..., Tensor], params: Mapping[str, Tensor], directions: Mapping[str, Tensor], batch: Any
) -> tuple[Tensor, Tensor]:
    """⟨b, ∇L(x)⟩ and bᵀH(x)b `[K, N, targets]`, one token and direction after the other."""
    leaves = {n: p.clone().requires_grad_() for n, p in params.items()}
    losses = loss(leaves, batch)
    k = len(next(iter(directions.values())))
    first, second = torch.zeros(k, *losses.shape).double(), torch.zeros(k, *losses.shape).double()
    for at in torch.cartesian_prod(*(torch.arange(s) for s in losses.shape)).view(-1, losses.ndim).tolist():
        gradient = torch.autograd.grad(losses[tuple(at)], list(leaves.values()), create_graph=True, allow_unused=True)
        for d in range(k):
            b = [directions[n][d] for n in leaves]
            along = sum(((g * v).sum() for g, v in zip(gradient, b, strict=True) if g is not None), torch.zeros(()))
            first[(d, *at)] = along
            if along.requires_grad:
                again = torch.autograd.grad(along, list(leaves.values()), retain_graph=True, allow_unused=True)
                second[(d, *at)] = sum(float((g * v).sum()) for g, v in zip(again, b, strict=True) if g is not None)
    return first.detach(), second


class InMemory:
    """Checkpoints in a dict."""

    def __init__(self, content) -> None:
        self.content = content

    def steps(self):
        return sorted(self.content)

    def load(self, step):
        return self.content[step]


STEPS = np.arange(0, 60, 10)


def quadratic(*, eigenbasis: bool, dimensions: int = 7, tokens: int = 11, dtype: type = np.float64) -> Projections:
    """L(x; θ) = ½ θᵀA(x)θ + c(x)ᵀθ along a random path, in a full orthonormal basis, in closed form.

    With `eigenbasis` that basis is made of eigenvectors of every A(x).
    """
    rng = np.random.default_rng(4)
    basis = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    path = np.cumsum(rng.normal(size=(len(STEPS), dimensions)) * 0.3, axis=0)
    if eigenbasis:
        a = np.einsum("ik,xk,jk->xij", basis, rng.normal(size=(tokens, dimensions)), basis)
    else:
        a = rng.normal(size=(tokens, dimensions, dimensions))
        a = a + a.transpose(0, 2, 1)
    c = rng.normal(size=(tokens, dimensions))
    curvature = np.einsum("ik,xij,jk->xk", basis, a, basis)
    everywhere = np.broadcast_to(curvature, (len(STEPS), *curvature.shape))
    return Projections(
        steps=STEPS,
        losses=(0.5 * np.einsum("ti,xij,tj->tx", path, a, path) + path @ c.T).astype(dtype),
        gradients=((np.einsum("xij,tj->txi", a, path) + c) @ basis).astype(dtype),
        movements=(np.diff(path, axis=0) @ basis).astype(dtype),
        vector_steps=np.arange(dimensions) * 10,
        eigenvalues=curvature.mean(axis=0).astype(dtype),
        curvatures=everywhere.mean(axis=1).astype(dtype),
        token_curvatures=everywhere.astype(dtype),
    )


def spread_error(exact: np.ndarray, back: np.ndarray) -> float:
    """In units of each token's standard deviation over time."""
    difference = (back.astype(np.float64) - exact) / exact.astype(np.float64).std(axis=1, keepdims=True)
    return float(np.sqrt(np.square(difference).mean()))


def library_labels(values: np.ndarray, min_cluster_size: int, min_samples: int, algorithm: str) -> np.ndarray:
    """Labels of hdbscan's own class, given sorted rows and told to leave equal edges in their order."""
    order = np.lexsort(values.T)
    rows = values[order].astype(np.float64)
    space = algorithm != "generic"
    options = {"approx_min_span_tree": False, "core_dist_n_jobs": 1} if space else {"metric": "precomputed"}
    sizes = {"min_cluster_size": min_cluster_size, "min_samples": min_samples}
    with patch("numpy.argsort", partial(np.argsort, kind="stable")):
        found = HDBSCAN(algorithm=algorithm, **options, **sizes).fit(rows if space else squareform(pdist(rows)))
    labels = np.empty(len(rows), np.int64)
    labels[order] = found.labels_
    return labels
