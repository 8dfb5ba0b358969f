"""The grid of specifications: each cell is what the public functions give for it alone, and the best one is known."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

from polca.errors import PolcaError
from polca.method.breakthrough import breakthroughs, flat_step
from polca.method.clustering import cluster, rising_tokens, standardised
from polca.method.decomposition import FORMS, Trajectories, decompose
from polca.method.densities import hdbscan_labels
from polca.method.projections import Projections, thin
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.tasks.arithmetic.scores import best_clusters, cluster_scores
from polca.validity.settings import SpecificationSettings
from polca.validity.specification import FACTORS, Grid, best_cluster, first_part, of_all_seeds

SMOKE = Preset.read(PresetPaths.named("smoke")).arithmetic().settings
CELL = ["form", "reading", "interval", "length", "min_samples"]


def settings(**changes: Any) -> SpecificationSettings:
    return SpecificationSettings(**{"thinning": (1, 2), "length": (1.0, 0.4), "permutations": 50, **changes})


def one(table: pd.DataFrame, **cell: Any) -> Mapping[str, Any]:
    (row,) = table[(table[list(cell)] == pd.Series(cell)).all(axis=1)].to_dict("records")
    return {str(key): value for key, value in row.items()}


# --- Projections: every cell by the public functions ------------------------------------------------------------------


@pytest.fixture(scope="module")
def projections() -> tuple[Projections, dict[str, Any]]:
    """400 tokens of four places along three vectors; carries of one place each learn later."""
    rng = np.random.default_rng(0)
    place, carry = np.tile(np.arange(4), 100), rng.random(400) < 0.4
    at = np.linspace(0, 1, 21)[:, None, None]
    late = (carry[:, None] & (place[:, None] == np.arange(3)))[None]
    shape = np.where(late, np.exp(-(((at - 0.8) / 0.15) ** 2)), np.exp(-at / 0.3))
    gradients = shape * np.exp(0.3 * rng.normal(size=(1, 400, 3))) + 0.02 * rng.normal(size=(21, 400, 3))
    p = Projections(
        steps=np.arange(21) * 10,
        losses=(3 - 2 * at[:, :, 0] + 0.1 * rng.random((21, 400))).astype(np.float32),
        gradients=gradients.astype(np.float32),
        movements=np.full((20, 3), -0.01, np.float32),
        vector_steps=np.arange(3) * 40 + 40,
        eigenvalues=np.ones(3, np.float32),
        curvatures=np.full((21, 3), 0.5, np.float32),
        token_curvatures=rng.random((21, 400, 3)).astype(np.float32),
    )
    return p, {"place": place, "carry": carry}


def test_cells_are_what_each_would_be_alone(projections: tuple[Projections, dict[str, Any]]) -> None:
    p, labels = projections
    place, carry = labels["place"], labels["carry"]
    table = Grid.of(labels, SMOKE, settings()).of_projections(p)
    assert list(table.columns[:6]) == ["seed", *FACTORS]
    assert len(table) == 5 * 2**4
    assert not table.duplicated(CELL).any()
    assert list(dict.fromkeys(table["form"])) == list(FORMS)
    tau = flat_step(p.losses, p.steps, SMOKE.breakthroughs.fall)
    assert set(table["flat_step"]) == {tau}
    sizes = SMOKE.clustering.model_dump(include={"min_cluster_size", "min_samples_divisor"})
    assert table["homogeneity"].max() > 0.9
    for form, reading, factor, length in product(FORMS, ("standardised", "raw"), (1, 2), (1.0, 0.4)):
        whole = thin(p, 10 * factor)
        t = first_part(decompose(whole, "polca", *FORMS[form]), length)
        row = one(table, form=form, reading=reading, interval=10 * factor, length=length, min_samples="left")
        assert (row["last_step"], row["points"]) == (int(200 * length), int(20 * length) // factor + 1)
        made = cluster(t, **sizes, standardise=reading == "standardised")
        assert row["clusters"] == len(made)
        assert row["vectors_kept"] == made.vector_kept.sum()
        assert row["vectors_with_clusters"] == len(np.unique(made.cluster_vector))
        best = best_clusters(cluster_scores(made, place, carry), "polca").head(1).to_dict("records")
        if best:
            assert [row[n] for n in ("homogeneity", "recall", "size", "vector")] == [
                best[0][n] for n in ("homogeneity", "recall", "size", "vector")
            ]
        else:
            assert row["homogeneity"] == 0
            assert pd.isna([row["recall"], row["size"], row["vector"]]).all()
        assert row["delta"] == 10 * factor
        if len(made):
            breaks = breakthroughs(t, made, delta=10 * factor, flat_step=tau)
            assert row["hidden"] == breaks["hidden"].mean()
        else:
            assert np.isnan(row["hidden"])
        loss = cluster(first_part(decompose(whole, "loss"), length), **sizes, standardise=reading == "standardised")
        known = best_clusters(cluster_scores(loss, place, carry, "loss"), "loss")["homogeneity"]
        assert row["loss_homogeneity"] == (known.iloc[0] if len(known) else 0)


def test_forms_without_curvature(projections: tuple[Projections, dict[str, Any]]) -> None:
    p, labels = projections
    plain = replace(p, curvatures=None, token_curvatures=None)
    table = Grid.of(labels, SMOKE, settings(thinning=(1,), length=(1.0,))).of_projections(plain)
    assert set(table["form"]) == {"none", "paper", "trapezoid"}


def test_forms_with_curvature_on_a_longer_interval(projections: tuple[Projections, dict[str, Any]]) -> None:
    """Where the run has it at its first points, they have cells on that interval alone, the same as with all of it."""
    p, labels = projections
    grid = Grid.of(labels, SMOKE, settings(length=(1.0,)))
    some = replace(p, curvatures=p.curvatures[:10], token_curvatures=p.token_curvatures[:10])
    whole, found = grid.of_projections(p), grid.of_projections(some, thin(p, 20))
    curved = whole["form"].isin(("exact", "paper_current"))
    right = whole[~curved | (whole["interval"] == 20)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, right)
    assert len(found) == len(whole) - 2 * 2 * 2
    pd.testing.assert_frame_equal(grid.of_projections(p, thin(some, 20)), whole)
    for other in (None, thin(p, 40)):
        assert set(grid.of_projections(some, other)["form"]) == {"none", "paper", "trapezoid"}


# --- Trajectories: known clusters -------------------------------------------------------------------------------------


def two_shapes(first: np.ndarray) -> Trajectories:
    """Tokens of a mask fall early, the others late, all by amounts of their own; 21 points of ten steps."""
    rng = np.random.default_rng(1)
    at = np.arange(21)
    early, late = -np.minimum(at / 5, 1), -np.clip((at - 12) / 5, 0, 1)
    shapes = np.where(first[:, None], early, late) + 0.01 * rng.normal(size=(len(first), 21))
    values = shapes * np.exp(rng.normal(size=(len(first), 1)))
    return Trajectories("polca", (values - values[:, :1])[None].astype(np.float32), 10 * at, projected=True)


def flat_losses(tokens: int) -> Trajectories:
    """The same for all, and flat from step 50."""
    losses = np.interp(np.arange(21), [0, 5], [3, 1])[None] + np.zeros((tokens, 1))
    return Trajectories("loss", losses[None].astype(np.float32), 10 * np.arange(21), projected=False)


def test_what_min_samples_counts() -> None:
    """All tokens or those left: a cluster of 18 has fewer than 300 / 15 neighbours, but more than 200 / 15."""
    first = np.arange(300) % 11 == 0
    t = two_shapes(first)
    rising = np.arange(300) % 3 == 0
    values = np.where(rising[:, None], -t.values[0], t.values[0])
    place, carry = np.ones(300, int), first
    grid = Grid(place, carry, SMOKE, settings(thinning=(1,), length=(1.0,)))
    table = grid.of_trajectories({"none": replace(t, values=values[None])}, flat_losses(300))
    left = ~rising_tokens(values)
    assert (left.sum(), first[left].sum()) == (200, 18)
    for counted, number, clusters in (("left", 200, 2), ("all", 300, 0)):
        found = np.full(300, -2)
        found[left] = hdbscan_labels(standardised(values[left]), SMOKE.clustering.min_cluster_size, number // 15)
        row = one(table, reading="standardised", min_samples=counted)
        assert row["clusters"] == found.max() + 1 == clusters
        assert row["homogeneity"] == best_cluster(found[None], place, carry)["homogeneity"] == (clusters > 0)


def test_the_best_cell_is_the_one_whose_reading_sees_the_shapes() -> None:
    carry = np.arange(120) < 40
    place = np.where(np.arange(120) % 2, 1, 2)
    t = two_shapes(~carry)
    table = Grid(place, carry, SMOKE, settings(thinning=(1, 4))).of_trajectories({"none": t}, flat_losses(120))
    assert len(table) == 2**4
    best = table[(table["reading"] == "standardised") & (table["length"] == 1)]
    assert (best["homogeneity"] == 1).all()
    assert set(best["size"]) == {40}
    assert set(best["vector"]) == {1}
    assert (best["p_value"] == 1 / 51).all()
    assert (best["hidden"] == 0.5).all()
    assert set(best["flat_step"]) == {50}
    assert best.groupby("interval")["delta"].unique().map(list).to_dict() == {10: [10], 40: [40]}
    # Every token of the exact loss has the same trajectory, which is one cluster at most.
    assert (table["loss_homogeneity"] <= carry.mean()).all()


def test_thinned_trajectories_are_every_second_point() -> None:
    carry = np.arange(120) < 40
    t, loss, place = two_shapes(~carry), flat_losses(120), np.ones(120, int)
    both = Grid(place, carry, SMOKE, settings(length=(1.0,))).of_trajectories({"none": t}, loss)
    half = Trajectories("polca", t.values[:, :, ::2], t.steps[::2], projected=True)
    losses = Trajectories("loss", loss.values[:, :, ::2], loss.steps[::2], projected=False)
    alone = Grid(place, carry, SMOKE, settings(thinning=(1,), length=(1.0,))).of_trajectories({"none": half}, losses)
    mine = both[both["interval"] == 20].reset_index(drop=True)
    # τ is the run's own, read at its own interval.
    same = [name for name in mine if name not in ("flat_step", "hidden")]
    pd.testing.assert_frame_equal(mine[same], alone[same])


def test_null_of_known_clusters() -> None:
    """Half of a place in each of two clusters: the best of both when carries are drawn anew, in closed form."""
    first = np.arange(80) < 40
    carry = np.concatenate([np.arange(40) < 30, np.arange(40) < 10])
    grid = Grid(np.ones(80, int), carry, SMOKE, settings(thinning=(1,), length=(1.0,), permutations=2000))
    table = grid.of_trajectories({"none": two_shapes(first)}, flat_losses(80))
    row = one(table, reading="standardised", min_samples="all")
    assert (row["clusters"], row["homogeneity"], row["eligible_draws"]) == (2, 0.75, 1)
    law = hypergeom(80, 40, 40)
    best = {n: max(n, 40 - n) / 40 for n in range(41)}
    mean = sum(law.pmf(n) * best[n] for n in best)
    spread = sum(law.pmf(n) * (best[n] - mean) ** 2 for n in best) ** 0.5
    assert row["null_mean"] == pytest.approx(mean, abs=4 * spread / 2000**0.5)
    below = {level: sum(law.pmf(n) for n in best if best[n] <= level) for level in best.values()}
    # Between the levels that 94 % and 96 % of all labellings do not exceed.
    assert (
        min(v for v, p in below.items() if p >= 0.94) <= row["null_95"] <= min(v for v, p in below.items() if p >= 0.96)
    )


def test_no_eligible_cluster_has_nothing_to_test() -> None:
    first = np.arange(80) < 40
    table = Grid(np.zeros(80, int), np.ones(80, bool), SMOKE, settings(thinning=(1,), length=(1.0,))).of_trajectories(
        {"none": two_shapes(first)}, flat_losses(80)
    )
    assert (table["homogeneity"] == 0).all()
    assert table[["recall", "size", "vector", "null_mean", "null_95", "p_value"]].isna().all().all()


def test_the_order_of_a_cluster_of_a_table_decides_ties() -> None:
    """Two pure clusters: the one of higher recall, though it comes later."""
    carry, place = np.arange(60) < 50, np.ones(60, int)
    labels = np.full((1, 60), -1)
    labels[0, 40:50], labels[0, :30] = 0, 1
    assert best_cluster(labels, place, carry) == {"homogeneity": 1.0, "recall": 0.75, "size": 30, "vector": 1}


def test_further_seeds_stand_below_the_own() -> None:
    own = pd.DataFrame({"seed": [0, 0], "homogeneity": [0.1, 0.2]})
    seeds = pd.DataFrame({"seed": [0, 1], "homogeneity": [0.3, 0.4]})
    assert of_all_seeds(own, seeds)["homogeneity"].tolist() == [0.1, 0.2, 0.4]


def test_grids_that_do_not_fit() -> None:
    carry = np.arange(120) < 40
    t, loss, place = two_shapes(carry), flat_losses(120), np.ones(120, int)
    with pytest.raises(PolcaError, match="thinning = 3: does not divide 20 intervals"):
        Grid(place, carry, SMOKE, settings(thinning=(3,))).of_trajectories({"none": t}, loss)
    with pytest.raises(PolcaError, match=r"thinning 5 leaves 2 points in 0\.4 of the training"):
        Grid(place, carry, SMOKE, settings(thinning=(5,))).of_trajectories({"none": t}, loss)
    other = replace(loss, values=loss.values[:, :, :11], steps=loss.steps[:11])
    with pytest.raises(PolcaError, match="'none' has other steps than the loss"):
        Grid(place, carry, SMOKE, settings()).of_trajectories({"none": t}, other)
