"""Typeset the report: every figure, table and what came of the claims, as one PDF; and write a page to look at."""

from polca.machine.files import write_text, writing
from polca.report.page import results_page
from polca.report.typeset import compile_report
from polca.study.settings import Preset
from polca.study.stage import run


def main(preset: Preset) -> None:
    (pdf,) = compile_report(preset.paths)
    with writing(preset.paths.paper / "paper.pdf") as target:
        target.write_bytes(pdf)
    write_text(preset.paths.paper / "index.html", results_page(preset.paths))


if __name__ == "__main__":
    run(main)
