"""How much of learning the allocations add up to, and how well each form of POLCA integrates along its vectors.

The true change of a token's loss between two checkpoints has three parts: what a form of POLCA allocates to the basis;
what the form misses *inside* the subspace, the path integral along the basis less the allocation; and what lies
*outside* the subspace, the change less the path integral. Not in the paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import pearsonr

from polca.method.completeness import ALL, APP_C, completeness, ratio, rms, second_order_terms
from polca.method.decomposition import allocations, forms_of
from polca.method.projections import Projections, curved_part
from polca.validity.path_integral import PathGradients, levels

Floats = NDArray[np.float64]

QUANTILES = (0.5, 0.9, 0.99, 1.0)
"""Of the absolute error."""
DENOMINATORS = (1e-6, 1e-3, 1e-2, 1e-1)
"""⟨b, Δg(X)⟩ of eq. 4 as a fraction of the root mean square over tokens: the guard, and what comes close to it."""


def against(values: Floats, truth: Floats) -> dict[str, float]:
    """How far `values` are from `truth`, over all entries.

    Returns:
        rmse and rms_truth in nats, relative_rmse their quotient, correlation, total_ratio of the sums, right_sign (the
        share of entries), and quantiles of the absolute error. Pearson's correlation is NaN where one is constant.
    """
    error = np.abs(values - truth)
    varied = values.size > 1 and bool(np.ptp(values)) and bool(np.ptp(truth))
    return {
        "rmse": rms(error),
        "rms_truth": rms(truth),
        "relative_rmse": ratio(rms(error), rms(truth)),
        "correlation": float(pearsonr(values.ravel(), truth.ravel()).statistic) if varied else float("nan"),
        "total_ratio": ratio(float(values.sum()), float(truth.sum())),
        "right_sign": float((np.sign(values) == np.sign(truth)).mean()),
        **{f"error_{round(100 * q)}": float(np.quantile(error, q)) for q in QUANTILES},
    }


def interval_of(p: Projections) -> int:
    """Training steps from one point to the next."""
    return int(p.steps[1] - p.steps[0])


def totals(setting: str, basis: str, p: Projections) -> list[dict[str, Any]]:
    """Completeness over all tokens and intervals, one row a form.

    Returns:
        setting, basis, form; allocated and actual (mean over tokens, summed over training, nats), fraction, and over
        tokens and intervals explained (1 − residual²/actual², root mean squares) and correlation.
    """
    found = {form: completeness(p, *options) for form, options in forms_of(p).items()}
    return [
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
        for form, whole in found.items()
    ]


def curves(p: Projections) -> pd.DataFrame:
    """Mean over tokens of the loss change and of each form's sum over vectors, one row an interval, in nats."""
    actual = np.diff(p.losses.astype(np.float64), axis=0).mean(axis=1)
    columns = {form: completeness(p, *options).allocated.mean(axis=1) for form, options in forms_of(p).items()}
    return pd.DataFrame({"step": p.steps[1:], "actual": actual, **columns})


def with_curvature_of(coarse: Projections, p: Projections) -> tuple[Projections, NDArray[np.int64]]:
    """`p` with the curvature of `coarse` where both have a point, NaN elsewhere; and the intervals that begin there.

    Where `p` has curvature everywhere, `p` itself and all its intervals.
    """
    intervals = np.arange(len(p.steps) - 1)
    if p.curved_intervals == len(intervals) or coarse.curvatures is None or coarse.token_curvatures is None:
        return p, intervals[: p.curved_intervals]
    at = np.searchsorted(p.steps, coarse.steps)
    of_tokens, mean = np.full_like(p.gradients, np.nan), np.full_like(p.gradients[:, 0], np.nan)
    of_tokens[at], mean[at] = coarse.token_curvatures, coarse.curvatures
    return replace(p, curvatures=mean, token_curvatures=of_tokens), at[:-1]


