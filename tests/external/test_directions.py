"""All vectors together on anyone's tokens: groups are found and named, and written as files."""

from collections import Counter
from math import log
from pathlib import Path

import numpy as np
import pytest

from polca.external import directions as module
from polca.external.directions import (
    MAPPED,
    directions,
    joint_table,
    read_directions,
    telling_token,
    write_directions,
)
from polca.machine.files import read_csv, read_npz
from polca.method.decomposition import Trajectories
from polca.method.signatures import signatures

NAMES = np.array(["the", "of", "run"])[np.arange(150) % 3]


@pytest.fixture(scope="module")
def grouped() -> Trajectories:
    """Four vectors along which each of three tokens has a level of its own, and one that is dropped."""
    rng = np.random.default_rng(0)
    levels = rng.normal(0, 9, (5, 3))[:, np.arange(150) % 3] + rng.normal(size=(5, 150))
    values = (levels[:, :, None] * [0, 0.3, 0.6, 1]).astype(np.float32)
    return Trajectories("polca", values, np.arange(4) * 10, projected=True)


KEPT = np.array([True, True, True, True, False])


def test_each_token_is_a_cluster_and_names_it(grouped) -> None:
    found = directions(grouped, KEPT, 15)
    assert found is not None
    np.testing.assert_array_equal(found.signatures, signatures(grouped, vectors=[0, 1, 2, 3]))
    assert found.tokens.tolist() == list(range(150))
    table = joint_table(found, NAMES.tolist())
    assert sorted(table["telling_token"]) == ["of", "run", "the"]
    assert (table["telling_share"] > 0.95).all()
    assert table["telling_lift"].tolist() == pytest.approx((3 * table["telling_share"]).tolist())
    for row in table.itertuples():
        assert NAMES[row.center] == row.telling_token


def test_the_telling_token_is_frequent_here_and_rare_elsewhere() -> None:
    """By hand: a frequent token that is everywhere, one that is half of the cluster, and one that comes once."""
    everywhere = Counter({"the": 60, "of": 10, "run": 2, "x": 28})
    name, share, lift = telling_token(["the"] * 9 + ["of"] * 10 + ["run"], everywhere)
    assert (name, share, lift) == ("of", 0.5, pytest.approx(0.5 / 0.1))
    assert 0.5 * log(5) > 0.05 * log(0.05 / 0.02)


def test_files(grouped, tmp_path: Path) -> None:
    found = directions(grouped, KEPT, 15)
    assert found is not None
    paths = write_directions(found, NAMES.tolist(), tmp_path)
    assert all(path.is_file() for path in paths)
    np.testing.assert_array_equal(read_npz(tmp_path / "token_map.npz")["coordinates"], found.coordinates)
    assert read_npz(tmp_path / "signatures.npz")["values"].shape == (150, 12)
    assert read_csv(tmp_path / "joint_clusters.csv")["size"].sum() == (found.clusters >= 0).sum()
    again = {path.name: path.read_bytes() for path in write_directions(found, NAMES.tolist(), tmp_path / "again")}
    assert again == {path.name: path.read_bytes() for path in paths}


def test_one_vector_or_few_tokens_have_no_map(grouped) -> None:
    assert directions(grouped, np.eye(5, dtype=bool)[0], 15) is None
    few = Trajectories("polca", grouped.values[:, :4], grouped.steps, projected=True)
    assert directions(few, KEPT, 15) is None
    # Where no vector is kept, all serve.
    every = directions(grouped, np.zeros(5, np.bool_), 15)
    assert every is not None
    assert every.signatures.shape == (150, 15)


def test_maps_of_many_tokens_are_thinned(monkeypatch: pytest.MonkeyPatch, grouped) -> None:
    assert MAPPED == 5000
    monkeypatch.setattr("polca.external.directions.MAPPED", 60)
    found = directions(grouped, KEPT, 50)
    assert found is not None
    assert (len(found.tokens), found.tokens[0], found.tokens[-1]) == (60, 0, 149)
    assert len(found.signatures) == 150
    # The least cluster shrinks with the map: 20, not 50.
    assert found.clusters.max() >= 1


def test_a_map_serves_again_where_signatures_are_the_same(grouped, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = directions(grouped, KEPT, 15)
    assert found is not None
    write_directions(found, NAMES.tolist(), tmp_path)
    drawn: list[tuple[int, ...]] = []
    monkeypatch.setattr(module, "token_map", lambda rows: drawn.append(rows.shape) or rows[:, :2].astype(np.float32))
    again = directions(grouped, KEPT, 15, read_directions(tmp_path))
    assert again is not None
    assert not drawn
    np.testing.assert_array_equal(again.coordinates, found.coordinates)
    np.testing.assert_array_equal(again.clusters, found.clusters)
    # Other vectors have other signatures, also as many; what cannot be read is made again.
    fewer = np.flatnonzero(KEPT)[0]
    directions(grouped, np.arange(len(KEPT)) != fewer, 15, read_directions(tmp_path))
    (tmp_path / "token_map.npz").write_bytes(b"")
    assert read_directions(tmp_path) is None
    directions(grouped, KEPT, 15, read_directions(tmp_path))
    assert len(drawn) == 2
