"""Which view the page shows, in Node: random clicks, links, back and forward, after which all parts of it agree."""

import csv
import io
import json
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from polca.explorer import preset_page
from polca.explorer.page import embedded_json, page_script
from polca.machine.files import read_csv
from synthetic_explorer import WINDOW, SyntheticRun

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not installed")


def node(*arguments: Path) -> dict[str, Any]:
    """What a script prints as JSON."""
    assert NODE is not None
    done = subprocess.run([NODE, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the driver says of the script that pages hold."""
    script = tmp_path_factory.mktemp("view") / "view.js"
    own = (resources.files("polca.explorer") / "explorer.view.js").read_text(encoding="utf-8")
    driver = Path(__file__).with_name("view_driver.js").read_text(encoding="utf-8")
    script.write_text(f'"use strict";\n{own}\n{driver}', encoding="utf-8")
    return node(script)


@pytest.mark.parametrize("seed", range(50))
def test_title_curves_counts_and_address_agree(told: dict[str, Any], seed: int) -> None:
    found = told["sequences"][seed]
    assert found["drawn"] == found["asked"]


def test_the_sequences_end_in_many_views(told: dict[str, Any]) -> None:
    assert len({found["drawn"]["curves"] for found in told["sequences"]}) > 6


def test_a_link_pasted_into_an_open_tab(told: dict[str, Any]) -> None:
    """Both events come for it, of which the second found nothing to load once."""
    assert told["start"]["title"] == "polca 2"
    assert told["pasted"]["title"] == "polca 3"
    assert told["pasted"]["link"] == "#setting=text&analysis=polca&vector=3"


def test_two_inputs_at_once(told: dict[str, Any]) -> None:
    """The second keeps what the first asked for."""
    assert told["twice"]["link"] == "#setting=addition&analysis=polca&vector=3&group=1"
    assert told["twice"]["curves"] == '["addition","polca",3]'


def test_back_before_the_view_arrives(told: dict[str, Any]) -> None:
    """It is the one still shown, and nothing is loaded for it."""
    assert told["back"]["title"] == "polca 3"
    assert told["back"]["loads"] == 2


def test_a_group_loads_nothing(told: dict[str, Any]) -> None:
    assert told["group"]["group"] == "1"
    assert (told["group"]["loads"], told["group"]["entries"]) == (0, 2)


def test_what_does_not_exist_is_the_start(told: dict[str, Any]) -> None:
    wanted = {"vector": 2, "group": "", "token": "", "order": "text"}
    assert {name: told["other"][name] for name in wanted} == wanted


def test_a_pinned_token_comes_back_when_the_pointer_leaves(told: dict[str, Any]) -> None:
    assert told["pinned"] == [None, 7, 3, None, 3]


def test_search_hits(told: dict[str, Any]) -> None:
    """In any case, across the token's edge, near it alone, and with nothing read as a pattern."""
    assert told["hits"] == [
        [["x" * 30, False], ["The", True], [" ", False]],
        [["cat", False]],
        [[" of ", False], ["the", True], [" ", False], ["the", True]],
    ]
    assert told["across"] == [[["a ", False], ["b", True]], [["c.", True], ["d", False]], [["e", False]]]
    assert told["none"] == [[["a", False]], [["b", False]], [["c", False]]]


def test_csv_is_read_back(told: dict[str, Any]) -> None:
    assert list(csv.reader(io.StringIO(told["csv"], newline=""))) == [["a", 'b"c'], ["1,2", "x\ny"], ["-0.5", ""]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return SyntheticRun(tmp_path_factory.mktemp("checkout")).write()


@pytest.fixture(scope="module")
def page(run: SyntheticRun) -> dict[str, Any]:
    data, script = run.root / "data.json", run.root / "script.js"
    data.write_text(embedded_json(preset_page(run.paths).to_json()), encoding="utf-8")
    script.write_text(page_script(), encoding="utf-8")
    return node(Path(__file__).with_name("page_driver.js"), data, script)


class TestWholePage:
    """The page of the made-up preset, drawn on the least of a document that its script needs."""

    def test_a_link_pasted_into_the_open_page(self, page: dict[str, Any], run: SyntheticRun) -> None:
        """Title, clusters, curves, counts and address are of the new view."""
        start, pasted = page["start"], page["pasted"]
        assert start["title"] == "POLCA, standardised: vector 1, sampled at step 400"
        assert pasted["title"].startswith("POLCA, standardised: vector 3, ")
        assert pasted["link"] == pasted["ready"] == "#setting=english&analysis=polca&vector=3"
        table = read_csv(run.english.paths.table("vectors"))
        (row,) = table[(table["analysis"] == "polca") & (table["vector"] == 3)].to_dict("records")
        assert f"{row['n_outliers']:,} outliers" in pasted["note"]
        assert pasted["count"].startswith(f"{len(run.strings) * (WINDOW - 3):,} tokens")
        assert len(pasted["mean"]) == len(run.english.steps) != len(start["mean"])
        assert not start["problem"]
        assert not pasted["problem"]

    def test_the_picker_says_the_reading(self, page: dict[str, Any]) -> None:
        assert page["start"]["reading"] == "reading: standardised"
        assert page["start"]["options"] > 4

    def test_search_hits_are_marked(self, page: dict[str, Any]) -> None:
        found = page["searched"]
        assert found["link"].endswith("&q=the")
        assert len(found["marks"]) >= 25
        assert {mark.lower() for mark in found["marks"]} <= {"the", "t", "h", "e", "th", "he"}

    def test_tokens_and_chart_are_saved(self, page: dict[str, Any]) -> None:
        rows = list(csv.DictReader(io.StringIO(page["csv"], newline="")))
        assert page["searched"]["count"].startswith(f"{len(rows):,} tokens")
        assert {"token", "before", "text", "after", "group", "part of speech", "projected_loss_change"} <= set(rows[0])
        assert all("the" in (row["before"][-20:] + row["text"] + row["after"][:20]).lower() for row in rows)
        assert page["svg"] == '<svg width="500">é</svg>'

    def test_a_pinned_token_stays(self, page: dict[str, Any]) -> None:
        assert page["pinned"] == page["left"] != page["pointed"]
        assert page["pointed"].startswith("token ")

    def test_terms_are_explained(self, page: dict[str, Any]) -> None:
        assert {"Dropped as rising", "Outlier", "Breakthrough (eq. 9)", "Standardised"} <= set(page["words"])
