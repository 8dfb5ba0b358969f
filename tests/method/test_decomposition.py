"""Decomposition against closed forms: quadratic losses, plain loops, and hand-worked numbers."""

from dataclasses import replace

import numpy as np
import pytest

from oracles import STEPS, quadratic
from polca.errors import PolcaError
from polca.method.decomposition import FORMS, Trajectories, allocations, decompose, forms_of
from polca.method.projections import Projections


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
                displacement = float(p.movements[t, b])
                mean = sum(float(p.gradients[t + 1, x, b] - p.gradients[t, x, b]) for x in range(11)) / 11
                for x in range(11):
                    gradient_change = float(p.gradients[t + 1, x, b] - p.gradients[t, x, b])
                    curvature = float(p.eigenvalues[b] if eigenvalue == "basis" else p.curvatures[t, b])
                    second = {
                        "none": 0.0,
                        "trapezoid": 0.5 * displacement * gradient_change,
                        "exact": 0.5 * float(p.token_curvatures[t, x, b]) * displacement**2,
                        "paper": 0.5 * curvature * gradient_change / mean * displacement**2,
                    }[second_order]
                    assert found[t, x, b] == pytest.approx(
                        float(p.gradients[t, x, b]) * displacement + second, rel=1e-9
                    )

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

    def test_forms_that_projections_allow(self) -> None:
        """All of these decompose, and the others are refused."""
        p = quadratic(eigenbasis=False)
        flat = replace(p, curvatures=None, token_curvatures=None)
        for some, refused in (
            (p, set()),
            (flat, {"paper_current", "exact"}),
            (replace(p, eigenvalues=np.full(7, np.nan)), {"paper"}),
        ):
            assert set(FORMS) - set(forms_of(some)) == refused
            for form, options in FORMS.items():
                if form not in refused:
                    assert decompose(some, "polca", *options).values.shape == (7, 11, 6)
                    continue
                with pytest.raises(PolcaError):
                    decompose(some, "polca", *options)

    @pytest.mark.parametrize("points", [1, 4])
    def test_curvature_at_the_first_points_is_too_little(self, points: int) -> None:
        """Of six checkpoints five open an interval."""
        p = quadratic(eigenbasis=False)
        some = replace(p, curvatures=p.curvatures[:points], token_curvatures=p.token_curvatures[:points])
        assert set(FORMS) - set(forms_of(some)) == {"paper_current", "exact"}
        words = f"at the first {points} of 6 checkpoints alone: leave out polca.curvature_points and project again, or"
        for form, instead in (("exact", "trapezoid"), ("paper_current", "basis")):
            with pytest.raises(PolcaError, match=f"{words} use '{instead}'") as caught:
                decompose(some, "polca", *FORMS[form])
            assert "\n" not in str(caught.value)

    def test_the_last_checkpoint_needs_no_curvature(self) -> None:
        p = quadratic(eigenbasis=False)
        some = replace(p, curvatures=p.curvatures[:5], token_curvatures=p.token_curvatures[:5])
        for form, options in FORMS.items():
            found, right = (decompose(q, "polca", *options).values for q in (some, p))
            np.testing.assert_array_equal(found, right, err_msg=form)
        longer = replace(p, token_curvatures=np.concatenate([p.token_curvatures, p.token_curvatures[:1]]))
        with pytest.raises(PolcaError, match=r"token_curvatures \(7, 11, 7\) does not fit gradients \(6, 11, 7\)"):
            decompose(longer, "polca", "exact")

    def test_trajectories_check_their_shapes(self) -> None:
        values = np.zeros((2, 3, 4), np.float32)
        with pytest.raises(PolcaError, match="steps"):
            Trajectories("polca", values, np.arange(5), projected=True)
        with pytest.raises(PolcaError, match="vector_steps"):
            Trajectories("polca", values, np.arange(4), projected=True, vector_steps=np.arange(3))
