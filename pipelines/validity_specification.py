"""Every way at once of reading what the paper leaves open, on the preset's own seed and grid."""

from polca.machine.files import read_npz, write_csv
from polca.method.projections import Projections
from polca.study.settings import Preset
from polca.study.stage import run
from polca.tasks.arithmetic.labels import EVALUATION_FORM
from polca.validity.paths import ValidityPaths
from polca.validity.settings import SpecificationSettings, read
from polca.validity.specification import Grid


def main(preset: Preset) -> None:
    settings, out = read(preset, "specification", SpecificationSettings), preset.paths.task("arithmetic")
    validity = ValidityPaths(preset.paths)
    labels = read_npz(out.labels, EVALUATION_FORM)
    grid = Grid.of(labels, preset.arithmetic().settings, settings)
    table = grid.of_projections(Projections.load(out.projection("hessian")), Projections.load(validity.curvature))
    write_csv(validity.specification, table)


if __name__ == "__main__":
    run(main)
