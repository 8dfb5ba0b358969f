"""Write what a task reads later: English text, tokenizer and windows; the additions that are evaluated."""

from polca.study.paths import TaskPaths
from polca.study.settings import Preset
from polca.study.stage import run_task
from polca.tasks.task import Task


def main(preset: Preset, task: Task, out: TaskPaths) -> None:
    task.write_data()


if __name__ == "__main__":
    run_task(main)
