"""Completeness and errors of integrators on losses whose integrals are known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from polca.method.completeness import Subset, second_order_terms
from polca.method.decomposition import FORMS
from polca.method.projections import Projections, thin
from polca.validity.integrators import (
    OnPath,
    against,
    convergence,
    denominators,
    errors_by_interval,
    integrator_errors,
    parts_by_form,
    parts_by_interval,
    parts_by_vector,
    tables,
    totals,
)
from polca.validity.path_integral import PathGradients, nodes

D, T, X = 5, 6, 4


def world(power: int, count: int = D):
    """L(x; θ) = Σᵢ aₓᵢ θᵢ^power along `count` of D axes, T random steps: exact projections and path gradients."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(X, D))
    theta = np.cumsum(rng.normal(size=(T + 1, D)), axis=0)
    moved = np.diff(theta, axis=0)

    def gradient(point):
        return power * a * point ** (power - 1)

    def curvature(point):
        return power * (power - 1) * a * point ** (power - 2)

    losses = np.stack([(a * p**power).sum(axis=1) for p in theta])
    p = Projections(
        steps=np.arange(T + 1) * 10,
        losses=losses,
        gradients=np.stack([gradient(q) for q in theta])[..., :count],
        movements=moved[:, :count],
        vector_steps=np.full(count, -1),
        eigenvalues=np.ones(count),
        curvatures=np.stack([curvature(q).mean(axis=0) for q in theta])[:, :count],
        token_curvatures=np.stack([curvature(q) for q in theta])[..., :count],
    )
    fractions = nodes(9)
    on_path = np.stack([[gradient(theta[i] + s * moved[i]) for s in fractions] for i in range(T)])
    path = PathGradients(
        intervals=np.arange(T),
        steps=np.stack([p.steps[:-1], p.steps[1:]], axis=1),
        fractions=fractions,
        losses=np.zeros((T, 9, X)),
        gradients=on_path[..., :count],
        along=np.einsum("inxd,id->inx", on_path, moved),
        movements=moved[:, :count],
    )
    return p, path


def test_a_quadratic_with_a_full_basis_is_complete() -> None:
    p, path = world(2)
    rows = {row["form"]: row for row in totals("arithmetic", "hessian", p)}
    for form in ("trapezoid", "exact"):
        assert rows[form]["fraction"] == pytest.approx(1, abs=1e-12)
        assert rows[form]["explained"] == pytest.approx(1, abs=1e-12)
    assert rows["none"]["explained"] < 0.9
    forms = parts_by_form(OnPath.of(p, path)).set_index("form")
    for form in ("trapezoid", "exact", "path"):
        assert forms.at[form, "rms_missed"] == pytest.approx(0, abs=1e-12)
    assert forms["rms_outside"].max() == pytest.approx(0, abs=1e-12)
    errors = integrator_errors(path, OnPath.of(p, path)).set_index("form")
    assert errors.at["trapezoid", "relative_rmse"] < 1e-12 < errors.at["none", "relative_rmse"]


