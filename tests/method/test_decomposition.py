"""Decomposition against closed forms: quadratic losses, plain loops, and hand-worked numbers."""

from dataclasses import replace

import numpy as np
import pytest

from polca.errors import PolcaError
from polca.method.decomposition import (
    Trajectories,
    allocations,
    compare_orders,
    completeness,
    decompose,
    second_order_rmse,
)
from polca.method.projections import Projections

STEPS = np.arange(0, 60, 10)


def quadratic(*, eigenbasis: bool, dimensions: int = 7, tokens: int = 11, dtype: type = np.float64) -> Projections:
    """L(x; θ) = ½ θᵀA(x)θ + c(x)ᵀθ along a random path, in a full orthonormal basis, in closed form.

    With `eigenbasis` that basis is made of eigenvectors of every A(x).
    """
    rng = np.random.default_rng(4)
    basis = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    path = np.cumsum(rng.normal(size=(len(STEPS), dimensions)) * 0.3, axis=0)
    if eigenbasis:
        a = np.einsum("ik,xk,jk->xij", basis, rng.normal(size=(tokens, dimensions)), basis)
    else:
        a = rng.normal(size=(tokens, dimensions, dimensions))
        a = a + a.transpose(0, 2, 1)
    c = rng.normal(size=(tokens, dimensions))
    curvature = np.einsum("ik,xij,jk->xk", basis, a, basis)
    everywhere = np.broadcast_to(curvature, (len(STEPS), *curvature.shape))
    return Projections(
        steps=STEPS,
        losses=(0.5 * np.einsum("ti,xij,tj->tx", path, a, path) + path @ c.T).astype(dtype),
        gradients=((np.einsum("xij,tj->txi", a, path) + c) @ basis).astype(dtype),
        movements=(np.diff(path, axis=0) @ basis).astype(dtype),
        vector_steps=np.arange(dimensions) * 10,
        eigenvalues=curvature.mean(axis=0).astype(dtype),
        curvatures=everywhere.mean(axis=1).astype(dtype),
        token_curvatures=everywhere.astype(dtype),
    )


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


class TestAllocations:
    @pytest.mark.parametrize("second_order", ["none", "trapezoid", "exact", "paper"])
    @pytest.mark.parametrize("eigenvalue", ["basis", "current"])
    def test_against_a_plain_loop(self, second_order: str, eigenvalue: str) -> None:
        """The equations written out one number at a time, with curvatures that obey no law."""
        p = quadratic(eigenbasis=False)
        rng = np.random.default_rng(8)
        p = replace(
            p,
            eigenvalues=rng.normal(size=7),
            curvatures=rng.normal(size=(6, 7)),
            token_curvatures=rng.normal(size=(6, 11, 7)),
        )
        found = allocations(p, second_order, eigenvalue)
        assert found.shape == (5, 11, 7)
        assert found.dtype == np.float64
        for t in range(5):
            for b in range(7):
                moved = float(p.movements[t, b])
                mean = sum(float(p.gradients[t + 1, x, b] - p.gradients[t, x, b]) for x in range(11)) / 11
                for x in range(11):
                    turned = float(p.gradients[t + 1, x, b] - p.gradients[t, x, b])
                    curvature = float(p.eigenvalues[b] if eigenvalue == "basis" else p.curvatures[t, b])
                    second = {
                        "none": 0.0,
                        "trapezoid": 0.5 * moved * turned,
                        "exact": 0.5 * float(p.token_curvatures[t, x, b]) * moved**2,
                        "paper": 0.5 * curvature * turned / mean * moved**2,
                    }[second_order]
                    assert found[t, x, b] == pytest.approx(float(p.gradients[t, x, b]) * moved + second, rel=1e-9)

    def test_guard(self) -> None:
        """Gradients that turn by +1 and −1: the mean of eq. 4's denominator vanishes, and so must the term."""
        gradients = np.zeros((3, 4, 2))
        gradients[1:, :, 0] = [1, -1, 1, -1]
        gradients[2, :, 0] += [1, 1, 1, 1]
        gradients[1:, :, 1] = [[1, 2, 3, 4], [1, 2, 3, 4 + 1e-9]]
        p = Projections(
            steps=np.array([0, 1, 2]),
            losses=np.zeros((3, 4)),
            gradients=gradients,
            movements=np.ones((2, 2)),
            vector_steps=np.array([0, 0]),
            eigenvalues=np.array([2.0, 2.0]),
        )
        second = allocations(p, "paper") - allocations(p, "none")
        np.testing.assert_allclose(second[0, :, 0], 0)
        np.testing.assert_allclose(second[1, :, 0], 1)
        np.testing.assert_allclose(second[0, :, 1], np.array([1, 2, 3, 4]) / 2.5)
        np.testing.assert_allclose(second[1, :, 1], [0, 0, 0, 4], atol=1e-6)
        assert decompose(p, "polca", "paper").guarded == 1
        assert decompose(p, "polca", "paper", guard=0.6).guarded == 2
        # Nothing turns at all: 0 / 0.
        still = replace(p, gradients=np.ones((3, 4, 2)))
        assert decompose(still, "polca", "paper").guarded == 4
        assert (allocations(still, "paper") == allocations(still, "none")).all()
        assert decompose(p, "polca", "trapezoid").guarded == 0


