"""What a user would otherwise take: per-token gradients, plain forward mode, other libraries' eigensolvers.

Each function does what its namesake in `polca` does, with public interfaces only and in the plain way. They are written
for `benchmarks/speed.py`; nothing else uses them. curvlinops and CoLA are in benchmarks/requirements.txt.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh, lobpcg
from torch import Tensor, nn

TokenLoss = Callable[[Any, Any], Tensor]
Tensors = Mapping[str, Tensor]
Matvec = Callable[[Tensor], Tensor]


def _tokens(batch: tuple[Tensor, Tensor], chunk: int) -> Any:
    """Every token as (sequence, targets, mask of its place), in chunks of tokens."""
    inputs, targets = batch
    places = torch.eye(targets.shape[1])
    rows = [(n, t) for n in range(len(inputs)) for t in range(targets.shape[1])]
    for first in range(0, len(rows), chunk):
        n, t = (list(part) for part in zip(*rows[first : first + chunk], strict=True))
        yield inputs[n], targets[n], places[t]


def _one(token_loss: TokenLoss) -> Callable[..., Tensor]:
    def loss(params: Tensors, inputs: Tensor, targets: Tensor, place: Tensor) -> Tensor:
        return (token_loss(params, (inputs[None], targets[None]))[0] * place).sum()

    return loss


def vmap_grad(token_loss: TokenLoss, params: Tensors, directions: Tensors, batch: Any, chunk: int = 32) -> Tensor:
    """Per-token gradients of a chunk of tokens at a time, then their products with the directions: `[tokens, K]`."""
    gradient = torch.func.vmap(torch.func.grad(_one(token_loss)), in_dims=(None, 0, 0, 0))
    parts = []
    for rows in _tokens(batch, chunk):
        found = gradient(dict(params), *rows)
        parts.append(sum(g.flatten(1) @ directions[name].flatten(1).T for name, g in found.items()))
    return torch.cat(parts)


def loop_grad(token_loss: TokenLoss, params: Tensors, directions: Tensors, batch: Any) -> Tensor:
    """One backward pass for every token: `[tokens, K]`."""
    leaves = {name: p.detach().clone().requires_grad_() for name, p in params.items()}
    losses = token_loss(leaves, batch).flatten()
    rows = []
    for loss in losses:
        found = torch.autograd.grad(loss, list(leaves.values()), retain_graph=True)
        rows.append(sum(directions[n].flatten(1) @ g.flatten() for n, g in zip(leaves, found, strict=True)))
    return torch.stack(rows)


def jvp_each(token_loss: TokenLoss, params: Tensors, directions: Tensors, batch: Any) -> Tensor:
    """`torch.func.jvp` for one direction after the other: `[tokens, K]`."""
    columns = []
    for k in range(len(next(iter(directions.values())))):
        along = {name: d[k] for name, d in directions.items()}
        _, slope = torch.func.jvp(lambda p: token_loss(p, batch), (dict(params),), (along,))
        columns.append(slope.flatten())
    return torch.stack(columns, 1)


def vmap_hvp(token_loss: TokenLoss, params: Tensors, directions: Tensors, batch: Any, chunk: int = 32) -> Tensor:
    """bᵀH(x)b by a Hessian-vector product for every token and direction: `[tokens, K]`."""
    one = _one(token_loss)

    def curvature(p: Tensors, along: Tensors, *row: Tensor) -> Tensor:
        _, product = torch.func.jvp(lambda q: torch.func.grad(one)(q, *row), (p,), (along,))
        return sum((product[name] * along[name]).sum() for name in p)  # type: ignore[return-value]

    over_tokens = torch.func.vmap(curvature, in_dims=(None, None, 0, 0, 0))
    columns = []
    for k in range(len(next(iter(directions.values())))):
        along = {name: d[k] for name, d in directions.items()}
        columns.append(torch.cat([over_tokens(dict(params), along, *rows) for rows in _tokens(batch, chunk)]))
    return torch.stack(columns, 1)


def double_backward(token_loss: TokenLoss, params: Tensors, batch: Any) -> Matvec:
    """A Hessian-vector product as it is usually written: gradient with a graph, then the gradient of its product."""

    def product(vector: Tensor) -> Tensor:
        leaves = [p.detach().clone().requires_grad_() for p in params.values()]
        loss = token_loss(dict(zip(params, leaves, strict=True)), batch).mean()
        gradient = torch.autograd.grad(loss, leaves, create_graph=True)
        parts = vector.split([p.numel() for p in leaves])
        along = [part.view_as(p) for part, p in zip(parts, leaves, strict=True)]
        return torch.cat([g.flatten() for g in torch.autograd.grad(gradient, leaves, along)])

    return product


class _Logits(nn.Module):
    """A model whose output is one row of logits a token, as curvlinops' losses expect."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs).flatten(0, 1)  # type: ignore[no-any-return]


