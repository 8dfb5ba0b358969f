"""Results do not depend on the number of processes, nor on an interruption."""

import numpy as np
import pytest

from polca.errors import PolcaError
from polca.parallel import map_processes


def square(shared, item):
    return {"value": np.array([shared * item**2]), "nested": {"a": np.arange(item)}}


def failing(shared, item):
    if item == 3:
        raise PolcaError("item 3 is bad")
    return square(shared, item)


@pytest.mark.parametrize("workers", [1, 2])
def test_order_and_form(workers, tmp_path) -> None:
    expected = [square(2, i) for i in (4, 1, 3)]
    for resume in (None, tmp_path, tmp_path):
        got = map_processes(square, 2, [4, 1, 3], workers=workers, description="test", resume=resume)
        assert [g["value"].tolist() for g in got] == [e["value"].tolist() for e in expected]
        assert [g["nested"]["a"].tolist() for g in got] == [e["nested"]["a"].tolist() for e in expected]


@pytest.mark.parametrize("workers", [1, 2])
def test_finished_items_are_kept_when_one_fails(workers, tmp_path) -> None:
    with pytest.raises(PolcaError, match="item 3 is bad"):
        map_processes(failing, 2, [1, 2, 3], workers=workers, description="test", resume=tmp_path)
    assert {p.stem for p in tmp_path.iterdir()} <= {"1", "2"}
    got = map_processes(square, 2, [1, 2, 3], workers=workers, description="test", resume=tmp_path)
    assert [g["value"].tolist() for g in got] == [[2], [8], [18]]


def test_no_workers() -> None:
    with pytest.raises(PolcaError, match="workers = 0"):
        map_processes(square, 1, [1], workers=0, description="test")
