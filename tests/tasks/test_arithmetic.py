"""Three-digit addition: tokens, the split, and its limits."""

import numpy as np
import pytest
import torch

from polca.errors import PolcaError
from polca.tasks.arithmetic.data import batch, encode, make_data


def numbers(tokens):
    """Read the tokens back with Python's own integers."""
    text = ["".join("0123456789+="[t] for t in row) for row in tokens]
    return [(int(t[:3]), int(t[4:7]), int(t[8:])) for t in text], text


def test_encoding() -> None:
    assert encode(np.array([7]), np.array([995]))[0].tolist() == [0, 0, 7, 10, 9, 9, 5, 11, 1, 0, 0, 2]


def test_sums_are_right_and_parts_disjoint() -> None:
    data = make_data(5000, 1250, 0)
    training, _ = numbers(data.training)
    evaluation, text = numbers(data.evaluation)
    assert all(a + b == c for a, b, c in training + evaluation)
    assert all(t[3] == "+" and t[7] == "=" for t in text)
    assert len(set(training) | set(evaluation)) == 6250


def test_summands_are_uniform() -> None:
    numbers_seen, _ = numbers(make_data(40_000, 1, 0).training)
    for summand in np.array(numbers_seen)[:, :2].T:
        counts = np.bincount(summand // 100, minlength=10)
        assert (np.abs(counts - 4000) < 5 * np.sqrt(3600)).all()


def test_more_training_does_not_change_the_evaluation_set() -> None:
    few, many = make_data(10, 100, 3), make_data(1000, 100, 3)
    assert np.array_equal(few.evaluation, many.evaluation)
    assert np.array_equal(few.training, many.training[:10])
    assert not np.array_equal(few.evaluation, make_data(10, 100, 4).evaluation)


def test_batch_predicts_the_four_digits() -> None:
    inputs, targets = batch(encode(np.array([123]), np.array([989])))
    assert inputs.tolist() == [[1, 2, 3, 10, 9, 8, 9, 11, 1, 1, 1]]
    assert targets.tolist() == [[1, 1, 1, 2]]
    assert inputs.dtype == torch.int64


def test_too_many_examples() -> None:
    with pytest.raises(PolcaError, match="more than the 1000000 pairs"):
        make_data(999_999, 2, 0)
    with pytest.raises(PolcaError, match="evaluation examples = 0"):
        make_data(10, 0, 0)
