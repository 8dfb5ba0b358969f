"""One table of bases: what each finds, how much of the loss change it sees, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from polca.errors import PolcaError
from polca.method.bases import Basis, LanczosOptions, hessian_basis
from polca.method.breakthrough import hidden_fraction
from polca.method.checkpoints import select_steps
from polca.method.completeness import completeness
from polca.method.decomposition import Trajectories
from polca.method.further_bases import (
    curvature_basis,
    sliding_window_basis,
    step_basis,
    trajectory_pca_basis,
)
from polca.method.projections import Projections
from polca.study.stages.checkpoints import checkpoint_directory
from polca.study.stages.cluster import ExactLosses, cluster_analysis
from polca.study.stages.trajectories import decompose_analysis
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import SCORES, three_best
from polca.tasks.arithmetic.task import ArithmeticSettings, ArithmeticTask
from polca.tasks.task import Labels
from polca.typing import Reading

OWN = ("hessian", "shuffled_hessian", "random")
"""Bases whose projections the preset has already."""
FURTHER = (
    "gauss_newton",
    "gradient_covariance",
    "trajectory_pca",
    "hessian_end",
    "sliding_window",
    "hessian_magnitude",
    "optimizer_steps",
    "hessian_half_sample",
    "hessian_double_sample",
    "hessian_reversed",
)
"""Bases that are made here; the last three vary the sample of the Hessian and the order of its checkpoints."""

PRODUCT_COST = 2
"""Gradient evaluations that a product with a curvature stands for: one more backward pass through a gradient, or a
forward-mode and a backward pass."""


@dataclass(frozen=True)
class BasesWork:
    """What a worker needs: the task on the grid of the bases, the preset's checkpoints, and a folder to work in."""

    task: ArithmeticTask
    window: int
    checkpoints: Path
    folder: Path

    def basis_at(self, kind: str) -> Path:
        """Where a finished basis is kept."""
        return self.folder / "bases" / f"{kind}.safetensors"


