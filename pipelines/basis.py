"""A task's bases: Hessian eigenvectors (Algorithm 1), and those that Tables 8 and 10 set beside them."""

from pathlib import Path

from polca.machine.distributed import is_first
from polca.machine.parallel import map_processes
from polca.method.bases import Basis
from polca.study.paths import TaskPaths
from polca.study.settings import Preset
from polca.study.stage import publish, resumable, run_task
from polca.study.stages.basis import make_basis
from polca.study.stages.checkpoints import checkpoint_directory
from polca.tasks.task import Task


def write_basis(shared: tuple[Task, Path, Path], kind: str) -> dict[str, int]:
    """Make one basis and write it to the work folder."""
    task, checkpoints, work = shared
    target = work / "bases" / f"{kind}.safetensors"
    if target.is_file():
        return {"vectors": len(Basis.load(target))}
    basis = make_basis(task, kind, checkpoint_directory(task, checkpoints), work / kind)
    if is_first():
        basis.save(target)
    return {"vectors": len(basis)}


def main(preset: Preset, task: Task, out: TaskPaths) -> None:
    with resumable(preset, f"{task.name}_basis", task.name) as work:
        map_processes(write_basis, (task, out.checkpoints, work), task.bases, description="bases")
        if is_first():
            publish(work / "bases", out.bases)


if __name__ == "__main__":
    run_task(main, parallel=True)
