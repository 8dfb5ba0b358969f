"""Completeness, Table 12 and App. C against closed forms: quadratic losses, plain loops, and hand-worked numbers."""

from dataclasses import replace

import numpy as np
import pytest

from oracles import quadratic
from polca.errors import PolcaError
from polca.method.completeness import (
    APP_C,
    Subset,
    compare_orders,
    compare_trajectories,
    completeness,
    second_order_rmse,
)
from polca.method.decomposition import allocations, decompose
from polca.method.projections import Projections, curved_part
from polca.typing import SecondOrder


class TestCompleteness:
    def test_trapezoid_is_exact_on_a_quadratic(self) -> None:
        result = completeness(quadratic(eigenbasis=False), "trapezoid")
        np.testing.assert_allclose(result.allocated, result.actual, rtol=0, atol=1e-12)
        assert result.fraction == pytest.approx(1, abs=1e-12)
        assert result.correlation == pytest.approx(1, abs=1e-12)
        assert result.relative_residual < 1e-12

    def test_exact_is_exact_in_an_eigenbasis(self) -> None:
        p = quadratic(eigenbasis=True)
        np.testing.assert_allclose(completeness(p, "exact").allocated, np.diff(p.losses, axis=0), rtol=0, atol=1e-12)

    @pytest.mark.parametrize("eigenvalue", ["basis", "current"])
    def test_paper_is_exact_where_eq_13_holds(self, eigenvalue: str) -> None:
        """Constant curvature: λ⟨b, Δθ⟩ = ⟨b, Δg(X)⟩, so that eq. 4 is the trapezoid and the exact term."""
        p = quadratic(eigenbasis=True)
        np.testing.assert_allclose(allocations(p, "paper", eigenvalue), allocations(p, "trapezoid"), atol=1e-10)
        np.testing.assert_allclose(allocations(p, "paper", eigenvalue), allocations(p, "exact"), atol=1e-10)

    def test_summary_numbers(self) -> None:
        p = quadratic(eigenbasis=False)
        result = completeness(p, "none")
        allocated = allocations(p, "none").sum(axis=2)
        actual = np.diff(p.losses, axis=0)
        assert result.total_allocated == pytest.approx(allocated.sum() / 11)
        assert result.total_actual == pytest.approx((p.losses[-1] - p.losses[0]).mean())
        assert result.fraction == pytest.approx(result.total_allocated / result.total_actual)
        assert result.by_vector.sum() == pytest.approx(result.total_allocated)
        assert result.correlation == pytest.approx(np.corrcoef(allocated.ravel(), actual.ravel())[0, 1])
        residual = np.linalg.norm(allocated - actual) / np.linalg.norm(actual)
        assert result.relative_residual == pytest.approx(residual)

    def test_loss_that_does_not_change(self) -> None:
        p = quadratic(eigenbasis=False)
        result = completeness(replace(p, losses=np.ones_like(p.losses)), "none")
        assert np.isnan([result.fraction, result.relative_residual, result.correlation]).all()


