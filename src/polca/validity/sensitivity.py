"""One factor at a time around a preset's settings: what becomes of POLCA's clusters. From existing projections only.

Not in the paper, whose settings come without reasons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import normalized_mutual_info_score

from polca.errors import PolcaError
from polca.method.breakthrough import Sign, flat_step
from polca.method.clustering import VECTOR_DROPPED, partition, vector_counts
from polca.method.completeness import ratio
from polca.method.decomposition import FORMS, decompose, forms_of
from polca.method.projections import Projections, thin
from polca.tasks.arithmetic.task import ArithmeticSettings
from polca.typing import Reading
from polca.validity.permutation import best_homogeneities, clustered_curves, hidden_share
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
    along = [name.removesuffix("?") for name, kind in p.form.items() if kind.endswith(" K")]
    cut = {name: getattr(p, name)[..., :count] for name in along if getattr(p, name) is not None}
    return replace(p, **cut)


@dataclass(frozen=True)
class Choice:
    """All settings of one point."""

    interval: int
    vectors: int
    second_order: str
    reading: Reading
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
        reading=settings.plots.reading,
        filters="both",
        min_cluster_size=settings.clustering.min_cluster_size,
        min_samples_divisor=settings.clustering.min_samples_divisor,
        flat_step=flat_step(p.losses, p.steps, settings.breakthroughs.fall),
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
        standardise=choice.reading == "standardised",
    )
    clusters = clustered_curves(trajectories.values, labels)
    kept = labels[(labels != VECTOR_DROPPED).any(axis=1)]
    counts = [vector_counts(row) for row in kept]
    dropped, outliers, clustered = (sum(c[n] for c in counts) for n in ("n_dropped", "n_outliers", "n_clustered"))
    skill = 2 * place.astype(np.int64) + carry
    agreement = [normalized_mutual_info_score(skill[row >= 0], row[row >= 0]) for row in kept if (row >= 0).any()]
    delta = -(-choice.delta // interval) * interval
    return {
        "best_homogeneity": float(best_homogeneities(labels, place[None], carry[None]).max(initial=0.0)),
        "vectors_kept": len(kept),
        "clusters": len(clusters),
        "outliers": ratio(outliers, outliers + clustered),
        "dropped": ratio(dropped, kept.size),
        "nmi_digit_carry": float(np.mean(agreement)) if agreement else float("nan"),
        "hidden": hidden_share(clusters, chosen.steps, delta=delta, flat_step=choice.flat_step, sign=choice.sign),
        "delta_used": delta,
    }


def sensitivity(
    p: Projections,
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
    settings: ArithmeticSettings,
    s: SensitivitySettings,
) -> pd.DataFrame:
    """One row a factor and value, with all else as in the preset.

    Returns:
        factor, value, default (whether it is the preset's own) and those of `measure`.

    Raises:
        PolcaError: a value that the projections do not allow.
    """
    base = default(p, settings)
    grid: dict[str, Sequence[Any]] = {
        "interval": s.thinning,
        "vectors": s.vectors,
        "second_order": list(forms_of(p)),
        "reading": get_args(Reading),
        "filters": list(FILTERS),
        "min_cluster_size": s.min_cluster_size,
        "min_samples_divisor": s.min_samples_divisor,
        "flat_step": s.flat_step,
        "delta": s.delta,
        "sign": ["printed", "corrected"],
    }
    rows = []
    for factor, values in grid.items():
        own = getattr(base, factor)
        for value in values if own in values else sorted([*values, own]):
            shown = value * settings.polca.interval if factor == "interval" else value
            measured = measure(p, place, carry, replace(base, **{factor: value}))
            rows.append({"factor": factor, "value": shown, "default": value == own, **measured})
    return pd.DataFrame(rows)
