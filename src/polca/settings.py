"""A preset's parameters as typed settings, checked before anything is computed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from polca.artifacts import read_params
from polca.errors import PolcaError
from polca.model import ModelConfig
from polca.tasks import arithmetic
from polca.training import TrainingConfig

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
    """Trajectories: a point every `interval` steps; form of the second-order term (see `decomposition`)."""

    interval: int
    second_order: Literal["none", "paper", "trapezoid", "exact"]
    eigenvalue: Literal["basis", "current"]
    batch_sequences: int

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


def _section(kind: type[T], values: Any, name: str) -> T:
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
        training = dict(a["training"])
        training["betas"] = tuple(training.get("betas", (0.9, 0.95)))
        settings = ArithmeticSettings(
            seed=int(a["seed"]),
            model=model,
            training=_section(TrainingConfig, training, "arithmetic.training"),
            evaluation_examples=int(a["data"]["evaluation_examples"]),
            basis=_section(BasisSettings, a["basis"], "arithmetic.basis"),
            polca=_section(PolcaSettings, a["polca"], "arithmetic.polca"),
            lca_parameters=int(a["lca"]["parameters"]),
            clustering=_section(ClusteringSettings, a["clustering"], "arithmetic.clustering"),
            breakthroughs=_section(BreakthroughSettings, a["breakthroughs"], "arithmetic.breakthroughs"),
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


def _check(s: ArithmeticSettings) -> None:
    training, basis, polca = s.training, s.basis, s.polca
    _one_of(basis.which, ("algebraic", "magnitude"), "arithmetic.basis.which")
    _one_of(polca.second_order, ("none", "paper", "trapezoid", "exact"), "arithmetic.polca.second_order")
    _one_of(polca.eigenvalue, ("basis", "current"), "arithmetic.polca.eigenvalue")
    for name, value, least in (
        ("basis.vectors", basis.vectors, 1),
        ("basis.per_step", basis.per_step, 1),
        ("basis.hessian_examples", basis.hessian_examples, 1),
        ("polca.batch_sequences", polca.batch_sequences, 1),
        ("lca.parameters", s.lca_parameters, 1),
        ("clustering.min_cluster_size", s.clustering.min_cluster_size, 2),
        ("clustering.min_samples_divisor", s.clustering.min_samples_divisor, 1),
    ):
        if value < least:
            raise PolcaError(f"arithmetic.{name} = {value}: must be at least {least}")
    if s.workers < 1:
        raise PolcaError(f"workers = {s.workers}: must be at least 1")
    for name, interval in (("basis.interval", basis.interval), ("polca.interval", polca.interval)):
        if interval < 1 or interval % training.checkpoint_interval:
            raise PolcaError(
                f"arithmetic.{name} = {interval}: not a multiple of training.checkpoint_interval = "
                f"{training.checkpoint_interval}: change one of them"
            )
    if training.steps % polca.interval:
        raise PolcaError(
            f"arithmetic.polca.interval = {polca.interval}: does not divide training.steps = {training.steps}"
        )
    if basis.interval * basis.vectors > training.steps:
        raise PolcaError(
            f"arithmetic.basis: {basis.vectors} vectors × {basis.interval} steps = {basis.interval * basis.vectors} "
            f"goes beyond training.steps = {training.steps}: lower basis.vectors or basis.interval"
        )
    if s.breakthroughs.delta < 1 or s.breakthroughs.delta % polca.interval:
        raise PolcaError(
            f"arithmetic.breakthroughs.delta = {s.breakthroughs.delta}: not a multiple of polca.interval = "
            f"{polca.interval}: change one of them"
        )
    available = training.steps * training.batch_size
    if basis.hessian_examples > available:
        raise PolcaError(
            f"arithmetic.basis.hessian_examples = {basis.hessian_examples}: more than the {available} training examples"
        )
