"""Draw what every report shows of a run at the published scale: late clusters, maps, the specification curve."""

from polca.machine.files import read_params, writing
from polca.report.figures import breakthroughs, directions
from polca.report.figures.specification import draw_specification
from polca.report.figures.style import encode, save, styled
from polca.study.published_run import as_run
from polca.study.results import PresetResults, read_table
from polca.study.settings import Preset
from polca.study.stage import run


def main(preset: Preset) -> None:
    results = PresetResults.of(preset.paths, as_run(preset).params).arithmetic
    assert results is not None
    published = read_params(preset.paths.root / "data" / "published.yaml")["table_01"]["polca"]["homogeneity"]
    cells = read_table(preset.paths.run / "published_scale" / "specification.csv")
    with writing(preset.paths.run / "published_figures") as folder, styled():
        save(encode(breakthroughs.draw(results)), folder / "breakthroughs")
        save(encode(directions.draw(results)), folder / "directions")
        save(encode(draw_specification(cells, published)), folder / "specification")


if __name__ == "__main__":
    run(main)
