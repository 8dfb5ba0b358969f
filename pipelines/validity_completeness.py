"""How much of the loss change the vectors account for, and every integrator against the refined path integral."""

from polca.machine.files import write_csv, write_json
from polca.method.projections import Projections
from polca.study.settings import Preset
from polca.study.stage import run
from polca.validity.integrators import summary, tables
from polca.validity.path_integral import PathGradients
from polca.validity.paths import ValidityPaths
from polca.validity.settings import CompletenessSettings, read


def main(preset: Preset) -> None:
    validity, out = read(preset, "completeness", CompletenessSettings), ValidityPaths(preset.paths)
    arithmetic, english = preset.paths.task("arithmetic"), preset.paths.task("english")
    projections = {k: Projections.load(arithmetic.projection(k)) for k in preset.arithmetic().bases}
    path = PathGradients.load(out.path)
    further = Projections.load(english.projection("hessian")), Projections.load(out.curvature)
    for name, table in tables(projections, path, *further).items():
        write_csv(out.table("completeness", name), table)
    write_json(out.summary("completeness"), summary(projections["hessian"], path, validity.path_tolerance))


if __name__ == "__main__":
    run(main)
