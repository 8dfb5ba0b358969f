"""The archive: exact or within the error that it states, the same bytes every time, one line for each way to be bad."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oracles import spread_error
from polca.errors import PolcaError
from polca.machine.files import read_npz, write_npz
from polca.method.decomposition import Trajectories
from polca.study.archive import Archive, compress

SCALES = 10.0 ** np.arange(-6, 4)


def trajectories(
    vectors: int = 3, tokens: int = 60, points: int = 25, projected: bool = True, seed: int = 0
) -> Trajectories:
    """Random walks of three tokens' sizes, some of a shape in common."""
    rng = np.random.default_rng(seed)
    walks = rng.normal(size=(vectors, tokens, points)) + 3 * rng.normal(size=(vectors, tokens, 1)) * np.sin(
        np.arange(points) / 5
    )
    walks = walks.cumsum(axis=2) * rng.choice([0.01, 1.0, 30.0], size=(vectors, tokens, 1))
    values = (walks - walks[:, :, :1] if projected else walks + 5).astype(np.float32)
    return Trajectories("polca", values, 10 * np.arange(points), projected, 10 * np.arange(1, vectors + 1), guarded=4)


def of(values: NDArray[Any], projected: bool = False) -> Trajectories:
    """One vector's trajectories `[X, P]`."""
    return Trajectories("polca", values[None].astype(np.float32), np.arange(values.shape[1]), projected)


def singular(exact: NDArray[np.float32]) -> NDArray[np.float64]:
    """Singular values of the trajectories in units of their standard deviations, about their mean over tokens."""
    scaled = exact.astype(np.float64)
    scaled /= 2.0 ** np.round(np.log2(scaled.std(axis=1, keepdims=True)))
    return np.asarray(np.linalg.svd(scaled - scaled.mean(axis=0), compute_uv=False))


class TestExact:
    @pytest.mark.parametrize("projected", [True, False])
    def test_bit_for_bit(self, tmp_path, projected) -> None:
        original = trajectories(projected=projected)
        compress(original, 0).save(tmp_path / "a.npz")
        archive = Archive.load(tmp_path / "a.npz")
        back = archive.trajectories()
        assert back.values.tobytes() == original.values.tobytes()
        assert back.values.dtype == np.float32
        assert (back.name, back.projected, back.guarded) == ("polca", projected, 4)
        assert type(back.guarded) is int
        assert type(back.projected) is bool
        np.testing.assert_array_equal(back.steps, original.steps)
        np.testing.assert_array_equal(back.vector_steps, original.vector_steps)
        assert archive.relative_error.tolist() == [0, 0, 0]

    def test_no_vector_steps(self, tmp_path) -> None:
        compress(replace(trajectories(), vector_steps=None), 0).save(tmp_path / "a.npz")
        assert Archive.load(tmp_path / "a.npz").vector_steps.tolist() == [-1, -1, -1]


