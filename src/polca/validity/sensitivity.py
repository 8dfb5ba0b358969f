"""One factor at a time around a preset's settings: what becomes of POLCA's clusters. From existing projections only.

Not in the paper, whose settings come without reasons.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import normalized_mutual_info_score

from polca.errors import PolcaError
from polca.method.breakthrough import Sign
from polca.method.clustering import VECTOR_DROPPED, memberships, partition, vector_counts
from polca.method.completeness import ratio
from polca.method.decomposition import FORMS, decompose, forms_of
from polca.method.projections import Projections, thin
from polca.tasks.arithmetic.task import ArithmeticSettings
from polca.validity.partitions import best_by_vector, eligible_homogeneities, hidden_share
from polca.validity.settings import SensitivitySettings

FILTERS: Mapping[str, tuple[bool, bool]] = {
    "both": (True, True),
    "vectors": (True, False),
    "tokens": (False, True),
    "neither": (False, False),
}
"""Which of the two filters drops what rises: vectors, tokens."""


def first_vectors(p: Projections, count: int) -> Projections:
    """The basis cut to its first vectors.

    Raises:
        PolcaError: it has fewer.
    """
    if not 1 <= count <= len(p.vector_steps):
        raise PolcaError(f"validity.sensitivity.vectors = {count}: the basis has {len(p.vector_steps)}")
    return replace(
        p,
        gradients=p.gradients[:, :, :count],
        movements=p.movements[:, :count],
        vector_steps=p.vector_steps[:count],
        eigenvalues=p.eigenvalues[:count],
        curvatures=None if p.curvatures is None else p.curvatures[:, :count],
        token_curvatures=None if p.token_curvatures is None else p.token_curvatures[:, :, :count],
    )


@dataclass(frozen=True)
class Choice:
    """All settings of one point."""

    interval: int
    vectors: int
    second_order: str
    filters: str
    min_cluster_size: int
    min_samples_divisor: int
    flat_step: int
    delta: int
    sign: Sign


def default(p: Projections, settings: ArithmeticSettings) -> Choice:
    """The preset's own."""
    form = settings.polca.second_order
    current = form == "paper" and settings.polca.eigenvalue == "current"
    return Choice(
        interval=1,
        vectors=len(p.vector_steps),
        second_order="paper_current" if current else form,
        filters="both",
        min_cluster_size=settings.clustering.min_cluster_size,
        min_samples_divisor=settings.clustering.min_samples_divisor,
        flat_step=settings.breakthroughs.flat_step,
        delta=settings.breakthroughs.delta,
        sign="printed",
    )


def measure(p: Projections, place: NDArray[np.integer], carry: NDArray[np.bool_], choice: Choice) -> dict[str, Any]:
    """POLCA's clusters under one choice.

    Δ is rounded up to a multiple of the interval, and `delta_used` says to which.

    Returns:
        best_homogeneity (0 where no cluster is eligible), vectors_kept, clusters, outliers and dropped (shares, as in
        `permutation.beside_the_maximum`), nmi_digit_carry (mean over vectors with clusters), hidden.
    """
    interval = choice.interval * int(p.steps[1] - p.steps[0])
    chosen = first_vectors(thin(p, interval, "validity.sensitivity.thinning × polca.interval"), choice.vectors)
    trajectories = decompose(chosen, "polca", *FORMS[choice.second_order])
    drop_vectors, drop_tokens = FILTERS[choice.filters]
    labels = partition(
        trajectories.values,
        min_cluster_size=choice.min_cluster_size,
        min_samples_divisor=choice.min_samples_divisor,
        drop_vectors=drop_vectors,
        drop_tokens=drop_tokens,
    )
    inside, vectors = memberships(labels)
    best = best_by_vector(eligible_homogeneities(inside, place[None], carry[None]), vectors, len(labels))
    kept = labels[(labels != VECTOR_DROPPED).any(axis=1)]
    counts = [vector_counts(row) for row in kept]
    dropped, outliers, clustered = (sum(c[n] for c in counts) for n in ("n_dropped", "n_outliers", "n_clustered"))
    skill = 2 * place.astype(np.int64) + carry
    agreement = [normalized_mutual_info_score(skill[row >= 0], row[row >= 0]) for row in kept if (row >= 0).any()]
    delta = -(-choice.delta // interval) * interval
    return {
        "best_homogeneity": float(best.max(initial=0.0)),
        "vectors_kept": len(kept),
        "clusters": len(inside),
        "outliers": ratio(outliers, outliers + clustered),
        "dropped": ratio(dropped, kept.size),
        "nmi_digit_carry": float(np.mean(agreement)) if agreement else float("nan"),
        "hidden": hidden_share(
            trajectories.values,
            chosen.steps,
            labels,
            delta=delta,
            flat_step=choice.flat_step,
            sign=choice.sign,
        ),
        "delta_used": delta,
    }


def choices(base: Choice, p: Projections, s: SensitivitySettings) -> Iterator[tuple[str, Any, Choice]]:
    """Each factor's values, the preset's own among them, with all else as in `base`."""
    grid: dict[str, Sequence[Any]] = {
        "interval": s.thinning,
        "vectors": s.vectors,
        "second_order": list(forms_of(p)),
        "filters": list(FILTERS),
        "min_cluster_size": s.min_cluster_size,
        "min_samples_divisor": s.min_samples_divisor,
        "flat_step": s.flat_step,
        "delta": s.delta,
        "sign": ["printed", "corrected"],
    }
    for factor, values in grid.items():
        preset = getattr(base, factor)
        every = values if preset in values else sorted([*values, preset])
        for value in every:
            yield factor, value, replace(base, **{factor: value})


def sensitivity(
    p: Projections,
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
    settings: ArithmeticSettings,
    s: SensitivitySettings,
) -> pd.DataFrame:
    """One row a factor and value: factor, value, default (whether it is the preset's own) and those of `measure`.

    Raises:
        PolcaError: a value that the projections do not allow.
    """
    base = default(p, settings)
    rows = []
    for factor, value, choice in choices(base, p, s):
        shown = value * settings.polca.interval if factor == "interval" else value
        default_value = value == getattr(base, factor)
        rows.append({"factor": factor, "value": shown, "default": default_value, **measure(p, place, carry, choice)})
    return pd.DataFrame(rows)
