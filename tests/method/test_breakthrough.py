"""Breakthrough steps on curves whose bends are known."""

import numpy as np
import pandas as pd
import pytest

from polca.errors import PolcaError
from polca.method.breakthrough import add_breakthroughs, breakthrough_steps, breakthroughs, hidden_fraction
from polca.method.clustering import cluster
from polca.method.decomposition import Trajectories
from polca.tasks.arithmetic.scores import cluster_scores

STEPS = np.arange(0, 2001, 20)


def falling(centre: float, width: float, steps: np.ndarray = STEPS) -> np.ndarray:
    return -1 / (1 + np.exp(-(steps - centre) / width))


class TestSteps:
    def test_hand_worked(self) -> None:
        """f falls from 5 to 1 between steps 20 and 40. Second differences at 10 … 50: 0, −4, 4, 0, 0."""
        steps, f = np.arange(0, 70, 10), np.array([5.0, 5, 5, 1, 1, 1, 1])
        # With Δ = 10 the drop lies in one interval: it starts at 20 and ends at 30.
        assert breakthrough_steps(f, steps, 10) == 30
        assert breakthrough_steps(f, steps, 10, "corrected") == 20
        # With Δ = 20, at t = 20, 30, 40: (1 − 5) − (5 − 5) = −4, (1 − 1) − (1 − 5) = 4, (1 − 1) − (1 − 5) = 4.
        assert breakthrough_steps(f, steps, 20) == 30
        assert breakthrough_steps(f, steps, 20, "corrected") == 20

    @pytest.mark.parametrize("centre", [400, 900, 1500])
    @pytest.mark.parametrize("width", [60, 100])
    def test_sigmoid(self, centre: int, width: int) -> None:
        """The second derivative of a sigmoid is extreme at centre ± ln(2 + √3) · width."""
        bend = np.log(2 + np.sqrt(3)) * width
        f = falling(centre, width)
        assert abs(breakthrough_steps(f, STEPS, 20) - (centre + bend)) <= 20
        assert abs(breakthrough_steps(f, STEPS, 20, "corrected") - (centre - bend)) <= 20
        # A rising sigmoid: the printed formula finds the onset.
        assert abs(breakthrough_steps(-f, STEPS, 20) - (centre - bend)) <= 20

    def test_against_a_plain_loop(self) -> None:
        values = np.random.default_rng(0).normal(size=(2, 3, 30))
        steps = 100 + 5 * np.arange(30)
        for delta in (5, 20, 70):
            m = delta // 5
            found = breakthrough_steps(values, steps, delta), breakthrough_steps(values, steps, delta, "corrected")
            assert found[0].shape == (2, 3)
            for i, j in np.ndindex(2, 3):
                f = values[i, j]
                bends = {int(steps[t]): (f[t + m] - f[t]) - (f[t] - f[t - m]) for t in range(m, 30 - m)}
                assert found[0][i, j] == max(bends, key=lambda t: bends[t])
                assert found[1][i, j] == min(bends, key=lambda t: bends[t])

    def test_ties_go_to_the_first(self) -> None:
        steps = np.arange(0, 100, 10)
        for sign in ("printed", "corrected"):
            assert breakthrough_steps(np.zeros(10), steps, 20, sign) == 20
        assert breakthrough_steps(np.array([0, 0, 1.0, 0, 0, 1, 0, 0, 1, 0]), steps, 10) == 10

    def test_float32_is_not_differenced(self) -> None:
        """Second differences 2²⁴ at 1 and 2²⁴ + 1 at 4: float32 cannot tell them apart."""
        f = np.array([0, 0, 2**24, 2**24, -1, -1], np.float32)
        assert breakthrough_steps(f, np.arange(6), 1) == 4

    def test_errors(self) -> None:
        f = np.zeros(10)
        even = np.arange(0, 100, 10)
        for steps, delta, words in (
            (even, 15, "delta = 15.*interval of 10"),
            (even, 0, "delta = 0"),
            (even, -10, "delta = -10"),
            (even, 50, "delta = 50.*lower delta"),
            (np.array([*range(9), 20]), 1, "evenly spaced"),
            (even[::-1], 10, "evenly spaced"),
            (even[:-1], 10, "one step for each point"),
        ):
            with pytest.raises(PolcaError, match=words):
                breakthrough_steps(f, steps, delta)
        with pytest.raises(PolcaError, match="sign"):
            breakthrough_steps(f, even, 10, "both")
        with pytest.raises(PolcaError, match="evenly spaced"):
            breakthrough_steps(np.zeros(1), np.array([0]), 10)


