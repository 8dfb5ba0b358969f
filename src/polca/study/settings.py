"""A preset's parameters as typed settings, checked before anything is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from polca.errors import PolcaError
from polca.machine.files import read_params
from polca.tasks import arithmetic
from polca.tasks.training import TrainingConfig
from polca.tasks.transformer import ModelConfig

T = TypeVar("T")


@dataclass(frozen=True)
class BasisSettings:
    """Algorithm 1: `vectors` basis checkpoints, `interval` steps apart, the first at `interval`."""

    interval: int
    vectors: int
    per_step: int
    hessian_examples: int
    tolerance: float
    which: Literal["algebraic", "magnitude"]


@dataclass(frozen=True)
class PolcaSettings:
    """Trajectories: a point every `interval` steps; form of the second-order term (see `decomposition`).

    `curvature_of` names the bases along which the exact curvature bᵀH(x)b of every token is computed as well.
    """

    interval: int
    second_order: Literal["none", "paper", "trapezoid", "exact"]
    eigenvalue: Literal["basis", "current"]
    batch_sequences: int
    curvature_of: Sequence[str] = ()

    @property
    def needs_curvature(self) -> bool:
        """Whether the second-order term asks for bᵀHb at every checkpoint."""
        return self.second_order == "exact" or (self.second_order == "paper" and self.eigenvalue == "current")


@dataclass(frozen=True)
class ClusteringSettings:
    """HDBSCAN (Table 4): min_samples = tokens clustered / `min_samples_divisor`."""

    min_cluster_size: int
    min_samples_divisor: int


@dataclass(frozen=True)
class BreakthroughSettings:
    """Eqs. 9, 10: τ = `flat_step`, Δ = `delta`, both in training steps."""

    flat_step: int
    delta: int


@dataclass(frozen=True)
class ArithmeticSettings:
    """Everything that the arithmetic setting takes from `params.yaml`."""

    seed: int
    model: ModelConfig
    training: TrainingConfig
    evaluation_examples: int
    basis: BasisSettings
    polca: PolcaSettings
    lca_parameters: int
    clustering: ClusteringSettings
    breakthroughs: BreakthroughSettings
    workers: int

    def basis_steps(self) -> list[int]:
        """Training steps of the basis checkpoints: interval, 2 · interval, …"""
        return [self.basis.interval * (i + 1) for i in range(self.basis.vectors)]

    def data(self) -> arithmetic.ArithmeticData:
        """The examples; the Hessian sample is the first `hessian_examples` of the training part."""
        return arithmetic.make_data(self.training.steps * self.training.batch_size, self.evaluation_examples, self.seed)


def section(kind: type[T], values: Any, name: str) -> T:
    """Build a settings class from a mapping, naming what is missing, unknown or of the wrong type."""
    if not isinstance(values, Mapping):
        raise PolcaError(f"{name}: expected a mapping of parameters")
    known = {f.name: f for f in fields(cast(Any, kind))}
    if unknown := sorted(set(values) - set(known)):
        raise PolcaError(f"{name}.{unknown[0]}: unknown parameter (known: {', '.join(known)})")
    for key, value in values.items():
        expected = known[key].type
        # PyYAML reads 1e-5 as text, which is the commonest slip in such files.
        wrong = isinstance(value, str | bool) or value is None or (expected is int and isinstance(value, float))
        if expected in (int, float) and wrong:
            raise PolcaError(
                f"{name}.{key} = {value!r}: expected {'a whole number' if expected is int else 'a number'}"
            )
    try:
        return kind(**values)
    except TypeError as error:
        missing = str(error).split("argument")[-1].strip(" s:")
        raise PolcaError(f"{name}: missing parameter {missing}") from error


def training_section(values: Any, name: str) -> TrainingConfig:
    """`section` for the training parameters, whose betas are a list in YAML."""
    if isinstance(values, Mapping) and isinstance(values.get("betas"), list):
        values = {**values, "betas": tuple(values["betas"])}
    return section(TrainingConfig, values, name)


def _one_of(value: str, choices: tuple[str, ...], name: str) -> None:
    if value not in choices:
        raise PolcaError(f"{name} = {value!r}: expected one of {', '.join(choices)}")


def read_arithmetic(path: Path) -> ArithmeticSettings:
    """Read and check the arithmetic part of a preset.

    Raises:
        PolcaError: names the parameter and the mend.
    """
    params = read_params(path)
    try:
        a: dict[str, Any] = params["arithmetic"]
        model = arithmetic.model_config(**a["model"])
        settings = ArithmeticSettings(
            seed=int(a["seed"]),
            model=model,
            training=training_section(a["training"], "arithmetic.training"),
            evaluation_examples=int(a["data"]["evaluation_examples"]),
            basis=section(BasisSettings, a["basis"], "arithmetic.basis"),
            polca=section(PolcaSettings, a["polca"], "arithmetic.polca"),
            lca_parameters=int(a["lca"]["parameters"]),
            clustering=section(ClusteringSettings, a["clustering"], "arithmetic.clustering"),
            breakthroughs=section(BreakthroughSettings, a["breakthroughs"], "arithmetic.breakthroughs"),
            workers=int(params["workers"]),
        )
    except KeyError as error:
        raise PolcaError(f"{path}: missing parameter {error}: compare with presets/laptop/params.yaml") from error
    except TypeError as error:
        raise PolcaError(
            f"{path}: arithmetic.model or a section is malformed ({error}): compare with presets/laptop"
        ) from error
    _check(settings)
    return settings


def check_sections(
    setting: str,
    training: TrainingConfig,
    polca: PolcaSettings,
    clustering: ClusteringSettings,
    breakthroughs: BreakthroughSettings,
    which: str,
    bases: Sequence[str],
    at_least: Sequence[tuple[str, int, int]],
) -> None:
    """What both settings ask of their sections.

    Args:
        setting: `arithmetic` or `english`.
        which: `basis.which`.
        bases: names of the dense bases.
        at_least: further parameters as (name, value, least value).

    Raises:
        PolcaError: names the first parameter that is impossible, and the mend.
    """
    _one_of(which, ("algebraic", "magnitude"), f"{setting}.basis.which")
    _one_of(polca.second_order, ("none", "paper", "trapezoid", "exact"), f"{setting}.polca.second_order")
    _one_of(polca.eigenvalue, ("basis", "current"), f"{setting}.polca.eigenvalue")
    for name, value, least in (
        *at_least,
        ("polca.batch_sequences", polca.batch_sequences, 1),
        ("clustering.min_cluster_size", clustering.min_cluster_size, 2),
        ("clustering.min_samples_divisor", clustering.min_samples_divisor, 1),
    ):
        if value < least:
            raise PolcaError(f"{setting}.{name} = {value}: must be at least {least}")
    if not isinstance(polca.curvature_of, list | tuple) or not set(polca.curvature_of) <= set(bases):
        raise PolcaError(
            f"{setting}.polca.curvature_of = {polca.curvature_of!r}: expected a list of {', '.join(bases)}"
        )
    if polca.needs_curvature and (lacking := [name for name in bases if name not in polca.curvature_of]):
        raise PolcaError(
            f"{setting}.polca.second_order = {polca.second_order!r}: needs the curvature along basis {lacking[0]}: "
            f"add it to {setting}.polca.curvature_of"
        )
    check_interval(setting, "polca.interval", polca.interval, training)
    if training.steps % polca.interval:
        raise PolcaError(
            f"{setting}.polca.interval = {polca.interval}: does not divide training.steps = {training.steps}"
        )
    if breakthroughs.delta < 1 or breakthroughs.delta % polca.interval:
        raise PolcaError(
            f"{setting}.breakthroughs.delta = {breakthroughs.delta}: not a multiple of polca.interval = "
            f"{polca.interval}: change one of them"
        )


def check_interval(setting: str, name: str, interval: int, training: TrainingConfig) -> None:
    """An interval in training steps must meet checkpoints."""
    if interval < 1 or interval % training.checkpoint_interval:
        raise PolcaError(
            f"{setting}.{name} = {interval}: not a multiple of training.checkpoint_interval = "
            f"{training.checkpoint_interval}: change one of them"
        )


def _check(s: ArithmeticSettings) -> None:
    training, basis = s.training, s.basis
    check_interval("arithmetic", "basis.interval", basis.interval, training)
    check_sections(
        "arithmetic",
        training,
        s.polca,
        s.clustering,
        s.breakthroughs,
        basis.which,
        ("hessian", "shuffled_hessian", "random"),
        (
            ("basis.vectors", basis.vectors, 1),
            ("basis.per_step", basis.per_step, 1),
            ("basis.hessian_examples", basis.hessian_examples, 1),
            ("lca.parameters", s.lca_parameters, 1),
        ),
    )
    if s.workers < 1:
        raise PolcaError(f"workers = {s.workers}: must be at least 1")
    if basis.interval * basis.vectors > training.steps:
        raise PolcaError(
            f"arithmetic.basis: {basis.vectors} vectors × {basis.interval} steps = {basis.interval * basis.vectors} "
            f"goes beyond training.steps = {training.steps}: lower basis.vectors or basis.interval"
        )
    available = training.steps * training.batch_size
    if basis.hessian_examples > available:
        raise PolcaError(
            f"arithmetic.basis.hessian_examples = {basis.hessian_examples}: more than the {available} training examples"
        )
