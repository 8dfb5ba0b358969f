"""Tables of the run at the published scale that need no more than the trajectories in its folder, and no clusters."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.machine.files import stacked
from polca.method.decomposition import Trajectories
from polca.method.signatures import SHARES
from polca.study.stages.signatures import signature_tables
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.task import Labels
from polca.validity.within_class import within_class_table


def _few_points(t: Trajectories, numbers: int) -> Trajectories:
    """The same with as many points, evenly spaced, as a signature has numbers.

    A probe that is given more numbers finds more, so that only this compares like with like.
    """
    at = np.linspace(0, len(t.steps) - 1, numbers).round().astype(np.int64)
    return replace(t, values=np.ascontiguousarray(t.values[:, :, at]), steps=t.steps[at])


def probe_tables(
    task: ArithmeticTask, trajectories: Mapping[str, Trajectories], labels: Labels
) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, NDArray[Any]]]]:
    """What all vectors together tell apart (`study.stages.signatures`), and clusters `within_class`.

    The exact loss and its change come whole, and once more as `…_few` (`_few_points`).

    Returns:
        Tables by name, and maps by analysis.
    """
    numbers = len(SHARES) * max(len(t.values) for t in trajectories.values())
    parts: dict[str, list[pd.DataFrame]] = {}
    maps: dict[str, dict[str, NDArray[Any]]] = {}
    chosen = [(name, t, True) for name, t in trajectories.items()]
    chosen += [
        (f"{name}_few", _few_points(t, numbers), False)
        for name, t in trajectories.items()
        if not t.projected and numbers < len(t.steps)
    ]
    for name, t, mapped in chosen:
        tables, drawn = signature_tables(task, name, t, trajectories["loss"], labels, mapped)
        for table, rows in tables.items():
            parts.setdefault(table, []).append(rows)
        if mapped:
            maps[name] = drawn
    inside = within_class_table(trajectories, labels, task.settings.clustering)
    return {table: stacked(*rows) for table, rows in parts.items()} | {"within_class": inside}, maps