@dataclass(frozen=True)
class OnPath:
    """The loss change on the intervals of a path, and what is allocated of it, in nats.

    Attributes:
        steps: `[I]` training step at each interval's end.
        actual: `[I, X]` true change.
        parts: each form's allocations `[I, X, K]`, and the path integral as `path`, last.
    """

    steps: NDArray[np.int64]
    actual: Floats
    parts: Mapping[str, Floats]

    @classmethod
    def of(cls, p: Projections, path: PathGradients, coarse: Projections | None = None) -> "OnPath":
        """Those of projections.

        Args:
            coarse: the same on a longer interval, with curvature; taken where every interval of the path begins at one
                of its points, otherwise forms that need curvature are left out.
        """
        actual = np.diff(p.losses.astype(np.float64), axis=0)[path.intervals]
        if coarse is not None:
            curved, known = with_curvature_of(coarse, p)
            p = curved if np.isin(path.intervals, known).all() else p
        parts = {form: allocations(p, *options)[path.intervals] for form, options in forms_of(p).items()}
        return cls(path.steps[:, 1], actual, {**parts, "path": path.integral()})

    def split(self, form: str) -> dict[str, Floats]:
        """The true change, and its three parts allocated, missed (inside the subspace) and outside: `[I, X]` each."""
        allocated, inside = (self.parts[name].sum(axis=2) for name in (form, "path"))
        missed, outside = inside - allocated, self.actual - inside
        return {"actual": self.actual, "allocated": allocated, "missed": missed, "outside": outside}


def parts_by_interval(found: OnPath) -> pd.DataFrame:
    """The three parts of the loss change, mean over tokens in nats, one row an interval of the path and a form.

    Returns:
        step (of the interval's end), form, actual, allocated, missed (inside the subspace), outside.
    """
    tables = []
    for form in found.parts:
        means = {name: values.mean(axis=1) for name, values in found.split(form).items()}
        tables.append(pd.DataFrame({"step": found.steps, "form": form, **means}))
    return pd.concat(tables).sort_index(kind="stable", ignore_index=True)


def parts_by_form(found: OnPath) -> pd.DataFrame:
    """The three parts over all intervals of the path, one row a form.

    Returns:
        form; actual, allocated, missed, outside (mean over tokens, summed over the intervals, nats); fraction allocated
        of actual; and root mean squares over tokens and intervals: rms_actual, rms_missed, rms_outside, with explained
        = 1 − rms(actual − allocated)²/rms_actual².
    """
    rows = []
    for form in found.parts:
        values = found.split(form)
        total = {name: float(v.sum(axis=0).mean()) for name, v in values.items()}
        size = {f"rms_{name}": rms(values[name]) for name in ("actual", "missed", "outside")}
        explained = 1 - ratio(rms(values["actual"] - values["allocated"]), size["rms_actual"]) ** 2
        fraction = ratio(total["allocated"], total["actual"])
        rows.append({"form": form, **total, "fraction": fraction, **size, "explained": explained})
    return pd.DataFrame(rows)


def parts_by_vector(p: Projections, found: OnPath) -> pd.DataFrame:
    """What each vector is allocated, mean over tokens in nats.

    Returns:
        vector (from 1), vector_step; `all_<form>` over the whole training; on the intervals of the path `<form>` and
        `path`, and `missed` by the preset's trapezoid; relative_rmse of the trapezoid against the path.
    """
    whole = {f"all_{form}": completeness(p, *options).by_vector for form, options in forms_of(p).items()}
    rows = []
    for k, step in enumerate(p.vector_steps):
        along = {form: part[:, :, k] for form, part in found.parts.items()}
        missed = along["path"] - along["trapezoid"]
        means = {form: float(v.sum(axis=0).mean()) for form, v in {**along, "missed": missed}.items()}
        head = {"vector": k + 1, "vector_step": int(step), **{name: float(v[k]) for name, v in whole.items()}}
        rows.append({**head, **means, "relative_rmse": ratio(rms(missed), rms(along["path"]))})
    return pd.DataFrame(rows)


def integrator_errors(path: PathGradients, found: OnPath) -> pd.DataFrame:
    """Each form, and each coarser rule with gradients between the checkpoints, against the refined path integral.

    Over tokens, intervals of the path and vectors: form, nodes (how many gradients a rule takes, NaN for the forms of
    POLCA), and the columns of `against`.
    """
    truth = found.parts["path"]
    rules: list[tuple[str, float, Floats]] = [(form, float("nan"), part) for form, part in found.parts.items()][:-1]
    rules += [(f"nodes_{n}", n, path.integral(n)) for n in levels(len(path.fractions))[1:-1]]
    return pd.DataFrame([{"form": form, "nodes": n, **against(part, truth)} for form, n, part in rules])


