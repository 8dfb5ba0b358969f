"""How much of learning the allocations add up to, and how well each form of POLCA integrates along its vectors.

The true change of a token's loss between two checkpoints has three parts: what a form of POLCA allocates to the basis;
what the form misses *inside* the subspace, the path integral along the basis less the allocation; and what lies
*outside* the subspace, the change less the path integral. Not in the paper.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import pearsonr

from polca.method.completeness import ALL, APP_C, completeness, ratio, rms, second_order_terms
from polca.method.decomposition import allocations, forms_of
from polca.method.projections import Projections
from polca.validity.path_integral import PathGradients, levels

Floats = NDArray[np.float64]

QUANTILES = (0.5, 0.9, 0.99, 1.0)
"""Of the absolute error."""
DENOMINATORS = (1e-6, 1e-3, 1e-2, 1e-1)
"""⟨b, Δg(X)⟩ of eq. 4 as a fraction of the root mean square over tokens: the guard, and what comes close to it."""


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson's over all entries; NaN where one is constant."""
    one, two = np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64)
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(two) == 0:
        return float("nan")
    return float(pearsonr(one, two).statistic)


def against(values: Floats, truth: Floats) -> dict[str, float]:
    """How far `values` are from `truth`, over all entries.

    Returns:
        rmse and rms_truth in nats, relative_rmse their quotient, correlation, total_ratio of the sums, right_sign (the
        share of entries), and quantiles of the absolute error.
    """
    error = np.abs(values - truth)
    return {
        "rmse": rms(error),
        "rms_truth": rms(truth),
        "relative_rmse": ratio(rms(error), rms(truth)),
        "correlation": correlation(values, truth),
        "total_ratio": ratio(float(values.sum()), float(truth.sum())),
        "right_sign": float((np.sign(values) == np.sign(truth)).mean()),
        **{f"error_{round(100 * q)}": float(np.quantile(error, q)) for q in QUANTILES},
    }


def totals(setting: str, basis: str, p: Projections) -> list[dict[str, Any]]:
    """Completeness over all tokens and intervals, one row a form.

    Returns:
        allocated and actual (mean over tokens, summed over training, nats), fraction, and over tokens and intervals
        explained (1 − residual²/actual², root mean squares) and correlation.
    """
    rows = []
    for form, options in forms_of(p).items():
        whole = completeness(p, *options)
        rows.append(
            {
                "setting": setting,
                "basis": basis,
                "form": form,
                "allocated": whole.total_allocated,
                "actual": whole.total_actual,
                "fraction": whole.fraction,
                "explained": 1 - whole.relative_residual**2,
                "correlation": whole.correlation,
            }
        )
    return rows


def curves(p: Projections) -> pd.DataFrame:
    """Mean over tokens of the loss change and of each form's sum over vectors, one row an interval, in nats."""
    actual = np.diff(p.losses.astype(np.float64), axis=0).mean(axis=1)
    columns = {form: completeness(p, *options).allocated.mean(axis=1) for form, options in forms_of(p).items()}
    return pd.DataFrame({"step": p.steps[1:], "actual": actual, **columns})


def _on_path(p: Projections, path: PathGradients) -> tuple[Floats, dict[str, Floats]]:
    """On the intervals of the path: the true change `[I, X]`, and each form's allocations `[I, X, K]`, `path` last."""
    actual = np.diff(p.losses.astype(np.float64), axis=0)[path.intervals]
    parts = {form: allocations(p, *options)[path.intervals] for form, options in forms_of(p).items()}
    return actual, {**parts, "path": path.integral()}


def parts_by_interval(p: Projections, path: PathGradients) -> pd.DataFrame:
    """The three parts of the loss change, mean over tokens in nats, one row an interval of the path and a form.

    Returns:
        step (of the interval's end), form, actual, allocated, missed (inside the subspace), outside.
    """
    actual, parts = _on_path(p, path)
    inside = parts["path"].sum(axis=2)
    rows = []
    for i, (_, end) in enumerate(path.steps):
        for form, part in parts.items():
            allocated = part[i].sum(axis=1)
            rows.append(
                {
                    "step": int(end),
                    "form": form,
                    "actual": float(actual[i].mean()),
                    "allocated": float(allocated.mean()),
                    "missed": float((inside[i] - allocated).mean()),
                    "outside": float((actual[i] - inside[i]).mean()),
                }
            )
    return pd.DataFrame(rows)


