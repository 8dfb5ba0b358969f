"""The overview of all vectors, two analyses side by side and the map of tokens, in a browser."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from browser import Opened, opened_page, overlapping, quiet  # noqa: F401
from expected_views import inside
from polca.explorer import Page
from polca.explorer.token_map import LEVELS
from written_page import WrittenPage

pytestmark = pytest.mark.thorough

WIDTHS = (1400, 900, 390)
VECTORS = 50
POLCA = "#setting=arithmetic&analysis=polca&vector=1"
EDGE = 12
"""Pixels that the map leaves free at its edges."""
RANGES = """() => ["projected", "compare"].map((id) => document.getElementById(id)._fullLayout.yaxis.range)"""


@pytest.fixture(scope="module")
def page(fifty: WrittenPage) -> Page:
    return fifty.page


@pytest.fixture(scope="module")
def opened(fifty: WrittenPage, chromium: Any) -> Iterator[Opened]:
    with opened_page(chromium, fifty.path.as_uri()) as tab:
        yield tab


class TestOverview:
    @pytest.mark.parametrize("width", WIDTHS)
    def test_fifty_charts(self, opened: Opened, width: int) -> None:
        """Apart from each other, inside the window, two columns at most on a telephone, and nothing stands out."""
        opened.resize(width)
        opened.visit(POLCA)
        tiles = opened.boxes(".tile")
        assert len(tiles) == VECTORS
        assert overlapping(tiles) == []
        assert opened.sideways() == 0
        assert min(box[0] for box in tiles) >= 0
        assert max(box[2] for box in tiles) <= width
        columns = len({round(box[0]) for box in tiles})
        assert columns <= 2 if width == 390 else columns >= 4
        for tile, head in zip(tiles, opened.boxes(".tile-head"), strict=True):
            assert tile[0] <= head[0]
            assert head[2] <= tile[2]
        held = opened.boxes(".tile-head .held")
        assert overlapping([*held, *opened.boxes(".tile-head b")]) == []

    def test_a_chart_leads_to_its_vector(self, opened: Opened) -> None:
        """By the keyboard, with the focus on the title of what it leads to; back leads back."""
        opened.visit(POLCA)
        opened.tab.locator('.tile[data-vector="3"]').press("Enter")
        opened.shows("vector=3")
        assert opened.texts("#vector-title")[0].startswith("POLCA, standardised: vector 3, ")
        opened.tab.wait_for_function("document.activeElement.id === 'vector-title'")
        assert opened.tab.locator('.tile[aria-current="true"]').get_attribute("data-vector") == "3"
        opened.tab.go_back()
        opened.shows("vector=1")
        assert opened.tab.locator('.tile[aria-current="true"]').get_attribute("data-vector") == "1"

    def test_one_vector_needs_none(self, opened: Opened) -> None:
        opened.visit("#setting=arithmetic&analysis=loss&vector=1")
        assert not opened.tab.locator("#overview").is_visible()


class TestSideBySide:
    def test_another_reading(self, opened: Opened) -> None:
        """On the same scale; part of the link, which back and forward follow."""
        opened.visit(POLCA)
        assert not opened.tab.locator("#compare-panel").is_visible()
        opened.tab.locator("#with").select_option(label="POLCA, raw trajectories")
        opened.shows("with=polca.raw")
        left, right = opened.tab.evaluate(RANGES)
        assert left == right
        first, second = opened.boxes("#projected, #compare")
        assert first[1] == second[1]
        assert first[2] < second[0]
        opened.tab.go_back()
        opened.shows("vector=1")
        opened.tab.wait_for_selector("#compare-panel", state="hidden")
        assert opened.tab.locator("#with").input_value() == ""
        opened.tab.go_forward()
        opened.shows("with=polca.raw")
        assert opened.tab.locator("#compare-panel").is_visible()

    def test_by_a_link(self, opened: Opened) -> None:
        """The vector of the first where the second has none of its number; another unit has its own scale."""
        opened.visit(POLCA.replace("vector=1", "vector=7") + "&with=loss")
        caption = opened.texts("#compare-caption")[0]
        assert caption == "Exact loss, standardised: exact loss, nats"
        left, right = opened.tab.evaluate(RANGES)
        assert left != right
        assert opened.tab.locator("#compare .scatterlayer .trace").count() > 1

    @pytest.mark.parametrize("width", WIDTHS)
    @pytest.mark.parametrize("first", ["polca", "loss"])
    def test_fits(self, opened: Opened, width: int, first: str) -> None:
        opened.resize(width)
        opened.visit(f"#setting=arithmetic&analysis={first}&vector=1&with=fisher")
        assert opened.sideways() == 0
        charts = opened.boxes("#projected-panel, #compare-panel, #exact-panel")
        assert len(charts) == (3 if first == "polca" else 2)
        assert overlapping(charts) == []
        assert max(box[2] for box in charts) <= width


class TestMap:
    def pixels(self, opened: Opened, page: Page, point: int = -1) -> NDArray[np.float64]:
        """Where the dots are, `[2, X]` in the window, worked out from the map: room for all steps and the origin."""
        found = page.settings[0].token_map
        assert found is not None
        opened.tab.locator("#map").scroll_into_view_if_needed()
        ((left, top, right, bottom),) = opened.boxes("#map")
        low = np.minimum(found.coordinates.min(axis=(1, 2)), 0)
        high = np.maximum(found.coordinates.max(axis=(1, 2)), 0)
        unit = min((right - left - 2 * EDGE) / (high - low)[0], (bottom - top - 2 * EDGE) / (high - low)[1])
        middle = np.array([[(left + right) / 2], [(top + bottom) / 2]])
        offset = (found.coordinates[:, :, point] - ((low + high) / 2)[:, None]) * unit
        return np.asarray(middle + offset * np.array([[1], [-1]]))

    def test_a_box_lists_exactly_its_tokens(self, opened: Opened, page: Page) -> None:
        """Up to a cut where the dots are furthest apart; clear shows all again."""
        opened.visit(POLCA)
        across = self.pixels(opened, page)[0]
        ordered = np.sort(across)
        gap = 60 + int(np.diff(ordered[60:-60]).argmax())
        cut = float(ordered[gap : gap + 2].mean())
        ((left, top, _, bottom),) = opened.boxes("#map")
        opened.tab.keyboard.down("Shift")
        opened.tab.mouse.move(left + 1, top + 1)
        opened.tab.mouse.down()
        opened.tab.mouse.move(cut, bottom - 60, steps=3)
        opened.tab.mouse.move(cut, bottom - 1)
        opened.tab.mouse.up()
        opened.tab.keyboard.up("Shift")
        opened.shows("pick=b")
        inside = np.flatnonzero(across < cut)
        assert opened.texts("#picked-count") == [f"{len(inside)} tokens chosen on the map"]
        assert opened.texts("#count")[0].startswith(f"{len(inside)} tokens")
        while opened.tab.locator("#more").is_visible():
            opened.tab.locator("#more").click()
        listed = opened.tab.locator("#tokens td.target button").evaluate_all("all => all.map(b => +b.dataset.token)")
        assert listed == inside.tolist()
        opened.tab.locator("#picked-clear").click()
        opened.tab.wait_for_function("() => !document.body.dataset.ready.includes('pick')")
        assert opened.texts("#count")[0].startswith(f"{len(across)} tokens")
        assert not opened.tab.locator("#picked").is_visible()

    def test_a_lasso_is_part_of_the_link(self, opened: Opened, page: Page) -> None:
        """Drawn freehand at an earlier step: a pasted link, back and forward list the same tokens at that step."""
        opened.visit(POLCA)
        found = page.settings[0].token_map
        assert found is not None
        step = len(found.steps) - 3
        for _ in range(2):
            opened.tab.locator("#map-step").press("ArrowLeft")
        opened.tab.wait_for_timeout(400)
        places = self.pixels(opened, page, step)
        middle = np.median(places, axis=1)
        angles = np.linspace(0, 2 * np.pi, 100)
        path = middle[:, None] + np.array([130 * np.cos(angles), 70 * np.sin(3 * angles) + 20 * np.sin(angles)])
        opened.tab.mouse.move(*path[:, 0].tolist())
        opened.tab.mouse.down()
        for point in path.T[1:].tolist():
            opened.tab.mouse.move(*point)
        opened.tab.mouse.up()
        opened.shows(f"pick=l{step}_")
        link = str(opened.tab.evaluate("location.hash"))
        corners = [tuple(map(int, corner.split("."))) for corner in link.partition("pick=")[2].split("_")[1:]]
        assert len(corners) <= 41
        assert len(link) < 600
        levels = np.rint(found.coordinates[:, :, step] / np.abs(found.coordinates).max() * LEVELS)
        chosen = np.flatnonzero(inside(levels / LEVELS * 1000, corners, box=False))
        assert 10 < len(chosen) < places.shape[1] - 10
        # Thinned to fewer corners, it still is what was drawn but for dots beside the path.
        drawn = np.flatnonzero(inside(places, [(round(x), round(y)) for x, y in path.T.tolist()], box=False))
        assert len(set(drawn) ^ set(chosen)) <= 0.05 * places.shape[1]
        said = f"{len(chosen)} tokens chosen on the map"

        def listed() -> list[int]:
            rows = opened.tab.locator("#tokens td.target button").evaluate_all("all => all.map(b => +b.dataset.token)")
            return [int(row) for row in rows]

        first = listed()
        assert opened.texts("#picked-count") == [said]
        assert first == chosen[: len(first)].tolist()
        opened.tab.go_back()
        opened.tab.wait_for_function("() => !document.body.dataset.ready.includes('pick')")
        assert not opened.tab.locator("#picked").is_visible()
        opened.tab.go_forward()
        opened.shows("pick=l")
        assert (opened.texts("#picked-count"), listed()) == ([said], first)
        opened.go(link)
        assert (opened.texts("#picked-count"), listed()) == ([said], first)
        assert opened.texts("#map-at") == [f"step {found.steps[step]:,}"]

    def test_pointing_and_clicking(self, opened: Opened, page: Page) -> None:
        """The dot furthest from the others: its context on pointing, it alone in the table on a click."""
        opened.visit(POLCA)
        places = self.pixels(opened, page)
        apart = np.linalg.norm(places[:, :, None] - places[:, None], axis=0)
        np.fill_diagonal(apart, np.inf)
        token = int(apart.min(axis=1).argmax())
        opened.tab.mouse.move(*places[:, token].tolist())
        opened.tab.wait_for_selector("#map-tip", state="visible")
        tokens = page.settings[0].tokens
        assert opened.texts("#map-tip span") == ["".join(tokens.sequences[tokens.sequence[token]])]
        assert f"token {token} " in opened.texts("#map-tip small")[0]
        opened.tab.mouse.click(*places[:, token].tolist())
        opened.shows(f"pick=t{token}")
        assert opened.texts("#count")[0].startswith("1 token.")
        assert opened.tab.locator("#tokens td.target button").get_attribute("data-token") == str(token)

    def test_the_slider_by_the_keyboard(self, opened: Opened, page: Page) -> None:
        """At the first step all dots are at one place, where one click finds them; its label says the step."""
        opened.visit(POLCA)
        slider, found = opened.tab.locator("#map-step"), page.settings[0].token_map
        assert found is not None
        assert opened.texts("#map-at") == [f"step {found.steps[-1]:,}"]
        slider.press("ArrowLeft")
        assert opened.texts("#map-at") == [f"step {found.steps[-2]:,}"]
        slider.press("Home")
        assert slider.get_attribute("aria-valuetext") == "step 0"
        opened.tab.wait_for_timeout(500)
        x, y = self.pixels(opened, page, 0)[:, 0].tolist()
        opened.tab.mouse.move(x - 9, y - 9)
        opened.tab.mouse.down()
        for corner in ((9, -9), (9, 9), (-9, 9)):
            opened.tab.mouse.move(x + corner[0], y + corner[1])
        opened.tab.mouse.up()
        opened.shows("pick=l0_")
        assert opened.texts("#picked-count") == [f"{found.coordinates.shape[1]} tokens chosen on the map"]

    def test_the_key_by_the_keyboard(self, opened: Opened, page: Page) -> None:
        """Colours by facet or cluster; a colour chooses its tokens; another setting forgets them."""
        opened.visit(POLCA)
        carry = page.settings[0].facets[1]
        opened.tab.locator("#map-color").select_option(label="carry")
        opened.tab.locator("#map-key button").first.press("Enter")
        opened.shows("pick=k1.0")
        assert opened.texts("#count")[0].startswith(f"{int((carry.values == 0).sum())} tokens")
        opened.tab.locator("#map-color").select_option(label="cluster of the vector on show")
        sizes = [c["size"] for c in page.settings[0].analyses[0].to_json()["vectors"][0]["clusters"]]
        assert sizes
        shown = opened.texts("#map-key button")
        assert [int(text.rpartition(", ")[2]) for text in shown[: len(sizes)]] == sizes
        opened.tab.locator('input[name="setting"][value="english"]').check()
        opened.shows("setting=english")
        assert not opened.tab.locator("#picked").is_visible()

    def test_analyses_without_a_map(self, opened: Opened) -> None:
        opened.visit("#setting=arithmetic&analysis=lca&vector=1")
        assert opened.texts("#map-note")[0].startswith("This map is made of the projected losses of POLCA:")
        assert not opened.tab.locator("#map").is_visible()
