"""The whole method on anyone's checkpoints: basis, projections, trajectories, clusters, and the files that hold them.

Everything goes through the public functions of the package; nothing here knows what the model is.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from torch import Tensor

from polca.errors import PolcaError
from polca.external.kept import WHOLE_BASIS
from polca.external.modules import check_repeatable
from polca.external.sequences import Sequences
from polca.machine.files import write_csv, write_json
from polca.method.bases import Basis, hessian_basis
from polca.method.breakthrough import breakthrough_steps, breakthroughs
from polca.method.checkpoints import Checkpoints
from polca.method.clustering import Clusters, cluster, vector_counts
from polca.method.completeness import Completeness, completeness, ratio
from polca.method.decomposition import Trajectories, decompose
from polca.method.projections import Projections, project
from polca.tasks.scores import top_tokens
from polca.typing import EigenvalueAt, SecondOrder, TokenLossFunction

AnalysisStrategy = Literal["polca", "polca_first_order", "fisher", "loss", "loss_change"]

DEFAULT_VECTORS = 10
CLUSTER_SHARE = 0.03
"""Smallest cluster as a share of the evaluation tokens, where none is given: the paper's 150 of 5,000."""
CONTEXTS = 3


@dataclass(frozen=True)
class AnalysisSettings:
    """What can be chosen. None takes what the comment says.

    Raises:
        PolcaError: an impossible value.
    """

    vectors: int | None = None  # ten, or as many as the checkpoints after the first give
    per_step: int = 1
    basis_steps: tuple[int, ...] | None = None  # spread evenly over the checkpoints after the first
    hessian_sequences: int = 16
    tokens: int = 2000
    batch: int = 4
    strategy: AnalysisStrategy = "polca"
    second_order: SecondOrder = "trapezoid"
    eigenvalue: EigenvalueAt = "basis"
    min_cluster_size: int | None = None  # CLUSTER_SHARE of the tokens, five at least
    min_samples_divisor: int = 15
    standardise: bool = True  # cluster shapes (see `analyze`); False clusters raw trajectories, as they are
    delta: int | None = None  # one interval between checkpoints
    flat_step: int | None = None  # nothing is called hidden
    tolerance: float = 1e-3
    max_matvecs: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        least = dict.fromkeys(
            ("per_step", "hessian_sequences", "tokens", "batch", "max_matvecs", "vectors", "delta"), 1
        ) | {"min_cluster_size": 2, "min_samples_divisor": 1, "flat_step": 0}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise PolcaError(f"{name} = {value}: must be at least {smallest}")
        if not 0 < self.tolerance < 1:
            raise PolcaError(f"tolerance = {self.tolerance}: must lie between 0 and 1")
        for name, kind in (
            ("strategy", AnalysisStrategy),
            ("second_order", SecondOrder),
            ("eigenvalue", EigenvalueAt),
        ):
            if getattr(self, name) not in get_args(kind):
                raise PolcaError(f"{name} = {getattr(self, name)!r}: expected one of {', '.join(get_args(kind))}")
        if not isinstance(self.standardise, bool):
            raise PolcaError(f"standardise = {self.standardise!r}: must be true or false")


@dataclass(frozen=True)
class Analysis:
    """What `analyze` found.

    Attributes:
        settings: as they were used, with nothing left open.
        parameters: number of them, tied weights counted once.
        breaks: one row a cluster, as `breakthroughs` gives it; None where the checkpoints are not evenly spaced.
        complete: how much of the true loss change the allocations along the basis add up to.
    """

    settings: AnalysisSettings
    parameters: int
    basis: Basis
    projections: Projections
    trajectories: Trajectories
    clusters: Clusters
    breaks: pd.DataFrame | None
    complete: Completeness


def chosen_steps(available: Sequence[int], wanted: Sequence[int] | None, name: str = "steps") -> list[int]:
    """The steps wanted, in rising order; all where `wanted` is None.

    Raises:
        PolcaError: some do not exist, or fewer than two are left.
    """
    if wanted is None:
        wanted = available
    missing = sorted(set(wanted) - set(available))
    if missing:
        raise PolcaError(
            f"{name}: no checkpoint of step {missing[0]}: there are {len(available)}, from {min(available)} to "
            f"{max(available)} ({_some(available)})"
        )
    return sorted(set(wanted))


