"""A missing package is one line that says what brings it."""

import pytest

from polca.errors import PolcaError
from polca.machine.extras import needs


def test_names_the_extra() -> None:
    message = r"the package no_such_thing is not installed: pip install 'polca\[models\]'"
    with pytest.raises(PolcaError, match=message), needs("models"):
        import no_such_thing.inside  # noqa: F401


def test_our_own_mistakes_stay_seen() -> None:
    with pytest.raises(ModuleNotFoundError), needs("explore"):
        import polca.no_such_thing  # noqa: F401
