"""What a run at the published scale shows beside the paper's tables: all readings side by side, probes, specifications.

`make repro` copies its folder to `paper/published_scale`, which the report of every preset reads.
"""

from pathlib import Path

from polca.machine.files import read_params, stacked, write_csv
from polca.machine.parallel import map_processes
from polca.method.decomposition import Trajectories
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
from polca.validity.published_tables import with_few_points
from polca.validity.settings import SpecificationSettings, read
from polca.validity.within_class import within_class_table

WITHIN = "within_class"
Shared = tuple[Run, dict[str, Trajectories], SpecificationSettings, Path]


def slow_table(shared: Shared, name: str) -> dict[str, int]:
    """Write `within_class`, or a part of the specifications, to the work folder."""
    scale, trajectories, grid, work = shared
    if name == WITHIN:
        table = within_class_table(trajectories, scale.labels, scale.task.settings.clustering)
    else:
        table = specification_table(scale, trajectories, specification_parts(grid)[name])
    write_csv(work / "parts" / f"{name}.csv", table)
    return {"rows": len(table)}


def main(preset: Preset) -> None:
    root, out = preset.paths.root, preset.paths.task("arithmetic")
    grid = read(Preset.read(PresetPaths.named(DEFAULT, root)), "specification", SpecificationSettings)
    published = read_params(root / "data" / "published.yaml")
    scale = Run(read_published_scale(run_folders(root)["arithmetic"]), arithmetic_task(preset))
    trajectories = scale.trajectories()
    with resumable(as_run(preset), "published_scale", "arithmetic") as work:
        names, folder = [*specification_parts(grid), WITHIN], work / "out"
        map_processes(
            slow_table, (scale, trajectories, grid, work), names, description="specifications", resume=work / "done"
        )
        parts = {name: read_table(work / "parts" / f"{name}.csv") for name in names}
        clusters, vectors = (in_both_readings(out, name, list(trajectories)) for name in ("clusters", "vectors"))
        made = {path.stem: read_table(path) for path in sorted(out.signatures.glob("*.csv"))}
        tables = with_few_points(made, scale.task, trajectories, scale.labels) | {
            "clusters": clusters,
            "vectors": vectors,
            "best": best_table(clusters, vectors),
            "readings": readings_table(scale, {"clusters": clusters, "vectors": vectors}, trajectories, published),
            "within_class": parts[WITHIN],
        }
        for name, table in tables.items():
            write_csv(folder / f"{name}.csv", table)
        cells = stacked(*(parts[name] for name in specification_parts(grid)))
        write_csv(folder / "specification.csv", *(cells[cells["form"] == form] for form in FORMS))
        publish(folder, preset.paths.run / "published_scale")


if __name__ == "__main__":
    run(main)
