"""The arithmetic setting's analyses: projections in, clusters with their scores out.

One analysis is one row of Tables 8–11: a strategy on a basis (`scores.ANALYSES`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.method.breakthrough import add_breakthroughs
from polca.method.clustering import Clusters, cluster
from polca.method.completeness import ALL, APP_C, compare_orders, completeness, second_order_rmse
from polca.method.decomposition import FORMS, SecondOrder, Strategy, Trajectories, decompose
from polca.method.projections import Projections
from polca.study.scores import ANALYSES, cluster_scores, partition_scores, vector_scores
from polca.study.settings import ArithmeticSettings
from polca.tasks.transformer import parameter_count

OTHER_FORMS = {f"polca_{form}": FORMS[form] for form in ("paper", "paper_current", "exact")}
"""Forms of the second-order term beside the preset's own, which gives the rows called POLCA."""

TABLES = ("clusters", "vectors", "partitions")
"""Tables of an analysis: a row a cluster; a row a vector; agreement of a vector's whole partition with the skills."""


@dataclass(frozen=True)
class Analysis:
    """What one analysis leaves behind; `tables` by the names of `TABLES`."""

    clusters: Clusters
    tables: dict[str, pd.DataFrame]
    guarded: int


def trajectories_of(name: str, projections: Mapping[str, Projections], settings: ArithmeticSettings) -> Trajectories:
    """Trajectories of one analysis; exact-loss strategies take the losses from any basis' projections."""
    basis, strategy = ANALYSES[name]
    p = projections["hessian" if basis == "none" else basis]
    if strategy in OTHER_FORMS:
        return decompose(p, "polca", *OTHER_FORMS[strategy])
    plain: Strategy = strategy  # type: ignore[assignment]
    return decompose(p, plain, settings.polca.second_order, settings.polca.eigenvalue)


def analyse(
    name: str,
    projections: Mapping[str, Projections],
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
    settings: ArithmeticSettings,
) -> Analysis:
    """Decompose, cluster and score (§3.3, §4.1).

    Args:
        projections: by basis name.
        place, carry: `[X]` skills of the tokens.
    """
    trajectories = trajectories_of(name, projections, settings)
    some = projections["hessian"]
    clusters = cluster(
        trajectories,
        min_cluster_size=settings.clustering.min_cluster_size,
        min_samples_divisor=settings.clustering.min_samples_divisor,
        losses=some.losses,
        loss_steps=some.steps,
    )
    breaks = settings.breakthroughs
    found = add_breakthroughs(
        cluster_scores(clusters, place, carry, name),
        trajectories,
        clusters,
        delta=breaks.delta,
        flat_step=breaks.flat_step,
    )
    tables = {
        "clusters": found,
        "vectors": vector_scores(clusters, trajectories, place, carry, name),
        "partitions": partition_scores(clusters, trajectories, place, carry, name),
    }
    return Analysis(clusters, tables, trajectories.guarded)


def summarise(
    projections: Mapping[str, Projections], settings: ArithmeticSettings, guarded: Mapping[str, int]
) -> dict[str, Any]:
    """Scalars that the paper quotes, and those that it should have: Table 12, App. C, completeness.

    Completeness compares, over all tokens and the whole training, the sum of a basis' allocations with the true change
    of the loss: 1 is complete.
    """
    hessian = projections["hessian"]
    form, at = settings.polca.second_order, settings.polca.eigenvalue
    orders = compare_orders(hessian, form, at)
    approximate: tuple[SecondOrder, ...] = ("paper", "trapezoid")
    estimates: dict[str, Any] = {}
    for label, where in (("published_subset", APP_C), ("all", ALL)):
        for estimate in approximate:
            error = second_order_rmse(hessian, estimate, subset=where)
            estimates[f"rmse_{estimate}_{label}"] = error.rmse
        estimates[f"rms_exact_{label}"], estimates[f"terms_{label}"] = error.rms_exact, error.terms
    shares: dict[str, Any] = {}
    for second_order in get_args(SecondOrder):
        whole = completeness(hessian, second_order)
        shares[second_order] = {
            "fraction": whole.fraction,
            "allocated": whole.total_allocated,
            "relative_residual": whole.relative_residual,
            "correlation": whole.correlation,
        }
    for name in ("random", "shuffled_hessian", "lca"):
        whole = completeness(projections[name], "trapezoid")
        shares[f"trapezoid_{name}"] = {"fraction": whole.fraction, "allocated": whole.total_allocated}
    places = np.arange(hessian.losses.shape[1]) % 4
    return {
        "parameters": parameter_count(settings.model),
        "tokens": int(hessian.losses.shape[1]),
        "checkpoints": len(hessian.steps),
        "vectors": int(hessian.gradients.shape[2]),
        "flat_step": settings.breakthroughs.flat_step,
        "delta": settings.breakthroughs.delta,
        "second_order": form,
        "eigenvalue": at,
        "loss_first": float(hessian.losses[0].mean(dtype=np.float64)),
        "loss_last": float(hessian.losses[-1].mean(dtype=np.float64)),
        "loss_last_by_place": {
            label: float(hessian.losses[-1][places == i].mean(dtype=np.float64))
            for i, label in enumerate(("1000s", "100s", "10s", "1s"))
        },
        "table_12": {
            "cosine_similarity": orders.cosine_similarity,
            "l2_norm": orders.l2_norm,
            "relative_l2_norm": orders.relative_l2_norm,
        },
        "app_c": estimates,
        "completeness": shares,
        "guarded": dict(guarded),
    }
