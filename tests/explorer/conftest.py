"""Results and pages that several modules look at, written once."""

from pathlib import Path

import pytest

from tiny_analysis import written
from written_page import WrittenPage, written_page


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> WrittenPage:
    return written_page(tmp_path_factory.mktemp("made_up"))


@pytest.fixture(scope="session")
def fifty(tmp_path_factory: pytest.TempPathFactory) -> WrittenPage:
    """With fifty vectors of additions."""
    return written_page(tmp_path_factory.mktemp("fifty"), vectors=50)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of `polca analyze`, to be read."""
    directory = tmp_path_factory.mktemp("analysis") / "results"
    written(directory)
    return directory
