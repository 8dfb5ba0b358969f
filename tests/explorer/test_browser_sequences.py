"""Random clicks, links, back and forward in a browser: the page shows what the result files say of its address."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from browser import Opened, opened_page, quiet  # noqa: F401
from expected_views import Expected, State
from written_page import WrittenPage

pytestmark = pytest.mark.thorough

WALKS, INPUTS = 50, 9
DRAWN = 5
"""Walks in which Plotly draws the charts."""

SLOW = """
const all = Promise.all.bind(Promise), delays = [0, 30, 8, 45, 15];
let loads = 0;
window.underway = 0;
Promise.all = async (promises) => {
  const delay = delays[loads++ % delays.length];
  window.underway++;
  try {
    const found = await all(promises);
    await new Promise((done) => setTimeout(done, delay));
    return found;
  } finally { window.underway--; }
};"""
"""Views take some time to load, so that they arrive after the next input, and not in their order."""
READ = """async (link) => {
  const end = performance.now() + 30_000;
  while ((document.body.dataset.ready !== link || window.underway) && performance.now() < end)
    await new Promise((done) => setTimeout(done, 2));
  const find = (id) => document.getElementById(id), text = (id) => find(id).textContent;
  const curves = (id) => Object.fromEntries((find(id).data || []).flatMap((trace) =>
    trace.name === "all tokens" ? [[trace.name, trace.y]]
      : (trace.hovertemplate || "").startsWith("this token") ? [["this token", trace.y]]
        : trace.mode === "lines" && trace.customdata ? [[String(trace.customdata[0]), trace.y]] : []));
  return {
    title: text("vector-title"), note: text("vector-note"), count: text("count"), hash: location.hash,
    link: find("link").getAttribute("href"),
    pressed: document.querySelectorAll('#clusters [aria-pressed="true"]').length,
    sizes: [...find("clusters").tBodies[0].rows].map((row) => Number(row.cells[2].textContent.replace(",", ""))),
    rows: [...document.querySelectorAll("#tokens button[data-token]")].map((button) => Number(button.dataset.token)),
    projected: find("projected-panel").hidden ? null : curves("projected"), exact: curves("exact"),
  };
}"""
"""What the page shows, once the view of a link is drawn and none is still on its way."""
BEGIN = """([link, drawn]) => {
  window.react ??= Plotly.react;
  Plotly.react = drawn ? window.react : (node, data) => Object.assign(node, { data, on() {} });
  location.hash = link;
}"""
"""Go to a link; `drawn` says whether Plotly draws the charts, or only their data are kept, which is sooner."""
CHOOSE = """([name, value]) => {
  const input = document.querySelector(`input[name="${name}"][value="${value}"]`);
  if (input) {
    if (input.checked) return false;
    input.click();
    return true;
  }
  const list = document.getElementById(name);
  if (!list || list.value === value || ![...list.options].some((option) => option.value === value)) return false;
  list.value = value;
  list.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}"""
"""Choose a radio or an entry of a list; false where the page has none, or where it is chosen already."""
GO = """(steps) => new Promise((done) => {
  addEventListener("popstate", () => done(), { once: true });
  history.go(steps);
})"""


@dataclass
class Walk:
    """A walk through the page, and what the tab's history must hold by then."""

    opened: Opened
    expected: Expected
    rng: random.Random
    entries: list[str]
    at: int = 0

    @property
    def state(self) -> State:
        return self.expected.of(self.entries[self.at])

    def push(self, link: str) -> None:
        self.entries[self.at + 1 :] = [link]
        self.at += 1

    def link(self) -> str:
        """A link to some view, at times to one that does not exist."""
        rng = self.rng
        setting = rng.choice(["arithmetic", "english"])
        if rng.random() < 0.15:
            return f"#setting={rng.choice([setting, 'none'])}&analysis=none&vector={rng.choice(['99', '2', '-1', 'x'])}"
        word = rng.choice(["the", "of", ","]) if setting == "english" else rng.choice("0159")
        return State(
            setting,
            rng.choice(["polca", "polca", *self.expected.analyses[setting]]),
            rng.randint(1, 7),
            group=rng.choice(["", "", "0", "1", "outliers", "rising"]),
            token=rng.choice(["", "3", "77"]),
            order=rng.choice(["text", "text", "last"]),
            pick=rng.choice(["", "", rng.choice(["t5", "k0.1", "k1.0", "k9.9", "c2.0", "c1.-1", self.region()])]),
            **({"q": word, "scope": "token"} if rng.random() < 0.3 else {}),
        ).link

    def region(self) -> str:
        """Something drawn around on the map, at times at a step or with too few corners that do not exist."""
        kind, corners = self.rng.choice([("b", 2), ("l", 3), ("l", 5), ("l", 2)])
        points = [f"{self.rng.randint(-900, 900)}.{self.rng.randint(-900, 900)}" for _ in range(corners)]
        return "_".join([f"{kind}{self.rng.randint(0, 13)}", *points])

    def pick(self) -> None:
        """A colour of the map's list, or the end of what is chosen."""
        self.settle()
        state = self.state
        setting = self.expected.settings[state.setting]
        assert setting.token_map is not None
        shown = next(a for a in setting.analyses if a.id == state.analysis)
        if state.pick:
            self.opened.tab.evaluate("document.getElementById('picked-clear').click()")
            self.push(self.expected.changed(state, pick="").link)
        elif shown.trajectories == setting.token_map.trajectories:
            there = np.unique(setting.facets[0].values).tolist()
            row = self.rng.randrange(len(there))
            self.opened.tab.evaluate("row => document.querySelectorAll('#map-key button')[row].click()", row)
            self.push(self.expected.changed(state, pick=f"k0.{there[row]}").link)

    def choose(self, name: str, value: str, **anew: str) -> None:
        """A radio or an entry of a list; it makes an entry of the history, or changes the one that is there."""
        state = self.state
        if not self.opened.tab.evaluate(CHOOSE, [name, value]):
            return
        link = self.expected.changed(state, **{name: value}, **anew).link
        if name in ("order", "scope"):
            self.entries[self.at] = link
        else:
            self.push(link)

    def click(self, selector: str, name: str, values: list[str]) -> None:
        """A cluster or a token of those on the page, which is chosen, or no longer if it was."""
        self.settle()
        if not values:
            return
        value = self.rng.choice(values)
        state = self.state
        self.opened.tab.evaluate("selector => document.querySelector(selector).click()", selector.format(value))
        chosen = "" if getattr(state, name) == value else value
        self.push(self.expected.changed(state, **{name: chosen}).link)

    def step(self) -> None:
        """One input of a random kind."""
        rng, what = self.rng, self.rng.random()
        if what < 0.2:
            self.choose("vector", str(rng.randint(1, 7)), group="")
        elif what < 0.28:
            anew = dict.fromkeys(("analysis", "vector", "group", "token", "pick", "q"), "")
            self.choose("setting", rng.choice(["arithmetic", "english"]), **anew)
        elif what < 0.38:
            analyses = list(self.expected.analyses[self.state.setting])
            # A cluster of one analysis is none of another.
            self.choose("analysis", rng.choice(analyses), vector="", group="", **self.kept())
        elif what < 0.46:
            self.choose("order", rng.choice(["text", "last"]))
        elif what < 0.56:
            self.click('#clusters button[data-group="{}"]', "group", self.groups())
        elif what < 0.6:
            self.pick()
        elif what < 0.66:
            self.click('#tokens button[data-token="{}"]', "token", self.tokens())
        elif what < 0.8:
            link = self.link()
            self.opened.tab.evaluate("link => { location.hash = link; }", link)
            if link != self.entries[self.at]:
                self.push(link)
        else:
            steps = rng.choice([-2, -1, -1, 1])
            if 0 <= self.at + steps < len(self.entries):
                self.opened.tab.evaluate(GO, steps)
                self.at += steps

    def kept(self) -> dict[str, str]:
        return {"pick": ""} if self.state.pick.startswith("c") else {}

    def groups(self) -> list[str]:
        row = self.expected.analyses[self.state.setting][self.state.analysis].vectors[self.state.vector - 1]
        return [str(c) for c in range(int(row["n_clusters"]))] + ["outliers"] * (row["n_outliers"] > 0)

    def tokens(self) -> list[str]:
        return [str(x) for x in self.expected.view(self.state)["rows"]]

    def settle(self) -> None:
        """Wait for the view of the address; then every part of the page must be of it."""
        state = self.state
        # One call for both: each call waits for the browser to be free.
        found, wanted = self.opened.tab.evaluate(READ, state.link), self.expected.view(state)
        assert found["hash"] == self.entries[self.at]
        assert found["link"] == state.link
        assert found["title"] == wanted["title"]
        assert wanted["counts"] in found["note"]
        assert found["sizes"] == wanted["sizes"]
        assert found["count"].startswith(f"{wanted['tokens']:,} token" if wanted["tokens"] else "No token fits")
        assert found["rows"] == wanted["rows"]
        assert found["pressed"] == wanted["pressed"]
        for chart in ("projected", "exact"):
            same_curves(found[chart], wanted[chart])


