"""What all vectors of the run at the published scale tell apart, beside the exact loss in as few numbers."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from polca.machine.files import stacked
from polca.method.decomposition import Trajectories
from polca.method.signatures import SHARES
from polca.study.stages.signatures import signature_tables
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.task import Labels


def _few_points(t: Trajectories, numbers: int) -> Trajectories:
    """The same with as many points, evenly spaced, as a signature has numbers.

    A probe that is given more numbers finds more, so that only this compares like with like.
    """
    at = np.linspace(0, len(t.steps) - 1, numbers).round().astype(np.int64)
    return replace(t, values=np.ascontiguousarray(t.values[:, :, at]), steps=t.steps[at])


def with_few_points(
    made: Mapping[str, pd.DataFrame], task: ArithmeticTask, trajectories: Mapping[str, Trajectories], labels: Labels
) -> dict[str, pd.DataFrame]:
    """Tables of `study.stages.signatures`, with the exact loss and its change once more as `…_few` (`_few_points`).

    Args:
        made: the tables, whose analyses are put in the order of `trajectories`.
        trajectories: of all analyses that were kept.
    """
    numbers = len(SHARES) * max(len(t.values) for t in trajectories.values())
    parts = {name: [rows[rows["analysis"] == analysis] for analysis in trajectories] for name, rows in made.items()}
    for name, t in trajectories.items():
        if not t.projected and numbers < len(t.steps):
            few = _few_points(t, numbers)
            tables, _ = signature_tables(task, f"{name}_few", few, trajectories["loss"], labels, mapped=False)
            for table, rows in tables.items():
                parts[table].append(rows)
    return {table: stacked(*rows) for table, rows in parts.items()}
