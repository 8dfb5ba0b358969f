"""Typeset the report: every figure, every table and what came of the paper's claims, as one PDF."""

from polca.machine.files import PresetPaths, writing
from polca.report.typeset import compile_report
from polca.study.stage import run


def main(paths: PresetPaths) -> None:
    (pdf,) = compile_report(paths)
    with writing(paths.metrics.with_name("paper.pdf")) as target:
        target.write_bytes(pdf)


if __name__ == "__main__":
    run(main)