class TestClusters:
    @pytest.fixture
    def result(self):
        """Vector 1: 12 tokens that fall around 500, 8 around 1500. Vector 2: dropped. Vector 3: 20 around 900."""
        late = np.array([i % 5 >= 3 for i in range(20)])
        first = np.stack([falling(1500 if is_late else 500, 50) * (1 + 0.001 * i) for i, is_late in enumerate(late)])
        third = np.stack([falling(900, 50) * (1 + 0.001 * i + (i % 2)) for i in range(20)])
        values = np.stack([first, -first, third]).astype(np.float32)
        source = Trajectories("polca", values, STEPS, projected=True)
        return source, cluster(source, min_cluster_size=4), late

    def test_hidden(self, result) -> None:
        source, clusters, late = result
        table = breakthroughs(source, clusters, delta=100, flat_step=1000)
        assert table["vector"].tolist() == [1, 1, 3, 3]
        assert table["cluster"].tolist() == [0, 1, 0, 1]
        assert clusters.members(0).tolist() == np.flatnonzero(~late).tolist()
        for row, centre in enumerate((500, 1500, 900, 900)):
            assert centre < table["break_step"][row] < centre + 150
            assert centre - 150 < table["onset_step"][row] < centre
        assert table["hidden"].tolist() == [False, True, False, False]
        # The sign matters: with τ = 900 the last two end after it but begin before it.
        table = breakthroughs(source, clusters, delta=100, flat_step=900)
        assert table["hidden"].tolist() == [False, True, True, True]
        assert table["hidden_onset"].tolist() == [False, True, False, False]

    def test_mean_over_members(self, result) -> None:
        _, clusters, _ = result
        spread = np.stack([falling(300 + 50 * i, 30) for i in range(20)]).astype(np.float32)
        moved = Trajectories("polca", np.stack([spread] * 3), STEPS, projected=True)
        table = breakthroughs(moved, clusters, delta=20, flat_step=10**6)
        for row in range(len(clusters)):
            members = clusters.members(row)
            ends = [int(breakthrough_steps(spread[x], STEPS, 20)) for x in members]
            assert table["break_step"][row] == pytest.approx(sum(ends) / len(ends))

    def test_later_excludes_equal(self, result) -> None:
        source, clusters, _ = result
        ends = breakthroughs(source, clusters, delta=100, flat_step=0)["break_step"]
        # All members break at one step, so that the mean is whole.
        step = int(ends[1])
        assert step == ends[1]
        assert not breakthroughs(source, clusters, delta=100, flat_step=step)["hidden"][1]
        assert breakthroughs(source, clusters, delta=100, flat_step=step - 1)["hidden"][1]

    def test_columns_are_added_to_scores(self, result) -> None:
        source, clusters, late = result
        scored = cluster_scores(clusters, np.arange(20) % 4, late)
        table = add_breakthroughs(scored, breakthroughs(source, clusters, delta=100, flat_step=1000))
        columns = list(table.columns)
        at = columns.index("eligible")
        assert columns[at + 1 : at + 5] == ["break_step", "onset_step", "hidden", "hidden_onset"]
        assert columns[: at + 1] + columns[at + 5 :] == list(scored.columns)
        assert table["hidden"].tolist() == [False, True, False, False]
        with pytest.raises(PolcaError, match="not of these clusters"):
            add_breakthroughs(scored[::-1], breakthroughs(source, clusters, delta=100, flat_step=1000))

    def test_no_clusters(self, result) -> None:
        source, _, late = result
        none = cluster(source, min_cluster_size=21)
        scores = cluster_scores(none, np.arange(20) % 4, late)
        table = add_breakthroughs(scores, breakthroughs(source, none, delta=100, flat_step=1000))
        assert len(table) == 0
        assert table["hidden"].dtype == bool
        assert table["break_step"].dtype == np.float64
        assert np.isnan(hidden_fraction(table, "polca")[0])

    def test_clusters_of_other_trajectories(self, result) -> None:
        source, clusters, _ = result
        other = Trajectories("polca", source.values[:1], STEPS, projected=True)
        with pytest.raises(PolcaError, match="not those"):
            breakthroughs(other, clusters, delta=100, flat_step=1000)


def test_hidden_fraction() -> None:
    table = pd.DataFrame(
        {
            "analysis": ["polca"] * 4 + ["fisher"],
            "hidden": [True, False, False, False, True],
            "hidden_onset": [True, True, False, False, False],
        }
    )
    assert hidden_fraction(table, "polca") == (0.25, 4)
    assert hidden_fraction(table, "polca", "hidden_onset") == (0.5, 4)
    assert hidden_fraction(table, "fisher") == (1.0, 1)
    assert hidden_fraction(table, "loss")[1] == 0
