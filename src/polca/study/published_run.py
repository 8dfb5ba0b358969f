"""A preset whose run was made on a GPU, and came back as a folder of archives: where it is, and what it has.

What the run has goes before what the preset asks for. It stands in `paper/<preset>/run.json`, so that all that reads
results knows it, without the run. Presets that compute their own run have no such file.
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
from polca.tasks.task import Analysis, BasisKind

FROM_ARCHIVES = "paper"
"""The preset whose run a GPU makes, so that `make repro` reads what came back."""
FOLDERS = ("arithmetic", "cut")
"""Below `data/published`; the first that is there is taken."""
COMMAND = (
    "python -m polca.study.in_memory --preset paper --task arithmetic --device cuda --minutes 8 --tf32 "
    "--out data/published/arithmetic"
)


def run_folder(root: Path) -> Path:
    """The folder of the run in a checkout.

    Raises:
        PolcaError: there is none.
    """
    for name in FOLDERS:
        if (folder := root / "data" / "published" / name).is_dir():
            return folder
    raise PolcaError(
        f"{root / 'data' / 'published'}: no run at the published scale: make one on a GPU (docs/gpu.md): {COMMAND}"
    )


@dataclass(frozen=True)
class RunFacts:
    """What a run has of what its preset asks for.

    Attributes:
        folder: from the checkout.
        steps, vectors: of training, and of the Hessian basis; `of_steps` and `of_vectors` are the preset's.
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
        kind = "A cut of a run" if self.cut else "A run"
        absent = ", ".join((*self.missing, "English"))
        return f"{kind} at the published scale ({self.folder}): {size}. Not in this run: {absent}."

    def save(self, paths: PresetPaths) -> None:
        """Write `run.json`."""
        write_json(paths.paper / "run.json", {**asdict(self), "cut": self.cut})

    @classmethod
    def load(cls, paths: PresetPaths) -> "RunFacts | None":
        """Of a preset; None where it computes its own run.

        Raises:
            PolcaError: damaged.
        """
        path = paths.paper / "run.json"
        if not path.is_file():
            return None
        found: dict[str, Any] = read_json(path)
        found.pop("cut", None)
        try:
            return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in found.items()})  # type: ignore[arg-type]
        except TypeError as error:
            raise PolcaError(f"{path}: not the facts of a run ({error}): run stage published again") from error


def as_run(preset: Preset) -> Preset:
    """The preset with the parameters and the task of the run that was read; as it is where it computes its own."""
    if (facts := RunFacts.load(preset.paths)) is None:
        return preset

    def put(values: Mapping[str, Any], name: str, value: int) -> dict[str, Any]:
        first, _, rest = name.partition(".")
        return {**values, first: put(values[first], rest, value) if rest else value}

    params = {**preset.params, "tasks": {"arithmetic": preset.params["tasks"]["arithmetic"]}}
    for name, value in facts.changed.items():
        params = put(params, name, value)
    return replace(preset, params=params, sources={"arithmetic": preset.sources["arithmetic"]})


@dataclass(frozen=True)
class ArchivedTask(ArithmeticTask):
    """The arithmetic setting, as far as a run's trajectories were kept; without bases, of which nothing else was.

    Attributes:
        kept: names of the analyses.
    """

    kept: tuple[str, ...] = ()

    @property
    def analyses(self) -> Mapping[str, Analysis]:
        """Those that were kept."""
        return {name: one for name, one in super().analyses.items() if name in self.kept}

    @property
    def bases(self) -> tuple[BasisKind, ...]:
        """None."""
        return ()


def arithmetic_task(preset: Preset) -> ArithmeticTask:
    """The arithmetic task of a preset, or of the run that was read, whose clusters are not tried for stability.

    Stability clusters ten times more than everything else.

    Raises:
        PolcaError: as `Preset.arithmetic`.
    """
    task, facts = preset.arithmetic(), RunFacts.load(preset.paths)
    if facts is None:
        return task
    # Where training was cut, the basis checkpoints of the preset may lie beyond its end: none is computed here.
    sections: dict[str, Any] = {"basis": {"interval": None}, "stability": {"analyses": ()}}
    for name, value in facts.changed.items():
        section, _, key = name.removeprefix("arithmetic.").partition(".")
        sections[section] = {**sections.get(section, {}), key: value} if key else value
    return ArchivedTask(task.settings.changed(**sections), task.folder, facts.archived)
