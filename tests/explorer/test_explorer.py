"""The explorer's page holds what the result files hold, and nothing in it can run."""

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import yaml

from elements import Elements, trajectories, unpack
from polca.cli import main
from polca.errors import PolcaError
from polca.explorer import Page, preset_page, render
from polca.explorer.packing import LEVELS, pack, quantise, thinned
from polca.explorer.page import embedded_json, page_script
from polca.explorer.presets import READINGS
from polca.explorer.speech import OTHER, ROLE_OF_TAG
from polca.machine.checkout import ROOT
from polca.machine.files import read_csv
from polca.method.clustering import Clusters
from polca.method.decomposition import Trajectories
from polca.report.figures.roles import ROLES
from polca.study.paths import PresetPaths, TaskPaths
from polca.study.results import read_table
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.english.tagging import TAGS
from polca.typing import Reading
from synthetic import Synthetic
from synthetic_explorer import HOSTILE, WINDOW, SyntheticRun, put_reading


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return SyntheticRun(tmp_path_factory.mktemp("checkout")).write()


@pytest.fixture(scope="module")
def page(run: SyntheticRun) -> Page:
    return preset_page(run.paths)


@pytest.fixture(scope="module")
def html(page: Page) -> str:
    return render(page)


@pytest.fixture(scope="module")
def elements(html: str) -> Elements:
    return Elements.of(html)


@pytest.fixture(scope="module")
def settings(elements: Elements) -> dict[str, Any]:
    """The settings as a browser would read them from the page."""
    return {setting["id"]: setting for setting in json.loads(elements.scripts["data"])["settings"]}


def with_files(analyses: list[dict[str, Any]], paths: TaskPaths) -> list[tuple[str, TaskPaths, dict[str, Any]]]:
    """Each analysis with the name that results give it, and the files of its reading."""
    words = {READINGS[reading][0]: reading for reading in get_args(Reading)}
    return [(a["id"].partition(".")[0], paths.of_reading(words[a["reading"]]), a) for a in analyses]


class TestPacking:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.float32])
    def test_arrays_come_back(self, dtype: Any) -> None:
        array = np.random.default_rng(0).integers(0, 200, (3, 4, 5)).astype(dtype)
        assert np.array_equal(unpack(pack(array)), array)

    def test_differences_of_bytes_come_back(self) -> None:
        """Falling levels too, of which the differences wrap around."""
        array = np.random.default_rng(0).integers(0, 256, (4, 6, 9)).astype(np.uint8)
        assert np.array_equal(unpack(pack(array, delta=True)), array)

    @pytest.mark.parametrize(("points", "most"), [(101, 101), (101, 100), (101, 35), (7, 3), (61, 2), (61, 0), (1, 1)])
    def test_thinning_keeps_both_ends(self, points: int, most: int) -> None:
        kept = thinned(points, most)
        assert kept[0] == 0
        assert kept[-1] == points - 1
        assert len(kept) <= max(most, 2)
        assert (np.diff(kept) > 0).all()
        if most >= points:
            assert len(kept) == points

    def test_quantisation_error_is_what_is_stated(self) -> None:
        """At most 1/254 of a trajectory's own range; and constants, and one of another size, are as they were."""
        rng = np.random.default_rng(0)
        values = rng.standard_normal((2, 50, 41)).cumsum(axis=2).astype(np.float32)
        values[0, 0] = 3.25
        values[1, 7] *= 1e-6
        steps = 10 * np.arange(41)
        found = quantise(Trajectories("polca", values, steps, True), 10**9)
        span = np.ptp(values, axis=2, keepdims=True)
        assert np.array_equal(found.steps, steps)
        shown = trajectories(found.pack())
        assert (np.abs(shown - values) <= span * (1 / (2 * LEVELS) + 1e-6)).all()
        assert (shown[0, 0] == 3.25).all()
        assert np.allclose(found.mean, values.mean(axis=1), atol=1e-6)
        assert np.allclose(found.pack()["mean"], values.mean(axis=1), rtol=1e-5, atol=1e-6)

    def test_thinned_trajectories_are_those_at_the_steps(self) -> None:
        steps = 10 * np.arange(41)
        values = np.broadcast_to(steps.astype(np.float32), (2, 5, 41))
        found = quantise(Trajectories("polca", values, steps, True), 2 * 5 * 11)
        assert len(found.steps) == 11
        assert found.points == 41
        assert np.abs(trajectories(found.pack()) - found.steps).max() <= 400 / (2 * LEVELS) * 1.001

    def test_script_has_the_same_levels(self) -> None:
        assert re.findall(r"const LEVELS = (\d+);", page_script()) == [str(LEVELS)]


