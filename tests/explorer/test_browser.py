"""The explorer's page in a browser: headless Chromium driven by Playwright, without a network.

Skipped where either is missing: `pip install playwright` and a Chromium on the path are enough.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tiny_analysis
from polca.explorer import analysis_page, preset_page, write_page
from polca.external.analyze import write_analysis
from polca.machine.files import read_csv
from synthetic_explorer import HOSTILE, SyntheticRun

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the path")

FIRST = "POLCA, standardised: vector 1, sampled at step 400"
"""Title of the view that a page of the made-up preset begins with."""

OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@dataclass
class Opened:
    """A page in the browser, and what it said and asked for."""

    tab: Any
    url: str
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    own: set[str] = field(default_factory=set)

    def go(self, link: str = "", url: str = "") -> None:
        """Open the page, or another one of ours."""
        self.own.add(url or self.url)
        self.tab.goto("about:blank")
        self.tab.goto((url or self.url) + link)
        self.tab.wait_for_selector("body[data-ready]")

    def shows(self, part: str) -> None:
        """Wait until the view of a link with this part is drawn."""
        self.tab.wait_for_function("part => document.body.dataset.ready.includes(part)", arg=part)

    def texts(self, selector: str) -> list[str]:
        return [str(text) for text in self.tab.locator(selector).all_inner_texts()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return SyntheticRun(tmp_path_factory.mktemp("checkout")).write()


@pytest.fixture(scope="module")
def opened(run: SyntheticRun) -> Iterator[Opened]:
    path = run.root / "page.html"
    write_page(preset_page(run.paths), path)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        tab = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
        opened = Opened(tab, path.as_uri())
        tab.on("console", lambda message: opened.said.append(message.text))
        tab.on("pageerror", lambda error: opened.said.append(str(error)))
        tab.on("request", lambda request: opened.asked.append(request.url))
        yield opened
        browser.close()


@pytest.fixture(autouse=True)
def quiet(opened: Opened) -> Iterator[None]:
    """No test may leave a word on the console, a request but for the page itself, or trace of a hostile string."""
    opened.said.clear()
    opened.asked.clear()
    opened.own.clear()
    yield
    assert not opened.said
    allowed = (*opened.own, "about:blank", "data:", "blob:")
    assert not [url for url in opened.asked if not url.startswith(allowed)]
    assert opened.tab.evaluate("typeof hacked") == "undefined"
    assert opened.tab.locator("main img").count() == 0


def test_first_view(opened: Opened) -> None:
    opened.go()
    assert opened.tab.title() == "Hidden breakthroughs: preset made_up"
    assert opened.texts("#vector-title") == [FIRST]
    assert "minus its own mean over time" in opened.texts("#vector-note")[0]
    assert opened.texts('input[name="setting"] + span') == ["Arithmetic", "English"]
    assert opened.tab.locator("#projected .scatterlayer .trace").count() > 4
    assert not opened.tab.locator("#problem").is_visible()


def test_vectors_and_the_keyboard(opened: Opened, run: SyntheticRun) -> None:
    """Another vector by its button, the next with an arrow key; each shows its own clusters and their breakthroughs."""
    table = read_csv(run.arithmetic.paths.table("clusters"))
    opened.go("#setting=arithmetic&analysis=polca&vector=1")
    opened.tab.locator('input[name="vector"][value="2"]').check()
    opened.shows("vector=2")
    opened.tab.keyboard.press("ArrowRight")
    opened.shows("vector=3")
    rows = table[(table["analysis"] == "polca") & (table["vector"] == 3)]
    shown = [row for row in opened.texts("#clusters tbody tr") if row.lstrip()[0].isdigit()]
    assert len(shown) == len(rows) == 2
    for text, row in zip(shown, rows.itertuples(), strict=True):
        assert re.search(rf"\b{row.size}\b", text)
        assert f"{row.break_step:,.0f}" in text
    assert "vector=3" in opened.tab.evaluate("location.hash")


def test_cluster_shows_its_members(opened: Opened, run: SyntheticRun) -> None:
    table = read_csv(run.arithmetic.paths.table("clusters"))
    size = int(table[(table["analysis"] == "polca") & (table["vector"] == 2) & (table["cluster"] == 1)]["size"].iloc[0])
    opened.go("#setting=arithmetic&analysis=polca&vector=2")
    opened.tab.locator('#clusters button[data-group="1"]').press("Enter")
    opened.shows("group=1")
    assert opened.texts("#count")[0].startswith(f"{size} tokens")
    assert set(opened.texts("#tokens tbody td.group")) == {"1"}
    assert opened.tab.locator('#clusters button[data-group="1"]').get_attribute("aria-pressed") == "true"
    while opened.tab.locator("#more").is_visible():
        opened.tab.locator("#more").click()
    assert opened.tab.locator("#tokens tbody tr").count() == size


def test_a_line_selects_its_cluster(opened: Opened) -> None:
    """A click with the mouse on a point of the second cluster's median."""
    opened.go("#setting=arithmetic&analysis=polca&vector=2")
    x, y = opened.tab.evaluate(
        """() => {
          const node = document.getElementById("projected"), {left, top} = node.getBoundingClientRect();
          const {xaxis, yaxis, _size} = node._fullLayout;
          const line = node.data.filter((trace) => trace.customdata && trace.mode === "lines")[1];
          return [left + _size.l + xaxis.c2p(line.x[60]), top + _size.t + yaxis.c2p(line.y[60])];
        }"""
    )
    opened.tab.mouse.move(x, y)
    opened.tab.wait_for_selector("#projected .hovertext")
    opened.tab.mouse.click(x, y)
    opened.shows("group=1")
    assert set(opened.texts("#tokens tbody td.group")) == {"1"}


