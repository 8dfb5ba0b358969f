"""Breakthrough steps on curves whose bends are known, and τ of losses whose fall is."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from polca.errors import PolcaError
from polca.method.breakthrough import (
    add_breakthroughs,
    breakthrough_steps,
    breakthroughs,
    fall_made,
    flat_step,
    hidden_fraction,
)
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


class TestFlatStep:
    """τ by a share of the fall of the mean loss."""

    STEPS = np.arange(0, 50, 10)
    LOSSES = np.array([[12, 8], [8, 4], [4, 2], [3, 1], [3, 1]], np.float32)
    """Means 10, 6, 3, 2, 2: of a fall by 8 are made 0, 1/2, 7/8, 1 and 1."""

    @pytest.mark.parametrize(
        ("fall", "step"), [(0.001, 10), (0.5, 10), (0.501, 20), (0.87, 20), (0.875, 20), (0.88, 30), (0.999, 30)]
    )
    def test_by_hand(self, fall: float, step: int) -> None:
        assert flat_step(self.LOSSES, self.STEPS, fall) == step

    @pytest.mark.parametrize(
        ("step", "made"),
        [(0, 0), (9, 0), (10, 0.5), (19, 0.5), (20, 0.875), (29, 0.875), (30, 1), (40, 1), (10**6, 1), (-5, 0)],
    )
    def test_fall_made_by_hand(self, step: int, made: float) -> None:
        """Between checkpoints what the last one had made; before the first nothing, after the last all."""
        assert fall_made(self.LOSSES, self.STEPS, step) == made

    def test_a_loss_that_bounces(self) -> None:
        """Means 10, 1, 7, 2: more than the whole fall is made early, and given back; the first step counts."""
        losses, steps = np.array([[10.0], [1], [7], [2]]), np.arange(4)
        assert flat_step(losses, steps, 0.99) == 1
        assert fall_made(losses, steps, 1) == 9 / 8
        assert fall_made(losses, steps, 2) == 3 / 8

    @pytest.mark.parametrize("losses", [[1, 1, 1], [1, 0.5, 1], [1, 2, 3], [1, 0, 1.5]])
    def test_a_loss_that_does_not_fall(self, losses: list[float]) -> None:
        """Is never flat before the end; how much of no fall is made is not defined."""
        column, steps = np.array(losses)[:, None], np.array([0, 7, 14])
        assert flat_step(column, steps, 0.5) == 14
        assert all(np.isnan(fall_made(column, steps, step)) for step in (0, 7, 14))

    @pytest.mark.parametrize("scale", [30.0, 200.0, 900.0])
    @pytest.mark.parametrize("fall", [0.3, 0.87, 0.99])
    def test_exponential(self, scale: float, fall: float) -> None:
        """Of exp(−t/s) over T steps the share f is made at −s · ln(1 − f (1 − exp(−T/s)))."""
        steps = np.arange(0, 2001, 20)
        # Tokens of different sizes, which fall alike.
        losses = np.exp(-steps / scale)[:, None] * np.array([0.5, 1, 7]) + np.array([3, 0, 1])
        exact = -scale * np.log(1 - fall * (1 - np.exp(-2000 / scale)))
        found = flat_step(losses, steps, fall)
        assert found - 20 < exact <= found
        assert fall_made(losses, steps, found) >= fall > fall_made(losses, steps, found - 20)

    def test_it_is_the_mean_that_falls(self) -> None:
        """One token falls by 9 at once, three by 1 each at the end: 9/12 of the mean's fall are made at once."""
        losses = np.array([[9.0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]])
        steps = np.array([0, 5, 10])
        assert flat_step(losses, steps, 0.75) == 5
        assert flat_step(losses, steps, 0.76) == 10

    def test_means_are_of_doubles(self) -> None:
        """A float32 sum of 2²⁴ ones and more stands still: the mean would not fall where it does."""
        tokens = 2**25
        losses = np.broadcast_to(np.array([[1.0], [0.5], [0.25]], np.float32), (3, tokens))
        assert fall_made(losses, np.arange(3), 1) == 2 / 3


class TestClusters:
    @pytest.fixture
    def result(self):
        """Vector 1: 12 tokens that fall around 500, 8 around 1500. Vector 2: dropped. Vector 3: 20 around 900, half of
        them twice as far: raw trajectories, whose size tells them apart."""
        late = np.array([i % 5 >= 3 for i in range(20)])
        first = np.stack([falling(1500 if is_late else 500, 50) * (1 + 0.001 * i) for i, is_late in enumerate(late)])
        third = np.stack([falling(900, 50) * (1 + 0.001 * i + (i % 2)) for i in range(20)])
        values = np.stack([first, -first, third]).astype(np.float32)
        source = Trajectories("polca", values, STEPS, projected=True)
        return source, cluster(source, min_cluster_size=4, standardise=False), late

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


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array([True, True, False, True, False], "boolean"), 0.75),
        (pd.array([pd.NA] * 5, "boolean"), float("nan")),
        # As an empty column comes out of a CSV file, and one that is not empty.
        (np.full(5, np.nan), float("nan")),
        (np.array([False, False, True, False, True]), 0.25),
        # An analysis of which nothing is known, beside one of which something is: only what is known counts.
        (pd.array([pd.NA, pd.NA, pd.NA, pd.NA, True], "boolean"), float("nan")),
        (pd.array([True, pd.NA, False, pd.NA, True], "boolean"), 0.5),
    ],
)
def test_hidden_fraction_of_a_column_that_may_be_empty(column: Any, expected: float) -> None:
    """The number of clusters is known all the same."""
    table = pd.DataFrame({"analysis": ["polca"] * 4 + ["fisher"], "hidden_published": column})
    fraction, count = hidden_fraction(table, "polca", "hidden_published")
    assert fraction == pytest.approx(expected, nan_ok=True)
    assert count == 4
