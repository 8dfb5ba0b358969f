"""From projections to the archive: the trajectories of every analysis, and the numbers that need projections."""

from pathlib import Path

from polca.machine.files import write_json, write_npz, writing
from polca.machine.parallel import map_processes
from polca.method.projections import Projections
from polca.study.paths import TaskPaths
from polca.study.settings import Preset
from polca.study.stage import run_task
from polca.study.stages.trajectories import archive_analysis, known_facts, projected_losses
from polca.tasks.task import Task

Shared = tuple[Task, dict[str, Projections], Path]


def write_analysis(shared: Shared, analysis: str) -> dict[str, int]:
    """Write the archive of one analysis."""
    task, projections, folder = shared
    archive = archive_analysis(task, analysis, projections)
    archive.save(folder / f"{analysis}.npz")
    return {"guarded": archive.guarded}


def main(preset: Preset, task: Task, out: TaskPaths) -> None:
    projections = {kind: Projections.load(out.projection(kind)) for kind in task.bases}
    with writing(out.trajectories) as folder:
        shared = (task, projections, folder)
        map_processes(write_analysis, shared, list(task.analyses), workers=1, description="trajectories")
        write_json(folder / out.facts.name, known_facts(task, projections))
    write_npz(out.projected_losses, projected_losses(task, projections))


if __name__ == "__main__":
    run_task(main)