def test_search_filters_the_table(opened: Opened, run: SyntheticRun) -> None:
    opened.go("#setting=english&analysis=polca&vector=1")
    opened.tab.locator("#scope").select_option("token")
    opened.tab.locator("#search").fill("the")
    opened.shows("q=the")
    wanted = sum(string.strip().lower() == "the" for string in run.strings[:, 3:].ravel())
    assert opened.texts("#count")[0].startswith(f"{wanted} tokens")
    assert {text.strip().lower() for text in opened.texts("#tokens td.target button")} == {"the"}
    opened.tab.locator("#search").fill("no such word")
    opened.shows("q=no+such+word")
    assert opened.texts("#count") == ["No token fits: take away a filter."]


def test_token_on_every_vector(opened: Opened) -> None:
    """Pointing at a token previews its trajectories, choosing it puts it into the link, another vector keeps it."""
    opened.go("#setting=arithmetic&analysis=polca&vector=1")
    assert opened.texts("#detail-context") == [""]
    opened.tab.locator("#tokens tbody tr").nth(2).hover()
    opened.tab.wait_for_selector("#detail-vectors .scatterlayer .trace")
    assert opened.tab.locator("#detail-vectors .scatterlayer .trace").count() == 5
    assert opened.tab.locator("#detail-exact .scatterlayer .trace").count() == 1
    opened.tab.locator("#tokens tbody tr").nth(2).click()
    opened.shows("token=2")
    opened.tab.locator('input[name="vector"][value="5"]').check()
    opened.shows("vector=5&token=2")


def test_hostile_strings_are_text(opened: Opened) -> None:
    """As a token, in its context, and as a cluster's name, in the table and in Plotly's labels."""
    opened.go("#setting=english&analysis=polca&vector=1&token=69")
    assert HOSTILE in opened.texts("#detail-context")[0]
    assert any(HOSTILE in text for text in opened.texts("#clusters button"))
    labels = opened.tab.locator("#projected .annotation-text").all_text_contents()
    assert any("</script><b>" in label for label in labels), labels


