"""Examples in docstrings of the public functions."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["decomposition", "clustering", "breakthrough"])
def test_examples(name: str) -> None:
    result = doctest.testmod(import_module(f"polca.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
