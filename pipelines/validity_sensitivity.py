"""One factor at a time around the preset's settings: what becomes of POLCA's clusters."""

from polca.machine.files import PresetPaths, read_npz, write_csv
from polca.method.projections import Projections
from polca.study.settings import read_arithmetic
from polca.study.stage import run
from polca.tasks.arithmetic_labels import EVALUATION_FORM
from polca.validity.paths import ValidityPaths
from polca.validity.sensitivity import sensitivity
from polca.validity.settings import read_sensitivity


def main(paths: PresetPaths) -> None:
    settings, factors, out = read_arithmetic(paths.params), read_sensitivity(paths.params), paths.arithmetic
    skills = read_npz(out.evaluation, EVALUATION_FORM)
    hessian = Projections.load(out.projections / "hessian.npz")
    table = sensitivity(hessian, skills["place"], skills["carry"].astype(bool), settings, factors)
    write_csv(ValidityPaths.of(paths).table("sensitivity", "factors"), table)


if __name__ == "__main__":
    run(main)