def test_results_of_analyze(opened: Opened, tmp_path: Path) -> None:
    """The page of a folder of `polca analyze`: hostile tokens as clusters' names, in bars, contexts and labels."""
    found = tiny_analysis.analysis()
    write_analysis(found, tiny_analysis.evaluation(), tmp_path / "results")
    write_page(analysis_page(tmp_path / "results"), tmp_path / "page.html")
    opened.go("#vector=1&group=0&token=1", (tmp_path / "page.html").as_uri())
    assert not opened.tab.locator("#problem").is_visible()
    assert not opened.tab.locator("#settings").is_visible()
    sizes = found.clusters.cluster_size[found.clusters.cluster_vector == 0]
    shown = [text for text in opened.texts("#clusters button") if text[0].isdigit()]
    assert len(shown) == len(sizes)
    assert HOSTILE in shown[0]
    assert opened.texts("#count")[0].startswith(f"{sizes[0]} tokens")
    assert {text.strip() for text in opened.texts("#tokens td.target button")} == {HOSTILE}
    labels = opened.tab.locator("#projected .annotation-text").all_text_contents()
    assert any("</script><b>" in label for label in labels), labels
    # The exact loss of a token is there though no analysis is of it.
    assert opened.tab.locator("#detail-exact .scatterlayer .trace").count() == 1
    assert opened.tab.locator("#detail-vectors .scatterlayer .trace").count() == 2


def test_link_restores_the_view(opened: Opened) -> None:
    link = "#setting=english&analysis=polca&vector=3&group=outliers&token=7&q=the&scope=token&order=last"
    opened.go(link)
    assert opened.tab.locator("#link").get_attribute("href") == link
    assert opened.tab.locator("#group").input_value() == "outliers"
    assert opened.tab.locator("#search").input_value() == "the"
    assert set(opened.texts("#tokens tbody td.group")) == {"outlier"}


@pytest.mark.parametrize("link", ["#setting=none&analysis=1&vector=99&group=7&token=-1", "#%%%", "#vector=1e9"])
def test_wrong_link_shows_something(opened: Opened, link: str) -> None:
    opened.go(link)
    assert opened.texts("#vector-title") == [FIRST]


def test_the_other_reading(opened: Opened, run: SyntheticRun) -> None:
    """Chosen from the list, it has a title, clusters and a link of its own, and the same mean of all tokens."""
    mean = "() => document.getElementById('projected').data.find((trace) => trace.name === 'all tokens').y"
    opened.go("#setting=arithmetic&analysis=polca&vector=3")
    standardised = opened.tab.evaluate(mean)
    opened.tab.locator("#analysis").select_option(label="POLCA, raw trajectories")
    opened.shows("analysis=polca.raw")
    table = read_csv(run.arithmetic.paths.of_reading("raw").table("clusters"))
    vector = int(table[table["analysis"] == "polca"]["vector"].min())
    assert opened.texts("#vector-title")[0].startswith(f"POLCA, raw trajectories: vector {vector}, ")
    opened.go("#setting=arithmetic&analysis=polca.raw&vector=3")
    rows = table[(table["analysis"] == "polca") & (table["vector"] == 3)]
    shown = [row for row in opened.texts("#clusters tbody tr") if row.lstrip()[0].isdigit()]
    assert len(shown) == len(rows)
    for text, row in zip(shown, rows.itertuples(), strict=True):
        assert re.search(rf"\b{row.size}\b", text)
    assert opened.tab.evaluate(mean) == standardised
    assert len(standardised) == len(run.arithmetic.steps)


def test_every_analysis_can_be_drawn(opened: Opened, run: SyntheticRun) -> None:
    """Each one's first vector; of POLCA also one that was dropped and one without clusters."""
    opened.go()
    tables = {made.paths.name: read_csv(made.paths.table("vectors")) for made in (run.arithmetic, run.english)}
    views = [
        (setting, name + reading, 1)
        for setting, table in tables.items()
        for name in table["analysis"].unique()
        for reading in ("", ".raw")
    ]
    for setting, name, vector in [*views, ("arithmetic", "polca", 4), ("arithmetic", "polca", 5)]:
        link = f"setting={setting}&analysis={name}&vector={vector}&token=5"
        opened.tab.evaluate("link => { location.hash = link; }", link)
        opened.shows(link)
        assert opened.tab.locator("#exact .scatterlayer .trace").count() >= 2
        assert not opened.tab.locator("#problem").is_visible()


def test_narrow_screen_does_not_scroll_sideways(opened: Opened) -> None:
    opened.tab.set_viewport_size({"width": 390, "height": 800})
    opened.go("#setting=english&analysis=polca&vector=1&token=69")
    wide = opened.tab.evaluate("document.documentElement.scrollWidth")
    opened.tab.set_viewport_size({"width": 1280, "height": 900})
    assert wide <= 390