def sample_size(kind: str, settings: ArithmeticSettings) -> int:
    """Training examples of the Hessian sample of a basis."""
    size = settings.basis.hessian_examples
    scaled = {"hessian_half_sample": max(1, size // 2), "hessian_double_sample": 2 * size}.get(kind, size)
    available = settings.training.steps * settings.training.batch_size
    if scaled > available:
        raise PolcaError(
            f"arithmetic.basis.hessian_examples = {size}: basis {kind} takes {scaled} of the {available} training "
            "examples: lower it"
        )
    return scaled


def further_basis(kind: str, work: BasesWork) -> Basis:
    """One of `FURTHER`, with the preset's number of vectors.

    Raises:
        PolcaError: an unknown kind, or as the function that makes it.
    """
    task, checkpoints = work.task, checkpoint_directory(work.task, work.checkpoints)
    settings, loss = task.settings, task.token_loss
    basis, steps = settings.basis, settings.basis_steps()
    count = len(steps) * basis.per_step
    sample = task.hessian_batches(sample_size(kind, settings))
    common: dict[str, Any] = {"tolerance": basis.tolerance, "seed": settings.seed, "resume": work.folder / kind}
    each: dict[str, Any] = {"steps": steps, "per_step": basis.per_step, **common}
    options = LanczosOptions(per_step=basis.per_step, **common)
    if kind == "gauss_newton" or kind == "gradient_covariance":
        return curvature_basis(kind, loss, checkpoints, sample, steps, options)
    if kind == "sliding_window":
        return sliding_window_basis(loss, checkpoints, sample, steps, options, window=work.window)
    if kind == "trajectory_pca":
        grid = select_steps(checkpoints.steps(), settings.polca.interval)
        return trajectory_pca_basis(checkpoints, count, steps=grid)
    if kind == "optimizer_steps":
        every, span = settings.training.checkpoint_interval, steps[0] // basis.per_step
        return step_basis(checkpoints, steps=[span * (i + 1) // every * every for i in range(count)])
    if kind not in FURTHER:
        raise PolcaError(f"basis {kind!r}: expected one of {', '.join(FURTHER)}")
    if kind == "hessian_end":
        each |= {"steps": [checkpoints.steps()[-1]], "per_step": count}
    if kind == "hessian_reversed":
        each["steps"] = steps[::-1]
    which = "magnitude" if kind == "hessian_magnitude" else basis.which
    return hessian_basis(loss, checkpoints, sample, which=which, kind=kind, **each)


def make_further_basis(shared: BasesWork, kind: str) -> dict[str, int]:
    """Make one basis and write it to the work folder."""
    target = shared.basis_at(kind)
    if not target.is_file():
        further_basis(kind, shared).save(target)
    return {"vectors": len(Basis.load(target))}


def cost(kind: str, basis: Basis, settings: ArithmeticSettings, window: int) -> float:
    """Gradient evaluations on the preset's own Hessian sample that a basis costs; 0 where it needs none."""
    if kind in ("random", "trajectory_pca", "optimizer_steps"):
        return 0.0
    per_vector = basis.matvecs.astype(np.float64)
    if kind == "hessian_end":
        per_vector = per_vector[:1]  # one Lanczos run gives all
    elif settings.basis.per_step > 1:
        per_vector = per_vector[:: settings.basis.per_step]
    if kind == "sliding_window":
        per_vector = per_vector * np.minimum(np.arange(len(per_vector)) + 1, window)
    return float(PRODUCT_COST * per_vector.sum() * sample_size(kind, settings) / settings.basis.hessian_examples)


@dataclass(frozen=True)
class ScoringWork:
    """What a worker needs to score a basis: its projections lie in `folder`."""

    task: ArithmeticTask
    folder: Path
    labels: Labels


def score_saved(shared: ScoringWork, kind: str) -> dict[str, Any]:
    """The rows of one basis, by reading, without its name and cost: what POLCA finds along it.

    Homogeneity, recall and F1 are the best eligible cluster's (NaN where there is none); `auc_<place>` the best
    vector's, dropped vectors included; `completeness` the share of the true loss change that the allocations add up to
    by the trapezoid rule, with the relative residual and correlation of `completeness.Completeness`.
    """
    projections = Projections.load(shared.folder / f"{kind}.npz")
    # Whatever the basis, it stands where the analysis called `polca` looks for its own.
    found = {"hessian": projections}
    trajectories = decompose_analysis(shared.task, "polca", found)
    whole = completeness(projections, "trapezoid")
    return {
        reading: _row(shared, trajectories, ExactLosses.of(found), reading)
        | {
            "completeness": whole.fraction,
            "relative_residual": whole.relative_residual,
            "correlation": whole.correlation,
        }
        for reading in get_args(Reading)
    }


def _row(shared: ScoringWork, trajectories: Trajectories, losses: ExactLosses, reading: Reading) -> dict[str, Any]:
    """What one reading's clusters are."""
    tables = cluster_analysis(shared.task, "polca", trajectories, losses, shared.labels, reading).tables
    clusters, vectors = tables["clusters"], tables["vectors"]
    best: Mapping[Any, Any] = next(iter(three_best(clusters, "polca").to_dict("records")), {})
    fraction, count = hidden_fraction(clusters, "polca")
    return {
        "vectors": len(vectors),
        "kept": int(vectors["kept"].sum()),
        "clusters": count,
        **{score: float(best.get(score, np.nan)) for score in SCORES},
        "size": int(best.get("size", 0)),
        **{f"auc_{place}": float(vectors[f"auc_{place}"].max()) for place in PLACES[:3]},
        "fraction_hidden": fraction,
    }


def groups(kinds: Sequence[str], vectors: int, at_most: int) -> list[list[str]]:
    """Kinds in groups of at most `at_most` vectors together, which bounds the memory of their projections."""
    size = max(1, at_most // vectors)
    return [list(kinds[i : i + size]) for i in range(0, len(kinds), size)]


def bases_table(rows: Mapping[str, Mapping[str, Any]], costs: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Rows of `score_saved` and their costs, in the order of `rows`."""
    table = pd.DataFrame(
        [
            {"basis": kind, "reading": reading, **row, **costs[kind]}
            for kind, readings in rows.items()
            for reading, row in readings.items()
        ]
    )
    return table.astype(dict.fromkeys(("vectors", "kept", "clusters", "size"), "int64"))