def parts_by_form(p: Projections, path: PathGradients) -> pd.DataFrame:
    """The three parts over all intervals of the path, one row a form.

    Returns:
        form; actual, allocated, missed, outside (mean over tokens, summed over the intervals, nats); fraction allocated
        of actual; and root mean squares over tokens and intervals: rms_actual, rms_missed, rms_outside, with explained
        = 1 − rms(actual − allocated)²/rms_actual².
    """
    actual, parts = _on_path(p, path)
    inside = parts["path"].sum(axis=2)
    rows = []
    for form, part in parts.items():
        allocated = part.sum(axis=2)
        total = {n: float(v.sum(axis=0).mean()) for n, v in (("actual", actual), ("allocated", allocated))}
        rows.append(
            {
                "form": form,
                **total,
                "missed": float((inside - allocated).sum(axis=0).mean()),
                "outside": float((actual - inside).sum(axis=0).mean()),
                "fraction": ratio(total["allocated"], total["actual"]),
                "rms_actual": rms(actual),
                "rms_missed": rms(inside - allocated),
                "rms_outside": rms(actual - inside),
                "explained": 1 - ratio(rms(actual - allocated), rms(actual)) ** 2,
            }
        )
    return pd.DataFrame(rows)


def parts_by_vector(p: Projections, path: PathGradients) -> pd.DataFrame:
    """What each vector is allocated, mean over tokens in nats.

    Returns:
        vector (from 1), vector_step; `all_<form>` over the whole training; on the intervals of the path `<form>` and
        `path`, and `missed` by the preset's trapezoid; relative_rmse of the trapezoid against the path.
    """
    _, parts = _on_path(p, path)
    whole = {form: completeness(p, *options).by_vector for form, options in forms_of(p).items()}
    rows = []
    for k, step in enumerate(p.vector_steps):
        along = {form: part[:, :, k] for form, part in parts.items()}
        rows.append(
            {
                "vector": k + 1,
                "vector_step": int(step),
                **{f"all_{form}": float(values[k]) for form, values in whole.items()},
                **{form: float(part.sum(axis=0).mean()) for form, part in along.items()},
                "missed": float((along["path"] - along["trapezoid"]).sum(axis=0).mean()),
                "relative_rmse": ratio(rms(along["path"] - along["trapezoid"]), rms(along["path"])),
            }
        )
    return pd.DataFrame(rows)


def integrator_errors(p: Projections, path: PathGradients) -> pd.DataFrame:
    """Each form, and each coarser rule with gradients between the checkpoints, against the refined path integral.

    Over tokens, intervals of the path and vectors: form, nodes (how many gradients a rule takes, NaN for the forms of
    POLCA), and the columns of `against`.
    """
    _, parts = _on_path(p, path)
    truth = parts.pop("path")
    rows = [{"form": form, "nodes": float("nan"), **against(part, truth)} for form, part in parts.items()]
    rows += [
        {"form": f"nodes_{count}", "nodes": count, **against(path.integral(count), truth)}
        for count in levels(len(path.fractions))[1:-1]
    ]
    return pd.DataFrame(rows)


def errors_by_interval(p: Projections, path: PathGradients) -> pd.DataFrame:
    """Relative root mean square error of each form in each interval of the path, over tokens and vectors."""
    _, parts = _on_path(p, path)
    truth = parts.pop("path")
    return pd.DataFrame(
        [
            {"step": int(end), "form": form, "relative_rmse": ratio(rms(part[i] - truth[i]), rms(truth[i]))}
            for i, (_, end) in enumerate(path.steps)
            for form, part in parts.items()
        ]
    )


def convergence(path: PathGradients, actual: Floats, tolerance: float) -> dict[str, Any]:
    """Whether the path integral has converged.

    Args:
        actual: `[I, X]` true loss change.

    Returns:
        change_on_doubling, root mean square of the last doubling's change over that of the integral; converged, whether
        that is below the tolerance; along_movement, root mean square over tokens and intervals of the same rule along
        the whole movement less the true loss change, over that of the change: an independent check.
    """
    counts = levels(len(path.fractions))
    fine, coarse = path.integral(), path.integral(counts[-2])
    change = ratio(rms(fine - coarse), rms(fine))
    return {
        "nodes": counts[-1],
        "intervals": len(path.intervals),
        "tolerance": tolerance,
        "change_on_doubling": change,
        "converged": bool(change <= tolerance),
        "along_movement": ratio(rms(path.whole() - actual), rms(actual)),
        "along_movement_trapezoid": ratio(rms(path.whole(2) - actual), rms(actual)),
        "along_movement_first_order": ratio(rms(path.along[:, 0].astype(np.float64) - actual), rms(actual)),
    }


