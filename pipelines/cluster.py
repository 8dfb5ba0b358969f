"""From trajectories to clusters: every analysis clustered in both readings, and scored by the task."""

from pathlib import Path
from typing import Any, cast, get_args

from polca.machine.files import stacked, write_csv, write_json
from polca.machine.parallel import default_workers, map_processes
from polca.study.archive import Archive
from polca.study.paths import TaskPaths
from polca.study.results import read_facts, read_labels, read_losses, read_table
from polca.study.settings import Preset
from polca.study.stage import publish, resumable, run_task
from polca.study.stages.cluster import ExactLosses, cluster_analysis, summary
from polca.tasks.task import Task
from polca.typing import Reading

Shared = tuple[Task, TaskPaths, ExactLosses, dict[str, Any], Path]


def cluster(shared: Shared, chosen: str) -> dict[str, int]:
    """Cluster `<reading>/<analysis>` and write its results to the work folder."""
    task, out, losses, labels, work = shared
    reading, _, analysis = chosen.partition("/")
    trajectories = Archive.load(out.trajectory(analysis)).trajectories()
    done = cluster_analysis(task, analysis, trajectories, losses, labels, cast(Reading, reading))
    done.clusters.save(work / reading / "clusters" / f"{analysis}.npz")
    for name, table in done.tables.items():
        write_csv(work / "parts" / reading / name / f"{analysis}.csv", table)
    return {"guarded": done.guarded}


def main(preset: Preset, task: Task, out: TaskPaths) -> None:
    losses = read_losses(out, task.settings.training.steps // task.settings.polca.interval + 1)
    tokens = losses.losses.shape[1]
    labels, facts = read_labels(out, tokens), read_facts(out, tokens)
    with resumable(preset, f"{task.name}_cluster", task.name) as work:
        names, readings = list(task.analyses), get_args(Reading)
        # A process for every eight: each holds a matrix of distances, and a new one takes seconds to start.
        workers = min(default_workers(), -(-len(names) * len(readings) // 8))
        shared, chosen = (
            (task, out, losses, labels, work),
            [f"{reading}/{name}" for reading in readings for name in names],
        )
        done = map_processes(cluster, shared, chosen, workers=workers, description="analyses", resume=work / "done")
        guarded = {name: int(result["guarded"]) for name, result in zip(names, done, strict=False)}
        for reading in readings:
            tables = {}
            for folder in sorted((work / "parts" / reading).iterdir()):
                tables[folder.name] = stacked(*(read_table(folder / f"{name}.csv") for name in names))
                write_csv(work / reading / "tables" / f"{folder.name}.csv", tables[folder.name])
            write_json(work / reading / "summary.json", summary(task, facts, guarded, tables))
            publish(work / reading, out.results / reading)


if __name__ == "__main__":
    run_task(main)
