"""The map of tokens: its places against an SVD of signatures made by hand, planted groups, and what the page holds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from elements import unpack
from polca.errors import PolcaError
from polca.explorer import Page, preset_page
from polca.explorer.token_map import LEVELS, PARTS, TokenMap, token_map
from polca.method.decomposition import Trajectories
from polca.study.archive import Archive
from synthetic_explorer import SyntheticRun

Floats = NDArray[np.float64]


def walks(vectors: int = 3, tokens: int = 80, points: int = 25, seed: int = 0) -> Trajectories:
    """Random walks that start at 0."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((vectors, tokens, points)).cumsum(axis=2) * rng.exponential(1, (vectors, tokens, 1))
    values -= values[:, :, :1]
    return Trajectories("polca", values.astype(np.float32), 10 * np.arange(points), projected=True)


def by_hand(trajectories: Trajectories, vectors: list[int], points: list[int]) -> tuple[Floats, Floats]:
    """Places `[2, X, S]` and shares `[2]`: columns scaled one by one, then NumPy's SVD in float64."""
    columns = []
    for k in vectors:
        for p in points:
            column = trajectories.values[k, :, p].astype(np.float64)
            about = column - np.median(column)
            size = np.mean(np.abs(about))
            columns.append(np.clip(about / size, -5, 5) if size else np.zeros(len(column)))
    table = np.array(columns).T
    table -= table.mean(axis=0)
    _, sizes, rows = np.linalg.svd(table, full_matrices=False)
    axes = [row if row[np.abs(row).argmax()] > 0 else -row for row in rows[:2]]
    time = np.tile(np.arange(len(points)), len(vectors))
    places = np.array([[(table * (time <= s)) @ axis for s in range(len(points))] for axis in axes])
    return places.swapaxes(1, 2), sizes[:2] ** 2 / np.sum(sizes**2)


def test_places_are_those_of_an_svd() -> None:
    """Of the kept vectors alone, at thirteen of 25 points."""
    trajectories = walks()
    found = token_map(trajectories, np.array([True, False, True]), "polca")
    assert found is not None
    places, shares = by_hand(trajectories, [0, 2], list(range(0, 25, 2)))
    assert found.steps.tolist() == [20 * s for s in range(PARTS + 1)]
    assert found.vectors == 2
    np.testing.assert_allclose(found.coordinates, places, atol=1e-9)
    np.testing.assert_allclose(found.shares, shares, rtol=1e-9)


def test_uneven_steps() -> None:
    """Every point is one of training's own, however unevenly they lie."""
    trajectories = replace(walks(points=6), steps=np.array([0, 1, 10, 11, 500, 1000]))
    found = token_map(trajectories, np.ones(3, np.bool_), "polca")
    assert found is not None
    assert found.steps.tolist() == trajectories.steps.tolist()
    np.testing.assert_allclose(found.coordinates, by_hand(trajectories, [0, 1, 2], list(range(6)))[0], atol=1e-9)


def test_nothing_is_told_apart_before_training() -> None:
    found = token_map(walks(), np.ones(3, np.bool_), "polca")
    assert found is not None
    assert not np.ptp(found.coordinates[:, :, 0], axis=1).any()
    assert np.ptp(found.coordinates[:, :, 1], axis=1).all()


def test_planted_groups_separate() -> None:
    """One group falls along the first vector, the other along the second, and noise is everywhere."""
    rng = np.random.default_rng(3)
    group, falls = np.arange(60) % 2, -np.linspace(0, 1, 21)
    values = 0.02 * rng.standard_normal((4, 60, 21)).cumsum(axis=2)
    for k in (0, 1):
        values[k] += np.where(group == k, 1.0, 0.0)[:, None] * falls
    values -= values[:, :, :1]
    found = token_map(Trajectories("polca", values.astype(np.float32), np.arange(21), True), np.ones(4, np.bool_), "p")
    assert found is not None
    across = found.coordinates[0, :, -1]
    left, right = sorted((across[group == g] for g in (0, 1)), key=np.mean)
    assert left.max() < right.min()
    assert right.mean() - left.mean() > 4 * max(left.std(), right.std())


def test_same_bytes_twice() -> None:
    first, second = (token_map(walks(), np.ones(3, np.bool_), "polca") for _ in range(2))
    assert first is not None
    assert second is not None
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())