class TestFactors:
    @pytest.mark.parametrize("projected", [True, False])
    @pytest.mark.parametrize("wanted", [0.002, 0.01, 0.1])
    def test_error_is_what_it_says_and_small_enough(self, tmp_path, projected, wanted) -> None:
        original = trajectories(projected=projected)
        compress(original, wanted).save(tmp_path / "a.npz")
        archive = Archive.load(tmp_path / "a.npz")
        back = archive.trajectories()
        for k in range(3):
            measured = spread_error(original.values[k], back.values[k])
            assert measured <= wanted
            assert archive.relative_error[k] == pytest.approx(measured, rel=1e-3)
            assert measured > wanted / 1.5, "finer than wanted: the file is larger than it need be"
            np.testing.assert_array_equal(archive.matrix(k), back.values[k])
        assert (back.name, back.projected, back.guarded) == ("polca", projected, 4)

    def test_rank_is_at_least_what_the_error_takes(self) -> None:
        """No fewer directions can do, and those that only matter below the error are left out."""
        original = trajectories(vectors=1, tokens=300, points=60)
        values = singular(original.values[0])
        for wanted in (0.03, 0.3):
            archive = compress(original, wanted)
            # Powers of two next to the deviations: between 1/√2 and √2 of them.
            omitted = np.sqrt(np.append(np.square(values)[::-1].cumsum()[::-1], 0) / original.values[0].size)
            least = int((omitted > wanted * 2**0.5).sum())
            unneeded = int((values > wanted * original.values[0].size ** 0.5 / 50).sum())
            assert least <= archive.values.ranks[0] <= unneeded < 60

    def test_low_rank_is_found(self) -> None:
        rng = np.random.default_rng(1)
        matrix = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 30))
        archive = compress(of(matrix), 1e-3)
        assert archive.values.ranks.tolist() == [3]
        np.testing.assert_allclose(archive.matrix(0), matrix, atol=6e-3 * np.abs(matrix).max())
        # To float32's digits where more is wanted than it has.
        archive = compress(of(matrix), 1e-9)
        assert archive.values.ranks.tolist() == [3]
        assert 1e-9 < archive.relative_error[0] < 1e-6
        assert archive.relative_error[0] == pytest.approx(spread_error(np.float32(matrix), archive.matrix(0)), rel=1e-2)

    def test_largest_entries_of_curves_are_positive(self) -> None:
        curves = compress(trajectories(), 0.01).values.curves
        assert (curves.max(axis=1) >= -curves.min(axis=1)).all()

    def test_max_rank_binds(self) -> None:
        original = trajectories(vectors=1)
        archive = compress(original, 0.01, max_rank=2)
        assert archive.values.ranks.tolist() == [2]
        assert archive.relative_error[0] > 0.01
        assert archive.relative_error[0] == pytest.approx(spread_error(original.values[0], archive.matrix(0)), rel=1e-3)
        # The best in two directions, by their singular values (up to the powers of two, as above).
        best = np.sqrt(np.square(singular(original.values[0])[2:]).sum() / original.values[0].size)
        assert best / 2**0.5 < archive.relative_error[0] < best * 2**0.5

    def test_vectors_do_not_pay_for_one_another(self) -> None:
        full = trajectories()
        flat = np.linspace(1, 3, 60)[:, None] * np.append(0, np.arange(24.0) ** 2)
        archive = compress(
            replace(full, values=np.stack([full.values[0], flat.astype(np.float32)]), vector_steps=None), 0.01
        )
        assert archive.values.ranks[1] == 1 < archive.values.ranks[0]
        assert len(archive.values.scores) == len(archive.values.curves) == archive.values.ranks.sum()

    def test_projected_losses_start_at_zero(self) -> None:
        assert (compress(trajectories(), 0.1).trajectories().values[:, :, 0] == 0).all()
        with pytest.raises(PolcaError, match="must start at 0"):
            compress(of(np.ones((3, 4)), projected=True), 0.1)

    @pytest.mark.parametrize("scale", SCALES)
    def test_no_scale_over_or_underflows(self, scale) -> None:
        original = of(trajectories(vectors=1).values[0] * (scale**3))
        assert compress(original, 0.01).relative_error[0] <= 0.01

    def test_a_token_counts_as_much_as_others_however_small(self) -> None:
        values = trajectories(vectors=1).values[0]
        values[0] *= 1e-5
        archive = compress(of(values), 0.01)
        assert spread_error(values[:1], archive.matrix(0)[:1]) < 0.03


class TestEdges:
    @pytest.mark.parametrize("projected", [True, False])
    def test_all_zero(self, tmp_path, projected) -> None:
        compress(of(np.zeros((5, 4)), projected), 0.01).save(tmp_path / "a.npz")
        archive = Archive.load(tmp_path / "a.npz")
        assert archive.values.ranks.tolist() == [0]
        assert archive.relative_error.tolist() == [0]
        assert (archive.trajectories().values == 0).all()

    def test_constant_in_time_and_over_tokens(self) -> None:
        over_time = np.repeat([[0.25], [3.0], [11.5]], 6, axis=1)
        np.testing.assert_allclose(compress(of(over_time), 0.01).matrix(0), over_time, rtol=1e-4)
        over_tokens = np.tile([0.0, -1.0, -4.5, -2.0], (7, 1))
        archive = compress(of(over_tokens, projected=True), 0.01)
        assert archive.values.ranks.tolist() == [0]
        np.testing.assert_allclose(archive.matrix(0), over_tokens, rtol=1e-6)

    @pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1), (2, 9), (9, 2)])
    @pytest.mark.parametrize("projected", [True, False])
    def test_few_tokens_or_points(self, shape, projected) -> None:
        values = np.random.default_rng(2).normal(size=shape) * 10
        values = values - values[:, :1] if projected else values
        archive = compress(of(values, projected), 0.01)
        assert archive.relative_error[0] <= 0.01
        np.testing.assert_allclose(archive.matrix(0), values, atol=0.5)

    @pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0)])
    def test_nothing_to_keep(self, shape) -> None:
        empty = Trajectories("polca", np.zeros(shape, np.float32), np.arange(shape[2]), projected=True)
        with pytest.raises(PolcaError, match="no vectors, no tokens or no points"):
            compress(empty, 0.01)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"relative_error": -0.1}, r"relative_error = -0\.1: must be"),
            ({"relative_error": 1}, "relative_error = 1: must be"),
            ({"relative_error": float("nan")}, "relative_error = nan: must be"),
            ({"relative_error": 0.1, "max_rank": 0}, "max_rank = 0: must be"),
        ],
    )
    def test_impossible_settings(self, settings, message) -> None:
        with pytest.raises(PolcaError, match=message):
            compress(trajectories(), **settings)

    def test_shapes_that_do_not_fit(self) -> None:
        archive = compress(trajectories(), 0.1)
        with pytest.raises(PolcaError, match=r"archive polca: .* do not fit"):
            replace(archive, steps=archive.steps[1:])
        with pytest.raises(PolcaError, match="archive polca: float64 trajectories"):
            replace(compress(trajectories(), 0), values=np.zeros((3, 60, 25)))
        factors = archive.values
        for change in (
            {"ranks": factors.ranks + 1},
            {"scores": factors.scores.astype(np.float64)},
            {"exponents": factors.exponents[:, 1:]},
            {"curves": factors.curves[:, 1:]},
            {"mean": factors.mean[1:]},
        ):
            with pytest.raises(PolcaError, match=r"factors: .* does not fit"):
                replace(factors, **change)


