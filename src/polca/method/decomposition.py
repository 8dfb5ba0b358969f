"""Eqs. 1–8 on arrays: from projections to one trajectory per token and basis vector.

Nothing here touches a model. Sums are taken in float64, one basis vector at a time, and stored as float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.typing import EigenvalueAt, SecondOrder, Strategy

if TYPE_CHECKING:
    from polca.method.projections import Projections

Floats = NDArray[np.float64]

GUARD = 1e-6
"""Eq. 4 divides by ⟨b, Δg(X)⟩. Below this fraction of the root mean square over tokens of ⟨b, Δg(x)⟩ the float32
gradients leave that mean no correct digit, and the second-order term is set to 0."""

FORMS: Mapping[str, tuple[SecondOrder, EigenvalueAt]] = {
    "none": ("none", "basis"),
    "paper": ("paper", "basis"),
    "paper_current": ("paper", "current"),
    "trapezoid": ("trapezoid", "basis"),
    "exact": ("exact", "basis"),
}
"""Forms of the second-order term, and which eigenvalue eq. 4 takes."""


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


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise PolcaError(f"{name} = {value!r}: expected one of {', '.join(choices)}")


def _points(curvatures: NDArray[Any] | None, checkpoints: int) -> int:
    """Rows that curvature may have: those it has, at most one a checkpoint."""
    return 0 if curvatures is None else min(len(curvatures), checkpoints)


def _opens_every_interval(curvatures: NDArray[Any] | None, checkpoints: int) -> bool:
    """Whether curvature is known wherever an interval begins; that of the last checkpoint is not used."""
    return curvatures is not None and len(curvatures) >= checkpoints - 1


def _check_curvature(option: str, name: str, curvatures: NDArray[Any] | None, checkpoints: int, instead: str) -> None:
    """Refuse an option that asks for curvature at every interval where there is less."""
    if curvatures is None:
        raise PolcaError(f"{option}: the projections have no {name}: project with curvature=True, or use {instead!r}")
    if not _opens_every_interval(curvatures, checkpoints):
        raise PolcaError(
            f"{option}: the projections have {name} at the first {len(curvatures)} of {checkpoints} checkpoints alone: "
            f"leave out polca.curvature_points and project again, or use {instead!r}"
        )


def check(p: "Projections", second_order: str = "none", eigenvalue: str = "basis") -> None:
    """Refuse arrays that do not fit together, unknown options, and options that ask for arrays that there are not.

    Raises:
        PolcaError: any of these.
    """
    c, x, k = p.gradients.shape if p.gradients.ndim == 3 else (0, 0, 0)
    wanted: dict[str, tuple[NDArray[Any] | None, tuple[int, ...]]] = {
        "gradients": (p.gradients, (c, x, k)),
        "steps": (p.steps, (c,)),
        "losses": (p.losses, (c, x)),
        "movements": (p.movements, (c - 1, k)),
        "vector_steps": (p.vector_steps, (k,)),
        "eigenvalues": (p.eigenvalues, (k,)),
        "curvatures": (p.curvatures, (_points(p.curvatures, c), k)),
        "token_curvatures": (p.token_curvatures, (_points(p.token_curvatures, c), x, k)),
    }
    for name, (array, shape) in wanted.items():
        if array is not None and array.shape != shape:
            raise PolcaError(
                f"projections: {name} {array.shape} does not fit gradients {p.gradients.shape}: project again"
            )
    if c < 2 or x < 1 or (np.diff(p.steps) <= 0).any():
        raise PolcaError("projections: need at least two checkpoints in rising order and one token: add checkpoints")
    _one_of("second_order", second_order, get_args(SecondOrder))
    _one_of("eigenvalue", eigenvalue, get_args(EigenvalueAt))
    if second_order == "exact":
        _check_curvature("second_order = 'exact'", "token_curvatures", p.token_curvatures, c, "trapezoid")
    if second_order == "paper" and eigenvalue == "current":
        _check_curvature("eigenvalue = 'current'", "curvatures", p.curvatures, c, "basis")
    if second_order == "paper" and eigenvalue == "basis" and not np.isfinite(p.eigenvalues).all():
        raise PolcaError(
            "eigenvalue = 'basis': this basis has no eigenvalues: use eigenvalue='current' or second_order='trapezoid'"
        )


def forms_of(p: "Projections") -> dict[str, tuple[SecondOrder, EigenvalueAt]]:
    """Those of `FORMS` that these projections allow."""
    curved, fixed = _opens_every_interval(p.token_curvatures, len(p.steps)), bool(np.isfinite(p.eigenvalues).all())
    return {
        name: form
        for name, form in FORMS.items()
        if (curved or name not in ("paper_current", "exact")) and (fixed or name != "paper")
    }


def first_order_term(p: "Projections", k: int) -> Floats:
    """Eq. 2 for vector k: ⟨b, ∇L(x; θ_t)⟩ ⟨b, θ_{t+1} − θ_t⟩, `[T, X]`."""
    return p.gradients[:-1, :, k].astype(np.float64) * p.movements[:, None, k].astype(np.float64)


def second_order_term(
    p: "Projections", k: int, form: SecondOrder, eigenvalue: EigenvalueAt, guard: float = GUARD
) -> tuple[Floats, int]:
    """The second-order term for vector k, `[T, X]`, and how many intervals the guard of eq. 4 set to 0."""
    displacement = p.movements[:, None, k].astype(np.float64)
    if form == "none":
        return np.zeros((len(p.steps) - 1, p.gradients.shape[1])), 0
    if form == "exact":
        assert p.token_curvatures is not None
        return 0.5 * p.token_curvatures[: len(displacement), :, k].astype(np.float64) * displacement**2, 0
    gradient_change = np.diff(p.gradients[:, :, k].astype(np.float64), axis=0)
    if form == "trapezoid":
        return 0.5 * displacement * gradient_change, 0
    mean = gradient_change.mean(axis=1, keepdims=True)
    negligible = np.abs(mean) <= guard * np.sqrt(np.square(gradient_change).mean(axis=1, keepdims=True))
    ratio = np.where(negligible, 0.0, gradient_change / np.where(negligible, 1.0, mean))
    if eigenvalue == "basis":
        curvature = np.full((len(displacement), 1), float(p.eigenvalues[k]))
    else:
        assert p.curvatures is not None
        curvature = p.curvatures[: len(displacement), None, k].astype(np.float64)
    return 0.5 * curvature * ratio * displacement**2, int(negligible.sum())


def cumulative(allocation: Floats) -> Floats:
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
    check(projections, second_order, eigenvalue)
    parts = (
        first_order_term(projections, k) + second_order_term(projections, k, second_order, eigenvalue, guard)[0]
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
    p, guarded = projections, 0
    if strategy == "polca":
        check(p, second_order, eigenvalue)
    else:
        check(p)
    if strategy == "loss":
        return Trajectories("loss", np.ascontiguousarray(p.losses.T[None], dtype=np.float32), p.steps, projected=False)
    if strategy == "loss_change":
        change = np.diff(p.losses.astype(np.float64), axis=0).T[None]
        return Trajectories("loss_change", change.astype(np.float32, order="C"), p.steps[1:], projected=False)
    values = np.empty((p.gradients.shape[2], p.gradients.shape[1], len(p.steps)), np.float32)
    for k in range(len(values)):
        if strategy == "fisher":
            values[k] = np.square(p.gradients[:, :, k].astype(np.float64)).T
            continue
        allocation = first_order_term(p, k)
        if strategy == "polca":
            term, count = second_order_term(p, k, second_order, eigenvalue, guard)
            allocation += term
            guarded += count
        values[k] = cumulative(allocation).T
    return Trajectories(
        strategy, values, p.steps, projected=strategy != "fisher", vector_steps=p.vector_steps, guarded=guarded
    )
