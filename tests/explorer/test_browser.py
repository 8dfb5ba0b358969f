"""The explorer's page in a browser: headless Chromium driven by Playwright, without a network."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_analysis
from browser import Opened, opened_page, quiet  # noqa: F401
from polca.explorer import analysis_page, write_page
from polca.machine.files import read_csv
from synthetic_explorer import HOSTILE, WINDOW, SyntheticRun
from written_page import WrittenPage

pytestmark = pytest.mark.thorough

FIRST = "POLCA, standardised: vector 1, sampled at step 400"
"""Title of the view that a page of the made-up preset begins with."""

MEAN = "() => document.getElementById('projected').data.find((trace) => trace.name === 'all tokens').y"


@pytest.fixture(scope="module")
def run(made_up: WrittenPage) -> SyntheticRun:
    return made_up.run


@pytest.fixture(scope="module")
def opened(made_up: WrittenPage, chromium: Any) -> Iterator[Opened]:
    with opened_page(chromium, made_up.path.as_uri()) as tab:
        yield tab


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
    opened.visit("#setting=arithmetic&analysis=polca&vector=1")
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
    opened.visit("#setting=arithmetic&analysis=polca&vector=2")
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
    opened.visit("#setting=arithmetic&analysis=polca&vector=2")
    x, y = opened.tab.evaluate(
        """() => {
          const node = document.getElementById("projected");
          node.scrollIntoView({ block: "center" });  // the overview stands above it
          const {left, top} = node.getBoundingClientRect();
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
    opened.visit("#setting=english&analysis=polca&vector=1")
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
    opened.visit("#setting=arithmetic&analysis=polca&vector=1")
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
    found = tiny_analysis.written(tmp_path / "results")
    write_page(analysis_page(tmp_path / "results"), tmp_path / "page.html")
    opened.go("#vector=1&group=0&token=1", (tmp_path / "page.html").as_uri())
    assert not opened.tab.locator("#problem").is_visible()
    assert not opened.tab.locator("#settings").is_visible()
    sizes = found.clusters.cluster_size[found.clusters.cluster_vector == 0]
    shown = [text for text in opened.texts("#clusters button") if text[0].isdigit()]
    assert len(shown) == len(sizes)
    assert HOSTILE in shown[0]
    assert opened.texts("#count")[0].startswith(f"{sizes[0]} tokens")
    words = np.array(tiny_analysis.WORDS)[tiny_analysis.evaluation().targets.flatten().numpy()]
    members = words[found.clusters.labels[0] == 0]
    texts = [text.strip() for text in opened.texts("#tokens td.target button")]
    assert texts == members[: len(texts)].tolist()
    assert HOSTILE in texts
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
    opened.visit("#setting=arithmetic&analysis=polca&vector=3")
    standardised = opened.tab.evaluate(MEAN)
    opened.tab.locator("#analysis").select_option(label="POLCA, raw trajectories")
    opened.shows("analysis=polca.raw")
    table = read_csv(run.arithmetic.paths.of_reading("raw").table("clusters"))
    vector = int(table[table["analysis"] == "polca"]["vector"].min())
    assert opened.texts("#vector-title")[0].startswith(f"POLCA, raw trajectories: vector {vector}, ")
    opened.visit("#setting=arithmetic&analysis=polca.raw&vector=3")
    rows = table[(table["analysis"] == "polca") & (table["vector"] == 3)]
    shown = [row for row in opened.texts("#clusters tbody tr") if row.lstrip()[0].isdigit()]
    assert len(shown) == len(rows)
    for text, row in zip(shown, rows.itertuples(), strict=True):
        assert re.search(rf"\b{row.size}\b", text)
    assert opened.tab.evaluate(MEAN) == standardised
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


def titled(run: SyntheticRun, setting: str, vector: int) -> str:
    """The title of a vector of POLCA, by its table."""
    table = read_csv(getattr(run, setting).paths.table("vectors"))
    (row,) = table[(table["analysis"] == "polca") & (table["vector"] == vector)].itertuples()
    return f"POLCA, standardised: vector {vector}, sampled at step {row.vector_step:,}"


def test_a_link_pasted_into_an_open_tab(opened: Opened, run: SyntheticRun) -> None:
    """To a view of the other setting, not loaded yet: title, counts, curves and clusters are its own; then back."""
    opened.go()
    first = opened.tab.evaluate(MEAN)
    link = "#setting=english&analysis=polca&vector=3"
    opened.tab.goto(opened.url + link)
    opened.shows(link)
    assert opened.texts("#vector-title") == [titled(run, "english", 3)]
    assert opened.texts("#count")[0].startswith(f"{len(run.strings) * (WINDOW - 3):,} tokens")
    table = read_csv(run.english.paths.table("clusters"))
    sizes = table[(table["analysis"] == "polca") & (table["vector"] == 3)]["size"].tolist()
    shown = opened.texts("#clusters tbody tr td:nth-child(3)")
    assert [int(text) for text in shown[: len(sizes)]] == sizes
    assert len(opened.tab.evaluate(MEAN)) == len(run.english.steps) != len(first)
    opened.tab.go_back()
    opened.shows("setting=arithmetic")
    assert opened.texts("#vector-title") == [FIRST]
    assert opened.tab.evaluate(MEAN) == first


def test_two_inputs_in_one_tick(opened: Opened, run: SyntheticRun) -> None:
    """Another vector, and before it is loaded another order: the second keeps what the first asked for."""
    opened.visit("#setting=arithmetic&analysis=polca&vector=1")
    opened.tab.evaluate(
        """() => {
          document.querySelector('input[name="vector"][value="3"]').click();
          const order = document.getElementById("order");
          order.value = "last";
          order.dispatchEvent(new Event("change", {bubbles: true}));
        }"""
    )
    opened.shows("order=last")
    assert opened.tab.evaluate("location.hash") == "#setting=arithmetic&analysis=polca&vector=3&order=last"
    assert opened.texts("#vector-title") == [titled(run, "arithmetic", 3)]
    right = (run.projections["hessian"].gradients[0, :, 2] * -0.01).mean() * np.arange(len(run.arithmetic.steps))
    assert np.allclose(opened.tab.evaluate(MEAN), right, rtol=1e-3, atol=1e-6)
    worst = int(run.arithmetic.losses[-1].argmax())
    assert opened.tab.locator("#tokens tbody button").first.get_attribute("data-token") == str(worst)


def test_a_pinned_token_stays_when_the_pointer_leaves(opened: Opened) -> None:
    """Pointing at another one previews that; outside the table the pinned one is back, in words and in curves."""
    kept = "() => document.getElementById('detail-exact').data[0].y"
    opened.visit("#setting=arithmetic&analysis=polca&vector=1")
    rows = opened.tab.locator("#tokens tbody tr:has(td.target)")
    rows.nth(2).click()
    opened.shows("token=2")
    opened.tab.wait_for_function("() => document.getElementById('detail-note').textContent.startsWith('token 2 ')")
    pinned, curve = opened.texts("#detail-note"), opened.tab.evaluate(kept)
    rows.nth(5).hover()
    opened.tab.wait_for_function("() => document.getElementById('detail-note').textContent.startsWith('token 5 ')")
    assert opened.tab.evaluate(kept) != curve
    opened.tab.locator("#tokens-title").hover()
    opened.tab.wait_for_function("() => document.getElementById('detail-note').textContent.startsWith('token 2 ')")
    opened.tab.wait_for_timeout(400)
    assert opened.texts("#detail-note") == pinned
    assert opened.tab.evaluate(kept) == curve
