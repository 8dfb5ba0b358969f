"""The parameters that every task has: sections of `params.yaml` as types, checked before anything is computed."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from polca.errors import PolcaError
from polca.typing import EigenvalueAt, Reading, SecondOrder

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
T = TypeVar("T", bound="Section")
EXAMPLE = "the checkout's own params.yaml"
"""Parameters to compare one's own with."""


class Section(BaseModel):
    """Parameters that go together: nothing unknown, nothing converted, nothing infinite, nothing changed later."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def changed(self, **changes: Any) -> Self:
        """A copy with other values, checked like any; a mapping changes a section in part.

        Raises:
            PolcaError: as `parse`.
        """
        values = self.model_dump()
        for name, value in changes.items():
            values[name] = {**values[name], **value} if isinstance(value, Mapping) else value
        return parse(type(self), values, "parameters")


def parse(kind: type[T], values: Any, name: str) -> T:
    """A section from what YAML gave.

    Args:
        name: how the section is called, as in `arithmetic` or `validity.seeds`.

    Raises:
        PolcaError: one line that names the first parameter that is missing, unknown or impossible.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
    place = ".".join([name, *map(str, first["loc"])])
    if first["type"] == "missing":
        raise PolcaError(f"missing parameter {place}: compare with {EXAMPLE}")
    if first["type"] == "extra_forbidden":
        raise PolcaError(f"{place}: unknown parameter: compare with {EXAMPLE}")
    if first["type"] == "value_error":  # a check of several parameters, which names them itself
        raise PolcaError(f"{place}.{first['ctx']['error']}")
    raise PolcaError(f"{place} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}")


def needs_curvature(second_order: SecondOrder | None, eigenvalue: EigenvalueAt | None) -> bool:
    """Whether a form of eq. 4 asks for bᵀHb at every checkpoint."""
    return second_order == "exact" or (second_order == "paper" and eigenvalue == "current")


class ModelSettings(Section):
    """Sizes of the transformer; vocabularies and context are the task's."""

    layers: Count
    width: Count
    heads: Count
    mlp_width: Count

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise PolcaError(f"width = {self.width}: not divisible by heads = {self.heads}: change one of them")
        return self


class TrainingSettings(Section):
    """AdamW, named as in Table 2. Linear warm-up over `warmup_steps`, then a constant rate."""

    steps: Count
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0)]
    checkpoint_interval: Count
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    betas: Annotated[tuple[Share, Share], Field(strict=False)] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    resume_interval: Count = 100

    @model_validator(mode="after")
    def _checkpoints_reach_the_end(self) -> Self:
        if self.steps % self.checkpoint_interval:
            raise PolcaError(
                f"checkpoint_interval = {self.checkpoint_interval}: does not divide steps = {self.steps}: "
                "change one of them"
            )
        return self

    def rate(self, update: int) -> float:
        """Learning rate of an update (the first is 0): rate · min((update + 1) / warm-up, 1)."""
        return (
            self.learning_rate * min((update + 1) / self.warmup_steps, 1.0) if self.warmup_steps else self.learning_rate
        )


class BasisSettings(Section):
    """Algorithm 1: `vectors` basis checkpoints, `per_step` eigenvectors at each.

    Attributes:
        interval: training steps from one basis checkpoint to the next, the first at `interval`; None spreads them
            evenly over training, the last at its end. (The paper's 30 · 750 steps of English exceed its 14,000.)
        hessian_examples: training sequences of the Hessian sample.
        tolerance: relative residual of an eigenpair.
        lca_parameters: single parameters, largest in magnitude at the end of training, along which LCA decomposes.
    """

    interval: Count | None = None
    vectors: Count
    per_step: Count
    hessian_examples: Count
    tolerance: Annotated[float, Field(gt=0)]
    which: Literal["algebraic", "magnitude"]
    lca_parameters: Count = 50


class PolcaSettings(Section):
    """Trajectories: a point every `interval` steps; form of the second-order term (see `decomposition`).

    Attributes:
        batch_sequences: sequences at once; a unit of memory, not of the method.
        curvature_of: bases along which the exact curvature bᵀH(x)b of every token is computed as well.
        curvature_points: at how many points, the first ones; None for every point.
    """

    interval: Count
    second_order: SecondOrder
    eigenvalue: EigenvalueAt
    batch_sequences: Count
    curvature_of: Annotated[tuple[str, ...], Field(strict=False)] = ()
    curvature_points: Count | None = None

    @property
    def needs_curvature(self) -> bool:
        """Whether the second-order term asks for bᵀHb at every checkpoint."""
        return needs_curvature(self.second_order, self.eigenvalue)


class ArchiveSettings(Section):
    """How exactly trajectories are kept: 0 keeps them whole, otherwise as factors with at most this relative error."""

    relative_error: Share = 0.0


class ClusteringSettings(Section):
    """HDBSCAN (Table 4): min_samples = tokens clustered / `min_samples_divisor`."""

    min_cluster_size: Annotated[int, Field(ge=2)]
    min_samples_divisor: Count