def same_curves(found: dict[str, Any] | None, wanted: dict[str, Any] | None) -> None:
    """Medians and means to six digits; a token's own curve within half a level of its range, where it is known."""
    if found is None or wanted is None:
        assert found is wanted
        return
    assert {name for name in found if name.isdigit()} == {name for name in wanted if name.isdigit()}
    for name, curve in wanted.items():
        error = np.ptp(curve) / 250 if name == "this token" else 2e-5 * np.abs(curve).max()
        assert len(found[name]) == len(curve), name
        assert np.abs(np.array(found[name]) - curve).max() <= error, name


@pytest.fixture(scope="module")
def expected(made_up: WrittenPage) -> Expected:
    return Expected(made_up)


@pytest.fixture(scope="module")
def opened(made_up: WrittenPage, chromium: Any) -> Iterator[Opened]:
    with opened_page(chromium, made_up.path.as_uri()) as tab:
        tab.tab.add_init_script(SLOW)
        tab.go()
        yield tab


@pytest.mark.parametrize("seed", range(WALKS))
def test_title_curves_counts_and_address_agree(opened: Opened, expected: Expected, seed: int) -> None:
    """Half of the inputs come before the view of the one before is there; every tenth walk begins in a new page."""
    rng = random.Random(seed)
    walk = Walk(opened, expected, rng, [""])
    walk.entries = [walk.link()]
    opened.own.add(opened.url)
    if seed % 10 == 0:
        opened.go(walk.entries[0])
    opened.tab.evaluate(BEGIN, [walk.entries[0], seed < DRAWN])
    for _ in range(INPUTS):
        walk.step()
        if rng.random() < 0.5:
            walk.settle()
    walk.settle()
