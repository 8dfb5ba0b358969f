"""Tables of the run at the published scale that need no more than the trajectories in its folder."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from polca.machine.files import stacked
from polca.method.decomposition import Trajectories
from polca.method.signatures import SHARES
from polca.study.published import PublishedScale
from polca.tasks.arithmetic import probes


def _analyses(run: PublishedScale) -> Iterator[tuple[str, Trajectories]]:
    """The run's analyses by name, one at a time since each is large, then the exact loss and its change.

    These two come whole, and once more as `…_few`: with as many points, evenly spaced, as a signature has numbers. A
    probe that is given more numbers finds more, so that only the latter compare like with like.
    """
    numbers = 0
    for name, archive in run.archives.items():
        trajectories = archive.trajectories()
        numbers = len(SHARES) * len(trajectories.values)
        yield name, trajectories
    losses = run.losses.T.astype(np.float64)
    loss = np.ascontiguousarray(losses[None], np.float32)
    exact = Trajectories("loss", loss, run.steps, projected=False)
    change = np.ascontiguousarray(np.diff(losses, axis=1)[None], np.float32)
    changed = Trajectories("loss_change", change, run.steps[1:], projected=False)
    for whole in (exact, changed):
        yield whole.name, whole
        if numbers < len(whole.steps):
            at = np.linspace(0, len(whole.steps) - 1, numbers).round().astype(np.int64)
            few = np.ascontiguousarray(whole.values[:, :, at])
            yield f"{whole.name}_few", replace(whole, values=few, steps=whole.steps[at])


def probe_tables(run: PublishedScale) -> dict[str, pd.DataFrame]:
    """`probes` and `signatures` of every analysis that the folder has (see `tasks.arithmetic.probes`)."""
    labels = {"tokens": run.tokens, "place": run.place, "carry": run.carry}
    done = [probes.probe_tables(name, trajectories, labels) for name, trajectories in _analyses(run)]
    return {table: stacked(*(tables[table] for tables in done)) for table in ("probes", "signatures")}
