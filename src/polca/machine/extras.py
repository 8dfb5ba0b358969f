"""Packages that not everyone needs: `pip install polca[models]` brings those for Hugging Face's models, and so on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from polca.errors import PolcaError


@contextmanager
def needs(extra: Literal["models", "explore", "repro"]) -> Iterator[None]:
    """Around imports: where a package is missing, say in one line which extra brings it.

    Raises:
        PolcaError: a module of another package is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "polca"):
            raise
        raise PolcaError(f"the package {package} is not installed: pip install 'polca[{extra}]'") from error