def test_without_projected_losses_there_is_no_map() -> None:
    every = np.ones(3, np.bool_)
    assert token_map(replace(walks(), projected=False), every, "loss") is None
    assert token_map(walks(), ~every, "polca") is None
    assert token_map(walks(points=1), every, "polca") is None


def test_tokens_that_are_all_alike() -> None:
    flat = replace(walks(), values=np.zeros((3, 80, 25), np.float32))
    found = token_map(flat, np.ones(3, np.bool_), "polca")
    assert found is not None
    assert not found.coordinates.any()
    assert found.shares.tolist() == [0, 0]
    assert found.to_json()["scale"] == 0


def test_what_the_page_holds() -> None:
    """Places to half a level, and little of it: the size is for the tokens of the published scale."""
    rng = np.random.default_rng(1)
    places = rng.standard_normal((2, 6200, 13)).cumsum(axis=2)
    made = TokenMap("polca", 50, np.arange(13), places, np.array([0.5, 0.1234567])).to_json()
    for axis, name in zip(places, ("x", "y"), strict=True):
        assert np.abs(unpack(made[name]) * made["scale"] / LEVELS - axis).max() <= np.abs(places).max() / LEVELS * 0.501
    assert made["shares"] == [0.5, 0.1235]
    assert len(json.dumps(made)) < 500_000


def refused(**changes: Any) -> str:
    fine = {
        "trajectories": "polca",
        "vectors": 2,
        "steps": np.arange(3),
        "coordinates": np.zeros((2, 5, 3)),
        "shares": np.zeros(2),
    }
    TokenMap(**fine)  # type: ignore[arg-type]
    with pytest.raises(PolcaError) as error:
        TokenMap(**{**fine, **changes})  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return SyntheticRun(tmp_path_factory.mktemp("checkout")).write()


@pytest.fixture(scope="module")
def page(run: SyntheticRun) -> Page:
    return preset_page(run.paths)


class TestSchema:
    @pytest.mark.parametrize(
        "changes",
        [
            {"steps": np.arange(4)},
            {"coordinates": np.zeros((3, 5, 3))},
            {"coordinates": np.zeros((2, 5))},
            {"shares": np.zeros(3)},
        ],
    )
    def test_shapes(self, changes: dict[str, Any]) -> None:
        assert "do not fit" in refused(**changes)

    def test_values_that_are_not_finite(self) -> None:
        assert "NaN" in refused(coordinates=np.full((2, 5, 3), np.nan))

    def test_other_vectors(self) -> None:
        with pytest.raises(PolcaError, match=r"map of polca: \(2,\) kept vectors do not fit"):
            token_map(walks(), np.ones(2, np.bool_), "polca")

    def test_other_tokens_or_trajectories(self, page: Page) -> None:
        setting = page.settings[0]
        assert setting.token_map is not None
        short = replace(setting.token_map, coordinates=setting.token_map.coordinates[:, 1:])
        with pytest.raises(PolcaError, match="map does not fit 240 tokens"):
            replace(setting, token_map=short)
        with pytest.raises(PolcaError, match="a map of magic, whose trajectories are not here"):
            replace(setting, token_map=replace(setting.token_map, trajectories="magic"))

    def test_each_setting_has_that_of_its_figures(self, page: Page, run: SyntheticRun) -> None:
        for setting, made in zip(page.settings, (run.arithmetic, run.english), strict=True):
            shown = setting.analyses[0]
            stored = setting.to_json()["map"]
            assert stored["trajectories"] == shown.trajectories == "polca"
            trajectories = Archive.load(Path(made.paths.trajectory("polca"))).trajectories()
            vectors = np.flatnonzero(shown.clusters.vector_kept).tolist()
            points = np.rint(np.linspace(0, len(trajectories.steps) - 1, 13)).astype(int).tolist()
            places, shares = by_hand(trajectories, vectors, points)
            assert stored["steps"] == trajectories.steps[points].tolist()
            for axis, name in zip(places, ("x", "y"), strict=True):
                found = unpack(stored[name]) * stored["scale"] / LEVELS
                assert np.abs(found - axis).max() <= np.abs(places).max() / LEVELS * 0.51
            np.testing.assert_allclose(stored["shares"], shares, atol=1e-4)
