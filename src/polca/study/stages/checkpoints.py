"""The checkpoints of a task's model."""

from pathlib import Path

from polca.method.checkpoints import CheckpointDirectory
from polca.tasks.task import Task


def checkpoint_directory(task: Task, folder: Path) -> CheckpointDirectory:
    """A folder of checkpoints of the task's model; those of another are refused."""
    return CheckpointDirectory(folder, {name: p.shape for name, p in task.initial().items()})
