"""Directions in some of the parameters only: Algorithm 1 with their block of the Hessian."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from polca.errors import PolcaError
from polca.method.bases import Basis, LanczosOptions, Operator, projected_basis
from polca.method.checkpoints import Checkpoints
from polca.method.curvature import HessianOperator, Layout
from polca.method.guard import check_repeatable
from polca.typing import TokenLossFunction


def chosen_names(names: Collection[str], patterns: str) -> list[str]:
    """The names that fit one of the comma-separated patterns, such as `*.mlp.*,head.weight`.

    Raises:
        PolcaError: a pattern that fits none.
    """
    wanted = [pattern.strip() for pattern in patterns.split(",")]
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in names):
            some = ", ".join(list(names)[:4])
            raise PolcaError(f"parameter_names: {pattern!r} fits no parameter ({some}, …): correct it")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in wanted)]


def block_basis(
    token_loss: TokenLossFunction,
    checkpoints: Checkpoints,
    data: Sequence[Any],
    names: Collection[str],
    *,
    steps: Sequence[int],
    options: LanczosOptions,
    keep_graphs: bool = True,
) -> Basis:
    """Algorithm 1 with PH_tP in the Hessian's place, P the projection on the parameters `names`.

    All parameters move from checkpoint to checkpoint; the vectors are 0 in the others, so that projected losses hold
    what the chosen ones did.

    Args:
        token_loss, checkpoints, data, steps, keep_graphs: as in `hessian_basis`.
        names: of the parameters in which directions lie.

    Raises:
        PolcaError: as `hessian_basis`, or fewer numbers in the chosen parameters than vectors.
    """
    params = checkpoints.load(steps[0])
    check_repeatable(token_loss, params, data[0])
    inside, wanted = sum(params[name].numel() for name in names), len(steps) * options.per_step
    if inside < wanted:
        raise PolcaError(f"parameter_names: {inside} numbers cannot hold {wanted} vectors: choose more of them")
    layout = Layout.of(params)
    mask = layout.flatten({name: torch.full_like(p, float(name in names)) for name, p in params.items()})

    def operator_at(index: int) -> Operator:
        hessian = HessianOperator(token_loss, checkpoints.load(steps[index]), data, keep_graphs)

        def product(vector: Tensor) -> Tensor:
            return mask * hessian(mask * vector)

        return product

    basis = projected_basis("hessian", operator_at, params, steps, options)
    # Lanczos' start has a part outside, of which its result keeps as much as its residual allows.
    kept = {name: v if name in names else torch.zeros_like(v) for name, v in basis.vectors.items()}
    lengths = torch.stack([v.double().flatten(1).square().sum(1) for v in kept.values()]).sum(0).sqrt()
    scaled = {name: v / lengths.to(v.dtype).reshape(-1, *[1] * (v.ndim - 1)) for name, v in kept.items()}
    return replace(basis, vectors=scaled)
