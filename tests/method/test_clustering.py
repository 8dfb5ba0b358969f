"""Clustering: filters, invariance to row order, canonical numbers, medoids, and degenerate input."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import zscore
from sklearn.metrics import adjusted_rand_score

import polca.method.clustering as module
from polca.errors import PolcaError
from polca.method.clustering import (
    Clusters,
    cluster,
    compositions,
    medoid,
    memberships,
    partition,
    standardised,
    vector_counts,
)
from polca.method.decomposition import Trajectories
from synthetic_rows import blobs, walks


def trajectories(*matrices: np.ndarray, projected: bool = True, name: str = "polca") -> Trajectories:
    values = np.stack(matrices)
    return Trajectories(name, values, 10 * np.arange(values.shape[2]), projected, 100 * np.arange(len(values)))


class TestMedoid:
    @pytest.mark.parametrize("rows", [1, 2, 3, 50])
    def test_brute_force(self, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
        values = walks(rows, seed=rows)
        sums = [sum(float(np.linalg.norm(a.astype(float) - b.astype(float))) for b in values) for a in values]
        wanted = next(i for i, s in enumerate(sums) if s <= min(sums) * (1 + 1e-12))
        assert medoid(values) == wanted
        monkeypatch.setattr(module, "_BLOCK", 7)
        assert medoid(values) == wanted

    @pytest.mark.parametrize("corners", [3, 7, 12, 25])
    def test_ties_up_to_rounding(self, corners: int) -> None:
        """All corners of a regular polygon are medoids; their computed sums differ in the last digits."""
        angles = np.arange(corners) * 2 * np.pi / corners
        assert medoid(np.stack([np.cos(angles), np.sin(angles)], axis=1)) == 0

    def test_ties_go_to_the_first(self) -> None:
        assert medoid(np.ones((5, 3))) == 0
        assert medoid(np.array([[9.0], [1.0], [2.0], [2.0], [3.0]])) == 2


class TestFilters:
    def test_tokens_and_vectors(self) -> None:
        falling, _ = blobs([40, 30])
        mixed = falling.copy()
        mixed[[3, 7]] = np.linspace(0, 0.5, 6)
        flat = falling.copy()
        flat[5] = 0
        result = cluster(trajectories(falling, mixed, -falling, flat), min_cluster_size=10)
        assert result.vector_kept.tolist() == [True, True, False, True]
        assert (result.labels[2] == -3).all()
        assert np.flatnonzero(result.labels[1] == -2).tolist() == [3, 7]
        # Neither rises: a token that ends where it began stays.
        assert not (result.labels[[0, 3]] <= -2).any()
        assert 2 not in result.cluster_vector

    def test_min_samples_counts_what_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[int, int, int]] = []

        def note(values: np.ndarray, min_cluster_size: int, min_samples: int) -> np.ndarray:
            seen.append((len(values), min_cluster_size, min_samples))
            return np.full(len(values), -1)

        monkeypatch.setattr(module, "hdbscan_labels", note)
        values, _ = blobs([70])
        values[:10] *= -1
        cluster(trajectories(values), min_cluster_size=10)
        cluster(trajectories(values), min_cluster_size=10, min_samples_divisor=100)
        cluster(trajectories(values), min_cluster_size=12, min_samples_divisor=7, filters=False)
        assert seen == [(60, 10, 4), (60, 10, 1), (70, 12, 10)]

    def test_defaults_and_overrides(self) -> None:
        values, _ = blobs([40, 30])
        rising = trajectories(-values, -values, projected=False, name="fisher")
        assert (cluster(rising, min_cluster_size=10).labels >= -1).all()
        assert (cluster(rising, min_cluster_size=10, filters=True).labels == -3).all()
        chosen = cluster(trajectories(-values, -values), min_cluster_size=10, vector_kept=np.array([False, True]))
        assert (chosen.labels[0] == -3).all()
        assert (chosen.labels[1] == -2).all()
        assert chosen.vector_kept.tolist() == [False, True]

    def test_every_token_dropped(self) -> None:
        values, _ = blobs([20])
        result = cluster(trajectories(-values), min_cluster_size=10, vector_kept=np.array([True]))
        assert (result.labels == -2).all()
        assert len(result) == 0
        assert result.projected_quartiles.shape == (0, 3, 6)


class TestClusters:
    @pytest.fixture
    def result(self) -> tuple[Trajectories, np.ndarray, Clusters]:
        values, _ = blobs([40, 13, 25])
        other, _ = blobs([30, 48], seed=6)
        losses = np.random.default_rng(3).normal(size=(4, 78)).astype(np.float32)
        source = trajectories(values, other)
        # Of raw trajectories: the groups differ in size alone.
        found = cluster(source, min_cluster_size=8, losses=losses, loss_steps=np.arange(4), standardise=False)
        return source, losses, found

    def test_contract_of_the_file(self, result: tuple[Trajectories, np.ndarray, Clusters]) -> None:
        _, _, found = result
        m = len(found)
        assert {n: (a.shape, a.dtype.name) for n, a in found.arrays().items()} == {
            "steps": ((6,), "int64"),
            "loss_steps": ((4,), "int64"),
            "labels": ((2, 78), "int16"),
            "vector_kept": ((2,), "bool"),
            "vector_steps": ((2,), "int64"),
            "cluster_vector": ((m,), "int64"),
            "cluster_index": ((m,), "int64"),
            "cluster_size": ((m,), "int64"),
            "medoid": ((m,), "int64"),
            "nearest": ((m, 10), "int64"),
            "projected_quartiles": ((m, 3, 6), "float32"),
            "projected_mean": ((m, 6), "float32"),
            "projected_medoid": ((m, 6), "float32"),
            "loss_quartiles": ((m, 3, 4), "float32"),
            "loss_mean": ((m, 4), "float32"),
        }
        assert found.cluster_vector.tolist() == [0, 0, 0, 1, 1]
        assert found.cluster_index.tolist() == [0, 1, 2, 0, 1]
        assert found.vector_steps.tolist() == [0, 100]

    def test_curves(self, result: tuple[Trajectories, np.ndarray, Clusters]) -> None:
        source, losses, found = result
        for c in range(len(found)):
            members, k = found.members(c), found.cluster_vector[c]
            assert len(members) == found.cluster_size[c]
            curves = source.values[k, members].astype(np.float64)
            np.testing.assert_allclose(found.projected_mean[c], curves.mean(axis=0), rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(found.projected_quartiles[c, 1], np.median(curves, axis=0), rtol=1e-6)
            np.testing.assert_allclose(found.projected_quartiles[c, 0], np.percentile(curves, 25, axis=0), rtol=1e-6)
            np.testing.assert_allclose(found.loss_quartiles[c, 2], np.percentile(losses[:, members], 75, axis=1), 1e-6)
            np.testing.assert_allclose(found.loss_mean[c], losses[:, members].mean(axis=1), rtol=1e-5, atol=1e-7)
            sums = [np.linalg.norm(curves - row, axis=1).sum() for row in curves]
            assert found.medoid[c] == members[int(np.argmin(sums))]
            np.testing.assert_array_equal(found.projected_medoid[c], source.values[k, found.medoid[c]])
            away = np.linalg.norm(curves - source.values[k, found.medoid[c]], axis=1)
            assert found.nearest[c].tolist() == members[np.argsort(away)[:10]].tolist()
            assert found.nearest[c, 0] == found.medoid[c]

    def test_nearest_is_padded(self) -> None:
        """Two identical triples: the medoid is the first token, the others follow in token order."""
        values = np.repeat(np.array([[0, -1.0], [0, -9.0]], np.float32), 3, axis=0)[[0, 3, 1, 4, 2, 5]]
        found = cluster(trajectories(values), min_cluster_size=2, standardise=False)
        assert found.medoid.tolist() == [0, 1]
        assert found.nearest.tolist() == [[0, 2, 4, *[-1] * 7], [1, 3, 5, *[-1] * 7]]

    @pytest.mark.parametrize("standardise", [False, True])
    def test_row_order(self, standardise: bool) -> None:
        values, other = walks(200, seed=3), walks(200, seed=4)
        order = np.random.default_rng(9).permutation(200)
        one, two = (
            cluster(trajectories(a, b), min_cluster_size=12, standardise=standardise)
            for a, b in ((values, other), (values[order], other[order]))
        )
        assert len(one) > 2
        sets = [
            {(int(found.cluster_vector[c]), frozenset(names[found.members(c)])) for c in range(len(found))}
            for found, names in ((one, np.arange(200)), (two, order))
        ]
        assert sets[0] == sets[1]
        np.testing.assert_array_equal(one.labels[:, order] <= -2, two.labels <= -2)

    def test_vectors_do_not_matter_to_each_other(self) -> None:
        """What lets them be spread over processes."""
        matrices = [walks(60, points=8, seed=s) for s in range(3)]
        together = cluster(trajectories(*matrices), min_cluster_size=6)
        for k, matrix in enumerate(matrices):
            alone = cluster(trajectories(matrix), min_cluster_size=6)
            mine = together.cluster_vector == k
            np.testing.assert_array_equal(together.labels[k], alone.labels[0])
            for name in ("cluster_index", "cluster_size", "medoid", "nearest", "projected_quartiles", "projected_mean"):
                np.testing.assert_array_equal(getattr(together, name)[mine], getattr(alone, name), err_msg=name)

    def test_processes_are_for_large_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Starting one costs seconds, the whole work of a small set."""
        asked: list[int] = []
        plain = module.map_processes

        def note(*arguments: Any, workers: int, **options: Any) -> Any:
            asked.append(workers)
            return plain(*arguments, workers=1, **options)

        monkeypatch.setattr(module, "map_processes", note)
        source = trajectories(walks(60, points=8), walks(60, points=8, seed=1))
        cluster(source, min_cluster_size=6, workers=2)
        monkeypatch.setattr(module, "_PROCESSES_PAY", 1)
        cluster(source, min_cluster_size=6, workers=2)
        assert asked == [1, 2]

    def test_file(self, result: tuple[Trajectories, np.ndarray, Clusters], tmp_path) -> None:
        _, _, found = result
        found.save(tmp_path / "polca.npz")
        again = Clusters.load(tmp_path / "polca.npz")
        for name, array in found.arrays().items():
            np.testing.assert_array_equal(array, getattr(again, name))
        arrays = found.arrays()
        del arrays["medoid"]
        np.savez(tmp_path / "other.npz", **arrays)
        with pytest.raises(PolcaError, match=r"other\.npz: has arrays .*, not steps, .*medoid"):
            Clusters.load(tmp_path / "other.npz")

    def test_exact_losses(self) -> None:
        """`loss` trajectories are their own losses; others have no loss curves unless given."""
        values, _ = blobs([40, 30])
        own = cluster(trajectories(values, projected=False, name="loss"), min_cluster_size=10, standardise=False)
        np.testing.assert_array_equal(own.loss_quartiles, own.projected_quartiles)
        none = cluster(trajectories(values), min_cluster_size=10, standardise=False)
        assert none.loss_mean.shape == (2, 0)

    def test_errors(self) -> None:
        source = trajectories(walks(20))
        for options, words in (
            ({"min_cluster_size": 1}, "min_cluster_size"),
            ({"min_cluster_size": 5, "min_samples_divisor": 0}, "min_samples_divisor"),
            ({"min_cluster_size": 5, "losses": np.zeros((3, 20))}, "loss_steps"),
            ({"min_cluster_size": 5, "losses": np.zeros((3, 19)), "loss_steps": np.arange(3)}, "losses"),
            ({"min_cluster_size": 5, "vector_kept": np.array([True, True])}, "vector_kept"),
            ({"min_cluster_size": 5, "workers": 0}, "workers"),
        ):
            with pytest.raises(PolcaError, match=words):
                cluster(source, **options)
        with pytest.raises(PolcaError, match="no tokens"):
            cluster(trajectories(np.zeros((0, 3), np.float32)), min_cluster_size=5)
        with pytest.raises(PolcaError, match="NaN"):
            trajectories(np.full((3, 3), np.nan, np.float32))

    def test_what_labels_say(self, result: tuple[Trajectories, np.ndarray, Clusters]) -> None:
        source, _, found = result
        inside, vectors = memberships(found.labels)
        np.testing.assert_array_equal(vectors, found.cluster_vector)
        for m, row in enumerate(inside):
            np.testing.assert_array_equal(np.flatnonzero(row), found.members(m))
        kinds = np.arange(78) % 3
        expected = [[(kinds[found.members(m)] == kind).sum() for kind in range(4)] for m in range(len(found))]
        np.testing.assert_array_equal(compositions(inside, kinds, 4), expected)
        assert compositions(inside[:0], kinds, 4).shape == (0, 4)
        counts = vector_counts(np.array([0, -1, 1, -2, -2, 0]))
        assert counts == {"n_dropped": 2, "n_clustered": 3, "n_outliers": 1, "n_clusters": 2}
        assert vector_counts(np.full(5, -3)) == dict.fromkeys(counts, 0)
        found.check_of(source)
        for other in (trajectories(source.values[0]), replace(source, steps=source.steps + 1)):
            with pytest.raises(PolcaError, match="clusters: not those of trajectories polca: cluster them again"):
                found.check_of(other)


