"""From trajectories to what all vectors together tell apart: scores, controls and maps of tokens."""

from pathlib import Path

from polca.machine.files import stacked, write_csv, write_npz
from polca.machine.parallel import map_processes
from polca.method.decomposition import Trajectories
from polca.method.projections import Projections
from polca.study.archive import Archive
from polca.study.paths import TaskPaths
from polca.study.results import read_labels, read_losses, read_table
from polca.study.settings import Preset
from polca.study.stage import publish, resumable, run_task
from polca.study.stages.signatures import (
    CONTROLLED,
    compared_analyses,
    compared_trajectories,
    is_mapped,
    joint_scores,
    map_of,
    signature_tables,
)
from polca.tasks.task import Labels, Task

MAP = "map"
Shared = tuple[Task, Labels, Path, dict[str, Trajectories]]


def score(shared: Shared, chosen: str) -> dict[str, int]:
    """Write the tables of an analysis or control, or the map of an analysis and its table, to the work folder."""
    task, labels, work, trajectories = shared
    kind, _, name = chosen.partition("/")
    if kind == MAP:
        skills = task.skills(labels)
        mapped = next(iter(skills.values()))
        coordinates, clusters = map_of(trajectories[name], mapped)
        write_npz(work / "out" / "maps" / f"{name}.npz", {"coordinates": coordinates, "clusters": clusters})
        tables = {"joint": joint_scores(name, clusters, mapped, skills)}
    else:
        tables, _ = signature_tables(task, name, trajectories[name], trajectories["loss"], labels, mapped=False)
    for table, rows in tables.items():
        write_csv(work / "parts" / table / f"{name}.csv", rows)
    return {"tables": len(tables)}


def main(preset: Preset, task: Task, out: TaskPaths) -> None:
    losses = read_losses(out, task.settings.training.steps // task.settings.polca.interval + 1)
    labels = read_labels(out, losses.losses.shape[1])
    projections = {name: Projections.load(out.projection(name)) for name in CONTROLLED if name in task.bases}
    with resumable(preset, f"{task.name}_signatures", task.name) as work:
        kept = {name: Archive.load(out.trajectory(name)).trajectories() for name in compared_analyses(task)}
        trajectories = compared_trajectories(task, kept, projections)
        shared = (task, labels, work, trajectories)
        # A map takes several times as long as tables: maps first, so that no process is left alone with one.
        chosen = [f"{MAP}/{name}" for name in trajectories if is_mapped(name)] + [f"tables/{n}" for n in trajectories]
        map_processes(score, shared, chosen, description="signatures", resume=work / "done")
        for folder in sorted((work / "parts").iterdir()):
            parts = [read_table(path) for name in trajectories if (path := folder / f"{name}.csv").is_file()]
            write_csv(work / "out" / f"{folder.name}.csv", stacked(*parts))
        first = next(iter(task.skills(labels).values()))
        write_npz(
            work / "out" / "mapped.npz", {"tokens": first.among.nonzero()[0], "values": first.values[first.among]}
        )
        publish(work / "out", out.signatures)


if __name__ == "__main__":
    run_task(main)