def test_a_cubic_is_missed_by_all_but_the_path() -> None:
    """The trapezoid misses −½ a Δ³ of a cubic, the exact second order a Δ³; the path integral nothing."""
    p, path = world(3)
    a = p.token_curvatures[0] / (6 * (p.gradients[0] / p.token_curvatures[0] * 2))
    cube = a * path.movements[:, None] ** 3
    change = path.integral()
    vectors = parts_by_vector(p, OnPath.of(p, path))
    np.testing.assert_allclose(vectors["missed"], (-0.5 * cube).sum(axis=0).mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(vectors["path"] - vectors["exact"], cube.sum(axis=0).mean(axis=0), rtol=1e-9)
    errors = integrator_errors(path, OnPath.of(p, path)).set_index("form")
    rms_cube, rms_change = np.sqrt((cube**2).mean()), np.sqrt((change**2).mean())
    assert errors.at["trapezoid", "relative_rmse"] == pytest.approx(0.5 * rms_cube / rms_change)
    assert errors.at["exact", "relative_rmse"] == pytest.approx(rms_cube / rms_change)
    assert errors.at["nodes_3", "relative_rmse"] == pytest.approx(0, abs=1e-12)


def test_parts_add_up_and_what_is_outside_is_outside() -> None:
    p, path = world(3, count=2)
    whole, _ = world(3)
    table = parts_by_interval(OnPath.of(p, path))
    np.testing.assert_allclose(table["allocated"] + table["missed"] + table["outside"], table["actual"])
    a = whole.token_curvatures[0] / (6 * (whole.gradients[0] / whole.token_curvatures[0] * 2))
    first = 2 * whole.gradients[0] / whole.token_curvatures[0]
    theta = first[0] + np.concatenate([np.zeros((1, D)), np.cumsum(whole.movements, axis=0)])
    outside = np.diff((a[None] * theta[:, None] ** 3)[..., 2:].sum(axis=2), axis=0).mean(axis=1)
    np.testing.assert_allclose(table.loc[table["form"] == "path", "outside"], outside)


def test_convergence() -> None:
    """Of θ⁸ nine nodes integrate the gradient exactly, five do not quite, two do badly."""
    p, path = world(8)
    actual = np.diff(p.losses, axis=0)
    found = convergence(path, actual, 0.1)
    assert found["along_movement"] < 1e-10 < found["along_movement_trapezoid"]
    assert 1e-6 < found["change_on_doubling"] < 0.1
    assert found["converged"]
    assert not convergence(path, actual, 1e-7)["converged"]


def test_against() -> None:
    found = against(np.array([1.0, -2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    assert found["rmse"] == pytest.approx(4 / 3**0.5)
    assert found["right_sign"] == pytest.approx(2 / 3)
    assert found["total_ratio"] == pytest.approx(1 / 3)
    assert (found["error_50"], found["error_100"]) == (0, 4)


def test_denominators() -> None:
    p, _ = world(2)
    found = denominators(p)
    assert found["pairs"] == T * D
    # Of a quadratic ⟨b, Δg(X)⟩ is λ ⟨b, Δθ⟩ exactly.
    assert found["wrong_sign"]["current"] == 0
    assert [entry["pairs"] for entry in found["below"]] == sorted(entry["pairs"] for entry in found["below"])


def test_all_tables() -> None:
    p, path = world(3, count=2)
    made = tables({"hessian": p}, path, p, p)
    assert {"totals", "curves", "intervals", "forms", "vectors", "integrators", "errors", "curvature"} <= set(made)
    assert len(errors_by_interval(OnPath.of(p, path))) == T * 5
    assert set(made["curvature"]["where"]) == {"published", "all"}
    assert set(made["curvature"]["intervals"]) == {T}


def test_tables_of_a_run_with_curvature_at_its_first_points() -> None:
    """What the coarse grid has of the others is taken from there, the rest is as with all curvature."""
    p, path = world(3, count=2)
    some = replace(p, curvatures=p.curvatures[:2], token_curvatures=p.token_curvatures[:2])
    coarse = thin(p, 20)
    every_second = replace(
        path, **{n: getattr(path, n)[::2] for n in PathGradients.form if n not in ("fractions", "steps")}
    )
    every_second = replace(every_second, steps=path.steps[::2])
    found = tables({"hessian": some}, every_second, some, coarse)
    right = tables({"hessian": p}, every_second, p, coarse)
    # The path's intervals begin on the coarse grid, whose curvature is that of the fine one.
    for name in ("intervals", "forms", "integrators", "errors"):
        pd.testing.assert_frame_equal(found[name], right[name])
    assert set(right["totals"]["form"]) - set(found["totals"]["form"]) == {"exact", "paper_current"}
    assert {*right["curves"]} - {*found["curves"]} == {"exact", "paper_current"}
    of_coarse = {row["form"]: row["fraction"] for row in totals("arithmetic", "hessian", coarse)}
    assert found["coarse"].set_index("form")["fraction"].to_dict() == of_coarse
    assert set(found["coarse"]["interval"]) == {20}
    errors = found["curvature"].set_index(["where", "form"])
    for where, intervals in (("published", [0, 1]), ("all", [0, 2, 4])):
        for form in ("trapezoid", "paper", "paper_current"):
            exact, term = (
                second_order_terms(p, *FORMS[f], subset=Subset(intervals=intervals)) for f in ("exact", form)
            )
            row = errors.loc[(where, form)]
            assert (row["intervals"], row["terms"]) == (len(intervals), len(intervals) * X * 2)
            assert row["rmse"] == pytest.approx(np.sqrt(np.square(term - exact).mean()))
    assert "current" not in denominators(some)["wrong_sign"]
    # One interval of the path begins elsewhere: the forms are then left out.
    whole_path = tables({"hessian": some}, path, some, coarse)
    assert set(whole_path["forms"]["form"]) == {"none", "paper", "trapezoid", "path"}
