"""Every path of a run, in one place."""

from pathlib import Path

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.typing import Reading

DEFAULT = "laptop"
"""The preset whose parameters lie in the checkout's own `params.yaml`, so that a bare `dvc repro` works."""


class TaskPaths:
    """The files of one task of a preset, in the order in which stages write them.

    Heavy files lie in `directory`; in `results` the small ones, all that tables and figures read. Clusters and what is
    said of them lie in a folder for each reading.

    Args:
        run: `runs/<preset>`.
        name: the task's.
        reading: whose clusters, tables and summary are meant.
    """

    def __init__(self, run: Path, name: str, reading: Reading = "standardised") -> None:
        self.run, self.name, self.reading = run, name, reading
        self.directory = run / name
        self.data = self.directory / "data"
        self.checkpoints = self.directory / "checkpoints"
        self.bases = self.directory / "bases"
        self.projections = self.directory / "projections"
        self.trajectories = self.directory / "trajectories"
        self.facts = self.trajectories / "facts.json"
        self.results = run / "results" / name
        self.labels = self.results / "labels.npz"
        self.training_log = self.results / "training_log.csv"
        self.losses = self.results / "losses.npz"
        self.projected_losses = self.results / "projected_losses.npz"
        self.signatures = self.results / "signatures"
        self.clusters = self.results / reading / "clusters"
        self.tables = self.results / reading / "tables"
        self.summary = self.results / reading / "summary.json"

    def of_reading(self, reading: Reading) -> "TaskPaths":
        """The same task's files with the clusters of a reading."""
        return TaskPaths(self.run, self.name, reading)

    def basis(self, kind: str) -> Path:
        """One basis."""
        return self.bases / f"{kind}.safetensors"

    def projection(self, basis: str) -> Path:
        """Projections onto one basis."""
        return self.projections / f"{basis}.npz"

    def trajectory(self, analysis: str) -> Path:
        """Trajectories of one analysis."""
        return self.trajectories / f"{analysis}.npz"

    def cluster(self, analysis: str) -> Path:
        """Clusters of one analysis."""
        return self.clusters / f"{analysis}.npz"

    def table(self, name: str) -> Path:
        """One table of the clusters of all analyses."""
        return self.tables / f"{name}.csv"


class PresetPaths:
    """The inputs and outputs of one preset; `work` is where unfinished stages keep what they need to resume."""

    def __init__(self, name: str, root: Path = ROOT) -> None:
        self.name, self.root = name, root
        self.params = (root if name == DEFAULT else root / "presets" / name) / "params.yaml"
        self.pipeline = self.params.with_name("dvc.yaml")
        self.run = root / "runs" / name
        self.validity = self.run / "validity"
        self.figures = root / "figures" / name
        self.paper = root / "paper" / name
        self.tables = self.paper / "tables"
        self.metrics = self.paper / "metrics.json"
        self.work = root / ".work" / name

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

    def task(self, name: str, reading: Reading = "standardised") -> TaskPaths:
        """The files of one task, with the clusters of a reading."""
        return TaskPaths(self.run, name, reading)


def presets(root: Path) -> list[str]:
    """Names of the presets of a checkout."""
    others = sorted(path.parent.name for path in (root / "presets").glob("*/params.yaml"))
    return [DEFAULT, *others] if (root / "params.yaml").is_file() else others
