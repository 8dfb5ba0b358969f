"""Projections of every evaluated token's gradient, exact curvature, and exact loss, at every interval."""

from polca.machine.distributed import is_first
from polca.machine.files import write_npz
from polca.method.bases import Basis
from polca.study.paths import TaskPaths
from polca.study.settings import Preset
from polca.study.stage import publish, resumable, run_task
from polca.study.stages.checkpoints import checkpoint_directory
from polca.study.stages.project import project
from polca.tasks.task import Task


def main(preset: Preset, task: Task, out: TaskPaths) -> None:
    checkpoints = checkpoint_directory(task, out.checkpoints)
    shapes = {name: p.shape for name, p in task.initial().items()}
    bases = {kind: Basis.load(out.basis(kind), shapes) for kind in task.bases}
    with resumable(preset, f"{task.name}_project", task.name) as work:
        projections = project(task, checkpoints, bases, resume=work / "checkpoints")
        if not is_first():
            return
        for kind, result in projections.items():
            result.save(work / "projections" / f"{kind}.npz")
        first = projections[next(iter(projections))]
        write_npz(out.losses, {"steps": first.steps, "losses": first.losses})
        publish(work / "projections", out.projections)


if __name__ == "__main__":
    run_task(main, parallel=True)