def errors_by_interval(found: OnPath) -> pd.DataFrame:
    """Relative root mean square error of each form in each interval of the path, over tokens and vectors."""
    truth = found.parts["path"]
    return pd.DataFrame(
        [
            {"step": int(step), "form": form, "relative_rmse": ratio(rms(part[i] - truth[i]), rms(truth[i]))}
            for i, step in enumerate(found.steps)
            for form, part in found.parts.items()
            if form != "path"
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


def curvature_errors(p: Projections, coarse: Projections) -> pd.DataFrame:
    """App. C: estimates of ½ bᵀH(x)b ⟨b, Δθ⟩² against the exact term, on the published subset and on all.

    Args:
        p: with curvature at its first points at least, which hold the published subset.
        coarse: with curvature everywhere on a longer interval: where `p` has less, its intervals that begin there stand
            for all.

    Returns:
        where (`published`, `all`), intervals, form, terms, columns of `against`, and within_two, the share of terms
        whose estimate has the right sign and is within a factor of two.
    """
    rows = []
    everywhere, known = with_curvature_of(coarse, p)
    for where, chosen, subset in (
        ("published", curved_part(p), APP_C),
        ("all", everywhere, ALL._replace(intervals=known)),
    ):
        truth = second_order_terms(chosen, "exact", subset=subset)
        for form, options in forms_of(chosen).items():
            if form in ("none", "exact"):
                continue
            term = second_order_terms(chosen, *options, subset)
            close = (term * truth > 0) & (np.abs(term) <= 2 * np.abs(truth)) & (np.abs(truth) <= 2 * np.abs(term))
            head = {"where": where, "intervals": term.shape[1], "form": form, "terms": term.size}
            rows.append({**head, **against(term, truth), "within_two": close.mean()})
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
    if "paper_current" in forms_of(p):
        assert p.curvatures is not None
        wrong["current"] = p.curvatures[: len(displacement)] * displacement * mean < 0
    return {
        "pairs": int(mean.size),
        "below": [{"fraction": f, "pairs": int((np.abs(mean) <= f * scale).sum())} for f in DENOMINATORS],
        "wrong_sign": {at: float(flags.mean()) for at, flags in wrong.items()},
    }


def tables(
    projections: Mapping[str, Projections], path: PathGradients, english: Projections, coarse: Projections
) -> dict[str, pd.DataFrame]:
    """All tables of the stage by file name.

    Args:
        projections: of the arithmetic setting, by basis.
        coarse: those of the Hessian's on a longer interval, with curvature everywhere.
    """
    hessian = projections["hessian"]
    found = OnPath.of(hessian, path, coarse)
    rows = [row for basis, p in projections.items() for row in totals("arithmetic", basis, p)]
    made = {
        "totals": pd.DataFrame([*rows, *totals("english", "hessian", english)]),
        "coarse": pd.DataFrame(totals("arithmetic", "hessian", coarse)).assign(interval=interval_of(coarse)),
        "curves": curves(hessian),
        "english_curves": curves(english),
        "intervals": parts_by_interval(found),
        "forms": parts_by_form(found),
        "vectors": parts_by_vector(hessian, found),
        "integrators": integrator_errors(path, found),
        "errors": errors_by_interval(found),
    }
    if hessian.token_curvatures is not None:
        made["curvature"] = curvature_errors(hessian, coarse)
    return made


def summary(p: Projections, path: PathGradients, tolerance: float) -> dict[str, Any]:
    """The scalars of the stage.

    Returns:
        path, as `convergence` gives it; share_seen and explained, of the refined path integral on its intervals;
        share_of_learning, how much of the mean loss change falls into these; denominators, as that function gives them.
    """
    actual = np.diff(p.losses.astype(np.float64), axis=0)
    found = OnPath.of(p, path)
    of_path = parts_by_form(found).set_index("form").to_dict("index")["path"]
    return {
        "path": convergence(path, found.actual, tolerance),
        "share_seen": float(of_path["fraction"]),
        "explained": float(of_path["explained"]),
        "share_of_learning": ratio(float(actual[path.intervals].sum()), float(actual.sum())),
        "denominators": denominators(p),
    }