def _some(steps: Sequence[int]) -> str:
    shown = [str(s) for s in sorted(steps)]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:5], "…", *shown[-2:]])


def basis_steps(steps: Sequence[int], settings: AnalysisSettings) -> tuple[int, ...]:
    """Where basis vectors are computed: as asked, or spread evenly over the checkpoints after the first.

    Raises:
        PolcaError: no such checkpoints, or more vectors than they can give.
    """
    if settings.basis_steps is not None:
        if settings.vectors not in (None, len(settings.basis_steps) * settings.per_step):
            raise PolcaError(
                f"vectors = {settings.vectors}: the {len(settings.basis_steps)} basis steps give {settings.per_step} "
                "each: leave vectors out"
            )
        chosen_steps(steps, settings.basis_steps, "basis_steps")
        return settings.basis_steps
    after = list(steps)[1:]
    vectors = settings.vectors or min(DEFAULT_VECTORS, len(after) * settings.per_step)
    count, rest = divmod(vectors, settings.per_step)
    if rest or count > len(after):
        raise PolcaError(
            f"vectors = {vectors}: must be per_step = {settings.per_step} times at most {len(after)} checkpoints: "
            "change vectors or per_step, or name basis_steps"
        )
    places = np.linspace(0, len(after), count + 1)[1:] - 1
    return tuple(after[int(p)] for p in np.round(places))


def planned(settings: AnalysisSettings, steps: Sequence[int], workers: int = 1) -> AnalysisSettings:
    """`settings` with the basis steps filled in, once all that can be refused without the model is refused.

    Args:
        steps: the checkpoints chosen, in rising order.

    Raises:
        PolcaError: fewer than two checkpoints, basis steps that do not fit them, a Δ that does not, or no workers.
    """
    if len(steps) < 2:
        raise PolcaError(f"steps: {len(steps)} checkpoint chosen: give two at least")
    if workers < 1:
        raise PolcaError(f"workers = {workers}: must be at least 1")
    at = basis_steps(steps, settings)
    if settings.delta is not None:
        points = np.array(steps[1:] if settings.strategy == "loss_change" else steps)
        breakthrough_steps(np.zeros(len(points)), points, settings.delta)
    return replace(settings, basis_steps=at, vectors=len(at) * settings.per_step)


