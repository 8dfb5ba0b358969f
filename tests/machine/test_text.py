"""Text on one line, with every character seen."""

import pytest

from polca.machine.text import one_line, visible


@pytest.mark.parametrize(
    ("space", "shown"), [(None, "a b⏎��é�"), (" ", "a b⏎  é�"), ("␣", "a␣b⏎␣␣é�")], ids=["kept", "blank", "box"]
)
def test_visible(space: str | None, shown: str) -> None:
    assert visible("a b\n\t\u00a0é\x00", space) == shown


def test_one_line() -> None:
    assert one_line(ValueError("no\n  good:\tbad")) == "no good: bad"