class TestStandardised:
    """Clusters by shape: a trajectory's size and offset do not matter then, and only the filters see them."""

    def test_against_scipy(self) -> None:
        values = walks(30)
        np.testing.assert_allclose(standardised(values), zscore(values.astype(np.float64), axis=1), atol=1e-12)

    def test_constant_trajectories_have_no_shape(self) -> None:
        values = np.array([[0, 0, 0], [0.1, 0.1, 0.1], [1, 2, 3]], np.float32)
        found = standardised(values)
        assert not found[:2].any()
        np.testing.assert_allclose(found[2], [-(1.5**0.5), 0, 1.5**0.5])

    def test_groups_of_one_shape_and_many_sizes(self) -> None:
        """Two shapes over four decades of size: raw distances see size alone, standardised ones the shape."""
        rng = np.random.default_rng(0)
        steps = np.linspace(0, 1, 30)
        early, late = -np.minimum(1, 5 * steps), -np.maximum(0, 5 * steps - 4)
        shape = rng.permutation(np.repeat([0, 1], 60))
        size = 10 ** rng.uniform(-2, 2, size=120)
        values = size[:, None] * (np.where(shape[:, None], late, early) + 0.01 * rng.normal(size=(120, 30)))
        values[:, 0] = 0
        source = trajectories(values.astype(np.float32))
        by_shape = cluster(source, min_cluster_size=20, filters=False)
        assert adjusted_rand_score(shape, by_shape.labels[0]) == 1.0
        raw = cluster(source, min_cluster_size=20, filters=False, standardise=False)
        assert adjusted_rand_score(shape, raw.labels[0]) < 0.5
        # Curves stay in nats, whatever was clustered.
        members = by_shape.members(0)
        np.testing.assert_allclose(by_shape.projected_mean[0], values[members].mean(axis=0), rtol=1e-4, atol=1e-6)

    def test_filters_come_first(self) -> None:
        """A token that rises is dropped though its standardised trajectory is like the others'."""
        shapes = np.linspace(0, -1, 10), -(np.linspace(0, 1, 10) ** 8)
        values = np.stack([shapes[x % 2] * (1 + x / 10) for x in range(20)])
        values[3] += np.linspace(0, 9, 10)
        found = cluster(trajectories(values.astype(np.float32)), min_cluster_size=5, standardise=True)
        assert found.labels[0].tolist() == [0, 1, 0, -2] + [0, 1] * 8

    @pytest.mark.parametrize("constants", [1, 30])
    def test_constant_trajectories_are_together(self, constants: int) -> None:
        """Whatever their value; many are a cluster of their own, a single one is not in a cluster of others."""
        rng = np.random.default_rng(0)
        steps = np.linspace(0, 1, 12)
        falling = -(steps ** np.where(np.arange(60) < 30, 0.3, 5)[:, None]) * (1 + 0.02 * rng.normal(size=(60, 12)))
        values = np.concatenate([falling * 10 ** rng.uniform(-3, 3, (60, 1)), np.full((constants, 12), -0.7)])
        values[60:] *= rng.integers(1, 5, (constants, 1))
        values[:60, 0] = 0
        order = rng.permutation(len(values))
        labels = cluster(trajectories(values[order].astype(np.float32)), min_cluster_size=15).labels[0]
        groups = [set(labels[np.isin(order, rows)].tolist()) for rows in np.split(np.arange(len(values)), [30, 60])]
        assert len(groups[2]) == 1, "constant trajectories are told apart"
        assert (groups[2] == {-1}) == (constants == 1)
        assert all(len(group - {-1}) == 1 for group in groups[:2])
        assert len(set.union(*groups) - {-1}) == (2 if constants == 1 else 3)

    def test_nothing_but_constants(self) -> None:
        """As of raw trajectories that are all equal: there is nothing to tell apart."""
        values = np.repeat(np.arange(40, dtype=np.float32)[:, None], 6, axis=1)
        found = cluster(trajectories(values), min_cluster_size=5)
        assert (found.labels == -1).all()
        # A constant does not rise, so that none is dropped, nor the vector.
        assert found.vector_kept.all()

    @pytest.mark.parametrize("points", [3, 30])
    def test_one_shape_of_any_size_is_one_cluster(self, points: int) -> None:
        """Sizes that are no powers of two round each curve its own way; that is no structure."""
        rng = np.random.default_rng(1)
        steps = np.linspace(0, 1, points)
        shapes = -np.stack([steps > 0.4, steps > 0.6, steps]).astype(np.float64)
        kind = rng.permutation(np.repeat(np.arange(3), 40))
        values = 10 ** rng.uniform(-2, 2, (120, 1)) * shapes[kind]
        labels = cluster(trajectories(values.astype(np.float32)), min_cluster_size=15).labels[0]
        assert sorted(set(labels.tolist())) == [0, 1, 2]
        assert adjusted_rand_score(kind, labels) == 1

    @pytest.mark.parametrize("copies", [2, 20])
    def test_ties_get_one_label(self, copies: int) -> None:
        """Copies at powers of two are equal once standardised, and HDBSCAN may not split them."""
        rows = walks(240 // copies, points=8)
        order = np.random.default_rng(2).permutation(len(rows) * copies)
        scales = np.float32(2.0) ** np.arange(-3, copies - 3).astype(np.float32)
        values = (rows[:, None] * scales[None, :, None]).reshape(-1, 8)[order]
        labels = cluster(trajectories(values), min_cluster_size=10, filters=False).labels[0]
        for original in range(len(rows)):
            assert len(set(labels[order // copies == original])) == 1

    def test_it_is_what_one_gets_without_asking(self) -> None:
        source = trajectories(walks(120), walks(120, seed=1))
        plain, asked, raw = (
            cluster(source, min_cluster_size=8, **options).labels
            for options in ({}, {"standardise": True}, {"standardise": False})
        )
        np.testing.assert_array_equal(plain, asked)
        assert (plain != raw).any()

    def test_medoid_is_of_the_shapes(self) -> None:
        """By brute force; of raw trajectories another token stands in the middle, since sizes differ by decades."""
        rng = np.random.default_rng(3)
        shapes = -(np.linspace(0, 1, 9) ** np.where(np.arange(60) % 2, 4, 0.3)[:, None])
        shapes *= 1 + 0.05 * rng.normal(size=(60, 9))
        values = (10 ** rng.uniform(-2, 2, (60, 1)) * shapes).astype(np.float32)
        found = cluster(trajectories(values), min_cluster_size=10)
        assert len(found) > 0
        moved = 0
        for c in range(len(found)):
            members = found.members(c)
            for curves, same in ((zscore(values[members].astype(np.float64), axis=1), True), (values[members], False)):
                sums = [np.linalg.norm(curves - row, axis=1).sum() for row in curves]
                right = members[int(np.argmin(sums))] == found.medoid[c]
                assert right or not same
                moved += not right
            away = np.linalg.norm(
                zscore(values[members].astype(np.float64), axis=1) - zscore(values[found.medoid[c]].astype(np.float64)),
                axis=1,
            )
            assert found.nearest[c].tolist() == members[np.argsort(away, kind="stable")[:10]].tolist()
            np.testing.assert_array_equal(found.projected_medoid[c], values[found.medoid[c]])
        assert moved > 0

    def test_partition_and_cluster_agree(self) -> None:
        source = trajectories(walks(80), walks(80, seed=1))
        options = {"min_cluster_size": 8, "min_samples_divisor": 15, "standardise": True}
        labels = partition(source.values, drop_vectors=True, drop_tokens=True, **options)
        np.testing.assert_array_equal(cluster(source, **options).labels, labels)

    def test_size_and_offset_do_not_matter(self) -> None:
        """Powers of two scale exactly, so that the same bits are clustered."""
        values = walks(60)
        scaled = values * np.float32(2.0) ** np.random.default_rng(0).integers(-3, 4, size=(60, 1)).astype(np.float32)
        options = {"min_cluster_size": 8, "standardise": True}
        one, other = (cluster(trajectories(v), **options).labels for v in (values, scaled))
        np.testing.assert_array_equal(one, other)
