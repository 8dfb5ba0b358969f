"""How much of the loss change the vectors account for, and every integrator against the refined path integral."""

from polca.machine.files import PresetPaths, write_csv, write_json
from polca.method.projections import Projections
from polca.study.scores import BASES
from polca.study.stage import run
from polca.validity.integrators import summary, tables
from polca.validity.path_integral import PathGradients
from polca.validity.paths import ValidityPaths
from polca.validity.settings import read_completeness


def main(paths: PresetPaths) -> None:
    settings, out = read_completeness(paths.params), ValidityPaths.of(paths)
    projections = {name: Projections.load(paths.arithmetic.projections / f"{name}.npz") for name in BASES}
    path = PathGradients.load(out.path)
    for name, table in tables(projections, path, Projections.load(paths.english.projections)).items():
        write_csv(out.table("completeness", name), table)
    write_json(out.summary("completeness"), summary(projections["hessian"], path, settings.path_tolerance))


if __name__ == "__main__":
    run(main)
