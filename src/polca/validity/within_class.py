"""The paper's own analysis inside each output class: are there clusters of carries among tokens of one digit?

Most of the variance along a vector is the digit to be written (`study.stages.signatures`), which would hide carries
from clusters of all tokens. Here each vector is clustered within the tokens of one digit value, with HDBSCAN's
published settings scaled by the size of the group. Not in the paper.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.method.clustering import memberships, partition
from polca.method.decomposition import Trajectories
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.probes import digit_values
from polca.tasks.settings import ClusteringSettings
from polca.tasks.task import Labels
from polca.typing import Reading
from polca.validity.permutation import Clustered, by_chance

ANALYSES = ("polca", "polca_first_order", "polca_shuffled_hessian", "polca_random")
"""The analyses that are clustered within classes, as far as there are trajectories of them."""
PERMUTATIONS = 200
ALL = "all"

Floats = NDArray[np.float64]


def _group_scores(
    t: Trajectories, place: NDArray[np.integer], carry: NDArray[np.bool_], sizes: ClusteringSettings, reading: Reading,
    rng: np.random.Generator, permutations: int,
) -> tuple[int, Floats]:  # fmt: skip
    """How many clusters one class has, and its best homogeneity of carries, observed and permuted, `[1 + N]`."""
    labels = partition(
        t.values,
        min_cluster_size=sizes.min_cluster_size,
        min_samples_divisor=sizes.min_samples_divisor,
        drop_vectors=True,
        drop_tokens=True,
        standardise=reading == "standardised",
    )
    scores = Clustered(t, labels, place, carry).swap_skills(permutations, rng, within_place=True)
    return len(memberships(labels)[0]), scores.max(axis=0, initial=0.0)


def within_class_table(
    trajectories: Mapping[str, Trajectories],
    labels: Labels,
    sizes: ClusteringSettings,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> pd.DataFrame:
    """Best homogeneity of carries within each output digit, and its mean over digits, against permuted carries.

    Tokens of the 100s, 10s and 1s are asked. A class of n of X tokens is clustered with a least size of n / X of the
    published one, at least 2. Permutations swap carries among tokens of one digit and place.

    Args:
        trajectories: by analysis; `ANALYSES` are taken.
        labels: `tokens`, `place` and `carry`.
        sizes: HDBSCAN's for all tokens.

    Returns:
        One row an analysis, reading and digit, and one for `all`: tokens, clusters, and of the best eligible cluster's
        homogeneity (0 where there is none) observed, null_mean, null_95 and p_value.
    """
    digit, place = digit_values(labels["tokens"]), labels["place"].astype(np.int64)
    carry, rows = labels["carry"].astype(bool), []
    asked = place != PLACES.index("1000s")
    for analysis in (name for name in ANALYSES if name in trajectories):
        whole = trajectories[analysis]
        for reading in get_args(Reading):
            # The same permutations for every analysis.
            rng, scores, found = np.random.default_rng(seed), [], []
            for value in range(10):
                group = np.flatnonzero(asked & (digit == value))
                least = max(2, round(sizes.min_cluster_size * len(group) / len(digit)))
                part = replace(whole, values=np.ascontiguousarray(whole.values[:, group]))
                scaled = sizes.changed(min_cluster_size=least)
                clusters, best = _group_scores(part, place[group], carry[group], scaled, reading, rng, permutations)
                scores.append(best)
                found.append((len(group), clusters))
                rows.append(_row(analysis, reading, str(value), *found[-1], best))
            tokens, clusters = (sum(counts) for counts in zip(*found, strict=True))
            rows.append(_row(analysis, reading, ALL, tokens, clusters, np.mean(scores, axis=0)))
    return pd.DataFrame(rows)


def _row(analysis: str, reading: Reading, digit: str, tokens: int, clusters: int, best: Floats) -> dict[str, Any]:
    head = {"analysis": analysis, "reading": reading, "digit": digit, "tokens": tokens, "clusters": clusters}
    return {**head, **by_chance(best)}