class TestDecompose:
    def test_cumulative_strategies(self) -> None:
        p = quadratic(eigenbasis=False, dtype=np.float32)
        for strategy, second_order in (("lca", "none"), ("polca_first_order", "none"), ("polca", "trapezoid")):
            result = decompose(p, strategy, "trapezoid")
            assert (result.name, result.projected, result.values.dtype) == (strategy, True, np.float32)
            assert result.values.shape == (7, 11, 6)
            assert result.values.flags.c_contiguous
            np.testing.assert_array_equal(result.steps, STEPS)
            np.testing.assert_array_equal(result.vector_steps, p.vector_steps)
            part = allocations(p, second_order)
            for t in range(6):
                np.testing.assert_allclose(result.values[:, :, t], part[:t].sum(axis=0).T, rtol=1e-6, atol=1e-7)

    def test_sums_are_taken_in_float64(self) -> None:
        """2²⁴ and a thousand ones: float32 would lose every one of them."""
        n = 1001
        gradients = np.ones((n + 1, 1, 1), np.float32)
        gradients[0] = 2**24
        p = Projections(
            steps=np.arange(n + 1),
            losses=np.zeros((n + 1, 1), np.float32),
            gradients=gradients,
            movements=np.ones((n, 1), np.float32),
            vector_steps=np.array([0]),
            eigenvalues=np.array([1], np.float32),
        )
        assert decompose(p, "polca_first_order").values[0, 0, -1] == 2**24 + 1000

    def test_other_strategies(self) -> None:
        p = quadratic(eigenbasis=False)
        fisher = decompose(p, "fisher")
        assert not fisher.projected
        np.testing.assert_allclose(fisher.values, (p.gradients**2).transpose(2, 1, 0), rtol=1e-6)
        loss = decompose(p, "loss")
        assert (loss.values.shape, loss.projected, loss.vector_steps) == ((1, 11, 6), False, None)
        np.testing.assert_allclose(loss.values[0], p.losses.T, rtol=1e-6)
        change = decompose(p, "loss_change")
        assert (change.values.shape, change.projected) == ((1, 11, 5), False)
        assert change.values.flags.c_contiguous
        np.testing.assert_array_equal(change.steps, STEPS[1:])
        np.testing.assert_allclose(change.values[0], (p.losses[1:] - p.losses[:-1]).T, rtol=1e-6)

    @pytest.mark.parametrize("strategy", ["loss", "fisher", "lca", "polca_first_order"])
    def test_only_polca_needs_curvature(self, strategy: str) -> None:
        p = quadratic(eigenbasis=False)
        bare = replace(p, eigenvalues=np.full(7, np.nan), curvatures=None, token_curvatures=None)
        np.testing.assert_array_equal(decompose(bare, strategy).values, decompose(p, strategy).values)

    def test_errors_name_the_mend(self) -> None:
        p = quadratic(eigenbasis=False)
        bare = replace(p, eigenvalues=np.full(7, np.nan), curvatures=None, token_curvatures=None)
        for arguments, words in (
            ((bare, "polca", "exact"), "curvature=True"),
            ((bare, "polca", "paper", "current"), "curvature=True"),
            ((bare, "polca", "paper", "basis"), "trapezoid"),
            ((p, "polca", "simpson"), "second_order"),
            ((p, "polca", "paper", "later"), "eigenvalue"),
            ((p, "jacobian"), "strategy"),
            ((replace(p, movements=p.movements[:-1]), "polca"), "movements"),
            ((replace(p, losses=p.losses[:, :-1]), "loss"), "losses"),
            ((replace(p, steps=p.steps[::-1]), "loss"), "rising order"),
            ((replace(p, gradients=p.gradients * np.nan), "fisher"), "vector 1"),
        ):
            with pytest.raises(PolcaError, match=words) as caught:
                decompose(*arguments)
            assert "\n" not in str(caught.value)

    def test_trajectories_check_their_shapes(self) -> None:
        values = np.zeros((2, 3, 4), np.float32)
        with pytest.raises(PolcaError, match="steps"):
            Trajectories("polca", values, np.arange(5), projected=True)
        with pytest.raises(PolcaError, match="vector_steps"):
            Trajectories("polca", values, np.arange(4), projected=True, vector_steps=np.arange(3))


class TestSecondOrderError:
    def test_against_a_plain_loop(self) -> None:
        p = quadratic(eigenbasis=False)
        rng = np.random.default_rng(8)
        p = replace(p, token_curvatures=rng.normal(size=(6, 11, 7)))
        result = second_order_rmse(p, [1, 5, 10], slice(0, 2), [0, 3], second_order="trapezoid")
        squares, exacts = [], []
        for t in (0, 1):
            for x in (1, 5, 10):
                for b in (0, 3):
                    moved = p.movements[t, b]
                    exact = 0.5 * p.token_curvatures[t, x, b] * moved**2
                    squares.append((0.5 * moved * (p.gradients[t + 1, x, b] - p.gradients[t, x, b]) - exact) ** 2)
                    exacts.append(exact**2)
        assert result.rmse == pytest.approx(np.sqrt(np.mean(squares)))
        assert result.rms_exact == pytest.approx(np.sqrt(np.mean(exacts)))
        assert result.terms == 12

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
            second_order_rmse(p, tokens=[])


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

    def test_same_order(self) -> None:
        result = compare_orders(quadratic(eigenbasis=False), "none")
        assert result.cosine_similarity == pytest.approx(1)
        assert (result.l2_norm, result.relative_l2_norm, result.undefined) == (0, 0, 0)
