"""From trajectories to clusters: every analysis clustered, and scored by the task."""

from pathlib import Path
from typing import Any

from polca.machine.files import stacked, write_csv, write_json
from polca.machine.parallel import default_workers, map_processes
from polca.study.archive import Archive
from polca.study.paths import TaskPaths
from polca.study.results import read_facts, read_labels, read_losses, read_table
from polca.study.settings import Preset
from polca.study.stage import publish, resumable, run_task
from polca.study.stages.cluster import ExactLosses, cluster_analysis, summary
from polca.tasks.task import Task

Shared = tuple[Task, TaskPaths, ExactLosses, dict[str, Any], Path]


def cluster(shared: Shared, analysis: str) -> dict[str, int]:
    """Cluster one analysis and write its results to the work folder."""
    task, out, losses, labels, work = shared
    trajectories = Archive.load(out.trajectory(analysis)).trajectories()
    done = cluster_analysis(task, analysis, trajectories, losses, labels)
    done.clusters.save(work / "clusters" / f"{analysis}.npz")
    for name, table in done.tables.items():
        write_csv(work / "parts" / name / f"{analysis}.csv", table)
    return {"guarded": done.guarded}


def main(preset: Preset, task: Task, out: TaskPaths) -> None:
    losses = read_losses(out, task.settings.training.steps // task.settings.polca.interval + 1)
    tokens = losses.losses.shape[1]
    labels, facts = read_labels(out, tokens), read_facts(out, tokens)
    with resumable(preset, f"{task.name}_cluster", task.name) as work:
        # A process for every four analyses: each holds a matrix of distances, and a new one takes seconds to start.
        workers = min(default_workers(), -(-len(task.analyses) // 4))
        shared, names = (task, out, losses, labels, work), list(task.analyses)
        done = map_processes(cluster, shared, names, workers=workers, description="analyses", resume=work / "done")
        tables = {}
        for folder in sorted((work / "parts").iterdir()):
            tables[folder.name] = stacked(*(read_table(folder / f"{name}.csv") for name in task.analyses))
            write_csv(work / "tables" / f"{folder.name}.csv", tables[folder.name])
        guarded = {name: int(result["guarded"]) for name, result in zip(task.analyses, done, strict=True)}
        write_json(out.summary, summary(task, facts, guarded, tables))
        publish(work / "tables", out.tables)
        publish(work / "clusters", out.clusters)


if __name__ == "__main__":
    run_task(main)
