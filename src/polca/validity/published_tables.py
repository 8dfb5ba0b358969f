"""What all vectors of the run at the published scale tell apart, beside the exact loss in as few numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from polca.machine.files import stacked
from polca.method.decomposition import Trajectories
from polca.study.stages.signatures import signature_tables
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.task import Labels, Tables


def _few_points(t: Trajectories, numbers: int) -> Trajectories:
    """The same with as many points, evenly spaced, as a signature has numbers.

    A probe that is given more numbers finds more, so that only this compares like with like.
    """
    at = np.linspace(0, len(t.steps) - 1, numbers).round().astype(np.int64)
    return replace(t, values=np.ascontiguousarray(t.values[:, :, at]), steps=t.steps[at])


def few_points_tables(
    analysis: str, trajectories: Mapping[str, Trajectories], numbers: int, task: ArithmeticTask, labels: Labels
) -> Tables:
    """Tables of `study.stages.signatures` of one analysis once more, as `<analysis>_few` (`_few_points`).

    Args:
        analysis: the exact loss or its change.
        trajectories: its own, and the exact loss'.
        numbers: how many a signature has.

    Returns:
        Nothing where the trajectories have no more points than that.
    """
    own = trajectories[analysis]
    if numbers >= len(own.steps):
        return {}
    few = _few_points(own, numbers)
    return signature_tables(task, f"{analysis}_few", few, trajectories["loss"], labels)


def in_order(tables: Tables, analyses: Sequence[str], few: Sequence[Tables]) -> Tables:
    """Tables of `study.stages.signatures` with their analyses in this order, then those of `few_points_tables`."""
    return {
        name: stacked(
            *(rows[rows["analysis"] == analysis] for analysis in analyses), *(own[name] for own in few if name in own)
        )
        for name, rows in tables.items()
    }
