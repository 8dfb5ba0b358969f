"""How much of the loss change the allocations add up to, and how much the form of the second order matters.

Completeness is not in the paper; the comparison of first with second order is Table 12, and that of estimated with
exact second-order terms App. C.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.method.decomposition import Floats, Trajectories, check, cumulative, first_order_term, second_order_term
from polca.method.projections import Projections
from polca.typing import EigenvalueAt, SecondOrder

Indices = Sequence[int] | NDArray[np.integer] | slice


class Subset(NamedTuple):
    """Which tokens, intervals and vectors, as indices or slices; all by default."""

    tokens: Indices = slice(None)
    intervals: Indices = slice(None)
    vectors: Indices = slice(None)


ALL = Subset()
APP_C = Subset(tokens=slice(400), intervals=slice(10), vectors=slice(5))
"""App. C compares the second-order terms of 400 tokens, the first 10 checkpoints and the top 5 vectors."""


def rms(values: NDArray[np.floating]) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def ratio(a: float, b: float) -> float:
    """a / b, NaN where b is 0."""
    return a / b if b else float("nan")


@dataclass(frozen=True)
class SecondOrderError:
    """Error of an estimated second-order term against ½ bᵀH_t(x)b ⟨b, Δθ_t⟩² (App. C), in nats.

    Attributes:
        rmse: root mean square of the difference over tokens, intervals and vectors.
        rms_exact: root mean square of the exact term, the scale to read `rmse` on.
        terms: how many terms were compared; those that the guard set to 0 are among them.
    """

    rmse: float
    rms_exact: float
    terms: int


def second_order_terms(
    projections: Projections,
    second_order: SecondOrder = "paper",
    eigenvalue: EigenvalueAt = "basis",
    subset: Subset = ALL,
) -> Floats:
    """What a form adds to the first order in `allocations`, one vector after the other: `[K, T, X]` in nats.

    Args:
        subset: which terms to give; ⟨b, Δg(X)⟩ is always the mean over all tokens.

    Raises:
        PolcaError: as `allocations`; or nothing is selected.
    """
    check(projections, second_order, eigenvalue)
    parts = [
        second_order_term(projections, int(k), second_order, eigenvalue)[0][subset.intervals][:, subset.tokens]
        for k in np.arange(projections.gradients.shape[2])[subset.vectors]
    ]
    if not sum(part.size for part in parts):
        raise PolcaError("second_order_terms: no term is selected: widen tokens, intervals or vectors")
    return np.stack(parts)


def second_order_rmse(
    projections: Projections,
    second_order: SecondOrder = "paper",
    eigenvalue: EigenvalueAt = "basis",
    subset: Subset = ALL,
) -> SecondOrderError:
    """App. C: the estimated second-order term against the exact one. Published, on `APP_C`: RMSE 0.145.

    Raises:
        PolcaError: as `second_order_terms`, or the projections have no exact curvature.
    """
    exact = second_order_terms(projections, "exact", subset=subset)
    error = second_order_terms(projections, second_order, eigenvalue, subset) - exact
    return SecondOrderError(rmse=rms(error), rms_exact=rms(exact), terms=error.size)


@dataclass(frozen=True)
class Completeness:
    """How much of the true loss change the allocations along a basis add up to.

    Attributes:
        allocated: `[T, X]` sum over vectors of the allocations, in nats.
        actual: `[T, X]` L(x; θ_{t+1}) − L(x; θ_t), in nats.
        by_vector: `[K]` mean over tokens of each vector's final projected loss.
        total_allocated: mean over tokens of the sum over intervals of `allocated`.
        total_actual: the same of `actual`.
        fraction: `total_allocated` / `total_actual`; 1 is complete, NaN where the loss did not change.
        relative_residual: root mean square of `allocated` − `actual` over intervals and tokens, as a fraction of that
            of `actual`; 0 is complete, 1 no better than allocating nothing, NaN where the loss did not change.
        correlation: Pearson's, between `allocated` and `actual` over intervals and tokens; NaN where one is constant.
    """

    allocated: Floats
    actual: Floats
    by_vector: Floats
    total_allocated: float
    total_actual: float
    fraction: float
    relative_residual: float
    correlation: float


def completeness(
    projections: Projections,
    second_order: SecondOrder = "paper",
    eigenvalue: EigenvalueAt = "basis",
) -> Completeness:
    """Compare the sum over vectors of `allocations` with the true loss change, per token and interval.

    Not in the paper. On a quadratic loss with a full orthonormal basis, `trapezoid` adds up exactly; `exact` does so in
    an eigenbasis, and elsewhere misses the cross terms bᵀHb′ that no formula of the paper has. A basis of a few
    directions holds only the part of learning that happens along them.

    Raises:
        PolcaError: as `allocations`.
    """
    check(projections, second_order, eigenvalue)
    actual = np.diff(projections.losses.astype(np.float64), axis=0)
    allocated = np.zeros_like(actual)
    by_vector = np.empty(projections.gradients.shape[2])
    for k in range(len(by_vector)):
        part = first_order_term(projections, k) + second_order_term(projections, k, second_order, eigenvalue)[0]
        by_vector[k] = part.sum(axis=0).mean()
        allocated += part
    total_allocated, total_actual = (float(a.sum(axis=0).mean()) for a in (allocated, actual))
    a, b = (v - v.mean() for v in (allocated, actual))
    spread = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return Completeness(
        allocated=allocated,
        actual=actual,
        by_vector=by_vector,
        total_allocated=total_allocated,
        total_actual=total_actual,
        fraction=ratio(total_allocated, total_actual),
        relative_residual=ratio(rms(allocated - actual), rms(actual)),
        correlation=ratio(float((a * b).sum()), spread),
    )


@dataclass(frozen=True)
class OrderComparison:
    """Table 12: first-order against second-order POLCA trajectories.

    Each is a mean over all (token, vector) pairs of a number computed from that pair's two projected-loss trajectories
    (eq. 8), over all checkpoints and with no filter.

    Attributes:
        cosine_similarity: cosine of the angle between the two; 1 where they are parallel. Published as 0.99987 if the
            two column heads of Table 12 are swapped, as its text implies.
        l2_norm: Euclidean norm of their difference, in nats. Published as 5.4891e-4 on the same reading.
        relative_l2_norm: the same as a fraction of the norm of the first-order trajectory.
        undefined: pairs with an all-zero trajectory, left out of `cosine_similarity` and `relative_l2_norm`.
    """

    cosine_similarity: float
    l2_norm: float
    relative_l2_norm: float
    undefined: int


def compare_orders(
    projections: Projections,
    second_order: SecondOrder = "paper",
    eigenvalue: EigenvalueAt = "basis",
) -> OrderComparison:
    """Table 12: how far the second-order term moves the trajectories. What is averaged: see `OrderComparison`.

    Raises:
        PolcaError: as `allocations`.
    """
    check(projections, second_order, eigenvalue)
    return _compare(_orders(projections, k, second_order, eigenvalue) for k in range(projections.gradients.shape[2]))


def compare_trajectories(first: Trajectories, second: Trajectories) -> OrderComparison:
    """The same of trajectories that were kept, `[K, X, P]` of both orders.

    Raises:
        PolcaError: of other vectors, tokens or steps.
    """
    if first.values.shape != second.values.shape or not np.array_equal(first.steps, second.steps):
        raise PolcaError(
            f"orders: {first.name} {first.values.shape} and {second.name} {second.values.shape} have not the same "
            "vectors, tokens and steps: decompose them again"
        )
    pairs = zip(first.values, second.values, strict=True)
    return _compare((one.T.astype(np.float64), two.T.astype(np.float64)) for one, two in pairs)


def _orders(p: Projections, k: int, second_order: SecondOrder, eigenvalue: EigenvalueAt) -> tuple[Floats, Floats]:
    """Trajectories `[C, X]` of vector k in first and second order."""
    step = first_order_term(p, k)
    return cumulative(step), cumulative(step + second_order_term(p, k, second_order, eigenvalue)[0])


def _compare(pairs: Iterable[tuple[Floats, Floats]]) -> OrderComparison:
    """Of each vector's trajectories `[C, X]` in first and second order."""
    cosines: list[Floats] = []
    norms: list[Floats] = []
    relative: list[Floats] = []
    for first, second in pairs:
        difference, one, two = (np.sqrt(np.square(v).sum(axis=0)) for v in (second - first, first, second))
        defined = (one > 0) & (two > 0)
        cosines.append((first * second).sum(axis=0)[defined] / (one[defined] * two[defined]))
        relative.append(difference[defined] / one[defined])
        norms.append(difference)
    cosine, norm, share = (np.concatenate(v) if v else np.zeros(0) for v in (cosines, norms, relative))
    means = [float(v.mean()) if v.size else float("nan") for v in (cosine, norm, share)]
    return OrderComparison(means[0], means[1], means[2], undefined=norm.size - cosine.size)
