"""Eqs. 9 and 10: when a trajectory breaks, and which clusters hide a breakthrough."""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError

if TYPE_CHECKING:  # trajectories need τ, and must not be made anew whenever the clustering changes
    from polca.method.clustering import Clusters
    from polca.method.decomposition import Trajectories

Sign = Literal["printed", "corrected"]


def breakthrough_steps(
    values: NDArray[np.floating], steps: NDArray[np.integer], delta: int, sign: Sign = "printed"
) -> NDArray[np.int64]:
    """Eq. 9: the step t with the largest second difference [f(t + Δ) − f(t)] − [f(t) − f(t − Δ)].

    Of a falling loss this is where a drop **ends**. `sign="corrected"` takes the smallest second difference instead:
    where the drop begins, its onset. t runs over the steps with both t − Δ and t + Δ on the grid; the first of equals.

    Args:
        values: `[..., P]` trajectories.
        steps: `[P]` their training steps, evenly spaced.
        delta: Δ in training steps (the paper: 100), a multiple of the interval between steps.

    Returns:
        `[...]` training steps.

    Raises:
        PolcaError: uneven steps, a Δ that is no multiple of their interval, or too few steps for it.
    """
    if sign not in get_args(Sign):
        raise PolcaError(f"sign = {sign!r}: expected one of {', '.join(get_args(Sign))}")
    if values.shape[-1:] != steps.shape:
        raise PolcaError(
            f"breakthroughs: {values.shape[-1:]} points but {steps.shape} steps: give one step for each point"
        )
    intervals = np.unique(np.diff(steps))
    if len(intervals) != 1 or intervals[0] <= 0:
        shown = ", ".join(str(i) for i in intervals[:5]) or "none"
        raise PolcaError(
            f"breakthroughs: steps are not evenly spaced (intervals: {shown}), delta = {delta}: use an even grid"
        )
    interval = int(intervals[0])
    if delta < 1 or delta % interval:
        raise PolcaError(
            f"delta = {delta}: not a positive multiple of the interval of {interval} steps: change one of them"
        )
    m = delta // interval
    if len(steps) < 2 * m + 1:
        raise PolcaError(
            f"delta = {delta}: {len(steps)} points {interval} steps apart hold no t with t ± delta: lower delta"
        )
    f = values.astype(np.float64)
    bend = (f[..., 2 * m :] - f[..., m:-m]) - (f[..., m:-m] - f[..., : -2 * m])
    at = np.argmax(bend, axis=-1) if sign == "printed" else np.argmin(bend, axis=-1)
    return np.asarray(steps[m:-m].astype(np.int64)[at])


def flat_step(losses: NDArray[np.floating], steps: NDArray[np.integer], fall: float) -> int:
    """τ of eq. 10: the first step by which the mean exact loss has made the share `fall` of its whole fall.

    The paper gives a step, 1,000, and no rule: it means nothing for a run of another length. Where the loss does not
    fall, this is the last step.

    Args:
        losses: `[C, X]` exact losses.
        steps: `[C]` their training steps.
    """
    made = _fallen(losses)
    return int(steps[np.argmax(made >= fall)] if np.isfinite(made).all() else steps[-1])


def fall_made(losses: NDArray[np.floating], steps: NDArray[np.integer], step: int) -> float:
    """The share of its whole fall that the mean exact loss has made by a step; NaN where it does not fall.

    Args:
        losses, steps: as in `flat_step`.
    """
    return float(_fallen(losses)[max(0, int(np.searchsorted(steps, step, side="right")) - 1)])


def _fallen(losses: NDArray[np.floating]) -> NDArray[np.float64]:
    """The share of its whole fall that the mean loss has made by each checkpoint, `[C]`; NaN where it does not fall."""
    mean = losses.mean(axis=1, dtype=np.float64)
    whole = mean[0] - mean[-1]
    return np.asarray((mean[0] - mean) / whole if whole > 0 else np.full(len(mean), np.nan))


def breakthroughs(trajectories: "Trajectories", clusters: "Clusters", *, delta: int, flat_step: int) -> pd.DataFrame:
    """Breakthroughs of each cluster, on the trajectories that were clustered (eqs. 9, 10).

    Args:
        delta: Δ in training steps.
        flat_step: τ, the step at which the mean exact loss is flat.

    Returns:
        One row a cluster, in the order of `clusters`: vector (from 1), cluster (from 0), break_step and onset_step
        (means over members of eq. 9 as printed and with its sign corrected), hidden and hidden_onset (whether they
        are later than τ, eq. 10).

    Raises:
        PolcaError: as `breakthrough_steps`, or clusters of other trajectories.

    Example: two clusters, the second of which breaks after the mean loss is flat.

        >>> import numpy as np, polca
        >>> steps = np.array([0, 10, 20, 30, 40])
        >>> early, late = np.array([0, -1, -1, -1, -1]), np.array([0, 0, 0, -1, -1])
        >>> values = np.stack([(early if x < 10 else late) * (1 + x / 100) for x in range(20)])[None]
        >>> trajectories = polca.Trajectories("polca", values.astype(np.float32), steps, projected=True)
        >>> clusters = polca.cluster(trajectories, min_cluster_size=5)
        >>> breaks = polca.breakthroughs(trajectories, clusters, delta=10, flat_step=20)
        >>> breaks[["break_step", "onset_step", "hidden"]].values.tolist()
        [[10.0, 20.0, False], [30.0, 20.0, True]]
    """
    clusters.check_of(trajectories)
    means: dict[Sign, list[float]] = {"printed": [], "corrected": []}
    for m in range(len(clusters)):
        curves = trajectories.values[clusters.cluster_vector[m], clusters.members(m)]
        for sign, store in means.items():
            store.append(float(breakthrough_steps(curves, trajectories.steps, delta, sign).mean()))
    printed, onset = (np.array(means[sign], np.float64) for sign in get_args(Sign))
    return pd.DataFrame(
        {
            "vector": clusters.cluster_vector + 1,
            "cluster": clusters.cluster_index,
            "break_step": printed,
            "onset_step": onset,
            "hidden": printed > flat_step,
            "hidden_onset": onset > flat_step,
        }
    )


def add_breakthroughs(table: pd.DataFrame, breaks: pd.DataFrame) -> pd.DataFrame:
    """A table of scores with the columns of `breakthroughs` after `eligible`, as in `clusters.csv`.

    Raises:
        PolcaError: the table is of other clusters.
    """
    keys = ["vector", "cluster"]
    if not np.array_equal(table[keys].to_numpy(), breaks[keys].to_numpy()):
        raise PolcaError("breakthroughs: the table is not of these clusters: score them again")
    result, at = table.copy(), list(table.columns).index("eligible") + 1
    for offset, name in enumerate(breaks.columns[2:]):
        result.insert(at + offset, name, breaks[name].to_numpy())
    return result


def hidden_fraction(table: pd.DataFrame, analysis: str, column: str = "hidden") -> tuple[float, int]:
    """Tables 9, 11: the fraction of an analysis' clusters with a hidden breakthrough, and the number of its clusters.

    Args:
        table: `clusters.csv`.
        column: `hidden` (eq. 9 as printed), `hidden_onset` (sign corrected), `hidden_published` (the paper's τ and Δ).

    Returns:
        The fraction is NaN where there are no clusters, or the column is empty.
    """
    flags = table.loc[table["analysis"] == analysis, column]
    known = flags.dropna().astype(np.bool_)
    return (float(known.mean()) if len(known) else float("nan")), len(flags)
