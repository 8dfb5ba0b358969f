"""Numbers about the projections of additions: Table 12, App. C, losses by place, completeness of each basis."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from polca.method.completeness import ALL, APP_C, compare_orders, completeness, second_order_rmse
from polca.method.projections import Projections, curved_part
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.settings import PolcaSettings
from polca.typing import SecondOrder


def facts(projections: Mapping[str, Projections], polca: PolcaSettings) -> dict[str, Any]:
    """For `summary.json`; errors and losses in nats, completeness as `completeness.Completeness`.

    App. C is on its own terms (`APP_C`), and on all where every interval has the exact curvature.
    """
    hessian = projections["hessian"]
    approximate: tuple[SecondOrder, ...] = ("paper", "trapezoid")
    estimates: dict[str, Any] = {}
    if hessian.token_curvatures is not None:
        curved = curved_part(hessian)
        whole_run = {"all": ALL} if curved is hessian else {}
        for label, subset in {"published_subset": APP_C, **whole_run}.items():
            for form in approximate:
                error = second_order_rmse(curved, form, subset=subset)
                estimates[f"rmse_{form}_{label}"] = error.rmse
            estimates[f"rms_exact_{label}"], estimates[f"terms_{label}"] = error.rms_exact, error.terms
    orders = compare_orders(hessian, polca.second_order, polca.eigenvalue)
    places = np.arange(hessian.losses.shape[1]) % len(PLACES)
    last = {place: hessian.losses[-1][places == i].mean(dtype=np.float64) for i, place in enumerate(PLACES)}
    others = {name: completeness(p, "trapezoid") for name, p in projections.items() if name != "hessian"}
    return {
        "loss_last_by_place": {place: float(loss) for place, loss in last.items()},
        "table_12": {
            "cosine_similarity": orders.cosine_similarity,
            "l2_norm": orders.l2_norm,
            "relative_l2_norm": orders.relative_l2_norm,
        },
        "app_c": estimates,
        "completeness": {
            f"trapezoid_{name}": {"fraction": whole.fraction, "allocated": whole.total_allocated}
            for name, whole in others.items()
        },
    }
