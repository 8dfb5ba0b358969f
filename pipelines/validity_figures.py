"""Draw the figures of the checks."""

from polca.machine.files import read_csv, writing
from polca.report.figures.style import encode, styled
from polca.report.figures.validity import draw_completeness, draw_nulls, draw_sensitivity
from polca.report.figures.validity_seeds import draw_constructions, draw_profiles, draw_seeds
from polca.study.settings import Preset
from polca.study.stage import run
from polca.validity.paths import ValidityPaths


def main(preset: Preset) -> None:
    out = ValidityPaths(preset.paths)
    parts = {n: read_csv(out.table("completeness", n)) for n in ("curves", "errors", "forms", "vectors")}
    nulls = {n: read_csv(out.table("null", n)) for n in ("best", "hidden")}
    seeds = {n: read_csv(out.table("seeds", n)) for n in ("values", "summary", "profiles", "matches")}
    treebank = read_csv(out.directory / "treebank" / "treebank.csv")
    with writing(out.figures) as folder, styled():
        figures = {
            "validity_completeness": draw_completeness(**parts),
            "validity_null": draw_nulls(**nulls),
            "validity_sensitivity": draw_sensitivity(read_csv(out.table("sensitivity", "factors"))),
            "validity_seeds": draw_seeds(seeds["values"], seeds["summary"]),
            "validity_profiles": draw_profiles(seeds["profiles"], seeds["matches"]),
        }
        if len(treebank):
            figures["validity_treebank"] = draw_constructions(treebank)
        folder.mkdir()
        for name, figure in figures.items():
            for kind, content in encode(figure).items():
                (folder / f"{name}.{kind}").write_bytes(content)


if __name__ == "__main__":
    run(main)