class TestFiles:
    @pytest.mark.parametrize("wanted", [0, 0.01])
    def test_same_bytes(self, tmp_path, wanted) -> None:
        for name in ("one", "two"):
            compress(trajectories(), wanted).save(tmp_path / name / "a.npz")
        first = (tmp_path / "one" / "a.npz").read_bytes()
        assert first == (tmp_path / "two" / "a.npz").read_bytes()
        Archive.load(tmp_path / "one" / "a.npz").save(tmp_path / "three.npz")
        assert first == (tmp_path / "three.npz").read_bytes()

    def test_factors_are_much_smaller(self, tmp_path) -> None:
        original = trajectories(tokens=500, points=60)
        for wanted in (0, 0.01):
            compress(original, wanted).save(tmp_path / f"{wanted}.npz")
        assert (tmp_path / "0.01.npz").stat().st_size < (tmp_path / "0.npz").stat().st_size / 3

    @pytest.mark.parametrize("wanted", [0, 0.01])
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"steps": np.arange(24)}, r"array .* (beside|not) .*"),
            ({"relative_error": np.array([0.0, np.nan, 0.0])}, "'relative_error' has NaN"),
            ({"name": np.array(3)}, "array 'name' is"),
            ({"labels": np.zeros(3)}, "has arrays"),
            ({"exponents": np.zeros((3, 60), np.int16), "values": np.zeros((3, 60, 25), np.float32)}, "neither exact"),
        ],
    )
    def test_foreign_files(self, tmp_path, wanted, change, message) -> None:
        path = tmp_path / "a.npz"
        compress(trajectories(), wanted).save(path)
        write_npz(path, read_npz(path) | change)
        self.refused(path, message)

    def test_part_of_the_factors(self, tmp_path) -> None:
        path = tmp_path / "a.npz"
        compress(trajectories(), 0.01).save(path)
        arrays = read_npz(path)
        write_npz(path, {name: a for name, a in arrays.items() if name != "mean"})
        self.refused(path, "neither exact values alone nor all factors")
        write_npz(path, arrays | {"ranks": arrays["ranks"] + 1})
        self.refused(path, "does not fit ranks that sum to")
        write_npz(path, arrays | {"ranks": np.array([-1, 0, 1 + arrays["ranks"].sum()])})
        self.refused(path, "none can be negative")
        write_npz(path, arrays | {"scores": np.full_like(arrays["scores"], np.inf)})
        self.refused(path, "'scores' has NaN or infinite")

    def test_values_that_are_not_finite(self, tmp_path) -> None:
        path = tmp_path / "a.npz"
        archive = compress(trajectories(), 0)
        archive.values[1, 2, 3] = np.nan
        with pytest.raises(PolcaError, match="vector 2 has NaN or infinite values"):
            archive.trajectories()
        archive.save(path)
        self.refused(path, "'values' has NaN or infinite")

    @pytest.mark.parametrize("wanted", [0, 0.01])
    def test_damage(self, tmp_path, wanted) -> None:
        path = tmp_path / "a.npz"
        compress(trajectories(), wanted).save(path)
        whole = path.read_bytes()
        middle = len(whole) // 2
        torn = whole[:middle]
        flipped = whole[:middle] + bytes(255 - b for b in whole[middle : middle + 8]) + whole[middle + 8 :]
        for content in (b"", torn, flipped):
            path.write_bytes(content)
            self.refused(path, "not a readable .npz file")
        self.refused(tmp_path / "none.npz", "no such file")

    @staticmethod
    def refused(path: Path, message: str) -> None:
        with pytest.raises(PolcaError, match=message) as error:
            Archive.load(path)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)
