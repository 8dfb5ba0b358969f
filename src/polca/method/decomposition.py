"""Eqs. 1–8 on arrays: from projections to one trajectory per token and basis vector.

Nothing here touches a model. Sums are taken in float64, one basis vector at a time, and stored as float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError

if TYPE_CHECKING:
    from polca.method.projections import Projections

Strategy = Literal["loss", "loss_change", "fisher", "lca", "polca_first_order", "polca"]
SecondOrder = Literal["paper", "trapezoid", "exact", "none"]
EigenvalueAt = Literal["basis", "current"]
Indices = Sequence[int] | NDArray[np.integer] | slice | None
Floats = NDArray[np.float64]

GUARD = 1e-6
"""Eq. 4 divides by ⟨b, Δg(X)⟩. Below this fraction of the root mean square over tokens of ⟨b, Δg(x)⟩ the float32
gradients leave that mean no correct digit, and the second-order term is set to 0."""


@dataclass(frozen=True)
class Trajectories:
    """One trajectory per token and basis vector.

    Attributes:
        name: the strategy.
        values: `[K, X, P]` in nats (Fisher: nats² per squared weight). Cumulative ones have P = C points and start
            at 0; `loss_change` has P = C − 1. `loss` and `loss_change` know no basis: K = 1.
        steps: `[P]` training step of each point.
        projected: whether they are projected losses (eq. 8), to which the paper's two filters apply.
        vector_steps: `[K]` step at which each basis vector was computed, −1 where none; None for all −1.
        guarded: number of (interval, vector) pairs whose second-order term the guard of eq. 4 set to 0.

    Raises:
        PolcaError: shapes that do not fit together, or values that are not finite.
    """

    name: str
    values: NDArray[np.float32]
    steps: NDArray[np.int64]
    projected: bool
    vector_steps: NDArray[np.int64] | None = None
    guarded: int = 0

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.steps.shape != self.values.shape[2:]:
            raise PolcaError(
                f"trajectories {self.name}: values {self.values.shape} do not fit steps {self.steps.shape}: "
                "give values [vectors, tokens, points] and steps [points]"
            )
        if self.vector_steps is not None and self.vector_steps.shape != self.values.shape[:1]:
            raise PolcaError(
                f"trajectories {self.name}: vector_steps {self.vector_steps.shape}: give one for each of the "
                f"{len(self.values)} vectors"
            )
        for k, matrix in enumerate(self.values):
            if not np.isfinite(matrix).all():
                raise PolcaError(
                    f"trajectories {self.name}: vector {k + 1} has NaN or infinite values: check the projections"
                )


def _check(p: "Projections") -> None:
    c, x, k = p.gradients.shape if p.gradients.ndim == 3 else (0, 0, 0)
    wanted: dict[str, tuple[NDArray[Any] | None, tuple[int, ...]]] = {
        "gradients": (p.gradients, (c, x, k)),
        "steps": (p.steps, (c,)),
        "losses": (p.losses, (c, x)),
        "movements": (p.movements, (c - 1, k)),
        "vector_steps": (p.vector_steps, (k,)),
        "eigenvalues": (p.eigenvalues, (k,)),
        "curvatures": (p.curvatures, (c, k)),
        "token_curvatures": (p.token_curvatures, (c, x, k)),
    }
    for name, (array, shape) in wanted.items():
        if array is not None and array.shape != shape:
            raise PolcaError(
                f"projections: {name} {array.shape} does not fit gradients {p.gradients.shape}: project again"
            )
    if c < 2 or x < 1 or (np.diff(p.steps) <= 0).any():
        raise PolcaError("projections: need at least two checkpoints in rising order and one token: add checkpoints")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise PolcaError(f"{name} = {value!r}: expected one of {', '.join(choices)}")


def _check_options(p: "Projections", second_order: str, eigenvalue: str) -> None:
    """Options that are unknown, or that ask for arrays that the projections lack."""
    _one_of("second_order", second_order, get_args(SecondOrder))
    _one_of("eigenvalue", eigenvalue, get_args(EigenvalueAt))
    if second_order == "exact" and p.token_curvatures is None:
        raise PolcaError(
            "second_order = 'exact': the projections have no token_curvatures: "
            "project with curvature=True, or use 'trapezoid'"
        )
    if second_order == "paper" and eigenvalue == "current" and p.curvatures is None:
        raise PolcaError(
            "eigenvalue = 'current': the projections have no curvatures: project with curvature=True, or use 'basis'"
        )
    if second_order == "paper" and eigenvalue == "basis" and not np.isfinite(p.eigenvalues).all():
        raise PolcaError(
            "eigenvalue = 'basis': this basis has no eigenvalues: use eigenvalue='current' or second_order='trapezoid'"
        )


def _first_order(p: "Projections", k: int) -> Floats:
    """Eq. 2 for vector k: ⟨b, ∇L(x; θ_t)⟩ ⟨b, θ_{t+1} − θ_t⟩, `[T, X]`."""
    return p.gradients[:-1, :, k].astype(np.float64) * p.movements[:, None, k].astype(np.float64)


def _second_order(
    p: "Projections", k: int, form: SecondOrder, eigenvalue: EigenvalueAt, guard: float
) -> tuple[Floats, int]:
    """The second-order term for vector k, `[T, X]`, and how many intervals the guard of eq. 4 set to 0."""
    moved = p.movements[:, None, k].astype(np.float64)
    if form == "none":
        return np.zeros((len(p.steps) - 1, p.gradients.shape[1])), 0
    if form == "exact":
        assert p.token_curvatures is not None
        return 0.5 * p.token_curvatures[:-1, :, k].astype(np.float64) * moved**2, 0
    turned = np.diff(p.gradients[:, :, k].astype(np.float64), axis=0)
    if form == "trapezoid":
        return 0.5 * moved * turned, 0
    mean = turned.mean(axis=1, keepdims=True)
    negligible = np.abs(mean) <= guard * np.sqrt(np.square(turned).mean(axis=1, keepdims=True))
    ratio = np.where(negligible, 0.0, turned / np.where(negligible, 1.0, mean))
    if eigenvalue == "basis":
        curvature = np.full((len(moved), 1), float(p.eigenvalues[k]))
    else:
        assert p.curvatures is not None
        curvature = p.curvatures[:-1, None, k].astype(np.float64)
    return 0.5 * curvature * ratio * moved**2, int(negligible.sum())


def _cumulative(allocation: Floats) -> Floats:
    """Eq. 8: `[T, X]` per interval → `[C, X]` sums over the intervals before each checkpoint, from 0."""
    return np.concatenate([np.zeros((1, allocation.shape[1])), np.cumsum(allocation, axis=0)])


def allocations(
    projections: "Projections",
    second_order: SecondOrder = "paper",
    eigenvalue: EigenvalueAt = "basis",
    *,
    guard: float = GUARD,
) -> Floats:
    """POLCA per interval, token and vector (eqs. 2–7), float64 `[T, X, K]` in nats.

    The first-order term (eq. 2) is ⟨b, g_t(x)⟩ ⟨b, Δθ_t⟩, with g the gradient and Δθ_t = θ_{t+1} − θ_t. To it is added

    - `paper`: eq. 4 to the letter, ½ λ (⟨b, Δg_t(x)⟩ / ⟨b, Δg_t(X)⟩) ⟨b, Δθ_t⟩², where Δg_t(X) is the mean over
      tokens; 0 where |⟨b, Δg_t(X)⟩| ≤ `guard` times the root mean square over tokens of ⟨b, Δg_t(x)⟩;
    - `trapezoid`: ½ ⟨b, Δθ_t⟩ ⟨b, Δg_t(x)⟩, to which eq. 4 reduces when eq. 13 holds;
    - `exact`: ½ bᵀH_t(x)b ⟨b, Δθ_t⟩² (eq. 3);
    - `none`: nothing.

    Args:
        eigenvalue: the λ of `paper`: of each vector when the basis was computed (`basis`), or bᵀH_t(X)b on the
            evaluation tokens at the checkpoint that opens the interval (`current`).
        guard: see `GUARD`.

    Raises:
        PolcaError: an unknown option, or one that asks for arrays that the projections lack.
    """
    _check(projections)
    _check_options(projections, second_order, eigenvalue)
    parts = (
        _first_order(projections, k) + _second_order(projections, k, second_order, eigenvalue, guard)[0]
        for k in range(projections.gradients.shape[2])
    )
    return np.stack(list(parts), axis=2)


def decompose(
    projections: "Projections",
    strategy: Strategy = "polca",
    second_order: SecondOrder = "paper",
    eigenvalue: EigenvalueAt = "basis",
    *,
    guard: float = GUARD,
) -> Trajectories:
    """Trajectories of one strategy of Table 8.

    - `loss`: exact loss L(x; θ_t); `loss_change`: L(x; θ_t) − L(x; θ_{t−1}), at `steps[1:]`. One row per token, K = 1.
    - `fisher`: ⟨b, ∇L(x; θ_t)⟩² at each checkpoint, not cumulative.
    - `polca_first_order`: eq. 2 accumulated as in eq. 8. `lca` is the same on a basis of single parameters (eq. 1).
    - `polca`: `allocations` accumulated, L_b(x, t) = Σ_{i<t} POLCA(x, b; θ_i) (eq. 8).

    Args:
        second_order, eigenvalue, guard: as in `allocations`; only `polca` heeds them.

    Raises:
        PolcaError: as `allocations`, or an unknown strategy.

    Example: on L = ½θ² along its one direction, the trapezoid gives the true loss change.

        >>> import numpy as np, polca
        >>> theta = np.array([1.0, 0.6, 0.2])
        >>> projections = polca.Projections(
        ...     steps=np.array([0, 10, 20]),
        ...     losses=0.5 * theta[:, None] ** 2,
        ...     gradients=theta[:, None, None],
        ...     movements=np.diff(theta)[:, None],
        ...     vector_steps=np.array([10]),
        ...     eigenvalues=np.array([1.0]),
        ... )
        >>> polca.decompose(projections, second_order="trapezoid").values.round(4).tolist()
        [[[0.0, -0.3199999928474426, -0.47999998927116394]]]
        >>> (projections.losses[:, 0] - projections.losses[0, 0]).round(4).tolist()
        [0.0, -0.32, -0.48]
    """
    _one_of("strategy", strategy, get_args(Strategy))
    _check(projections)
    p, guarded = projections, 0
    if strategy == "loss":
        return Trajectories("loss", np.ascontiguousarray(p.losses.T[None], dtype=np.float32), p.steps, projected=False)
    if strategy == "loss_change":
        change = np.diff(p.losses.astype(np.float64), axis=0).T[None]
        return Trajectories("loss_change", change.astype(np.float32, order="C"), p.steps[1:], projected=False)
    if strategy == "polca":
        _check_options(p, second_order, eigenvalue)
    values = np.empty((p.gradients.shape[2], p.gradients.shape[1], len(p.steps)), np.float32)
    for k in range(len(values)):
        if strategy == "fisher":
            values[k] = np.square(p.gradients[:, :, k].astype(np.float64)).T
            continue
        allocation = _first_order(p, k)
        if strategy == "polca":
            term, count = _second_order(p, k, second_order, eigenvalue, guard)
            allocation += term
            guarded += count
        values[k] = _cumulative(allocation).T
    return Trajectories(
        strategy, values, p.steps, projected=strategy != "fisher", vector_steps=p.vector_steps, guarded=guarded
    )


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


def second_order_rmse(
    projections: "Projections",
    tokens: Indices = None,
    intervals: Indices = None,
    vectors: Indices = None,
    second_order: SecondOrder = "paper",
    eigenvalue: EigenvalueAt = "basis",
    *,
    guard: float = GUARD,
) -> SecondOrderError:
    """App. C: the estimated second-order term against the exact one. Published: RMSE 0.145.

    Args:
        tokens, intervals, vectors: which to compare, as indices or slices; all by default. The paper takes 400 tokens,
            the first 10 checkpoints and the top 5 vectors. ⟨b, Δg(X)⟩ is always the mean over all tokens.

    Raises:
        PolcaError: as `allocations`; or the projections have no exact curvature, or nothing is selected.
    """
    _check(projections)
    _check_options(projections, "exact", "basis")
    _check_options(projections, second_order, eigenvalue)
    everything = slice(None)
    rows, columns = (everything if i is None else i for i in (intervals, tokens))
    errors: list[Floats] = []
    exacts: list[Floats] = []
    for k in np.arange(projections.gradients.shape[2])[everything if vectors is None else vectors]:
        estimate, _ = _second_order(projections, int(k), second_order, eigenvalue, guard)
        exact, _ = _second_order(projections, int(k), "exact", eigenvalue, guard)
        exacts.append(exact[rows][:, columns].ravel())
        errors.append(estimate[rows][:, columns].ravel() - exacts[-1])
    if not sum(e.size for e in errors):
        raise PolcaError("second_order_rmse: no term is selected: widen tokens, intervals or vectors")
    error, scale = np.concatenate(errors), np.concatenate(exacts)
    return SecondOrderError(
        rmse=float(np.sqrt(np.square(error).mean())),
        rms_exact=float(np.sqrt(np.square(scale).mean())),
        terms=error.size,
    )


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
    projections: "Projections",
    second_order: SecondOrder = "paper",
    eigenvalue: EigenvalueAt = "basis",
    *,
    guard: float = GUARD,
) -> Completeness:
    """Compare the sum over vectors of `allocations` with the true loss change, per token and interval.

    Not in the paper. On a quadratic loss with a full orthonormal basis, `trapezoid` adds up exactly; `exact` does so in
    an eigenbasis, and elsewhere misses the cross terms bᵀHb′ that no formula of the paper has. A basis of a few
    directions holds only the part of learning that happens along them.

    Raises:
        PolcaError: as `allocations`.
    """
    _check(projections)
    _check_options(projections, second_order, eigenvalue)
    actual = np.diff(projections.losses.astype(np.float64), axis=0)
    allocated = np.zeros_like(actual)
    by_vector = np.empty(projections.gradients.shape[2])
    for k in range(len(by_vector)):
        part = _first_order(projections, k) + _second_order(projections, k, second_order, eigenvalue, guard)[0]
        by_vector[k] = part.sum(axis=0).mean()
        allocated += part
    total_allocated, total_actual = (float(a.sum(axis=0).mean()) for a in (allocated, actual))
    scale = float(np.sqrt(np.square(actual).mean()))
    residual = float(np.sqrt(np.square(allocated - actual).mean()))
    a, b = (v - v.mean() for v in (allocated, actual))
    spread = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return Completeness(
        allocated=allocated,
        actual=actual,
        by_vector=by_vector,
        total_allocated=total_allocated,
        total_actual=total_actual,
        fraction=total_allocated / total_actual if total_actual else float("nan"),
        relative_residual=residual / scale if scale else float("nan"),
        correlation=float((a * b).sum()) / spread if spread else float("nan"),
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
    projections: "Projections",
    second_order: SecondOrder = "paper",
    eigenvalue: EigenvalueAt = "basis",
    *,
    guard: float = GUARD,
) -> OrderComparison:
    """Table 12: how far the second-order term moves the trajectories. What is averaged: see `OrderComparison`.

    Raises:
        PolcaError: as `allocations`.
    """
    _check(projections)
    _check_options(projections, second_order, eigenvalue)
    cosines: list[Floats] = []
    norms: list[Floats] = []
    relative: list[Floats] = []
    for k in range(projections.gradients.shape[2]):
        step = _first_order(projections, k)
        first = _cumulative(step)
        second = _cumulative(step + _second_order(projections, k, second_order, eigenvalue, guard)[0])
        difference, one, two = (np.sqrt(np.square(v).sum(axis=0)) for v in (second - first, first, second))
        defined = (one > 0) & (two > 0)
        cosines.append((first * second).sum(axis=0)[defined] / (one[defined] * two[defined]))
        relative.append(difference[defined] / one[defined])
        norms.append(difference)
    cosine, norm, ratio = (np.concatenate(v) if v else np.zeros(0) for v in (cosines, norms, relative))
    return OrderComparison(
        cosine_similarity=float(cosine.mean()) if cosine.size else float("nan"),
        l2_norm=float(norm.mean()) if norm.size else float("nan"),
        relative_l2_norm=float(ratio.mean()) if ratio.size else float("nan"),
        undefined=norm.size - cosine.size,
    )
