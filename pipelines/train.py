"""Train a task's model: checkpoints and the loss curve."""

from polca.machine.distributed import is_first
from polca.machine.files import write_csv
from polca.method.checkpoints import CheckpointDirectory
from polca.study.paths import TaskPaths
from polca.study.settings import Preset
from polca.study.stage import publish, resumable, run_task
from polca.study.stages.train import train
from polca.tasks.task import Task


def main(preset: Preset, task: Task, out: TaskPaths) -> None:
    with resumable(preset, f"{task.name}_train", task.name) as work:
        log = train(task, CheckpointDirectory(work / "checkpoints"), resume=work / "state")
        if is_first():
            write_csv(out.training_log, log)
            publish(work / "checkpoints", out.checkpoints)


if __name__ == "__main__":
    run_task(main, parallel=True)
