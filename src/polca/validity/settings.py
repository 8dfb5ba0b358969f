"""The section `validity` of a preset: how the paper's claims are probed beyond what the paper shows.

Each stage reads its own part, so that parts can be added without the others knowing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from polca.errors import PolcaError
from polca.machine.files import read_params
from polca.study.settings import section

T = TypeVar("T")


@dataclass(frozen=True)
class CompletenessSettings:
    """The refined path integral: on `path_intervals` evenly spaced intervals, with `path_nodes` nodes each.

    `path_tolerance` bounds the change of the integral when the nodes were last doubled, root mean square over tokens,
    intervals and vectors, as a fraction of that of the integral: below it, the integral counts as converged.
    """

    path_intervals: int
    path_nodes: int
    path_tolerance: float


@dataclass(frozen=True)
class ChanceSettings:
    """Permutations of labels and of time, and the fewer of vectors, each of which asks for clustering anew."""

    seed: int
    permutations: int
    vector_permutations: int


@dataclass(frozen=True)
class SensitivitySettings:
    """Values of each factor; the preset's own is the default that the others are varied around.

    `thinning` multiplies the POLCA interval; `vectors` keeps the first so many; the others are named as in the preset.
    """

    thinning: list[int]
    vectors: list[int]
    min_cluster_size: list[int]
    min_samples_divisor: list[int]
    flat_step: list[int]
    delta: list[int]


def read_part(path: Path, name: str, kind: type[T]) -> T:
    """One part of the section `validity` of a preset.

    Raises:
        PolcaError: the preset has no such part, or the part is malformed.
    """
    values: Any = read_params(path).get("validity")
    if not isinstance(values, Mapping) or name not in values:
        raise PolcaError(f"{path}: missing parameter 'validity.{name}': compare with presets/laptop/params.yaml")
    return section(kind, values[name], f"validity.{name}")


def read_completeness(path: Path) -> CompletenessSettings:
    """The part `completeness`.

    Raises:
        PolcaError: as `read_part`, or an impossible value.
    """
    s = read_part(path, "completeness", CompletenessSettings)
    if s.path_intervals < 1:
        raise PolcaError(f"validity.completeness.path_intervals = {s.path_intervals}: must be at least 1")
    if s.path_nodes < 5 or (s.path_nodes - 1) & (s.path_nodes - 2):
        raise PolcaError(
            f"validity.completeness.path_nodes = {s.path_nodes}: must be a power of two and one, at least 5, so that "
            "rules with fewer nodes are nested in it"
        )
    if not s.path_tolerance > 0:
        raise PolcaError(f"validity.completeness.path_tolerance = {s.path_tolerance}: must be above 0")
    return s


def read_chance(path: Path) -> ChanceSettings:
    """The part `chance`.

    Raises:
        PolcaError: as `read_part`, or an impossible value.
    """
    s = read_part(path, "chance", ChanceSettings)
    for name in ("permutations", "vector_permutations"):
        if getattr(s, name) < 1:
            raise PolcaError(f"validity.chance.{name} = {getattr(s, name)}: must be at least 1")
    return s


def read_sensitivity(path: Path) -> SensitivitySettings:
    """The part `sensitivity`.

    Raises:
        PolcaError: as `read_part`, or an impossible value.
    """
    s = read_part(path, "sensitivity", SensitivitySettings)
    least = {"thinning": 1, "vectors": 1, "min_cluster_size": 2, "min_samples_divisor": 1, "flat_step": 0, "delta": 1}
    for name, smallest in least.items():
        values = getattr(s, name)
        whole = isinstance(values, list) and all(isinstance(v, int) and not isinstance(v, bool) for v in values)
        if not whole or not values or min(values) < smallest or values != sorted(set(values)):
            raise PolcaError(
                f"validity.sensitivity.{name} = {values!r}: expected a rising list of whole numbers from {smallest}"
            )
    return s
