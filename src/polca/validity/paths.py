"""Every path of the validity stages, below `runs/<preset>/validity`."""

from pathlib import Path

from polca.study.paths import PresetPaths


class ValidityPaths:
    """The files of the validity stages; tables, scalars and figures are copied to `paper/<preset>/validity`."""

    def __init__(self, paths: PresetPaths) -> None:
        self.directory = paths.validity
        self.path = self.directory / "path" / "gradients.npz"
        self.curvature = self.directory / "curvature" / "hessian.npz"
        self.specification = self.directory / "specification" / "specification.csv"
        self.figures = self.directory / "figures"

    def table(self, stage: str, name: str) -> Path:
        """A table of a stage, such as `null` and `best`; the stage's name makes the file's unique among all stages."""
        return self.directory / stage / f"{stage}_{name}.csv"

    def summary(self, stage: str) -> Path:
        """The scalars of a stage."""
        return self.directory / stage / f"{stage}.json"
