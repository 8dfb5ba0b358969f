"""Dataclasses of arrays in one file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.arrays import Arrays


@dataclass(frozen=True)
class Pair(Arrays):
    form: ClassVar[Mapping[str, str]] = {"one": "int N", "other?": "finite N"}

    one: NDArray[np.int64]
    other: NDArray[np.float64] | None = None


def test_missing_arrays_stay_missing(tmp_path) -> None:
    Pair(np.arange(3)).save(tmp_path / "a.npz")
    back = Pair.load(tmp_path / "a.npz")
    assert isinstance(back, Pair)
    np.testing.assert_array_equal(back.one, np.arange(3))
    assert back.other is None
    Pair(np.arange(3), np.ones(3)).save(tmp_path / "a.npz")
    assert set(Pair.load(tmp_path / "a.npz").arrays()) == {"one", "other"}


def test_foreign_files_are_refused(tmp_path) -> None:
    Pair(np.arange(3), np.ones(2)).save(tmp_path / "a.npz")
    with pytest.raises(PolcaError, match=r"a\.npz: array 'other' is float64 2, not finite N"):
        Pair.load(tmp_path / "a.npz")