def curvlinops_hessian(model: nn.Module, batch: Any) -> Any:
    """curvlinops' Hessian of the mean cross-entropy, as a linear operator on flat vectors."""
    from curvlinops import HessianLinearOperator

    inputs, targets = batch
    logits = _Logits(model)
    operator = HessianLinearOperator(
        logits,
        nn.CrossEntropyLoss(),
        list(logits.parameters()),
        [(inputs, targets.flatten())],
        check_deterministic=False,
        num_data=targets.numel(),
    )
    return operator


def top_eigsh(matvec: Matvec, size: int, tolerance: float) -> tuple[float, Tensor]:
    """ARPACK's implicitly restarted Lanczos through SciPy."""
    operator = LinearOperator((size, size), lambda v: matvec(torch.from_numpy(v.ravel())).numpy(), dtype=np.float32)
    start = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    values, vectors = eigsh(operator, 1, which="LA", tol=tolerance, v0=start)
    return float(values[0]), torch.from_numpy(vectors[:, 0].copy())


def top_lobpcg(matvec: Matvec, size: int, tolerance: float, limit: int = 200) -> tuple[float, Tensor]:
    """SciPy's LOBPCG with one vector (PyTorch's takes matrices only); its tolerance is absolute, so it is rescaled."""
    start = np.random.default_rng(0).standard_normal((size, 1)).astype(np.float32)
    operator = LinearOperator((size, size), lambda v: matvec(torch.from_numpy(v.ravel())).numpy(), dtype=np.float32)
    rough, _ = lobpcg(operator, start, maxiter=5, largest=True, tol=1e-12)
    values, vectors = lobpcg(operator, start, maxiter=limit, largest=True, tol=tolerance * abs(float(rough[0])))
    return float(values[0]), torch.from_numpy(vectors[:, 0].copy())


def top_power(matvec: Matvec, size: int, tolerance: float, limit: int = 300) -> tuple[float, Tensor]:
    """Power iteration until the residual is small, as pytorch-hessian-eigenthings offers (it deflates for more)."""
    vector = torch.randn(size, generator=torch.Generator().manual_seed(0))
    vector /= vector.norm()
    value = 0.0
    for _ in range(limit):
        image = matvec(vector)
        value = float(vector @ image)
        if float((image - value * vector).norm()) <= tolerance * abs(value):
            break
        vector = image / image.norm()
    return value, vector


def top_cola(matvec: Matvec, size: int, tolerance: float) -> tuple[float, Tensor]:
    """CoLA's Lanczos, the paper's choice: it runs as many iterations as it is told, up to its own tolerance."""
    import cola
    from cola.linalg import Lanczos

    def columns(block: Tensor) -> Tensor:
        return torch.stack([matvec(column) for column in block.T], 1) if block.ndim == 2 else matvec(block)

    operator = cola.SelfAdjoint(cola.ops.LinearOperator(torch.float32, (size, size), matmat=columns))
    values, vectors = cola.eig(operator, k=1, which="LM", alg=Lanczos(max_iters=100, tol=tolerance))
    return float(values[-1].real), vectors.to_dense()[:, -1].real
