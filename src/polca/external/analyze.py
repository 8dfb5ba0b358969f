"""The whole method on anyone's checkpoints: basis, projections, trajectories, clusters, and the files that hold them.

Everything goes through the public functions of the package; nothing here knows what the model is.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from polca.errors import PolcaError
from polca.external.analysis import Analysis
from polca.external.block import block_basis, chosen_names
from polca.external.directions import Directions, directions, write_directions
from polca.external.kept import WHOLE_BASIS
from polca.external.modules import check_repeatable
from polca.external.sentences import sentences, unconverged, warnings
from polca.external.sequences import Sequences
from polca.external.settings import CLUSTER_SHARE, AnalysisSettings, chosen_steps, planned
from polca.external.token_texts import TokenTexts
from polca.machine.files import write_csv, write_json, write_text, writing
from polca.machine.text import one_line
from polca.method.bases import Basis, LanczosOptions, hessian_basis
from polca.method.breakthrough import breakthroughs
from polca.method.checkpoints import Checkpoints
from polca.method.clustering import Clusters, cluster, vector_counts
from polca.method.completeness import completeness, ratio
from polca.method.decomposition import Trajectories, decompose
from polca.method.forward import directional_derivatives
from polca.method.projections import Projections, project
from polca.tasks.scores import top_tokens
from polca.typing import TokenLossFunction

if TYPE_CHECKING:
    from polca.report.figures.projected_losses import Overall

CONTEXTS = 3


def check_forward(token_loss: TokenLossFunction, params: Mapping[str, Tensor], batch: Any, curvature: bool) -> None:
    """Refuse a loss that forward mode cannot follow, before the basis is computed.

    Raises:
        PolcaError: an operation has neither a rule here nor a forward derivative in PyTorch.
    """
    nothing = {name: torch.zeros(1, *p.shape, dtype=p.dtype) for name, p in params.items()}
    try:
        directional_derivatives(token_loss, params, nothing, batch, second_order=curvature)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        reason = one_line(error).partition(". ")[0][:160]
        raise PolcaError(
            f"the loss has no derivative in forward mode ({reason}): use PyTorch's own operations, or "
            "give it a rule in polca.method.forward_rules"
        ) from error


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
    from polca.method.forward_rules import missing_rule  # as late as `method.forward` would load them

    settings = settings or AnalysisSettings()
    chosen = chosen_steps(checkpoints.steps(), steps)
    settings = planned(settings, chosen, workers)
    params = checkpoints.load(chosen[0])
    check_repeatable(token_loss, params, evaluation_data[0])
    if settings.parameter_names is not None:
        chosen_names(params, settings.parameter_names)
    check_forward(token_loss, params, evaluation_data[0], settings.curvature)
    fallback = missing_rule(token_loss, params, evaluation_data[0])
    basis = _basis(token_loss, checkpoints, params, hessian_data, settings, resume)
    # Forward mode serves every model; reverse mode knows only some operations.
    projections = project(
        token_loss,
        checkpoints,
        basis,
        evaluation_data,
        steps=chosen,
        curvature=settings.curvature,
        method="forward",
        workers=workers,
        resume=None if resume is None else resume / "projections",
    )
    return analysis_of(
        projections,
        basis,
        settings,
        parameters=sum(p.numel() for p in params.values()),
        fallback=fallback,
        workers=workers,
    )


def analysis_of(
    projections: Projections,
    basis: Basis,
    settings: AnalysisSettings,
    *,
    parameters: int,
    fallback: str | None,
    workers: int = 1,
    earlier: Directions | None = None,
) -> Analysis:
    """All of an analysis that follows from the projections: trajectories, clusters, breakthroughs, completeness.

    Args:
        settings: as `planned` gives them.
        parameters, fallback: as in `Analysis`.
        earlier: what another clustering of these projections left (`directions`).

    Raises:
        PolcaError: projections that lack what the settings ask for.
    """
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
    together = directions(trajectories, clusters.vector_kept, settings.min_cluster_size, earlier)
    settings, breaks = _breaks(settings, trajectories, clusters)
    return Analysis(
        settings=settings,
        parameters=parameters,
        basis=basis,
        projections=projections,
        trajectories=trajectories,
        clusters=clusters,
        breaks=breaks,
        complete=completeness(projections, settings.second_order, settings.eigenvalue),
        fallback=fallback,
        directions=together,
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
    parts = None if resume is None else resume / "basis"
    # Rebuilding graphs costs a third more time, and bounds memory by one batch.
    at, keep_graphs = settings.basis_steps, len(data) == 1
    options = LanczosOptions(
        per_step=settings.per_step,
        tolerance=settings.tolerance,
        max_matvecs=settings.max_matvecs,
        seed=settings.seed,
        resume=parts,
    )
    if settings.parameter_names is None:
        basis = hessian_basis(token_loss, checkpoints, data, steps=at, keep_graphs=keep_graphs, **vars(options))
    else:
        names = chosen_names(params, settings.parameter_names)
        basis = block_basis(token_loss, checkpoints, data, names, steps=at, options=options, keep_graphs=keep_graphs)
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


def cluster_table(analysis: Analysis, names: Sequences | TokenTexts) -> pd.DataFrame:
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
        "unconverged": unconverged(a),
        "fallback": a.fallback,
        "completeness": {
            "allocated": c.total_allocated,
            "actual": c.total_actual,
            "fraction": c.fraction,
            "relative_residual": c.relative_residual,
            "correlation": c.correlation,
        },
    }


def _overall(a: Analysis) -> "Overall":
    """What the figure shows where there is no cluster."""
    from polca.report.figures.projected_losses import Overall

    losses = a.projections.losses.mean(axis=1, dtype=np.float64)
    return Overall(a.projections.steps, losses, a.trajectories.values.mean(axis=1, dtype=np.float64))


def _link(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the file system has no links."""
    if target.exists() and target.samefile(source):
        return
    with writing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def write_analysis(
    analysis: Analysis, names: Sequences | TokenTexts, directory: Path, basis: Path | None = None
) -> list[Path]:
    """Write every file of an analysis; equal analyses give equal bytes.

    Args:
        names: the evaluated tokens.
        basis: a file that holds the analysis' basis already; it gets a second name in `directory`.

    Returns:
        `basis.safetensors`, `projections.npz`, `clusters.npz`, `clusters.csv`, `tokens.json` (`TokenTexts`),
        `projected_losses.pdf` and `.png`, the same for each vector with clusters in `vectors/`, the files of
        `write_directions` where there are any, `summary.txt` (`sentences`), and last `summary.json`, so that where it
        is, the rest is whole. An `explorer.html` that is there is removed.

    Raises:
        PolcaError: the folder cannot be written, or the names are not those of the evaluated tokens.
    """
    from polca.report.figures.projected_losses import render, render_vectors
    from polca.report.figures.style import save

    texts = names if isinstance(names, TokenTexts) else names.texts()
    tokens = analysis.projections.losses.shape[1]
    if len(texts) != tokens:
        raise PolcaError(f"names: of {len(texts)} tokens, but {tokens} were evaluated: give the evaluated sequences")
    table = cluster_table(analysis, names)
    paths = [directory / n for n in ("basis.safetensors", "projections.npz", "clusters.npz", "clusters.csv")]
    # A page that `polca explore` made of what was here would show the analysis before.
    for old in ("summary.json", "explorer.html"):
        (directory / old).unlink(missing_ok=True)
    if basis is None:
        analysis.basis.save(paths[0])
    else:
        _link(basis, paths[0])
    analysis.projections.save(paths[1])
    analysis.clusters.save(paths[2])
    write_csv(paths[3], table)
    paths.append(directory / "tokens.json")
    texts.save(paths[-1])
    contents = render(analysis.clusters, table, _overall(analysis), warnings(analysis))
    paths += save(contents, directory / "projected_losses")
    shutil.rmtree(directory / "vectors", ignore_errors=True)
    for name, contents in render_vectors(analysis.clusters, table):
        paths += save(contents, directory / "vectors" / name)
    if analysis.directions is not None:
        paths += write_directions(analysis.directions, texts.names, directory)
    paths += [directory / "summary.txt", directory / "summary.json"]
    write_text(paths[-2], "".join(f"{line}\n" for line in sentences(analysis)))
    # Through JSON once, so that tuples and NumPy's numbers are JSON's.
    write_json(paths[-1], json.loads(json.dumps(summary(analysis))))
    return paths
