"""Every path of a run, in one place."""

from dataclasses import dataclass
from pathlib import Path

from polca.errors import PolcaError
from polca.machine.files import ROOT

DEFAULT = "laptop"
"""The preset whose parameters lie in the checkout's own `params.yaml`, so that a bare `dvc repro` works."""


@dataclass(frozen=True)
class TaskPaths:
    """The files of one task of a preset.

    Attributes:
        run: `runs/<preset>`.
        name: the task's.

    Below `directory` lie the heavy files; below `results` the small ones, all that tables and figures read.
    """

    run: Path
    name: str

    @property
    def directory(self) -> Path:
        return self.run / self.name

    @property
    def results(self) -> Path:
        return self.run / "results" / self.name

    def data(self, name: str) -> Path:
        """A file of the stage `data`."""
        return self.directory / "data" / name

    @property
    def checkpoints(self) -> Path:
        return self.directory / "checkpoints"

    @property
    def bases(self) -> Path:
        return self.directory / "bases"

    def basis(self, kind: str) -> Path:
        """One basis."""
        return self.bases / f"{kind}.safetensors"

    @property
    def projections(self) -> Path:
        return self.directory / "projections"

    def projection(self, basis: str) -> Path:
        """Projections onto one basis."""
        return self.projections / f"{basis}.npz"

    @property
    def trajectories(self) -> Path:
        return self.directory / "trajectories"

    def trajectory(self, analysis: str) -> Path:
        """Trajectories of one analysis."""
        return self.trajectories / f"{analysis}.npz"

    @property
    def facts(self) -> Path:
        return self.trajectories / "facts.json"

    @property
    def labels(self) -> Path:
        return self.results / "labels.npz"

    @property
    def training_log(self) -> Path:
        return self.results / "training_log.csv"

    @property
    def losses(self) -> Path:
        return self.results / "losses.npz"

    @property
    def clusters(self) -> Path:
        return self.results / "clusters"

    def cluster(self, analysis: str) -> Path:
        """Clusters of one analysis."""
        return self.clusters / f"{analysis}.npz"

    @property
    def tables(self) -> Path:
        return self.results / "tables"

    def table(self, name: str) -> Path:
        """One table of the clusters of all analyses."""
        return self.tables / f"{name}.csv"

    @property
    def summary(self) -> Path:
        return self.results / "summary.json"


@dataclass(frozen=True)
class PresetPaths:
    """The inputs and outputs of one preset."""

    name: str
    root: Path = ROOT

    @classmethod
    def of(cls, params: Path) -> "PresetPaths":
        """The preset that a `params.yaml` belongs to: the checkout's own, or `presets/<name>/params.yaml`.

        Raises:
            PolcaError: there is no such file.
        """
        path = params.absolute()
        special = path.parents[1].name == "presets"
        if not path.is_file():
            known = ", ".join(sorted(other.parent.name for other in path.parents[1].glob("*/params.yaml")))
            here = f" (presets here: {known})" if special and known else ""
            raise PolcaError(f"{params}: no such parameter file{here}: name an existing preset")
        return cls(path.parent.name, path.parents[2]) if special else cls(DEFAULT, path.parent)

    @classmethod
    def named(cls, name: str, root: Path = ROOT) -> "PresetPaths":
        """A preset by its name.

        Raises:
            PolcaError: there is no such preset.
        """
        if name not in (known := presets(root)):
            raise PolcaError(f"preset {name!r}: no such preset (known: {', '.join(known)})")
        return cls(name, root)

    @property
    def params(self) -> Path:
        return self.root / "params.yaml" if self.name == DEFAULT else self.root / "presets" / self.name / "params.yaml"

    @property
    def pipeline(self) -> Path:
        """Its dvc.yaml."""
        return self.params.with_name("dvc.yaml")

    @property
    def run(self) -> Path:
        """Everything that git does not hold."""
        return self.root / "runs" / self.name

    def task(self, name: str) -> TaskPaths:
        """The files of one task."""
        return TaskPaths(self.run, name)

    @property
    def validity(self) -> Path:
        """Results of the checks, a folder a stage."""
        return self.run / "validity"

    @property
    def figures(self) -> Path:
        return self.root / "figures" / self.name

    @property
    def paper(self) -> Path:
        return self.root / "paper" / self.name

    @property
    def tables(self) -> Path:
        return self.paper / "tables"

    @property
    def metrics(self) -> Path:
        return self.paper / "metrics.json"

    @property
    def work(self) -> Path:
        """Where unfinished stages keep what they need to resume (git-ignored, emptied on success)."""
        return self.root / ".work" / self.name


def presets(root: Path) -> list[str]:
    """Names of the presets of a checkout."""
    others = sorted(path.parent.name for path in (root / "presets").glob("*/params.yaml"))
    return [DEFAULT, *others] if (root / "params.yaml").is_file() else others