class TestArithmetic:
    def test_counts(self, run: SyntheticRun, settings: dict[str, Any]) -> None:
        setting = settings["arithmetic"]
        assert unpack(setting["tokens"]["first"]).shape == (4 * 60,)
        for name, paths, analysis in with_files(setting["analyses"], run.arithmetic.paths):
            vectors = read_csv(paths.table("vectors"))
            rows = vectors[vectors["analysis"] == name]
            labels = unpack(analysis["labels"])
            assert len(analysis["vectors"]) == len(rows)
            for vector, row, own in zip(analysis["vectors"], rows.itertuples(), labels, strict=True):
                assert (vector["number"], vector["step"], vector["kept"]) == (row.vector, row.vector_step, row.kept)
                assert (own == -2).sum() == row.n_dropped
                assert (own == -1).sum() == row.n_outliers
                assert [c["size"] for c in vector["clusters"]] == [
                    (own == c["number"]).sum() for c in vector["clusters"]
                ]
                assert len(vector["clusters"]) == row.n_clusters

    def test_curves_and_breakthroughs(self, run: SyntheticRun, settings: dict[str, Any]) -> None:
        files = {reading: run.arithmetic.paths.of_reading(reading) for reading in get_args(Reading)}
        tables = {reading: read_csv(paths.table("clusters")) for reading, paths in files.items()}
        seen = 0
        for name, paths, analysis in with_files(settings["arithmetic"]["analyses"], run.arithmetic.paths):
            table = tables[paths.reading].set_index(["analysis", "vector", "cluster"])
            clusters = Clusters.load(paths.cluster(name))
            m = 0
            for vector in analysis["vectors"]:
                for cluster in vector["clusters"]:
                    assert np.allclose(cluster["projected"], clusters.projected_quartiles[m], rtol=1e-5, atol=1e-12)
                    assert np.allclose(cluster["loss"], clusters.loss_quartiles[m], rtol=1e-5)
                    row = table.loc[(name, vector["number"], cluster["number"])]
                    assert (cluster["break_step"], cluster["hidden"]) == (row["break_step"], row["hidden"])
                    m += 1
            assert m == len(clusters)
            seen += m
        assert seen == sum(map(len, tables.values()))
        assert all(len(table) > 20 for table in tables.values())

    def test_trajectories_against_straight_lines(self, run: SyntheticRun, settings: dict[str, Any]) -> None:
        """Constant gradients along constant movements: token x falls by their product in every interval."""
        setting = settings["arithmetic"]
        for name, basis in (("polca", "hessian"), ("polca_exact", "hessian"), ("polca_random", "random")):
            stored, p = setting["trajectories"][name], run.projections[basis]
            per_interval = (p.gradients[0] * p.movements[0]).T
            intervals = np.array(stored["steps"]) / 50
            right = per_interval[:, :, None] * intervals
            assert np.abs(trajectories(stored) - right).max() <= np.abs(right).max() / (2 * LEVELS) * 1.01

    def test_exact_losses(self, run: SyntheticRun, settings: dict[str, Any]) -> None:
        setting, losses = settings["arithmetic"], run.arithmetic.losses
        assert np.allclose(setting["exact"]["mean"], losses.mean(axis=1), rtol=1e-4)
        assert np.array_equal(unpack(setting["tokens"]["first"]), losses[0])
        assert np.array_equal(unpack(setting["tokens"]["last"]), losses[-1])

    def test_tokens_are_the_digits_of_right_sums(self, page: Page) -> None:
        tokens = page.settings[0].tokens
        for sequence in tokens.sequences:
            a, b, c = re.fullmatch(r"(\d{3})\+(\d{3})=(\d{4})", "".join(sequence)).groups()  # type: ignore[union-attr]
            assert int(a) + int(b) == int(c)
        for x in range(len(tokens)):
            assert tokens.sequence[x] == x // 4
            assert tokens.place[x] == 8 + x % 4
            assert tokens.text(x) == "".join(tokens.sequences[x // 4])[-4:][x % 4]

    def test_composition_by_skill(self, run: SyntheticRun, settings: dict[str, Any]) -> None:
        """Counted from the page's facets, a cluster's tokens by skill are those of `clusters.csv`."""
        setting = settings["arithmetic"]
        digit, carry = setting["facets"]
        skill_names = [category["name"] for category in digit["categories"]]
        colors = [category["color"] for category in digit["categories"]]
        assert len(set(colors)) == len(colors)
        skills, carries = unpack(digit["values"]), unpack(carry["values"])
        for name, paths, analysis in with_files(setting["analyses"], run.arithmetic.paths):
            table, labels = read_csv(paths.table("clusters")), unpack(analysis["labels"])
            for row in table[table["analysis"] == name].to_dict("records"):
                inside = labels[row["vector"] - 1] == row["cluster"]
                counts = np.bincount(skills[inside], minlength=len(skill_names))
                for place in PLACES:
                    with_carry, without = (place + ", carry", place + ", no carry") if place != "1s" else ("", "1s")
                    assert counts[skill_names.index(without)] == row[f"n_{place}_nocarry"]
                    assert (counts[skill_names.index(with_carry)] if with_carry else 0) == row[f"n_{place}_carry"]
                assert (carries[inside] == 0).sum() == row["n_carry"]


class TestEnglish:
    def test_tokens_are_the_text(self, run: SyntheticRun, page: Page) -> None:
        tokens = page.settings[1].tokens
        windows = len(run.strings)
        assert len(tokens) == windows * (WINDOW - 3)
        for sequence, strings in zip(tokens.sequences, run.strings.tolist(), strict=True):
            shown = [s.replace("\n", "⏎") for s in strings]
            assert ["¶" if a == "¶" else b for a, b in zip(sequence, shown, strict=True)] == list(sequence)
        assert [s.count("¶") for s in tokens.sequences] == [0, 1] + [0] * (windows - 2)
        assert tokens.text(WINDOW - 3 + 7) == HOSTILE

    def test_counts_and_names(self, run: SyntheticRun, settings: dict[str, Any]) -> None:
        found = [
            (paths.reading, name, v["number"], c["number"], c["size"], c["name"], c["fit"])
            for name, paths, a in with_files(settings["english"]["analyses"], run.english.paths)
            for v in a["vectors"]
            for c in v["clusters"]
        ]
        columns = ["analysis", "vector", "cluster", "size", "name", "fit"]
        listed = []
        for reading in get_args(Reading):
            table = read_table(run.english.paths.of_reading(reading).table("clusters"))
            listed += [(reading, *row) for row in table[columns].itertuples(index=False, name=None)]
        assert sorted(found) == sorted(listed)

    def test_parts_of_speech(self, run: SyntheticRun, settings: dict[str, Any]) -> None:
        """Of the token and of the one before it, whatever the order of the categories."""
        own, before = settings["english"]["facets"]
        assert [unpack(f["values"]).shape for f in (own, before)] == [(len(run.strings) * (WINDOW - 3),)] * 2
        kinds = np.array([category["name"] for category in own["categories"]])
        tags = kinds[unpack(own["values"])].reshape(len(run.strings), -1)
        earlier = kinds[unpack(before["values"])].reshape(len(run.strings), -1)
        assert np.array_equal(tags[:, :-1], earlier[:, 1:])
        the = run.strings[:, 3:] == " the"
        assert the.sum() > 20
        assert set(tags[the]) == {"DET"}

    def test_every_tag_has_a_colour(self) -> None:
        assert set(ROLE_OF_TAG) <= set(TAGS)
        assert set(ROLE_OF_TAG.values()) <= set(ROLES)
        assert set(TAGS) - set(ROLE_OF_TAG) == {"INTJ", "SYM", "X"}
        assert OTHER not in {role.color for role in ROLES.values()}


class TestReadings:
    """Every analysis is there in both readings."""

    @pytest.mark.parametrize("task", ["arithmetic", "english"])
    def test_the_one_of_the_figures_comes_first(self, task: str, run: SyntheticRun, settings: dict[str, Any]) -> None:
        analyses = settings[task]["analyses"]
        known = read_csv(getattr(run, task).paths.table("vectors"))["analysis"].unique()
        half = len(known)
        assert [a["reading"] for a in analyses] == ["standardised"] * half + ["raw trajectories"] * half
        ids = [a["id"] for a in analyses]
        assert ids[0] == settings[task]["start"]["analysis"] == "polca"
        assert sorted(ids[:half]) == sorted(known)
        assert ids[half:] == [f"{name}.raw" for name in ids[:half]]
        assert [a["title"] for a in analyses[half:]] == [a["title"] for a in analyses[:half]]

    def test_notes_say_what_the_words_mean(self, settings: dict[str, Any]) -> None:
        meaning = "standardised: minus its own mean over time, divided by its own standard deviation over time"
        for setting in settings.values():
            for analysis in setting["analyses"]:
                assert (meaning in analysis["note"]) == (analysis["reading"] == "standardised")

    def test_a_second_reading_adds_its_clusters_alone(self, page: Page) -> None:
        """Both share their trajectories: nothing of a token or a point comes twice but labels and clusters."""
        for setting in page.settings:
            one = replace(setting, analyses=[a for a in setting.analyses if "." not in a.id])
            assert len(one.analyses) == len(setting.analyses) / 2
            both, alone = setting.to_json(), one.to_json()
            assert {**both, "analyses": alone["analyses"]} == alone
            for analysis in both["analyses"]:
                words = {"id", "title", "reading", "note", "quantity", "unit", "trajectories", "convergence"}
                assert set(analysis) == {*words, "steps", "labels", "vectors"}
                assert all(set(vector) == {"number", "step", "kept", "clusters"} for vector in analysis["vectors"])

    def test_figures_of_raw_trajectories(self, tmp_path: Path) -> None:
        """Where `plots.reading` is raw, that comes first and has the plain ids."""
        run = SyntheticRun(tmp_path).write()
        params = yaml.safe_load(run.paths.params.read_text(encoding="utf-8"))
        params["arithmetic"]["plots"]["reading"] = "raw"
        run.paths.params.write_text(yaml.safe_dump(params), encoding="utf-8")
        arithmetic, english = preset_page(run.paths).settings
        first, last = arithmetic.analyses[0], arithmetic.analyses[-1]
        assert (first.id, first.reading) == ("polca", "raw trajectories")
        assert (last.id.partition(".")[2], last.reading) == ("standardised", "standardised")
        clusters = Clusters.load(run.arithmetic.paths.of_reading("raw").cluster("polca"))
        assert np.array_equal(first.clusters.labels, clusters.labels)
        assert english.analyses[0].reading == "standardised"

    def test_analyses_that_the_preset_has_not(self, tmp_path: Path) -> None:
        """Results of an earlier run, which had the curvature at every point."""
        run = SyntheticRun(tmp_path).write()
        text = run.paths.params.read_text(encoding="utf-8")
        assert text.count("curvature_points: null") == 2
        run.paths.params.write_text(text.replace("curvature_points: null", "curvature_points: 10"), encoding="utf-8")
        setting = preset_page(run.paths).settings[0]
        assert not {a.id for a in setting.analyses} & {"polca_exact", "polca_paper_current"}
        assert {"polca", "polca_paper"} <= {a.id for a in setting.analyses}

    def test_without_clusters_the_page_starts_where_the_figures_do(self, tmp_path: Path) -> None:
        """In the other reading, under the id that it always has."""
        run = SyntheticRun(tmp_path / "checkout").write()
        put_reading(Synthetic(tmp_path / "none", sequences=60, empty=("polca",)).write().paths, run.arithmetic.paths)
        setting = preset_page(run.paths).settings[0]
        assert setting.start == {"analysis": "polca.raw", "vector": 1}
        assert [a.id for a in setting.analyses[:2]] == ["polca.raw", "polca"]

    def test_the_page_starts_on_a_kept_vector(self, page: Page) -> None:
        """The first one with clusters, or the first at all where none of them has any."""
        setting = page.settings[0]
        first, clusters = setting.analyses[0], setting.analyses[0].clusters

        def start(dropped: list[int]) -> int:
            kept = np.ones_like(clusters.vector_kept)
            kept[dropped] = False
            own = replace(first, clusters=replace(clusters, vector_kept=kept))
            return int(replace(setting, analyses=[own, *setting.analyses[1:]]).start["vector"])

        inside, total = np.unique(clusters.cluster_vector).tolist(), len(clusters.vector_kept)
        without = [k for k in range(total) if k not in inside]
        assert (inside[0], len(inside) > 1, len(without) > 0) == (0, True, True)
        assert start([]) == 1
        assert start(inside[:1]) == inside[1] + 1
        assert start(inside) == without[0] + 1
        assert start(list(range(total))) == 1

    def test_one_reading_is_missing(self, tmp_path: Path) -> None:
        run = SyntheticRun(tmp_path).write()
        shutil.rmtree(run.arithmetic.paths.of_reading("raw").tables.parent)
        with pytest.raises(PolcaError, match=r"^.*raw/tables/vectors\.csv: no such file: run stage cluster@arithmetic"):
            preset_page(run.paths)


class TestPage:
    def test_nothing_of_the_data_is_markup(self, page: Page, elements: Elements) -> None:
        """The hostile token and name are in the data, but neither in a tag nor between scripts."""
        assert list(elements.scripts) == ["data", "1", "2"]
        assert not {"img", "iframe", "object", "embed", "base"} & {tag for tag, _ in elements.tags}
        assert not [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
        data = elements.scripts["data"]
        assert not set("<>&") & set(data)
        assert data.isascii()
        assert json.loads(data) == page.to_json()
        assert HOSTILE in json.dumps(json.loads(data)["settings"][1]["tokens"]["sequences"])
        assert HOSTILE in {v.look.name for v in page.settings[1].analyses[1].views}

    def test_hostile_title(self, page: Page) -> None:
        tags = Elements.of(render(replace(page, title=HOSTILE))).tags
        assert "img" not in {tag for tag, _ in tags}

    def test_json_escapes(self) -> None:
        hostile = {"<!--<script>": ["</SCRIPT>", "\u2028", "&amp;", "]]>", "é"]}
        text = embedded_json(hostile)
        assert re.search(r"[<>&\u2028]", text) is None
        assert json.loads(text) == hostile

    def test_only_its_own_scripts_may_run(self, elements: Elements) -> None:
        """The policy names exactly the two scripts, by their hashes, and allows no request."""
        (policy,) = [a["content"] or "" for tag, a in elements.tags if tag == "meta" and "http-equiv" in a]
        hashes = [
            base64.b64encode(hashlib.sha256(elements.scripts[name].encode()).digest()).decode() for name in ("1", "2")
        ]
        assert f"script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}';" in policy
        assert policy.startswith("default-src 'none'")
        assert "connect-src" not in policy

    def test_refers_to_no_other_file(self, elements: Elements) -> None:
        for tag, attributes in elements.tags:
            for name in ("src", "href", "data", "action", "srcset"):
                assert (attributes.get(name) or "#")[:5] in ("#", "data:"), tag

    def test_same_bytes_twice(self, run: SyntheticRun, html: str) -> None:
        assert render(preset_page(run.paths)) == html

    def test_no_path_of_the_machine(self, run: SyntheticRun, html: str) -> None:
        assert str(run.root) not in html


class TestBadInput:
    def test_not_run(self, tmp_path: Path, run: SyntheticRun) -> None:
        paths = PresetPaths("made_up", tmp_path)
        paths.params.parent.mkdir(parents=True)
        paths.params.write_bytes(run.paths.params.read_bytes())
        with pytest.raises(PolcaError, match="no results to show"):
            preset_page(paths)

    @pytest.mark.parametrize(
        ("name", "text"), [("smoke", ""), ("wikipedia", " CORPUS=<directory of .txt or .txt.gz files>")]
    )
    def test_not_run_names_the_command(self, name: str, text: str, tmp_path: Path) -> None:
        """With the text that a preset of one's own text asks for."""
        shutil.copytree(ROOT / "presets" / name, tmp_path / "presets" / name)
        with pytest.raises(PolcaError) as refused:
            preset_page(PresetPaths(name, tmp_path))
        assert str(refused.value).endswith(f"no results to show: run `make repro PRESET={name}{text}`")

    def test_parts_that_do_not_fit(self, page: Page) -> None:
        setting = page.settings[0]
        with pytest.raises(PolcaError, match="losses"):
            replace(setting, losses=setting.losses[:, 1:])
        with pytest.raises(PolcaError, match="facet 'carry'"):
            replace(setting, facets=[setting.facets[0], replace(setting.facets[1], values=np.zeros(3, np.uint8))])
        with pytest.raises(PolcaError, match="trajectories do not fit"):
            replace(setting, trajectories={**setting.trajectories, "polca": setting.trajectories["loss"]})
        with pytest.raises(PolcaError, match="two analyses of one id"):
            replace(setting, analyses=[*setting.analyses, setting.analyses[0]])

    def test_table_without_a_cluster(self, tmp_path: Path) -> None:
        run = SyntheticRun(tmp_path).write()
        path = run.arithmetic.paths.table("clusters")
        table = pd.read_csv(path)
        table.drop(index=table.index[table["analysis"] == "polca"][-1]).to_csv(path, index=False)
        with pytest.raises(PolcaError, match=r"clusters\.csv: has not the clusters that vectors\.csv counts"):
            preset_page(run.paths)

    def test_command(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """The page where all result files are there; one line and no file where one is missing."""
        run = SyntheticRun(tmp_path / "checkout").write()

        def explore(target: Path) -> None:
            monkeypatch.setattr(
                "sys.argv", ["polca", "explore", "made_up", "--root", str(run.root), "--output", str(target)]
            )
            main()

        with pytest.raises(SystemExit) as done:
            explore(tmp_path / "out" / "page.html")
        assert not done.value.code
        assert (tmp_path / "out" / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
        run.english.paths.labels.unlink()
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            explore(tmp_path / "bad" / "page.html")
        assert done.value.code == 1
        assert re.fullmatch(r"error: .*labels\.npz: no such file: .*\n", capsys.readouterr().err)
        assert not (tmp_path / "bad").exists()
