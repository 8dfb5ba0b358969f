"""What tests of figures share."""

from collections.abc import Iterator

import pytest

from polca.report.figures.style import styled


@pytest.fixture
def style() -> Iterator[None]:
    """The look of the figures while a test runs."""
    with styled():
        yield
