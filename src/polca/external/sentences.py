"""An analysis in plain sentences: what was found, how much of the loss it explains, and what to doubt."""

import numpy as np

from polca.external.analysis import Analysis
from polca.external.settings import AnalysisSettings
from polca.method.clustering import vector_counts

SMALL_SHARE = 0.05
"""Share of the loss change that a basis holds below which results come with a warning: a twentieth, chosen by us."""


def finer(settings: AnalysisSettings) -> tuple[int, int]:
    """min_cluster_size and min_samples_divisor of the next finer clustering: half and twice, which the paper has not.

    `settings` must be those of an analysis, where nothing is left open.
    """
    assert settings.min_cluster_size is not None
    return max(2, settings.min_cluster_size // 2), 2 * settings.min_samples_divisor


def warnings(a: Analysis) -> list[str]:
    """What to doubt before all else; the figure shows it too."""
    share = a.complete.fraction
    if not np.isfinite(share) or abs(share) >= SMALL_SHARE:
        return []
    return [
        f"Warning: the basis holds only {share:.1%} of the mean loss change, less than {SMALL_SHARE:.0%}: "
        "its clusters tell of little that was learned. More vectors (--vectors) hold more."
    ]


def _vectors(a: Analysis) -> str:
    kept, count = int(a.clusters.vector_kept.sum()), len(a.clusters.vector_kept)
    if not a.trajectories.projected:
        return f"Trajectories are {a.trajectories.name}, which no filter is for: all {count} are clustered."
    if kept == count:
        return f"All {count} vectors are kept: along each of them the mean projected loss falls."
    return f"{kept} of {count} vectors are kept: along the others the mean projected loss rises over training."


def _clusters(a: Analysis) -> str:
    settings = a.settings
    counts = vector_counts(a.clusters.labels[a.clusters.vector_kept].ravel())
    left = counts["n_clustered"] + counts["n_outliers"]
    if not len(a.clusters):
        size, divisor = finer(settings)
        raw = "; or cluster trajectories as they are with --raw" if settings.standardise else ""
        return (
            "HDBSCAN found no cluster: raise --min-samples-divisor or lower --min-cluster-size for finer ones, such as "
            f"{divisor} and {size}, which are not the paper's{raw}. polca cluster does so without computing anew."
        )
    form = "standardised" if settings.standardise else "raw"
    return (
        f"HDBSCAN found {len(a.clusters)} clusters of {form} trajectories. They hold "
        f"{counts['n_clustered'] / left:.0%} of the trajectories that were clustered; the others are outliers."
    )


def _share(a: Analysis) -> str:
    losses, c = a.projections.losses.mean(axis=1, dtype=np.float64), a.complete
    way = "falls" if c.total_actual < 0 else "rises"
    said = f"The mean loss {way} from {losses[0]:.4g} to {losses[-1]:.4g} nats"
    if not np.isfinite(c.fraction):
        return f"{said}: it does not change."
    return (
        f"{said}; along the basis {c.total_allocated:+.4g} of {c.total_actual:+.4g} nats are seen ({c.fraction:.1%}). "
        "What happens outside the span of its vectors is not in these results."
    )


def unconverged(a: Analysis) -> list[int]:
    """Vectors (from 1) whose residual is above the tolerance."""
    limit = a.settings.tolerance * np.abs(a.basis.eigenvalues)
    return [int(k) + 1 for k in np.flatnonzero(a.basis.residuals > limit)]


def _convergence(a: Analysis) -> str:
    late, settings = unconverged(a), a.settings
    if not late:
        return f"All {len(a.basis)} eigenvectors converged to a relative residual of {settings.tolerance:g}."
    named = ", ".join(map(str, late[:8])) + (", …" if len(late) > 8 else "")
    return (
        f"{len(late)} of {len(a.basis)} eigenvectors did not converge to a relative residual of {settings.tolerance:g} "
        f"within {settings.max_matvecs} products (vectors {named}): raise --max-matvecs, or give a larger --tolerance."
    )


def sentences(analysis: Analysis) -> list[str]:
    """One string a sentence or two, in the order in which they matter; the command line and `summary.txt` show them."""
    a = analysis
    said = [*warnings(a), _share(a), _vectors(a), _clusters(a), _convergence(a)]
    if a.directions is not None:
        groups = int(a.directions.clusters.max(initial=-1)) + 1
        said.append(
            f"All kept vectors together sort the tokens into {groups} groups (token_map.png, joint_clusters.csv). "
            "Groups of one output token are usual, and can be there before training."
        )
    if a.settings.parameter_names is not None:
        said.append(
            f"Directions lie in the parameters {a.settings.parameter_names} alone: "
            "what the others did to the loss is not in these results."
        )
    if a.breaks is None:
        said.append(
            "There are no breakthrough steps: the checkpoints are not evenly spaced. "
            "Choose evenly spaced ones with --steps."
        )
    if a.fallback is not None:
        said.append(f"Each vector took a torch.func.jvp of its own, which is slower: {a.fallback}.")
    if a.trajectories.guarded:
        said.append(
            f"{a.trajectories.guarded} second-order terms of eq. 4 were set to 0: their mean over tokens vanishes."
        )
    return said
