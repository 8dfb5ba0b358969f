"""Typeset the report: every figure, every table and what came of the paper's claims, as one PDF."""

from polca.machine.files import writing
from polca.report.typeset import compile_report
from polca.study.settings import Preset
from polca.study.stage import run


def main(preset: Preset) -> None:
    (pdf,) = compile_report(preset.paths)
    with writing(preset.paths.paper / "paper.pdf") as target:
        target.write_bytes(pdf)


if __name__ == "__main__":
    run(main)