class StabilitySettings(Section):
    """Labels of an analysis under small changes (`method.stability`): how often, and by how much.

    Attributes:
        repeats: bootstraps, and as many perturbations.
        noise: of a perturbation, as a share of each trajectory's standard deviation over time.
        analyses: the analyses that are clustered again.
    """

    repeats: Count
    noise: Annotated[float, Field(gt=0)] = 0.01
    analyses: Annotated[tuple[str, ...], Field(strict=False)]


class PublishedBreaks(Section):
    """The paper's own τ and Δ, in training steps."""

    flat_step: Annotated[int, Field(ge=0)]
    delta: Count


class BreakthroughSettings(Section):
    """Eqs. 9, 10, at the preset's scale.

    Attributes:
        fall: τ is the step by which the mean exact loss has made this share of its fall.
        delta: Δ in training steps: 1 % of training as published, and one interval at least.
        published: the paper's constants, with which hidden breakthroughs are counted as well; None where it has none.
    """

    fall: Fraction
    delta: Count
    published: PublishedBreaks | None = None


class PlotSettings(Section):
    """What the paper's figures show: clusters of an `analysis` in a `reading`; plots end at `last_step`."""

    analysis: str = "polca"
    reading: Reading = "standardised"
    last_step: Count


class TaskSettings(Section):
    """Everything that a task takes from `params.yaml`; a task adds its own data and labels."""

    seed: Annotated[int, Field(ge=0)]
    model: ModelSettings
    training: TrainingSettings
    basis: BasisSettings
    polca: PolcaSettings
    archive: ArchiveSettings = ArchiveSettings()
    clustering: ClusteringSettings
    stability: StabilitySettings
    breakthroughs: BreakthroughSettings
    plots: PlotSettings

    def basis_steps(self) -> list[int]:
        """Training steps of the basis checkpoints, in the order of training."""
        count, every = self.basis.vectors, self.training.checkpoint_interval
        if self.basis.interval is not None:
            return [self.basis.interval * (i + 1) for i in range(count)]
        kept = self.training.steps // every
        return [every * ((2 * i * kept + count) // (2 * count)) for i in range(1, count + 1)]

    @model_validator(mode="after")
    def _intervals_meet_checkpoints(self) -> Self:
        steps, every = self.training.steps, self.training.checkpoint_interval
        intervals = {"polca.interval": self.polca.interval, "basis.interval": self.basis.interval}
        for name, interval in intervals.items():
            if interval is not None and interval % every:
                raise PolcaError(
                    f"{name} = {interval}: not a multiple of training.checkpoint_interval = {every}: change one of them"
                )
        if steps % self.polca.interval:
            raise PolcaError(f"polca.interval = {self.polca.interval}: does not divide training.steps = {steps}")
        breaks, known = self.breakthroughs, self.breakthroughs.published
        deltas = {"breakthroughs.delta": breaks.delta, "breakthroughs.published.delta": known.delta if known else None}
        for name, delta in deltas.items():
            if delta is not None and delta % self.polca.interval:
                raise PolcaError(
                    f"{name} = {delta}: not a multiple of polca.interval = {self.polca.interval}: change one of them"
                )
        chosen = self.basis_steps()
        if chosen[-1] > steps:
            raise PolcaError(
                f"basis.vectors = {len(chosen)}: {len(chosen)} × {self.basis.interval} = {chosen[-1]} steps go beyond "
                f"training.steps = {steps}: lower basis.vectors or basis.interval"
            )
        if chosen[0] < 1 or len(set(chosen)) < len(chosen):
            raise PolcaError(
                f"basis.vectors = {len(chosen)}: more than the {steps // every} checkpoints after step 0: lower it or "
                "training.checkpoint_interval"
            )
        available = steps * self.training.batch_size
        if self.basis.hessian_examples > available:
            raise PolcaError(
                f"basis.hessian_examples = {self.basis.hessian_examples}: more than the {available} training examples"
            )
        return self

    def curved_everywhere(self, basis: str | None) -> bool:
        """Whether the exact curvature along a basis is known wherever an interval begins."""
        points, intervals = self.polca.curvature_points, self.training.steps // self.polca.interval
        return basis in self.polca.curvature_of and (points is None or points >= intervals)

    def check_curvature(self, task: str, bases: tuple[str, ...]) -> None:
        """What is asked of curvature must fit the bases whose trajectories POLCA decomposes.

        Args:
            task: whose settings these are.

        Raises:
            PolcaError: an unknown basis, or one that lacks the curvature which the second-order term needs.
        """
        named = self.polca.curvature_of
        if unknown := [name for name in named if name not in bases]:
            raise PolcaError(
                f"{task}.polca.curvature_of = {list(named)!r}: {unknown[0]!r} is none of {', '.join(bases)}"
            )
        if self.polca.needs_curvature and (lacking := [name for name in bases if name not in named]):
            raise PolcaError(
                f"{task}.polca.second_order = {self.polca.second_order!r}: needs the curvature along basis "
                f"{lacking[0]}: add it to {task}.polca.curvature_of"
            )
        if self.polca.needs_curvature and not all(map(self.curved_everywhere, bases)):
            raise PolcaError(
                f"{task}.polca.curvature_points = {self.polca.curvature_points}: second_order = "
                f"{self.polca.second_order!r} needs the curvature at every point: leave curvature_points out"
            )
