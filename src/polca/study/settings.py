"""A preset: its tasks, and their parameters, from `presets/<name>/params.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polca.errors import PolcaError
from polca.machine.files import dotted, read_params
from polca.study.paths import PresetPaths
from polca.tasks.arithmetic.task import ArithmeticSettings, ArithmeticTask
from polca.tasks.english.task import EnglishSettings, EnglishTask
from polca.tasks.settings import EXAMPLE, Section, parse
from polca.tasks.task import Task


class PresetNames(Section):
    """How a preset is called; for DVC, the checkout as seen from its folder, and its file as seen from the checkout."""

    name: str
    description: str
    root: str
    params: str


class Sources(Section):
    """What the stages `data` and `labels` of a task read beside parameters and code, as paths from the checkout."""

    data: str
    labels: str


TASKS = ("arithmetic", "english")
"""The tasks that a preset can name."""


@dataclass(frozen=True)
class Preset:
    """A preset as read: `params` are its parameters as YAML gave them."""

    paths: PresetPaths
    params: Mapping[str, Any]
    names: PresetNames
    sources: Mapping[str, Sources]

    @classmethod
    def read(cls, paths: PresetPaths) -> "Preset":
        """Read a preset.

        Raises:
            PolcaError: a missing file, or a parameter that is missing, unknown or impossible; names the first.
        """
        params = read_params(paths.params)
        tasks = params.get("tasks")
        if not isinstance(tasks, Mapping) or not tasks or not set(tasks) <= set(TASKS):
            raise PolcaError(f"{paths.params}: tasks = {tasks!r}: expected a mapping of some of {', '.join(TASKS)}")
        names = parse(PresetNames, params.get("preset"), f"{paths.params}: preset")
        sources = {name: parse(Sources, s, f"{paths.params}: tasks.{name}") for name, s in tasks.items()}
        return cls(paths, params, names, sources)

    def section(self, name: str) -> Any:
        """A part of the parameters by its dotted name.

        Raises:
            PolcaError: it is missing.
        """
        try:
            return dotted(self.params, name)
        except KeyError as error:
            raise PolcaError(f"{self.paths.params}: missing parameter {name}: compare with {EXAMPLE}") from error

    def task(self, name: str) -> Task:
        """One of the preset's tasks, its parameters checked.

        Raises:
            PolcaError: the preset does not have it, or a parameter is missing, unknown or impossible.
        """
        if name not in self.sources:
            raise PolcaError(f"{self.paths.params}: task {name!r}: the preset has {', '.join(self.sources)}")
        return self.arithmetic() if name == "arithmetic" else self.english()

    def arithmetic(self) -> ArithmeticTask:
        """The arithmetic task; its errors as in `task`."""
        settings = parse(ArithmeticSettings, self.section("arithmetic"), "arithmetic")
        return ArithmeticTask(settings, self.paths.task("arithmetic").directory / "data")

    def english(self) -> EnglishTask:
        """The English task; its errors as in `task`."""
        settings = parse(EnglishSettings, self.section("english"), "english")
        folder, root = self.paths.task("english").directory / "data", self.paths.root
        return EnglishTask(settings, folder, root / self.sources["english"].data, root)
