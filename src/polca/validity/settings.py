"""The section `validity` of a preset: how the paper's claims are probed beyond what the paper shows."""

from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import Field, model_validator

from polca.errors import PolcaError
from polca.study.settings import Preset
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.settings import Count, Section, parse

T = TypeVar("T", bound=Section)
V = TypeVar("V")
Whole = Annotated[int, Field(ge=0)]
Several = Annotated[tuple[V, ...], Field(strict=False, min_length=1)]


class CompletenessSettings(Section):
    """The path integral along each vector.

    Attributes:
        path_intervals: how many intervals, evenly spaced, are integrated.
        path_nodes: Clenshaw–Curtis nodes of each, a power of two and one, so that rules with fewer are nested in it.
        path_tolerance: largest change of the integral when its nodes are last doubled, root mean square over tokens,
            intervals and vectors, as a fraction of that of the integral: below it, the integral counts as converged.
    """

    path_intervals: Count
    path_nodes: Annotated[int, Field(ge=5)]
    path_tolerance: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _rules_are_nested(self) -> Self:
        if (self.path_nodes - 1) & (self.path_nodes - 2):
            raise PolcaError(
                f"path_nodes = {self.path_nodes}: must be a power of two and one, so that rules with fewer nodes are "
                "nested in it"
            )
        return self


class ChanceSettings(Section):
    """Permutations of labels and of time, and the fewer of vectors, each of which asks for clustering anew."""

    seed: Whole
    permutations: Count
    vector_permutations: Count


class SensitivitySettings(Section):
    """Values of each factor; the preset's own is the default that the others are varied around.

    `thinning` multiplies the POLCA interval; `vectors` keeps the first so many; the others are named as in the preset.
    """

    thinning: Several[Count]
    vectors: Several[Count]
    min_cluster_size: Several[Annotated[int, Field(ge=2)]]
    min_samples_divisor: Several[Count]
    flat_step: Several[Whole]
    delta: Several[Count]

    @model_validator(mode="after")
    def _values_rise(self) -> Self:
        for name, values in self:
            if list(values) != sorted(set(values)):
                raise PolcaError(f"{name} = {list(values)!r}: expected a rising list")
        return self


class SpecificationSettings(Section):
    """The grid of the specification curve, beside forms, readings and what min_samples counts.

    Attributes:
        thinning: intervals, as multiples of the run's own.
        length: parts of the training from its beginning, 1 for all of it; the paper's plots show 0.4.
        permutations: of carries within each place, for the null of every cell.
    """

    thinning: Several[Count]
    length: Several[Annotated[float, Field(gt=0, le=1)]]
    permutations: Count

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        for name, values in (("thinning", self.thinning), ("length", self.length)):
            if len(set(values)) < len(values):
                raise PolcaError(f"{name} = {list(values)!r}: expected each value once")
        return self


class CurvatureSettings(Section):
    """The grid on which every token's exact curvature is known over the whole training.

    Attributes:
        interval: in training steps, a multiple of `polca.interval`.
    """

    interval: Count


class GridSettings(Section):
    """A coarser grid than the preset's, on which further runs are analysed without exact curvature.

    Attributes:
        interval: POLCA interval in training steps.
        delta: Δ of eq. 9 in training steps, a multiple of `interval`.
    """

    section: ClassVar[str]
    """Its dotted name in `params.yaml`."""

    interval: Count
    delta: Count


class SeedsSettings(GridSettings):
    """Seeds of training and data beside the preset's own.

    `permutations` are of the skills' names, against which the stability of profiles is judged.
    """

    section: ClassVar[str] = "validity.seeds"

    others: Several[Whole]
    permutations: Count


class BasesSettings(GridSettings):
    """Further bases on the preset's own seed; `window` basis checkpoints are averaged by the sliding-window Hessian."""

    section: ClassVar[str] = "validity.bases"

    window: Count


class TreebankSettings(Section):
    """Ground truth in language.

    Attributes:
        input: directory of the treebank, relative to the checkout.
        file: its CoNLL-U file, plain or `.gz`.
        windows: evaluation windows drawn from it.
        permutations: of the labels, for the null.
    """

    input: str
    file: str
    windows: Count
    permutations: Count


def read(preset: Preset, name: str, kind: type[T]) -> T:
    """One part of the section `validity` of a preset.

    Raises:
        PolcaError: the preset has no such part, or a parameter is missing, unknown or impossible.
    """
    return parse(kind, preset.section(f"validity.{name}"), f"validity.{name}")


def on_grid(task: ArithmeticTask, grid: GridSettings) -> ArithmeticTask:
    """The task with its trajectories on a coarser grid and no exact curvature.

    Raises:
        PolcaError: the grid misses points of the trajectories, basis checkpoints or the end of training; Δ misses the
            grid; or the second-order term needs the curvature.
    """
    settings = task.settings
    polca = settings.polca
    spaced = {"training.steps": settings.training.steps, "basis.interval": settings.basis.interval}
    if grid.interval % polca.interval:
        raise PolcaError(
            f"{grid.section}.interval = {grid.interval}: not a multiple of {task.name}.polca.interval = "
            f"{polca.interval}: change one of them"
        )
    for name, steps in spaced.items():
        if steps is not None and steps % grid.interval:
            raise PolcaError(f"{grid.section}.interval = {grid.interval}: does not divide {task.name}.{name} = {steps}")
    if grid.delta % grid.interval:
        raise PolcaError(
            f"{grid.section}.delta = {grid.delta}: not a multiple of {grid.section}.interval = {grid.interval}: change "
            "one of them"
        )
    if polca.needs_curvature:
        raise PolcaError(
            f"{task.name}.polca.second_order = {polca.second_order!r}: the checks over seeds and bases have no "
            "curvature: use 'trapezoid'"
        )
    breaks: dict[str, Any] = {"delta": grid.delta}
    changes: dict[str, Any] = {"polca": {"interval": grid.interval, "curvature_of": ()}, "stability": {"analyses": ()}}
    if (known := settings.breakthroughs.published) is not None and known.delta % grid.interval:
        breaks["published"] = None
    return ArithmeticTask(settings.changed(**changes, breakthroughs=breaks), task.folder)


def of_seed(task: ArithmeticTask, seed: int) -> ArithmeticTask:
    """A task of `on_grid` with another seed of data, initialisation and bases, and only the checkpoints it needs."""
    settings = task.settings.changed(seed=seed, training={"checkpoint_interval": task.settings.polca.interval})
    return ArithmeticTask(settings, task.folder)


def other_seeds(task: ArithmeticTask, seeds: SeedsSettings) -> list[int]:
    """The further seeds.

    Raises:
        PolcaError: a seed stands twice, or is the preset's own.
    """
    if len({*seeds.others, task.settings.seed}) != len(seeds.others) + 1:
        raise PolcaError(
            f"validity.seeds.others = {list(seeds.others)!r}: expected seeds, each once, without the preset's own, "
            f"{task.settings.seed}"
        )
    return list(seeds.others)
