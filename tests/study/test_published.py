"""The folder of the first run at the published scale, read into archives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oracles import spread_error
from polca.errors import PolcaError
from polca.machine.files import write_json, write_npz
from polca.study.archive import Archive, Factors, compress
from polca.study.published import read_published_scale


class TestPublishedScale:
    K, X, P, R = 2, 8, 5, 3

    def folder(self, directory: Path) -> dict[str, NDArray[Any]]:
        """A folder of made-up factors; those of the first-order file."""
        rng = np.random.default_rng(3)
        k, x, p, r = self.K, self.X, self.P, self.R
        for name in ("random_trapezoid", "hessian_trapezoid", "hessian_first_order"):
            factors = {
                "scores": rng.normal(size=(k, x, r)).astype(np.float16),
                "curves": rng.normal(size=(k, p, r)).astype(np.float32),
                "mean": rng.normal(size=(k, p)).astype(np.float32),
                "relative_error": np.full(k, 0.02, np.float32),
            }
            write_npz(directory / f"{name}.npz", factors)
        write_npz(
            directory / "tokens_and_losses.npz",
            {
                "tokens": np.arange(24, dtype=np.uint8).reshape(2, 12),
                "place": np.tile(np.arange(4, dtype=np.int8), 2),
                "carry": np.arange(x) % 3 == 0,
                "losses": rng.normal(size=(p, x)).astype(np.float16),
                "movements": np.zeros((p - 1, 3 * k), np.float32),
                "steps": 20 * np.arange(p),
                "training_loss": np.zeros(80, np.float32),
            },
        )
        write_json(directory / "facts.json", {"hessian": [{"step": 20, "eigenvalue": 3.0}, {"step": 40}]})
        return factors

    def test_reading(self, tmp_path) -> None:
        factors = self.folder(tmp_path)
        run = read_published_scale(tmp_path)
        found = run.trajectories
        assert list(found) == ["polca_first_order", "polca", "polca_random"]
        assert [t.name for t in found.values()] == ["polca_first_order", "polca", "polca"]
        first = found["polca_first_order"]
        assert first.values.shape == (self.K, self.X, self.P)
        for k in range(self.K):
            product = factors["scores"][k].astype(float) @ factors["curves"][k].T.astype(float) + factors["mean"][k]
            np.testing.assert_allclose(first.values[k], product - product[:, :1], atol=1e-5)
        assert (first.values[:, :, 0] == 0).all()
        assert first.projected
        assert first.vector_steps.tolist() == [20, 40]
        assert found["polca_random"].vector_steps.tolist() == [-1, -1]
        assert run.archives["polca"].relative_error == pytest.approx(0.02)
        assert run.tokens.shape == (2, 12)
        assert run.losses.dtype == np.float32
        assert run.losses.shape == (self.P, self.X)
        np.testing.assert_array_equal(run.steps, first.steps)
        assert run.place.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
        assert run.carry.tolist() == [True, False, False, True, False, False, True, False]
        assert run.training_loss.shape == (80,)

    def test_can_be_archived_anew(self, tmp_path) -> None:
        self.folder(tmp_path)
        archive = read_published_scale(tmp_path).archives["polca"]
        again = compress(archive.trajectories(), 0.01)
        assert spread_error(archive.matrix(1), again.matrix(1)) <= 0.01
        archive.save(tmp_path / "a.npz")
        loaded = Archive.load(tmp_path / "a.npz")
        assert isinstance(loaded.values, Factors)
        np.testing.assert_array_equal(loaded.matrix(1), archive.matrix(1))

    def test_bad_folders(self, tmp_path) -> None:
        with pytest.raises(PolcaError, match=r"facts\.json: no such file"):
            read_published_scale(tmp_path)
        factors = self.folder(tmp_path)
        trapezoid = tmp_path / "hessian_trapezoid.npz"
        for change, message in (
            ({"mean": factors["mean"][:, 1:]}, r"hessian_trapezoid\.npz: array 'mean' is"),
            ({"scores": factors["scores"][:, 1:]}, r"hessian_trapezoid\.npz: scores .* do not fit the folder's"),
            ({"curves": factors["curves"].astype(np.float64)}, r"hessian_trapezoid\.npz: factors: curves is float64"),
        ):
            write_npz(trapezoid, factors | change)
            with pytest.raises(PolcaError, match=message):
                read_published_scale(tmp_path)
        for facts in ({}, {"hessian": 3}, {"hessian": [{"step": "late"}]}, {"hessian": [3]}):
            write_json(tmp_path / "facts.json", facts)
            with pytest.raises(PolcaError, match=r"facts\.json: has no steps of Hessian vectors"):
                read_published_scale(tmp_path)
        (tmp_path / "tokens_and_losses.npz").write_bytes(b"PK\x03\x04")
        write_json(tmp_path / "facts.json", {"hessian": []})
        with pytest.raises(PolcaError, match=r"tokens_and_losses\.npz: not a readable"):
            read_published_scale(tmp_path)
