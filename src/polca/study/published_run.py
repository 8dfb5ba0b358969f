"""A preset whose runs were made on a GPU, and came back as folders of archives: where they are, and what they have.

What a run has goes before what the preset asks for. It stands in `paper/<preset>/run.json`, so that all that reads
results knows it, without the run. Presets that compute their own runs have no such file.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from polca.errors import PolcaError
from polca.machine.files import read_json, write_json
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.english.task import EnglishTask
from polca.tasks.task import Analysis, BasisKind

FROM_ARCHIVES = "paper"
"""The preset whose runs a GPU makes, so that `make repro` reads what came back."""
FOLDERS: Mapping[str, tuple[str, ...]] = {"arithmetic": ("arithmetic", "cut"), "english": ("english",)}
"""Below `data/published`, by task; the first that is there is taken."""
COMMAND = (
    "python -m polca.study.in_memory --preset paper --task arithmetic --device cuda --minutes 8 --tf32 "
    "--out data/published/arithmetic"
)
_NAMES = {"arithmetic": "addition", "english": "English"}


def run_folders(root: Path) -> dict[str, Path]:
    """The folders of the runs in a checkout by task; addition is always there, English may not be.

    Raises:
        PolcaError: there is no run of addition.
    """
    published = root / "data" / "published"
    there = {
        task: [published / name for name in names if (published / name).is_dir()] for task, names in FOLDERS.items()
    }
    if not there["arithmetic"]:
        raise PolcaError(f"{published}: no run at the published scale: make one on a GPU (docs/gpu.md): {COMMAND}")
    return {task: folders[0] for task, folders in there.items() if folders}


@dataclass(frozen=True)
class TaskFacts:
    """What one task's run has of what its preset asks for.

    Attributes:
        folder: from the checkout.
        steps, vectors: of training, and of the Hessian basis; `of_steps` and `of_vectors` are the preset's.
        hessian_examples: sequences of the Hessian sample; `of_hessian_examples` are the preset's.
        archived: analyses whose trajectories the run kept.
        scored: further ones, which the run clustered and scored itself.
        missing: the preset's other analyses.
        changed: by dotted name, parameters of which the run has another value than the preset.
    """

    folder: str
    steps: int
    of_steps: int
    vectors: int
    of_vectors: int
    hessian_examples: int
    of_hessian_examples: int
    archived: tuple[str, ...]
    scored: tuple[str, ...]
    missing: tuple[str, ...]
    changed: Mapping[str, int]

    @property
    def cut(self) -> bool:
        """Whether the run has fewer steps or vectors than the preset asks for."""
        return self.steps < self.of_steps or self.vectors < self.of_vectors

    @property
    def words(self) -> str:
        """What it is, in sentences."""
        size = f"{self.steps:,} of {self.of_steps:,} steps, {self.vectors} of {self.of_vectors} vectors"
        if self.hessian_examples != self.of_hessian_examples:
            size += f", a Hessian sample of {self.hessian_examples:,} instead of {self.of_hessian_examples:,}"
        kind = "A cut of a run" if self.cut else "A run"
        absent = f" Not in this run: {', '.join(self.missing)}." if self.missing else ""
        return f"{kind} at the published scale ({self.folder}): {size}.{absent}"


@dataclass(frozen=True)
class RunFacts:
    """The facts of a preset's runs, by task; a task that was not run has none."""

    tasks: Mapping[str, TaskFacts]

    @property
    def words(self) -> str:
        """What there is and what is not, in sentences."""
        told = [facts.words for facts in self.tasks.values()]
        return " ".join([*told, *(f"No run of {name}." for task, name in _NAMES.items() if task not in self.tasks)])

    def save(self, paths: PresetPaths) -> None:
        """Write `run.json`."""
        write_json(paths.paper / "run.json", {n: {**asdict(own), "cut": own.cut} for n, own in self.tasks.items()})

    @classmethod
    def load(cls, paths: PresetPaths) -> "RunFacts | None":
        """Of a preset; None where it computes its own runs.

        Raises:
            PolcaError: damaged.
        """
        path = paths.paper / "run.json"
        if not path.is_file():
            return None
        tasks = {}
        try:
            for name, found in read_json(path).items():
                own: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in found.items()}
                own.pop("cut", None)
                tasks[name] = TaskFacts(**own)
        except (TypeError, AttributeError) as error:
            raise PolcaError(f"{path}: not the facts of a run ({error}): run stage published again") from error
        return cls(tasks)


def as_run(preset: Preset) -> Preset:
    """The preset with the parameters and the tasks of the runs that were read; as it is where it computes its own."""
    if (facts := RunFacts.load(preset.paths)) is None:
        return preset

    def put(values: Mapping[str, Any], name: str, value: int) -> dict[str, Any]:
        first, _, rest = name.partition(".")
        return {**values, first: put(values[first], rest, value) if rest else value}

    def of_runs(tasks: Mapping[str, Any]) -> dict[str, Any]:
        return {name: own for name, own in tasks.items() if name in facts.tasks}

    params = {**preset.params, "tasks": of_runs(preset.params["tasks"])}
    for own in facts.tasks.values():
        for name, value in own.changed.items():
            params = put(params, name, value)
    return replace(preset, params=params, sources=of_runs(preset.sources))


class _Kept:
    """A task as far as a run's trajectories were kept; without bases, of which nothing else was."""

    kept: tuple[str, ...]

    @property
    def analyses(self) -> Mapping[str, Analysis]:
        """Those that were kept."""
        every: Mapping[str, Analysis] = super().analyses  # type: ignore[misc]
        return {name: one for name, one in every.items() if name in self.kept}

    @property
    def bases(self) -> tuple[BasisKind, ...]:
        """None."""
        return ()


@dataclass(frozen=True)
class ArchivedArithmetic(_Kept, ArithmeticTask):
    """Addition; `kept` are names of analyses."""

    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArchivedEnglish(_Kept, EnglishTask):
    """English; `kept` are names of analyses."""

    kept: tuple[str, ...] = ()


def _changes(facts: TaskFacts) -> dict[str, Any]:
    """Settings of a run that differ from its preset's, by section; its clusters are not tried for stability.

    Stability clusters ten times more than everything else.
    """
    # Where training was cut, the basis checkpoints of the preset may lie beyond its end: none is computed here.
    sections: dict[str, Any] = {"basis": {"interval": None}, "stability": {"analyses": ()}}
    for name, value in facts.changed.items():
        section, _, key = name.partition(".")[2].partition(".")
        sections[section] = {**sections.get(section, {}), key: value} if key else value
    return sections


def arithmetic_task(preset: Preset) -> ArithmeticTask:
    """The arithmetic task of a preset, or of the run that was read.

    Raises:
        PolcaError: as `Preset.arithmetic`.
    """
    task, facts = preset.arithmetic(), RunFacts.load(preset.paths)
    if facts is None or (own := facts.tasks.get(task.name)) is None:
        return task
    return ArchivedArithmetic(task.settings.changed(**_changes(own)), task.folder, own.archived)


def english_task(preset: Preset) -> EnglishTask:
    """The English task in the same way.

    Raises:
        PolcaError: as `Preset.english`.
    """
    task, facts = preset.english(), RunFacts.load(preset.paths)
    if facts is None or (own := facts.tasks.get(task.name)) is None:
        return task
    return ArchivedEnglish(task.settings.changed(**_changes(own)), task.folder, task.source, task.root, own.archived)
