"""Training of a task's model."""

from pathlib import Path

import pandas as pd

from polca.method.checkpoints import WritableCheckpoints
from polca.tasks import training
from polca.tasks.task import Task


def train(task: Task, checkpoints: WritableCheckpoints, resume: Path | None = None) -> pd.DataFrame:
    """Train the task's model from θ_0; the log's columns are those of `training.train`."""
    return training.train(
        task.token_loss,
        task.initial(),
        task.batch,
        task.settings.training,
        checkpoints,
        resume=resume,
        description=f"train {task.name}",
    )
