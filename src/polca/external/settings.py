"""What can be chosen in an analysis, and what is refused before there is a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from polca.errors import PolcaError

if TYPE_CHECKING:  # the help of a command reads the defaults, and need not load PyTorch
    from polca.external.sequences import Sequences
    from polca.typing import EigenvalueAt, SecondOrder

AnalysisStrategy = Literal["polca", "polca_first_order", "fisher", "loss", "loss_change"]

DEFAULT_VECTORS = 10
CLUSTER_SHARE = 0.03
"""Smallest cluster as a share of the evaluation tokens, where none is given: the paper's 150 of 5,000."""


@dataclass(frozen=True)
class AnalysisSettings:
    """What can be chosen. None takes what the comment says.

    Raises:
        PolcaError: an impossible value.
    """

    vectors: int | None = None  # ten, or as many as the checkpoints after the first give
    per_step: int = 1
    basis_steps: tuple[int, ...] | None = None  # spread evenly over the checkpoints after the first
    parameter_names: str | None = None  # all; or patterns of those in which directions lie, such as "*.mlp.*,head.*"
    hessian_sequences: int = 16
    tokens: int = 2000
    batch: int = 4
    strategy: AnalysisStrategy = "polca"
    second_order: "SecondOrder" = "trapezoid"
    eigenvalue: "EigenvalueAt" = "basis"
    min_cluster_size: int | None = None  # CLUSTER_SHARE of the tokens, five at least
    min_samples_divisor: int = 15
    standardise: bool = True  # cluster shapes (see `analyze`); False clusters raw trajectories, as they are
    delta: int | None = None  # one interval between checkpoints
    flat_step: int | None = None  # nothing is called hidden
    tolerance: float = 1e-3
    max_matvecs: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        from polca.typing import EigenvalueAt, SecondOrder

        least = dict.fromkeys(
            ("per_step", "hessian_sequences", "tokens", "batch", "max_matvecs", "vectors", "delta"), 1
        ) | {"min_cluster_size": 2, "min_samples_divisor": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise PolcaError(f"{name} = {value}: must be at least {smallest}")
        if not 0 < self.tolerance < 1:
            raise PolcaError(f"tolerance = {self.tolerance}: must lie between 0 and 1")
        for name, kind in (
            ("strategy", AnalysisStrategy),
            ("second_order", SecondOrder),
            ("eigenvalue", EigenvalueAt),
        ):
            if getattr(self, name) not in get_args(kind):
                raise PolcaError(f"{name} = {getattr(self, name)!r}: expected one of {', '.join(get_args(kind))}")
        if not isinstance(self.standardise, bool):
            raise PolcaError(f"standardise = {self.standardise!r}: must be true or false")

    @property
    def curvature(self) -> bool:
        """Whether bᵀH_t(x)b is needed at every checkpoint."""
        return self.second_order == "exact" or self.eigenvalue == "current"


def chosen_steps(available: Sequence[int], wanted: Sequence[int] | None, name: str = "steps") -> list[int]:
    """The steps wanted, in rising order; all where `wanted` is None.

    Raises:
        PolcaError: some do not exist, or fewer than two are left.
    """
    if wanted is None:
        wanted = available
    missing = sorted(set(wanted) - set(available))
    if missing:
        raise PolcaError(
            f"{name}: no checkpoint of step {missing[0]}: there are {len(available)}, from {min(available)} to "
            f"{max(available)} ({_some(available)})"
        )
    return sorted(set(wanted))


def _some(steps: Sequence[int]) -> str:
    shown = [str(s) for s in sorted(steps)]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:5], "…", *shown[-2:]])


def basis_steps(steps: Sequence[int], settings: AnalysisSettings) -> tuple[int, ...]:
    """Where basis vectors are computed: as asked, or spread evenly over the checkpoints after the first.

    Raises:
        PolcaError: no such checkpoints, or more vectors than they can give.
    """
    if settings.basis_steps is not None:
        if settings.vectors not in (None, len(settings.basis_steps) * settings.per_step):
            raise PolcaError(
                f"vectors = {settings.vectors}: the {len(settings.basis_steps)} basis steps give {settings.per_step} "
                "each: leave vectors out"
            )
        chosen_steps(steps, settings.basis_steps, "basis_steps")
        return settings.basis_steps
    import numpy as np

    after = list(steps)[1:]
    vectors = settings.vectors or min(DEFAULT_VECTORS, len(after) * settings.per_step)
    count, rest = divmod(vectors, settings.per_step)
    if rest or count > len(after):
        raise PolcaError(
            f"vectors = {vectors}: must be per_step = {settings.per_step} times at most {len(after)} checkpoints: "
            "change vectors or per_step, or name basis_steps"
        )
    places = np.linspace(0, len(after), count + 1)[1:] - 1
    return tuple(after[int(p)] for p in np.round(places))


def planned(settings: AnalysisSettings, steps: Sequence[int], workers: int = 1) -> AnalysisSettings:
    """`settings` with the basis steps filled in, once all that can be refused without the model is refused.

    Args:
        steps: the checkpoints chosen, in rising order.

    Raises:
        PolcaError: fewer than two checkpoints, basis steps that do not fit them, a Δ that does not, or no workers.
    """
    import numpy as np

    from polca.method.breakthrough import breakthrough_steps
    from polca.method.curvature import check_lanczos

    if len(steps) < 2:
        raise PolcaError(f"steps: {len(steps)} checkpoint chosen: give two at least")
    if workers < 1:
        raise PolcaError(f"workers = {workers}: must be at least 1")
    if settings.flat_step is not None and settings.flat_step < 0:
        raise PolcaError(f"flat_step = {settings.flat_step}: must be at least 0")
    check_lanczos(settings.per_step, settings.tolerance, settings.max_matvecs)
    at = basis_steps(steps, settings)
    if settings.delta is not None:
        points = np.array(steps[1:] if settings.strategy == "loss_change" else steps)
        breakthrough_steps(np.zeros(len(points)), points, settings.delta)
    return replace(settings, basis_steps=at, vectors=len(at) * settings.per_step)


def split(sequences: "Sequences", settings: AnalysisSettings) -> "tuple[Sequences, Sequences]":
    """Hessian sample and evaluation set: the first sequences, and those after them.

    Raises:
        PolcaError: too few sequences for both.
    """
    evaluated = max(1, settings.tokens // sequences.targets.shape[1])
    wanted = settings.hessian_sequences + evaluated
    if len(sequences) < wanted:
        raise PolcaError(
            f"data: {len(sequences)} sequences of {sequences.targets.shape[1]} targets, but hessian_sequences = "
            f"{settings.hessian_sequences} and tokens = {settings.tokens} need {wanted}: give more data or lower one"
        )
    return sequences.part(0, settings.hessian_sequences), sequences.part(settings.hessian_sequences, wanted)
