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
    change_of,
    compared_analyses,
    control_trajectories,
    is_mapped,
    scored_map,
    signature_tables,
)
from polca.tasks.task import Labels, Task

CHANGE, MAP = "loss_change", "map"
Controls = dict[str, Trajectories]
Shared = tuple[Task, Labels, TaskPaths, Controls, Path]


def compared(out: TaskPaths, controls: Controls, name: str) -> Trajectories:
    """What is compared under a name: read when it is asked for, since all together fill gigabytes."""
    if name in controls:
        return controls[name]
    if name == CHANGE and not out.trajectory(name).exists():
        return change_of(compared(out, controls, "loss"))
    return Archive.load(out.trajectory(name)).trajectories()


def score(shared: Shared, chosen: str) -> dict[str, int]:
    """Write the tables of an analysis or control, or the map of an analysis and its table, to the work folder."""
    task, labels, out, controls, work = shared
    kind, _, name = chosen.partition("/")
    trajectories = compared(out, controls, name)
    if kind == MAP:
        joint, drawn = scored_map(task, name, trajectories, labels)
        write_npz(work / "out" / "maps" / f"{name}.npz", drawn)
        tables = {"joint": joint}
    else:
        loss = compared(out, controls, "loss")
        tables = signature_tables(task, name, trajectories, loss, labels)
    for table, rows in tables.items():
        write_csv(work / "parts" / table / f"{name}.csv", rows)
    return {"tables": len(tables)}


def main(preset: Preset, task: Task, out: TaskPaths) -> None:
    losses = read_losses(out, task.settings.training.steps // task.settings.polca.interval + 1)
    labels = read_labels(out, losses.losses.shape[1])
    projections = {name: Projections.load(out.projection(name)) for name in CONTROLLED if name in task.bases}
    controls = {control.name: control for control in control_trajectories(projections)}
    names = [*dict.fromkeys([*compared_analyses(task), CHANGE]), *controls]
    with resumable(preset, f"{task.name}_signatures", task.name) as work:
        shared = (task, labels, out, controls, work)
        # A map takes several times as long as tables: maps first, so that no process is left alone with one.
        chosen = [f"{MAP}/{name}" for name in names if is_mapped(name)] + [f"tables/{name}" for name in names]
        map_processes(score, shared, chosen, description="signatures", resume=work / "done")
        for folder in sorted((work / "parts").iterdir()):
            parts = [read_table(path) for name in names if (path := folder / f"{name}.csv").is_file()]
            write_csv(work / "out" / f"{folder.name}.csv", stacked(*parts))
        first = next(iter(task.skills(labels).values()))
        write_npz(
            work / "out" / "mapped.npz", {"tokens": first.among.nonzero()[0], "values": first.values[first.among]}
        )
        publish(work / "out", out.signatures)


if __name__ == "__main__":
    run_task(main)