def split(sequences: Sequences, settings: AnalysisSettings) -> tuple[Sequences, Sequences]:
    """Hessian sample and evaluation set: the first sequences, and those after them.

    Raises:
        PolcaError: too few sequences for both.
    """
    evaluated = max(1, settings.tokens // sequences.targets.shape[1])
    wanted = settings.hessian_sequences + evaluated
    if len(sequences) < wanted:
        raise PolcaError(
            f"data: {len(sequences)} sequences of {sequences.targets.shape[1]} targets, but hessian_sequences = "
            f"{settings.hessian_sequences} and tokens = {settings.tokens} need {wanted}: give more data or lower one"
        )
    return sequences.part(0, settings.hessian_sequences), sequences.part(settings.hessian_sequences, wanted)


def analyze(
    token_loss: TokenLossFunction,
    checkpoints: Checkpoints,
    hessian_data: Sequence[Any],
    evaluation_data: Sequence[Any],
    settings: AnalysisSettings | None = None,
    *,
    steps: Sequence[int] | None = None,
    workers: int = 1,
    resume: Path | None = None,
) -> Analysis:
    """Find hidden breakthroughs in a sequence of checkpoints (§3).

    Trajectories are clustered by shape unless `settings.standardise` is False: after the filters each is taken less its
    own mean over time, and divided by its own standard deviation over time.

    Args:
        token_loss: `(params, batch) → losses [sequences, targets]`.
        checkpoints: θ_0 … θ_T.
        hessian_data: batches on which Algorithm 1 takes the Hessian.
        evaluation_data: batches of which every token gets a trajectory; other sequences than `hessian_data`.
        steps: checkpoints to use, all by default.
        workers: processes; results do not depend on their number.
        resume: folder in which the finished basis and projected checkpoints are kept, so that a killed run goes on
            where it was; the caller removes from it what was made from other data, settings or checkpoints.

    Raises:
        PolcaError: a loss that is not the same twice, steps that do not exist, or an impossible setting.
    """
    settings = settings or AnalysisSettings()
    chosen = chosen_steps(checkpoints.steps(), steps)
    settings = planned(settings, chosen, workers)
    params = checkpoints.load(chosen[0])
    check_repeatable(token_loss, params, evaluation_data[0])
    basis = _basis(token_loss, checkpoints, params, hessian_data, settings, resume)
    curvature = settings.second_order == "exact" or settings.eigenvalue == "current"
    # Forward mode serves every model; reverse mode knows only some operations.
    projections = project(
        token_loss,
        checkpoints,
        basis,
        evaluation_data,
        steps=chosen,
        curvature=curvature,
        method="forward",
        workers=workers,
        resume=None if resume is None else resume / "projections",
    )
    trajectories = decompose(
        projections, settings.strategy, second_order=settings.second_order, eigenvalue=settings.eigenvalue
    )
    tokens = projections.losses.shape[1]
    if settings.min_cluster_size is None:
        settings = replace(settings, min_cluster_size=max(5, round(CLUSTER_SHARE * tokens)))
    assert settings.min_cluster_size is not None
    clusters = cluster(
        trajectories,
        min_cluster_size=settings.min_cluster_size,
        min_samples_divisor=settings.min_samples_divisor,
        standardise=settings.standardise,
        losses=projections.losses,
        loss_steps=projections.steps,
        workers=workers,
    )
    settings, breaks = _breaks(settings, trajectories, clusters)
    return Analysis(
        settings=settings,
        parameters=sum(p.numel() for p in params.values()),
        basis=basis,
        projections=projections,
        trajectories=trajectories,
        clusters=clusters,
        breaks=breaks,
        complete=completeness(projections, settings.second_order, settings.eigenvalue),
    )


def _basis(
    token_loss: TokenLossFunction,
    checkpoints: Checkpoints,
    params: Mapping[str, Tensor],
    data: Sequence[Any],
    settings: AnalysisSettings,
    resume: Path | None,
) -> Basis:
    """Algorithm 1, or its result where `resume` holds it."""
    whole = None if resume is None else resume / WHOLE_BASIS
    if whole is not None and whole.is_file():
        with suppress(PolcaError):  # a damaged file is made again
            found = Basis.load(whole, {name: tuple(p.shape) for name, p in params.items()})
            # In the order in which it was made, in which sums over parameters are taken.
            return replace(found, vectors={name: found.vectors[name] for name in params})
    assert settings.basis_steps is not None
    basis = hessian_basis(
        token_loss,
        checkpoints,
        data,
        steps=settings.basis_steps,
        per_step=settings.per_step,
        tolerance=settings.tolerance,
        max_matvecs=settings.max_matvecs,
        seed=settings.seed,
        # Rebuilding graphs costs a third more time, and bounds memory by one batch.
        keep_graphs=len(data) == 1,
        resume=None if resume is None else resume / "basis",
    )
    if resume is not None and whole is not None:
        basis.save(whole)
        shutil.rmtree(resume / "basis", ignore_errors=True)
    return basis


def _breaks(
    settings: AnalysisSettings, trajectories: Trajectories, clusters: Clusters
) -> tuple[AnalysisSettings, pd.DataFrame | None]:
    """Eq. 9 where the checkpoints are evenly spaced and reach Δ to both sides."""
    intervals = np.unique(np.diff(trajectories.steps))
    if settings.delta is None:
        if len(intervals) != 1 or len(trajectories.steps) < 3:
            return settings, None
        settings = replace(settings, delta=int(intervals[0]))
    assert settings.delta is not None
    flat = settings.flat_step
    table = breakthroughs(trajectories, clusters, delta=settings.delta, flat_step=0 if flat is None else flat)
    return settings, table.drop(columns=["hidden", "hidden_onset"]) if flat is None else table


def cluster_table(analysis: Analysis, names: Sequences) -> pd.DataFrame:
    """One row a cluster: size, breakthrough, the most frequent tokens, and the contexts nearest to the medoid.

    Columns: vector (from 1), vector_step, cluster (from 0), size, share_of_tokens, break_step and onset_step (eq. 9 as
    printed and with its sign corrected; empty where steps are not evenly spaced), hidden and hidden_onset (eq. 10;
    empty without `flat_step`), top_tokens, context_1 … context_3.
    """
    clusters, breaks = analysis.clusters, pd.DataFrame() if analysis.breaks is None else analysis.breaks
    members = [[int(x) for x in clusters.members(m)] for m in range(len(clusters))]
    nearest = [[int(x) for x in row if x >= 0] for row in clusters.nearest]
    known = {x: names.name(x) for own in members for x in own}
    columns: dict[str, Any] = {
        "vector": clusters.cluster_vector + 1,
        "vector_step": clusters.vector_steps[clusters.cluster_vector],
        "cluster": clusters.cluster_index,
        "size": clusters.cluster_size,
        "share_of_tokens": clusters.cluster_size / clusters.labels.shape[1],
        **{name: breaks.get(name) for name in ("break_step", "onset_step", "hidden", "hidden_onset")},
        "top_tokens": [top_tokens(known[x] for x in own) for own in members],
    }
    for rank in range(CONTEXTS):
        columns[f"context_{rank + 1}"] = [names.context(row[rank]) if rank < len(row) else "" for row in nearest]
    return pd.DataFrame(columns)


def summary(analysis: Analysis) -> dict[str, Any]:
    """The analysis in numbers, for `summary.json`: losses in nats, completeness as `Completeness`."""
    a, c = analysis, analysis.complete
    losses = a.projections.losses.mean(axis=1, dtype=np.float64)
    kept = vector_counts(a.clusters.labels[a.clusters.vector_kept].ravel())
    clustered, outliers = kept["n_clustered"], kept["n_outliers"]
    return {
        "settings": asdict(a.settings),
        "steps": a.projections.steps.tolist(),
        "parameters": a.parameters,
        "tokens": int(a.projections.losses.shape[1]),
        "loss_first": float(losses[0]),
        "loss_last": float(losses[-1]),
        "vectors": [
            {
                "vector": k + 1,
                "step": int(a.basis.steps[k]),
                "eigenvalue": float(a.basis.eigenvalues[k]),
                "residual": float(a.basis.residuals[k]),
                "products": int(a.basis.matvecs[k]),
                "mean_projected_loss_change": float(c.by_vector[k]),
            }
            for k in range(len(a.basis))
        ],
        "trajectories": [
            {
                "vector": k + 1,
                "kept": bool(a.clusters.vector_kept[k]),
                "clusters": counts["n_clusters"],
                "rising": counts["n_dropped"],
                "outliers": counts["n_outliers"],
                "clustered": counts["n_clustered"],
            }
            for k, counts in enumerate(map(vector_counts, a.clusters.labels))
        ],
        "clusters": len(a.clusters),
        "outlier_fraction": ratio(outliers, outliers + clustered),
        "guarded": a.trajectories.guarded,
        "completeness": {
            "allocated": c.total_allocated,
            "actual": c.total_actual,
            "fraction": c.fraction,
            "relative_residual": c.relative_residual,
            "correlation": c.correlation,
        },
    }


def write_analysis(analysis: Analysis, names: Sequences, directory: Path) -> list[Path]:
    """Write every file of an analysis; equal analyses give equal bytes.

    Returns:
        `basis.safetensors`, `projections.npz`, `clusters.npz`, `clusters.csv`, `tokens.json` (`TokenTexts`),
        `projected_losses.pdf` and `.png`, and last `summary.json`, so that where it is, the rest is whole. An
        `explorer.html` that is there is removed.

    Raises:
        PolcaError: the folder cannot be written, or the names are not those of the evaluated tokens.
    """
    from polca.report.figures.projected_losses import render
    from polca.report.figures.style import save

    texts, tokens = names.texts(), analysis.projections.losses.shape[1]
    if len(texts) != tokens:
        raise PolcaError(f"names: of {len(texts)} tokens, but {tokens} were evaluated: give the evaluated sequences")
    table = cluster_table(analysis, names)
    paths = [directory / n for n in ("basis.safetensors", "projections.npz", "clusters.npz", "clusters.csv")]
    # A page that `polca explore` made of what was here would show the analysis before.
    for old in ("summary.json", "explorer.html"):
        (directory / old).unlink(missing_ok=True)
    analysis.basis.save(paths[0])
    analysis.projections.save(paths[1])
    analysis.clusters.save(paths[2])
    write_csv(paths[3], table)
    paths.append(directory / "tokens.json")
    texts.save(paths[-1])
    paths += save(render(analysis.clusters, table), directory / "projected_losses")
    paths.append(directory / "summary.json")
    # Through JSON once, so that tuples and NumPy's numbers are JSON's.
    write_json(paths[-1], json.loads(json.dumps(summary(analysis))))
    return paths
