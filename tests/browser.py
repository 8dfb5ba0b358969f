"""A tab of headless Chromium, driven by Playwright, without a network.

Tests that import this are skipped where either is missing. `make browser` installs Playwright; the browser is the
system's own.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="BROWSER TESTS: no Playwright (make browser)")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), "")
if not CHROMIUM:
    pytest.skip("BROWSER TESTS: no Chromium or Chrome on the path, none named by CHROMIUM", allow_module_level=True)

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTH, HEIGHT = 1400, 900

VISIT = """async (link) => {
  const drawn = async (link) => {
    delete document.body.dataset.ready;
    location.hash = link;
    while (!document.body.dataset.ready) await new Promise((done) => setTimeout(done, 2));
  };
  await drawn("#setting=english&q=elsewhere");
  await drawn(link);
}"""


@dataclass
class Opened:
    """A page in the browser, and what it said and asked for."""

    tab: Any
    url: str
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    own: set[str] = field(default_factory=set)

    def go(self, link: str = "", url: str = "") -> None:
        """Open the page anew, or another one of ours, and wait until its first view is drawn."""
        self.own.add(url or self.url)
        self.tab.goto("about:blank")
        self.tab.goto((url or self.url) + link)
        self.tab.wait_for_selector("body[data-ready]")

    def visit(self, link: str) -> None:
        """Go to a link in the page that is open, which draws it anew at the window's width; sooner than `go`."""
        if self.tab.url.partition("#")[0] != self.url:
            self.go(link)
            return
        self.own.add(self.url)
        self.tab.evaluate(VISIT, link)

    def shows(self, part: str) -> None:
        """Wait until the view of a link with this part is drawn."""
        self.tab.wait_for_function("part => document.body.dataset.ready.includes(part)", arg=part)

    def texts(self, selector: str) -> list[str]:
        return [str(text) for text in self.tab.locator(selector).all_inner_texts()]

    def resize(self, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.tab.set_viewport_size({"width": width, "height": height})

    def sideways(self) -> int:
        """By how many pixels the page can be scrolled sideways."""
        return int(self.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def boxes(self, selector: str) -> list[tuple[float, float, float, float]]:
        """Left, top, right and bottom of all elements that show anything, in pixels of the window."""
        script = "all => all.map(e => e.getBoundingClientRect()).map(b => [b.left, b.top, b.right, b.bottom])"
        found = [tuple(box) for box in self.tab.locator(selector).evaluate_all(script)]
        return [box for box in found if box[2] > box[0] and box[3] > box[1]]


@contextmanager
def launched() -> Iterator[Any]:
    """The browser."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@contextmanager
def opened_page(browser: Any, url: str) -> Iterator[Opened]:
    """A tab for this page, which is not opened yet; nothing outside the machine can be reached from it."""
    context = browser.new_context(offline=True, viewport={"width": WIDTH, "height": HEIGHT})
    tab = context.new_page()
    tab.set_default_timeout(60_000)  # for machines that do other things as well
    opened = Opened(tab, url)
    tab.on("console", lambda message: opened.said.append(message.text))
    tab.on("pageerror", lambda error: opened.said.append(str(error)))
    tab.on("request", lambda request: opened.asked.append(request.url))
    yield opened
    context.close()


def overlapping(boxes: list[tuple[float, float, float, float]], slack: float = 0.5) -> list[tuple[int, int]]:
    """Pairs of boxes that share more than `slack` pixels both ways."""
    return [
        (i, j)
        for i, a in enumerate(boxes)
        for j, b in enumerate(boxes[:i])
        if min(a[2], b[2]) - max(a[0], b[0]) > slack and min(a[3], b[3]) - max(a[1], b[1]) > slack
    ]


@pytest.fixture(autouse=True)
def quiet(opened: Opened) -> Iterator[None]:
    """No test may leave a word on the console, a request but for the page itself, or trace of a hostile string.

    For the explorer; a module of tests imports it.
    """
    opened.said.clear()
    opened.asked.clear()
    opened.own.clear()
    opened.resize()
    yield
    assert not opened.said
    allowed = (*opened.own, "about:blank", "data:", "blob:")
    assert not [url for url in opened.asked if not url.startswith(allowed)]
    assert opened.tab.evaluate("typeof hacked") == "undefined"
    assert opened.tab.locator("main img").count() == 0
