"""What a run at the published scale shows beside the paper's tables: all readings side by side, probes, specifications.

`make repro` copies its folder to `paper/published_scale`, which the report of every preset reads.
"""

from pathlib import Path

from polca.machine.files import read_params, stacked, write_csv
from polca.machine.parallel import map_processes
from polca.method.signatures import SHARES
from polca.study.paths import DEFAULT, PresetPaths
from polca.study.published import read_published_scale
from polca.study.published_run import arithmetic_task, as_run, run_folders
from polca.study.results import read_table
from polca.study.settings import Preset
from polca.study.stage import publish, resumable, run
from polca.validity.published_scale import (
    FORMS,
    Run,
    best_table,
    in_both_readings,
    readings_table,
    specification_parts,
    specification_table,
)
from polca.validity.published_tables import few_points_tables, in_order
from polca.validity.settings import SpecificationSettings, read
from polca.validity.within_class import ANALYSES, within_class_table

FEW = ("loss", "loss_change")
"""Analyses that have more numbers a token than a signature, and are probed with as few as well."""
Shared = tuple[Run, SpecificationSettings, int, Path]


def slow_tables(shared: Shared, chosen: str) -> dict[str, int]:
    """Write a part of the specifications, or tables of one analysis, to the work folder."""
    scale, grid, numbers, work = shared
    kind, _, name = chosen.partition("/")
    if kind == "specification":
        trajectories = scale.trajectories((*FORMS.values(), "loss"))
        tables = {kind: specification_table(scale, trajectories, specification_parts(grid)[name])}
    elif kind == "within_class":
        sizes = scale.task.settings.clustering
        tables = {kind: within_class_table(scale.trajectories([name]), scale.labels, sizes)}
    else:
        tables = few_points_tables(name, scale.trajectories(FEW), numbers, scale.task, scale.labels)
    for table, rows in tables.items():
        write_csv(work / "parts" / chosen / f"{table}.csv", rows)
    return {"tables": len(tables)}


def main(preset: Preset) -> None:
    root, out = preset.paths.root, preset.paths.task("arithmetic")
    grid = read(Preset.read(PresetPaths.named(DEFAULT, root)), "specification", SpecificationSettings)
    published = read_params(root / "data" / "published.yaml")
    scale = Run(read_published_scale(run_folders(root)["arithmetic"]), arithmetic_task(preset))
    numbers = len(SHARES) * max(len(archive.vector_steps) for archive in scale.run.archives.values())
    cut = {
        "specification": list(specification_parts(grid)),
        "within_class": [name for name in ANALYSES if name in scale.analyses],
        "few": FEW,
    }
    chosen = [f"{kind}/{name}" for kind, names in cut.items() for name in names]
    with resumable(as_run(preset), "published_scale", "arithmetic") as work:
        shared, folder = (scale, grid, numbers, work), work / "out"
        map_processes(slow_tables, shared, chosen, description="specifications", resume=work / "done")
        parts = {
            kind: [{p.stem: read_table(p) for p in (work / "parts" / kind / name).glob("*.csv")} for name in names]
            for kind, names in cut.items()
        }
        clusters, vectors = (in_both_readings(out, name, scale.analyses) for name in ("clusters", "vectors"))
        both = {"clusters": clusters, "vectors": vectors}
        made = {path.stem: read_table(path) for path in sorted(out.signatures.glob("*.csv"))}
        tables = in_order(made, scale.analyses, parts["few"]) | {
            **both,
            "best": best_table(clusters, vectors),
            "readings": readings_table(scale, both, scale.trajectories(FORMS.values()), published),
            "within_class": stacked(*(part["within_class"] for part in parts["within_class"])),
        }
        for name, table in tables.items():
            write_csv(folder / f"{name}.csv", table)
        cells = stacked(*(part["specification"] for part in parts["specification"]))
        write_csv(folder / "specification.csv", *(cells[cells["form"] == form] for form in FORMS))
        publish(folder, preset.paths.run / "published_scale")


if __name__ == "__main__":
    run(main)
