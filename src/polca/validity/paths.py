"""Every path of the validity stages, below `runs/<preset>/validity`."""

from dataclasses import dataclass
from pathlib import Path

from polca.study.paths import PresetPaths


@dataclass(frozen=True)
class ValidityPaths:
    """The files of the validity stages; tables, scalars and figures are copied to `paper/<preset>/validity`."""

    directory: Path

    @classmethod
    def of(cls, paths: PresetPaths) -> "ValidityPaths":
        """Those of a preset."""
        return cls(paths.validity)

    @property
    def path(self) -> Path:
        return self.directory / "path" / "gradients.npz"

    def table(self, stage: str, name: str) -> Path:
        """A table of a stage, such as `null` and `best`; the stage's name makes the file's unique among all stages."""
        return self.directory / stage / f"{stage}_{name}.csv"

    def summary(self, stage: str) -> Path:
        """The scalars of a stage."""
        return self.directory / stage / f"{stage}.json"

    @property
    def figures(self) -> Path:
        return self.directory / "figures"
