"""The explorer's page at the widths of a desktop, a small window and a telephone: nothing sideways, nothing on top."""

from collections.abc import Iterator
from typing import Any

import pytest

from browser import Opened, opened_page, overlapping, quiet  # noqa: F401
from written_page import WrittenPage

pytestmark = pytest.mark.thorough

WIDTHS = (1400, 900, 390)
VECTORS = 50
POLCA = "#setting=arithmetic&analysis=polca&vector=1"


@pytest.fixture(scope="module")
def opened(fifty: WrittenPage, chromium: Any) -> Iterator[Opened]:
    with opened_page(chromium, fifty.path.as_uri()) as tab:
        yield tab


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "link",
    [
        POLCA + "&token=2",
        "#setting=english&analysis=polca&vector=3&token=69",
        "#setting=arithmetic&analysis=loss&vector=1",
    ],
)
def test_no_sideways_scroll(opened: Opened, width: int, link: str) -> None:
    """Nor does the panel of a token stand out of the window."""
    opened.resize(width)
    opened.visit(link)
    assert opened.sideways() == 0
    for left, _, right, _ in opened.boxes("header, section, figure, #detail, footer, #controls > *"):
        assert left >= 0
        assert right <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_buttons_of_fifty_vectors(opened: Opened, width: int) -> None:
    opened.resize(width)
    opened.visit(POLCA)
    boxes = opened.boxes("#vectors label")
    assert len(boxes) == VECTORS
    assert overlapping(boxes) == []
    assert min(box[0] for box in boxes) >= 0
    assert max(box[2] for box in boxes) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_panels_of_fifty_vectors(opened: Opened, width: int) -> None:
    """Their titles and the numbers at their axes."""
    opened.resize(width)
    opened.visit(POLCA + "&token=2")
    opened.tab.wait_for_selector("#detail-vectors .annotation-text")
    titles = opened.boxes("#detail-vectors .annotation-text")
    assert len(titles) == VECTORS + 1  # and what they show
    numbers = opened.boxes("#detail-vectors .xtick text, #detail-vectors .ytick text")
    assert overlapping([*titles, *numbers]) == []
    ((left, top, right, bottom),) = opened.boxes("#detail-vectors")
    for box in [*titles, *numbers]:
        assert left - 1 <= box[0]
        assert top - 1 <= box[1]
        assert box[2] <= right + 1
        assert box[3] <= bottom + 1


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("chart", ["projected", "exact"])
def test_labels_of_charts_are_apart_and_whole(opened: Opened, width: int, chart: str) -> None:
    opened.resize(width)
    for setting, vector in (("arithmetic", 1), ("english", 3)):
        opened.visit(f"#setting={setting}&analysis=polca&vector={vector}&token=2")
        labels = opened.boxes(f"#{chart} .annotation-text")
        numbers = opened.boxes(f"#{chart} .xtick text, #{chart} .ytick text")
        assert len(labels) > 3
        assert overlapping([*labels, *numbers], slack=2) == []
        ((left, _, right, _),) = opened.boxes(f"#{chart}")
        assert min(box[0] for box in [*labels, *numbers]) >= left - 1
        assert max(box[2] for box in [*labels, *numbers]) <= right + 1


@pytest.mark.parametrize("width", [900, 390])
def test_panel_of_a_token_is_where_the_click_was(opened: Opened, width: int) -> None:
    """Below the row, which stays where it was, also when the panel was above it before; and inside the window."""
    opened.resize(width, 800)
    opened.visit("#setting=english&analysis=polca&vector=1")
    for token in (3, 12):
        button = opened.tab.locator(f'#tokens button[data-token="{token}"]')
        row = opened.tab.locator(f'#tokens tr:has(button[data-token="{token}"])')
        row.scroll_into_view_if_needed()
        before = row.bounding_box()
        button.click()
        opened.shows(f"token={token}")
        opened.tab.wait_for_selector("#detail-vectors .scatterlayer .trace")
        opened.tab.wait_for_timeout(300)
        after, panel = row.bounding_box(), opened.tab.locator("#detail").bounding_box()
        assert abs(after["y"] - before["y"]) <= 1
        assert 0 <= panel["y"] - (after["y"] + after["height"]) <= 12
        assert panel["x"] >= 0
        assert panel["x"] + panel["width"] <= width
        assert opened.texts("#detail-note")[0].startswith(f"token {token} ")
        charts = opened.boxes("#detail .main-svg")
        assert max(box[2] for box in charts) <= width
    button.click()
    opened.tab.wait_for_function("() => !document.body.dataset.ready.includes('token')")
    assert opened.tab.locator(".detail-row").count() == 0
    assert opened.tab.locator("#detail").count() == 1


def test_a_chart_that_was_hidden_takes_the_new_width(opened: Opened) -> None:
    """The panel of a token, and the analysis beside, drawn in a wide window and shown again in a narrow one."""
    english = "#setting=english&analysis=polca&vector=1"
    opened.visit(english + "&with=loss&token=3")
    opened.visit(english)
    opened.resize(390)
    opened.tab.wait_for_timeout(300)
    opened.tab.evaluate("link => { location.hash = link; }", english + "&with=loss&token=3")
    opened.shows("token=3")
    charts = opened.boxes("#compare .main-svg, #detail .main-svg")
    assert len(charts) > 3
    assert max(right for _, _, right, _ in charts) <= 390 - 14


def test_panel_moves_when_the_window_becomes_narrow(opened: Opened) -> None:
    opened.visit("#setting=english&analysis=polca&vector=1&token=3")
    assert opened.tab.locator("#tokens #detail").count() == 0
    opened.resize(800)
    opened.tab.wait_for_selector("#tokens #detail")
    opened.resize(1400)
    opened.tab.wait_for_selector(".tokens-layout > #detail")
    assert opened.sideways() == 0
