"""The exact curvature of every token along the Hessian's vectors, over the whole training on a coarse grid."""

from polca.method.bases import Basis
from polca.method.projections import Projections
from polca.study.settings import Preset
from polca.study.stage import resumable, run
from polca.study.stages.checkpoints import checkpoint_directory
from polca.validity.curvature import coarse_curvature
from polca.validity.paths import ValidityPaths
from polca.validity.settings import CurvatureSettings, read


def main(preset: Preset) -> None:
    settings = read(preset, "curvature", CurvatureSettings)
    task, out = preset.arithmetic(), preset.paths.task("arithmetic")
    with resumable(preset, "validity_curvature", "arithmetic", "validity") as work:
        coarse_curvature(
            task,
            Projections.load(out.projection("hessian")),
            Basis.load(out.basis("hessian")),
            checkpoint_directory(task, out.checkpoints),
            settings,
            resume=work / "checkpoints",
        ).save(ValidityPaths(preset.paths).curvature)


if __name__ == "__main__":
    run(main)
