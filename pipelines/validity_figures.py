"""Draw the figures of completeness, of the nulls and of sensitivity."""

from polca.machine.files import PresetPaths, read_csv, writing
from polca.report.figures.style import encode, styled
from polca.report.figures.validity import draw_completeness, draw_nulls, draw_sensitivity
from polca.study.stage import run
from polca.validity.paths import ValidityPaths


def main(paths: PresetPaths) -> None:
    out = ValidityPaths.of(paths)
    parts = {n: read_csv(out.table("completeness", n)) for n in ("curves", "errors", "forms", "vectors")}
    nulls = {n: read_csv(out.table("null", n)) for n in ("best", "hidden")}
    with writing(out.figures) as folder, styled():
        figures = {
            "validity_completeness": draw_completeness(**parts),
            "validity_null": draw_nulls(**nulls),
            "validity_sensitivity": draw_sensitivity(read_csv(out.table("sensitivity", "factors"))),
        }
        folder.mkdir()
        for name, figure in figures.items():
            for kind, content in encode(figure).items():
                (folder / f"{name}.{kind}").write_bytes(content)


if __name__ == "__main__":
    run(main)
