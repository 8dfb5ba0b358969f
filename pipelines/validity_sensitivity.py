"""One factor at a time around the preset's settings: what becomes of POLCA's clusters."""

from polca.machine.files import read_npz, write_csv
from polca.method.projections import Projections
from polca.study.settings import Preset
from polca.study.stage import run
from polca.tasks.arithmetic.labels import EVALUATION_FORM
from polca.validity.paths import ValidityPaths
from polca.validity.sensitivity import sensitivity
from polca.validity.settings import SensitivitySettings, read


def main(preset: Preset) -> None:
    factors, out = read(preset, "sensitivity", SensitivitySettings), preset.paths.task("arithmetic")
    skills = read_npz(out.labels, EVALUATION_FORM)
    hessian, settings = Projections.load(out.projection("hessian")), preset.arithmetic().settings
    table = sensitivity(hessian, skills["place"], skills["carry"].astype(bool), settings, factors)
    write_csv(ValidityPaths(preset.paths).table("sensitivity", "factors"), table)


if __name__ == "__main__":
    run(main)