class TestSecondOrderError:
    def test_against_a_plain_loop(self) -> None:
        p = quadratic(eigenbasis=False)
        rng = np.random.default_rng(8)
        p = replace(p, token_curvatures=rng.normal(size=(6, 11, 7)))
        result = second_order_rmse(p, "trapezoid", subset=Subset([1, 5, 10], slice(2), [0, 3]))
        squares, exacts = [], []
        for t in (0, 1):
            for x in (1, 5, 10):
                for b in (0, 3):
                    displacement = p.movements[t, b]
                    exact = 0.5 * p.token_curvatures[t, x, b] * displacement**2
                    squares.append(
                        (0.5 * displacement * (p.gradients[t + 1, x, b] - p.gradients[t, x, b]) - exact) ** 2
                    )
                    exacts.append(exact**2)
        assert result.rmse == pytest.approx(np.sqrt(np.mean(squares)))
        assert result.rms_exact == pytest.approx(np.sqrt(np.mean(exacts)))
        assert result.terms == 12

    @pytest.mark.parametrize("form", ["paper", "trapezoid", "none"])
    def test_of_the_first_points(self, form: SecondOrder) -> None:
        """Curvature at the first two points gives the errors of the first two intervals, as curvature at all does."""
        p = quadratic(eigenbasis=False)
        p = replace(p, token_curvatures=np.random.default_rng(8).normal(size=(6, 11, 7)))
        some = replace(p, curvatures=p.curvatures[:2], token_curvatures=p.token_curvatures[:2])
        assert curved_part(p) is p
        right = second_order_rmse(p, form, subset=Subset(intervals=slice(2)))
        assert second_order_rmse(curved_part(some), form) == right
        assert second_order_rmse(curved_part(some), form, subset=APP_C._replace(vectors=slice(7))) == right
        with pytest.raises(PolcaError, match=r"polca\.curvature_points"):
            second_order_rmse(some, form)

    def test_zero_where_the_estimate_is_right(self) -> None:
        p = quadratic(eigenbasis=True)
        for second_order in ("paper", "trapezoid", "exact"):
            result = second_order_rmse(p, second_order=second_order)
            assert result.rmse < 1e-10 < result.rms_exact
        nothing = second_order_rmse(p, second_order="none")
        assert nothing.rmse == pytest.approx(nothing.rms_exact)

    def test_errors(self) -> None:
        p = quadratic(eigenbasis=True)
        with pytest.raises(PolcaError, match="curvature=True"):
            second_order_rmse(replace(p, token_curvatures=None), second_order="trapezoid")
        with pytest.raises(PolcaError, match="no term"):
            second_order_rmse(p, subset=Subset(tokens=[]))


class TestCompareOrders:
    def test_hand_worked(self) -> None:
        """One interval at a time: first order (0, 1, 2); trapezoid adds ½ where the gradient turns by 1."""
        p = Projections(
            steps=np.array([0, 1, 2]),
            losses=np.zeros((3, 2)),
            gradients=np.array([[[1.0], [0.0]], [[1.0], [0.0]], [[2.0], [0.0]]]),
            movements=np.ones((2, 1)),
            vector_steps=np.array([0]),
            eigenvalues=np.array([1.0]),
        )
        result = compare_orders(p, "trapezoid")
        # Token 0: (0, 1, 2) against (0, 1, 2.5). Token 1: both all zero.
        assert result.cosine_similarity == pytest.approx((1 + 5) / np.sqrt(5 * 7.25))
        assert result.l2_norm == pytest.approx(0.5 / 2)
        assert result.relative_l2_norm == pytest.approx(0.5 / np.sqrt(5))
        assert result.undefined == 1

    def test_against_trajectories(self) -> None:
        p = quadratic(eigenbasis=False)
        a, b = (decompose(p, s, "exact").values.astype(np.float64) for s in ("polca_first_order", "polca"))
        result = compare_orders(p, "exact")
        norms = np.linalg.norm(a, axis=2), np.linalg.norm(b, axis=2)
        assert result.cosine_similarity == pytest.approx(((a * b).sum(2) / norms[0] / norms[1]).mean(), rel=1e-5)
        assert result.l2_norm == pytest.approx(np.linalg.norm(a - b, axis=2).mean(), rel=1e-5)
        assert result.relative_l2_norm == pytest.approx((np.linalg.norm(a - b, axis=2) / norms[0]).mean(), rel=1e-5)

    def test_trajectories_that_were_kept(self) -> None:
        p = quadratic(eigenbasis=False)
        first, second = decompose(p, "polca_first_order"), decompose(p, "polca", "exact")
        kept, made = compare_trajectories(first, second), compare_orders(p, "exact")
        for name in ("cosine_similarity", "l2_norm", "relative_l2_norm"):
            assert getattr(kept, name) == pytest.approx(getattr(made, name), rel=1e-5)
        with pytest.raises(PolcaError, match="have not the same vectors, tokens and steps"):
            compare_trajectories(first, decompose(p, "loss"))

    def test_same_order(self) -> None:
        result = compare_orders(quadratic(eigenbasis=False), "none")
        assert result.cosine_similarity == pytest.approx(1)
        assert (result.l2_norm, result.relative_l2_norm, result.undefined) == (0, 0, 0)
