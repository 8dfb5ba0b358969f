"""Pages that several modules look at in a browser, written once."""

import pytest

from written_page import WrittenPage, written_page


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> WrittenPage:
    return written_page(tmp_path_factory.mktemp("made_up"))


@pytest.fixture(scope="session")
def fifty(tmp_path_factory: pytest.TempPathFactory) -> WrittenPage:
    """With fifty vectors of additions."""
    return written_page(tmp_path_factory.mktemp("fifty"), vectors=50)