def curvature_errors(p: Projections) -> pd.DataFrame:
    """App. C: estimates of ½ bᵀH(x)b ⟨b, Δθ⟩² against the exact term, on the published subset and on all.

    Returns:
        where (`published`, `all`), form, terms, columns of `against`, and within_two, the share of terms whose estimate
        has the right sign and is within a factor of two.
    """
    rows = []
    for where, subset in (("published", APP_C), ("all", ALL)):
        truth = second_order_terms(p, "exact", subset=subset)
        for form, options in forms_of(p).items():
            if form in ("none", "exact"):
                continue
            term = second_order_terms(p, *options, subset)
            close = (term * truth > 0) & (np.abs(term) <= 2 * np.abs(truth)) & (np.abs(truth) <= 2 * np.abs(term))
            rows.append(
                {"where": where, "form": form, "terms": term.size, **against(term, truth), "within_two": close.mean()}
            )
    return pd.DataFrame(rows)


def denominators(p: Projections) -> dict[str, Any]:
    """How often the denominator of eq. 4, ⟨b, Δg(X)⟩, is near 0, over intervals and vectors.

    Returns:
        pairs; `below`, for each of `DENOMINATORS` the number of pairs below it (the first is the guard); and
        wrong_sign, the share of pairs in which ⟨b, Δg(X)⟩ does not have the sign of λ ⟨b, Δθ⟩ that eq. 13 gives it, λ
        fixed when the vector was computed (`basis`) or taken where the interval begins (`current`).
    """
    gradient_change = np.diff(p.gradients.astype(np.float64), axis=0)
    mean, scale = gradient_change.mean(axis=1), np.sqrt(np.square(gradient_change).mean(axis=1))
    displacement = p.movements.astype(np.float64)
    wrong = {"basis": p.eigenvalues[None].astype(np.float64) * displacement * mean < 0}
    if p.curvatures is not None:
        wrong["current"] = p.curvatures[:-1] * displacement * mean < 0
    return {
        "pairs": int(mean.size),
        "below": [{"fraction": f, "pairs": int((np.abs(mean) <= f * scale).sum())} for f in DENOMINATORS],
        "wrong_sign": {at: float(flags.mean()) for at, flags in wrong.items()},
    }


def tables(
    projections: Mapping[str, Projections], path: PathGradients, english: Projections
) -> dict[str, pd.DataFrame]:
    """All tables of the stage by file name.

    Args:
        projections: of the arithmetic setting, by basis.
    """
    hessian = projections["hessian"]
    every: Sequence[tuple[str, str, Projections]] = (
        *(("arithmetic", basis, p) for basis, p in projections.items()),
        ("english", "hessian", english),
    )
    made = {
        "totals": pd.DataFrame([row for setting, basis, p in every for row in totals(setting, basis, p)]),
        "curves": curves(hessian),
        "english_curves": curves(english),
        "intervals": parts_by_interval(hessian, path),
        "forms": parts_by_form(hessian, path),
        "vectors": parts_by_vector(hessian, path),
        "integrators": integrator_errors(hessian, path),
        "errors": errors_by_interval(hessian, path),
    }
    if hessian.token_curvatures is not None:
        made["curvature"] = curvature_errors(hessian)
    return made


def summary(p: Projections, path: PathGradients, tolerance: float) -> dict[str, Any]:
    """The scalars of the stage.

    Returns:
        path, as `convergence` gives it; share_seen and explained, of the refined path integral on its intervals;
        share_of_learning, how much of the mean loss change falls into these; denominators, as that function gives them.
    """
    actual = np.diff(p.losses.astype(np.float64), axis=0)
    forms = parts_by_form(p, path).set_index("form")
    return {
        "path": convergence(path, actual[path.intervals], tolerance),
        "share_seen": float(forms.at["path", "fraction"]),  # type: ignore[arg-type]
        "explained": float(forms.at["path", "explained"]),  # type: ignore[arg-type]
        "share_of_learning": ratio(float(actual[path.intervals].sum()), float(actual.sum())),
        "denominators": denominators(p),
    }
