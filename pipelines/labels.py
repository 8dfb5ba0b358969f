"""Label every evaluated token: with digit place and carry, or with parts of speech."""

from polca.machine.files import write_npz
from polca.study.paths import TaskPaths
from polca.study.settings import Preset
from polca.study.stage import run_task
from polca.tasks.task import Task


def main(preset: Preset, task: Task, out: TaskPaths) -> None:
    write_npz(out.labels, task.token_labels())


if __name__ == "__main__":
    run_task(main)
