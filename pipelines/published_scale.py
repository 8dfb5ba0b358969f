"""What a run at the published scale shows: tables and the specification curve, from its folder of trajectories alone.

No stage: the run was made on a GPU by `python -m polca.study.in_memory` (docs/gpu.md), and comes back as a folder.
"""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from polca.errors import PolcaError
from polca.machine.files import ROOT, read_params, write_csv
from polca.machine.runtime import start_pinned
from polca.report.figures.directions import arithmetic_maps, draw_maps
from polca.report.figures.specification import draw_specification
from polca.report.figures.style import encode, save, styled
from polca.study.paths import DEFAULT, PresetPaths
from polca.study.published import read_published_scale
from polca.study.settings import Preset
from polca.validity.published_scale import Run, published_scale_tables
from polca.validity.published_tables import probe_tables
from polca.validity.settings import SpecificationSettings, read


def main(
    folder: Annotated[Path, typer.Option(help="Folder of the run, as `polca.study.published` reads it.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = ROOT / "paper" / "published_scale",
) -> None:
    """Write the tables and the figure; HDBSCAN's sizes, τ and Δ are those of the preset `paper`."""
    start_pinned()
    try:
        task = Preset.read(PresetPaths.named("paper")).arithmetic()
        grid = read(Preset.read(PresetPaths.named(DEFAULT)), "specification", SpecificationSettings)
        published = read_params(ROOT / "data" / "published.yaml")
        scale = Run(read_published_scale(folder), task)
        trajectories = scale.trajectories()
        tables, maps = probe_tables(task, trajectories, scale.labels)
        with styled():
            drawn = draw_maps(arithmetic_maps(maps, scale.labels, tables["signatures"]))
            save(encode(drawn), out / "directions")
        for name, table in chain(tables.items(), published_scale_tables(scale, trajectories, published, grid)):
            write_csv(out / f"{name}.csv", table)
            typer.echo(f"{out / name}.csv: {len(table)} rows")
        with styled():
            # The generator ends with the specifications.
            figure = encode(draw_specification(table, published["table_01"]["polca"]["homogeneity"]))
        save(figure, out / "specification")
    except PolcaError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
