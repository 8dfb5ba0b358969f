"""Draw the figures of the checks."""

from pathlib import Path

import pandas as pd

from polca.machine.files import read_csv, read_params, writing
from polca.report.figures.specification import draw_specification
from polca.report.figures.style import encode, styled
from polca.report.figures.validity import draw_completeness, draw_nulls, draw_sensitivity
from polca.report.figures.validity_seeds import draw_constructions, draw_seeds
from polca.study.settings import Preset
from polca.study.stage import run
from polca.validity.paths import ValidityPaths
from polca.validity.specification import of_all_seeds


def shown(path: Path, reading: str) -> pd.DataFrame:
    """The rows of a table that are of the reading which figures show."""
    table = read_csv(path)
    return table[table["reading"] == reading]


def main(preset: Preset) -> None:
    out, reading = ValidityPaths(preset.paths), preset.arithmetic().settings.plots.reading
    parts = {n: read_csv(out.table("completeness", n)) for n in ("curves", "errors", "forms")}
    nulls = {n: shown(out.table("null", n), reading) for n in ("best", "hidden")}
    seeds = {n: shown(out.table("seeds", n), reading) for n in ("values", "summary")}
    cells = of_all_seeds(read_csv(out.specification), read_csv(out.table("seeds", "specification")))
    published = read_params(preset.paths.root / "data" / "published.yaml")["table_01"]["polca"]["homogeneity"]
    treebank = shown(out.directory / "treebank" / "treebank.csv", preset.english().settings.plots.reading)
    with writing(out.figures) as folder, styled():
        figures = {
            "validity_completeness": draw_completeness(**parts),
            "validity_null": draw_nulls(**nulls),
            "validity_sensitivity": draw_sensitivity(read_csv(out.table("sensitivity", "factors"))),
            "validity_specification": draw_specification(cells, published),
            "validity_seeds": draw_seeds(seeds["values"], seeds["summary"]),
        }
        if len(treebank):
            figures["validity_treebank"] = draw_constructions(treebank)
        folder.mkdir()
        for name, figure in figures.items():
            for kind, content in encode(figure).items():
                (folder / f"{name}.{kind}").write_bytes(content)


if __name__ == "__main__":
    run(main)
