"""HDBSCAN: one partition for one set of rows, in any order and on any machine; that of the library's own class."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import polca.method.densities as module
from oracles import library_labels
from polca.method.densities import Densities, distances, hdbscan_labels
from synthetic_rows import blobs, walks

PRINT_LABELS = """
from polca.method.densities import hdbscan_labels
from oracles import library_labels
from synthetic_rows import walks

for seed in range(8):
    print(hdbscan_labels(walks(400, points=12, seed=seed), 20, 20).tolist())
"""
"""With thousands of equal edges."""


class TestHdbscan:
    def test_separated_groups(self) -> None:
        values, groups = blobs([30, 50, 40])
        labels = hdbscan_labels(values, 15, 5)
        assert adjusted_rand_score(groups[labels >= 0], labels[labels >= 0]) == 1
        assert (labels >= 0).mean() > 0.9
        # Numbered by size.
        sizes = np.bincount(labels[labels >= 0])
        assert (np.diff(sizes) <= 0).all()
        assert [np.bincount(groups[labels == c]).argmax() for c in range(3)] == [1, 2, 0]

    def test_equal_sizes_are_numbered_by_smallest_member(self) -> None:
        values = np.repeat(np.array([[5.0], [1.0], [9.0]]), 10, axis=0)[np.random.default_rng(0).permutation(30)]
        labels = hdbscan_labels(values, 5, 2)
        firsts = [int(np.flatnonzero(labels == c)[0]) for c in range(3)]
        assert firsts == sorted(firsts)
        assert np.bincount(labels).tolist() == [10, 10, 10]

    @pytest.mark.parametrize("seed", range(8))
    def test_any_order_of_rows(self, seed: int) -> None:
        """Exactly one partition, though HDBSCAN itself moves boundary points when rows are shuffled."""
        values = walks(300, seed=seed)
        order = np.random.default_rng(seed + 100).permutation(len(values))
        shuffled = np.empty(len(values), np.int64)
        labels = hdbscan_labels(values, 20, 20)
        shuffled[order] = hdbscan_labels(values[order], 20, 20)
        np.testing.assert_array_equal(labels < 0, shuffled < 0)
        assert adjusted_rand_score(labels, shuffled) == 1

    @pytest.mark.parametrize("rows", ["matrix", "space"])
    @pytest.mark.parametrize("samples", [1, 5, 20, 299, 1000])
    def test_labels_of_the_library(self, rows: str, samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
        values = walks(300, seed=samples)
        if rows == "space":
            monkeypatch.setattr(module, "_MATRIX_ROWS", 10)
        own = hdbscan_labels(values, 12, samples)
        plain = library_labels(values, 12, samples, "generic" if rows == "matrix" else "boruvka_kdtree")
        assert samples > 20 or own.max() > 0
        np.testing.assert_array_equal(own < 0, plain < 0)
        assert adjusted_rand_score(own, plain) == 1

    def test_any_machine(self) -> None:
        """Equal edges keep their order, whichever instructions NumPy sorts with."""
        command = [sys.executable, "-c", PRINT_LABELS]
        found = []
        for disabled in ("", "X86_V4,AVX512_ICL,AVX512_SPR", "X86_V3,X86_V4,AVX512_ICL,AVX512_SPR"):
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NPY_DISABLE_CPU_FEATURES": disabled}
            found.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        assert len(found[0]) > 1000
        assert found[1:] == found[:1] * 2

    def test_large_input_goes_through_the_space_tree(self, monkeypatch: pytest.MonkeyPatch) -> None:
        values, _ = blobs([60, 50, 40])
        small = hdbscan_labels(values, 15, 5)
        monkeypatch.setattr(module, "_MATRIX_ROWS", 10)
        large = hdbscan_labels(values, 15, 5)
        assert adjusted_rand_score(small, large) > 0.98
        order = np.random.default_rng(5).permutation(len(values))
        again = np.empty_like(large)
        again[order] = hdbscan_labels(values[order], 15, 5)
        assert adjusted_rand_score(large, again) == 1

    @pytest.mark.parametrize("min_samples", [1, 5, 60, 1000])
    @pytest.mark.parametrize("copies", [1, 2, 20])
    def test_identical_rows_get_one_label(self, copies: int, min_samples: int) -> None:
        rows = walks(120 // copies, points=8)
        order = np.random.default_rng(2).permutation(len(rows) * copies)
        labels = hdbscan_labels(np.repeat(rows, copies, axis=0)[order], 10, min_samples)
        for original in range(len(rows)):
            assert len(set(labels[order // copies == original])) == 1

    @pytest.mark.parametrize("min_samples", [1, 3, 100])
    def test_all_equal(self, min_samples: int) -> None:
        assert set(hdbscan_labels(np.full((50, 4), 2.5, np.float32), 10, min_samples)) == {-1}

    @pytest.mark.parametrize("rows", [0, 1, 2, 9])
    @pytest.mark.reliability(
        "no token or one to cluster",
        "outliers",
    )
    def test_too_few(self, rows: int) -> None:
        assert hdbscan_labels(walks(rows), 10, 1).tolist() == [-1] * rows

    def test_distances_do_not_cancel(self) -> None:
        """Far from the origin a dot product loses what a difference keeps."""
        points = np.array([[1e6, 1e6], [1e6 + 3e-3, 1e6 + 4e-3], [1e6, 1e6]])
        assert distances(points)[0] == pytest.approx([0, 5e-3, 0], rel=1e-6)


class TestDensities:
    """HDBSCAN with several settings on distances made once."""

    SETTINGS = ((20, 20), (5, 1), (20, 5), (40, 60), (1000, 1), (20, 20))

    def test_labels_are_those_of_fresh_rows(self) -> None:
        """Whatever was asked before: HDBSCAN leaves the distances as they are."""
        values = walks(300)
        kept, before = Densities(values), values.copy()
        found = [kept.labels(*chosen) for chosen in self.SETTINGS]
        for chosen, labels in zip(self.SETTINGS, found, strict=True):
            np.testing.assert_array_equal(labels, hdbscan_labels(values, *chosen))
        assert len({labels.tobytes() for labels in found}) > 3, "settings that make no difference"
        assert found[0].max() > 0
        np.testing.assert_array_equal(values, before)

    def test_distances_are_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[int] = []
        monkeypatch.setattr(module, "distances", lambda rows: made.append(len(rows)) or distances(rows))
        kept = Densities(walks(60))
        # Where nothing can be clustered none are made; nor where the space tree takes their place.
        assert (kept.labels(61, 1) == -1).all()
        assert made == []
        for size in (5, 6, 7):
            kept.labels(size, 2)
        assert made == [60]
        monkeypatch.setattr(module, "_MATRIX_ROWS", 10)
        Densities(walks(60)).labels(5, 2)
        assert made == [60]

    def test_single_precision_is_clustered_as_double(self) -> None:
        values = walks(100)
        one, other = (Densities(v).labels(8, 4) for v in (values, values.astype(np.float64)))
        np.testing.assert_array_equal(one, other)
