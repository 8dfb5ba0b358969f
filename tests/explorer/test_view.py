"""Which view the page shows, in Node: random clicks, links, back and forward, after which all parts of it agree."""

import csv
import io
import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
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


def test_an_analysis_beside_is_part_of_the_link(told: dict[str, Any]) -> None:
    """It stays when the vector changes, comes back with it, and is part of what has to be loaded."""
    assert told["beside"]["link"] == "#setting=addition&analysis=polca&vector=2&with=loss"
    assert told["beside"]["curves"] == '["addition","polca",2,"loss"]'
    assert told["beside"]["entries"] == 3


def test_no_analysis_stands_beside_itself(told: dict[str, Any]) -> None:
    """Nor beside one that is not there, or by a name that JavaScript knows."""
    assert told["with"] == ["loss", "", "", "", "polca", ""]
    assert told["nobody"]["link"] == "#setting=addition&analysis=loss&vector=1"


def test_the_best_cluster_and_vector(told: dict[str, Any]) -> None:
    """The highest fit or homogeneity, ties and unknown ones to the largest; of kept vectors where there are any."""
    assert told["best"] == [1, 2, 0, -1]
    assert told["bestVectors"] == [3, 1, 1]
    assert told["besides"] == [1, 2, 2]


def test_shares_of_the_fall(told: dict[str, Any]) -> None:
    assert told["shares"] == ["0 %", "50 %", "10 %", "3.3 %", "−1.2 %", "<0.01 %", "1,250 %"]
    said = told["held"]
    assert said[0] == (
        "These 2 directions together hold 4 % of the fall of the mean loss: most of what the model learns happens "
        "along other directions. The one that the filter kept holds 2 %."
    )
    assert "hold 70 % of the fall of the mean loss: the rest of what the model learns" in said[1]
    assert "hold 95 % of the fall of the mean loss: nearly all of what the model learns happens along them" in said[2]
    assert "hold 140 % of the fall of the mean loss: more than there is" in said[3]
    assert said[4].startswith(
        "Along these 2 directions together the mean loss goes the other way, by 10 % of its fall:"
    )
    assert told["rises"].startswith("This direction holds 10 % of the rise of the mean loss: most of this rise ")
    assert told["unheld"] == [None, "", ""]


def test_a_choice_on_the_map_is_part_of_the_link(told: dict[str, Any]) -> None:
    """Of tokens, categories, clusters, steps and regions that there are, if a setting has a map; back restores it."""
    assert told["picks"] == ["t39", "k0.2", "c2.1", "c4.-1", "l2_0.0_5.0_0.-5", "b0_-5.3_7.9"]
    assert told["unmapped"] == ""
    assert told["chosen"]["link"].endswith("&pick=t3")
    assert (told["chosen"]["loads"], told["chosen"]["entries"]) == (0, 3)
    assert told["cluster"] == "#setting=addition&analysis=loss&vector=1"


def test_what_lies_in_a_lasso_or_box(told: dict[str, Any]) -> None:
    """Of a lasso that crosses itself, what an odd number of edges divide from the outside."""
    assert told["within"] == [True, False, False, True, True, False]


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
        assert {"Fit of the name", "Homogeneity", "Share of the fall", "Signature"} <= set(page["words"])

    def test_overview(self, page: dict[str, Any], run: SyntheticRun) -> None:
        """Every vector with what the tables say of it, as a link; the share against the losses themselves."""
        tiles = page["overview"]["tiles"]
        vectors = read_csv(run.arithmetic.paths.table("vectors"))
        rows = vectors[vectors["analysis"] == "polca"].to_dict("records")
        clusters = read_csv(run.arithmetic.paths.table("clusters"))
        own = clusters[(clusters["analysis"] == "polca") & clusters["eligible"].astype(bool)]
        fall = np.ptp(run.arithmetic.losses.mean(axis=1, dtype=np.float64)[[0, -1]])
        held = 0.0
        for tile, row in zip(tiles, rows, strict=True):
            k = row["vector"]
            assert tile["says"].startswith(f"Vector {k}, sampled at step {row['vector_step']:,}, ")
            assert ("kept" in tile["says"], "dropped" in tile["says"]) == (row["kept"], not row["kept"])
            if row["n_clusters"]:
                assert f", {row['n_clusters']} cluster" in tile["says"]
            pure = own.loc[own["vector"] == k, "homogeneity"].max()
            assert (f"homogeneity {100 * pure:.0f} %" in tile["says"]) == bool(pure == pure)
            assert tile["paths"] == row["n_clusters"] + 1
            assert tile["link"].endswith(f"analysis=polca&vector={k}")
            p = run.projections["hessian"]
            gained = -(p.gradients[0, :, k - 1].mean(dtype=np.float64) * p.movements[:, k - 1].sum()) / fall
            held += gained
            shown = float(re.findall(r"holds (−?[\d.,]+) %", tile["says"])[0].replace("−", "-").replace(",", ""))
            assert shown == pytest.approx(100 * gained, rel=0.06)
        assert [tile["current"] for tile in tiles] == ["true" if n == 1 else "false" for n in range(len(rows))]
        assert page["overview"]["held"].startswith(f"These {len(rows)} directions" if held > 0 else "Along these")

    def test_a_small_chart_leads_to_its_vector(self, page: dict[str, Any]) -> None:
        assert page["followed"]["title"].startswith("POLCA, standardised: vector 3, ")
        assert [tile["current"] for tile in page["followed"]["tiles"]].index("true") == 2

    def test_side_by_side(self, page: dict[str, Any]) -> None:
        """The other reading of the same vector has its mean and its scale; another unit has its own."""
        found = page["beside"]
        assert found["link"].endswith("&vector=3&with=polca.raw")
        assert found["caption"] == "POLCA, raw trajectories, vector 3: projected loss, nats"
        assert found["mean"] == page["followed"]["mean"]
        assert found["ranges"][0] == found["ranges"][1]
        other = page["other"]
        assert other["caption"].endswith("vector 3: Fisher information, nats² per squared weight")
        assert other["note"].startswith("A scale of its own")
        assert other["ranges"][0] != other["ranges"][1]

    def test_the_key_of_the_map_chooses_tokens(self, page: dict[str, Any], run: SyntheticRun) -> None:
        labels = run.arithmetic.place, run.arithmetic.carry
        wanted = int(((labels[0] == 0) & labels[1]).sum())
        assert page["key"][0] == f"1000s, carry, {wanted}"
        assert page["picked"]["said"] == f"{wanted} tokens chosen on the map"
        assert page["picked"]["count"].startswith(f"{wanted} tokens")
        assert not page["picked"]["hidden"]
        assert page["cleared"]["hidden"]
        assert page["cleared"]["count"].startswith("240 tokens")
        assert any(text.startswith("outliers, ") for text in page["clusters"])
