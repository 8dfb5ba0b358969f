"""The parameters of the checks over seeds, bases and the treebank: section `validity` of a preset's params.yaml."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from polca.errors import PolcaError
from polca.machine.files import read_params
from polca.study.settings import ArithmeticSettings, check_interval, read_arithmetic, section

T = TypeVar("T")


@dataclass(frozen=True)
class SeedsSettings:
    """Seeds of training and data beside the preset's own; a coarser grid, on which every seed is analysed.

    Attributes:
        others: the seeds.
        interval: POLCA interval in training steps, of checkpoints too.
        delta: Δ of eq. 9 in training steps, a multiple of `interval`.
        permutations: of the skills' names, against which the stability of profiles is judged.
    """

    others: list[int]
    interval: int
    delta: int
    permutations: int


@dataclass(frozen=True)
class BasesSettings:
    """Further bases on the preset's own seed; `interval` and `delta` as in `SeedsSettings`.

    `window` is how many basis checkpoints the sliding-window Hessian averages.
    """

    interval: int
    delta: int
    window: int


@dataclass(frozen=True)
class TreebankSettings:
    """Ground truth in language.

    Attributes:
        input: directory of the treebank, relative to the checkout.
        file: its CoNLL-U file, plain or `.gz`.
        windows: evaluation windows drawn from it.
        permutations: of the labels, for the null.
    """

    input: str
    file: str
    windows: int
    permutations: int


def _read(kind: type[T], path: Path, name: str) -> T:
    try:
        values = read_params(path)["validity"][name]
    except (KeyError, TypeError) as error:
        raise PolcaError(
            f"{path}: missing parameter validity.{name}: compare with presets/laptop/params.yaml"
        ) from error
    return section(kind, values, f"validity.{name}")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise PolcaError(f"validity.{name} = {value}: must be at least {least}")


def coarser(settings: ArithmeticSettings, interval: int, delta: int, name: str) -> ArithmeticSettings:
    """The arithmetic settings on a grid of `interval` steps, without exact curvature.

    Raises:
        PolcaError: the grid misses the checkpoints, the basis checkpoints or the end of training, or Δ misses the grid.
    """
    training, basis = settings.training, settings.basis
    check_interval("validity", f"{name}.interval", interval, training)
    for what, steps in (("training.steps", training.steps), ("basis.interval", basis.interval)):
        if steps % interval:
            raise PolcaError(f"validity.{name}.interval = {interval}: does not divide arithmetic.{what} = {steps}")
    if delta < 1 or delta % interval:
        raise PolcaError(f"validity.{name}.delta = {delta}: not a multiple of validity.{name}.interval = {interval}")
    form = settings.polca.second_order
    if form not in ("none", "trapezoid"):
        raise PolcaError(
            f"arithmetic.polca.second_order = {form!r}: the checks over seeds and bases have no curvature: "
            "use 'trapezoid'"
        )
    return replace(
        settings,
        polca=replace(settings.polca, interval=interval, curvature_of=()),
        breakthroughs=replace(settings.breakthroughs, delta=delta),
    )


def of_seed(settings: ArithmeticSettings, seed: int) -> ArithmeticSettings:
    """Settings of `coarser` with another seed of data, initialisation and bases, and only the checkpoints they need."""
    return replace(
        settings, seed=seed, training=replace(settings.training, checkpoint_interval=settings.polca.interval)
    )


def read_seeds(path: Path) -> tuple[SeedsSettings, ArithmeticSettings]:
    """The settings of the seeds, and those of the preset on their grid.

    Raises:
        PolcaError: names the parameter and the mend.
    """
    seeds, base = _read(SeedsSettings, path, "seeds"), read_arithmetic(path)
    wrong = not isinstance(seeds.others, list) or not all(type(s) is int and s >= 0 for s in seeds.others)
    if wrong or not seeds.others or len({*seeds.others, base.seed}) != len(seeds.others) + 1:
        raise PolcaError(
            f"validity.seeds.others = {seeds.others!r}: expected a list of seeds, each once, without the preset's own, "
            f"{base.seed}"
        )
    _at_least("seeds.permutations", seeds.permutations, 1)
    return seeds, coarser(base, seeds.interval, seeds.delta, "seeds")


def read_bases(path: Path) -> tuple[BasesSettings, ArithmeticSettings]:
    """The settings of the further bases, and those of the preset on their grid.

    Raises:
        PolcaError: names the parameter and the mend.
    """
    bases = _read(BasesSettings, path, "bases")
    _at_least("bases.window", bases.window, 1)
    return bases, coarser(read_arithmetic(path), bases.interval, bases.delta, "bases")


def read_treebank_settings(path: Path) -> TreebankSettings:
    """The settings of the treebank.

    Raises:
        PolcaError: names the parameter and the mend.
    """
    treebank = _read(TreebankSettings, path, "treebank")
    _at_least("treebank.windows", treebank.windows, 1)
    _at_least("treebank.permutations", treebank.permutations, 1)
    return treebank
