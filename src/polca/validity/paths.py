"""Every path of the validity stages, below `runs/<preset>/validity`."""

from pathlib import Path

from polca.study.paths import PresetPaths


class ValidityPaths:
    """The files of the validity stages; tables, scalars and figures are copied to `paper/<preset>/validity`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "path" / "gradients.npz"
        self.figures = directory / "figures"

    @classmethod
    def of(cls, paths: PresetPaths) -> "ValidityPaths":
        """Those of a preset."""
        return cls(paths.validity)

    def table(self, stage: str, name: str) -> Path:
        """A table of a stage, such as `null` and `best`; the stage's name makes the file's unique among all stages."""
        return self.directory / stage / f"{stage}_{name}.csv"

    def summary(self, stage: str) -> Path:
        """The scalars of a stage."""
        return self.directory / stage / f"{stage}.json"
