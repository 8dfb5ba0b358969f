"""The page of results in a browser: it reads only files beside it, shows every picture, and fits narrow windows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import Opened, opened_page
from polca.machine.checkout import ROOT
from polca.report.page import results_page
from polca.study.paths import PresetPaths

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module", params=["laptop", "smoke"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Iterator[Opened]:
    """Made anew from the committed results, beside links to these."""
    own, root = PresetPaths(request.param), tmp_path_factory.mktemp("page")
    path = root / own.paper.relative_to(ROOT) / "index.html"
    path.parent.mkdir(parents=True)
    (root / "figures").symlink_to(ROOT / "figures")
    for beside in own.paper.iterdir():
        if beside.name != path.name:
            (path.parent / beside.name).symlink_to(beside)
    path.write_text(results_page(own), encoding="utf-8")
    with opened_page(chromium, path.as_uri()) as tab:
        yield tab


@pytest.mark.parametrize("width", [1400, 900, 390])
def test_page_of_results(opened: Opened, width: int) -> None:
    """No word on the console, no request elsewhere, no scroll sideways, no broken picture."""
    opened.said.clear()
    opened.asked.clear()
    opened.resize(width)
    opened.tab.goto(opened.url)
    images = opened.tab.locator("img")
    assert images.count() > 10
    for image in images.all():  # they are loaded when they come into view
        image.scroll_into_view_if_needed()
    opened.tab.wait_for_function("() => [...document.images].every((image) => image.complete)")
    assert (
        opened.tab.evaluate("[...document.images].filter((image) => !image.naturalWidth).map((image) => image.src)")
        == []
    )
    assert opened.sideways() == 0
    for left, _, right, _ in opened.boxes("img, p, h1, h2, .wide, figcaption, li"):
        assert left >= 0
        assert right <= width
    assert opened.said == []
    folder = Path(opened.url.removeprefix("file://")).parents[2].as_uri()
    assert [url for url in opened.asked if not url.startswith(folder)] == []
    assert len(opened.asked) > images.count()
