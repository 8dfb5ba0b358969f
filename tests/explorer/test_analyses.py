"""The explorer on what `polca analyze` wrote: the page holds the results, and files that do not fit are refused."""

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import tiny_analysis
from elements import Elements, trajectories, unpack
from polca.cli import app
from polca.errors import PolcaError
from polca.explorer import Page, analysis_page, render
from polca.explorer.analyses import AGAIN, FREQUENT
from polca.explorer.packing import LEVELS
from polca.explorer.presets import READINGS
from polca.external.analyze import top_tokens, write_analysis
from polca.external.token_texts import TokenTexts
from polca.machine.checkout import ROOT
from polca.machine.files import read_csv, read_npz
from polca.report.figures.projected_losses import COLORS
from synthetic_explorer import HOSTILE
from tiny_images import train_on_images

KINDS: dict[str, dict[str, Any]] = {
    "polca": {},
    "fisher": {"strategy": "fisher"},
    "loss": {"strategy": "loss"},
    "loss_change": {"strategy": "loss_change"},
    "polca_first_order": {"second_order": "none"},
    "polca_exact": {"second_order": "exact"},
    "polca_paper": {"second_order": "paper"},
}
"""Settings of an analysis by the name under which the page knows it."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("analysis") / "results"
    tiny_analysis.write(directory)
    return directory


@pytest.fixture(scope="module")
def page(results: Path) -> Page:
    return analysis_page(results)


def shown(page: Page) -> dict[str, Any]:
    """The one setting as a browser would read it."""
    (setting,) = json.loads(Elements.of(render(page)).scripts["data"])["settings"]
    return dict(setting)


class TestPage:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_strategy(self, kind: str, tmp_path: Path) -> None:
        """Clusters, curves and trajectories are those of the analysis, to the rounding that the page states."""
        found = tiny_analysis.write(tmp_path, **KINDS[kind])
        setting = shown(analysis_page(tmp_path))
        (analysis,) = setting["analyses"]
        clusters, values = found.clusters, found.trajectories.values
        assert analysis["id"] == kind
        assert np.array_equal(unpack(analysis["labels"]), clusters.labels)
        shown_clusters = [(v["number"] - 1, c) for v in analysis["vectors"] for c in v["clusters"]]
        assert len(shown_clusters) == len(clusters) > 5
        for m, (k, c) in enumerate(shown_clusters):
            assert (k, c["number"], c["size"]) == (
                clusters.cluster_vector[m],
                clusters.cluster_index[m],
                clusters.cluster_size[m],
            )
            assert np.allclose(c["projected"], clusters.projected_quartiles[m], rtol=1e-5, atol=1e-12)
        # A map and eigenvectors are of projected losses alone.
        projected = found.trajectories.projected
        assert (setting["map"] is None) == (not projected)
        assert bool(analysis["convergence"]) == projected
        for key, right in ((analysis["trajectories"], values), ("loss", found.projections.losses.T[None])):
            error = np.abs(trajectories(setting["trajectories"][key]) - right)
            assert (error <= np.ptp(right, axis=2, keepdims=True) * (1 / (2 * LEVELS) + 1e-5)).all()

    def test_convergence(self, results: Path, page: Page) -> None:
        """As many vectors as the summary says."""
        late = json.loads((results / "summary.json").read_text(encoding="utf-8"))["unconverged"]
        (analysis,) = shown(page)["analyses"]
        assert analysis["convergence"].startswith(f"{len(late)} of 2" if late else "Lanczos found all 2 eigenvectors")

    def test_clusters_as_in_the_table(self, results: Path, page: Page) -> None:
        table = read_csv(results / "clusters.csv", text=("top_tokens",))
        views = page.settings[0].analyses[0].views
        assert [v.look.name for v in views] == table["top_tokens"].tolist()
        assert [v.break_step for v in views] == table["break_step"].tolist()
        assert not any(v.hidden for v in views)
        assert shown(page)["flat_step"] is None
        looks = [[(v.look.color, v.look.dashes) for v in views[:6]], [(v.look.color, v.look.dashes) for v in views[6:]]]
        assert [color for color, _ in looks[0]] == [color for color, _ in COLORS]
        assert all(len(set(own)) == len(own) for own in looks)

    def test_more_clusters_than_colours_are_told_apart(self, tmp_path: Path) -> None:
        found = tiny_analysis.write(tmp_path, strategy="fisher")
        views = analysis_page(tmp_path).settings[0].analyses[0].views
        first = [
            (v.look.color, v.look.dashes) for v, k in zip(views, found.clusters.cluster_vector, strict=True) if k == 0
        ]
        assert len(first) > len(COLORS)
        assert len(set(first)) == len(first)

    @pytest.mark.parametrize("standardise", [True, False])
    def test_reading(self, standardise: bool, tmp_path: Path) -> None:
        """Its title says in which reading the clusters were found, its note what that means."""
        found = tiny_analysis.write(tmp_path, standardise=standardise)
        (analysis,) = shown(analysis_page(tmp_path))["analyses"]
        words, sentence = READINGS["standardised" if standardise else "raw"]
        assert (analysis["id"], analysis["reading"]) == ("polca", words)
        assert analysis["note"].endswith(sentence)
        assert np.array_equal(unpack(analysis["labels"]), found.clusters.labels)

    def test_settings_before_there_was_a_choice(self, tmp_path: Path) -> None:
        """They are of raw trajectories, which were all that there was."""
        tiny_analysis.write(tmp_path, standardise=False)
        page = analysis_page(tmp_path)
        summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
        assert summary["settings"].pop("standardise") is False
        (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        assert shown(analysis_page(tmp_path)) == shown(page)

    def test_hidden_breakthroughs(self, tmp_path: Path) -> None:
        found = tiny_analysis.write(tmp_path, flat_step=20)
        setting = shown(analysis_page(tmp_path))
        assert found.breaks is not None
        hidden = [c["hidden"] for v in setting["analyses"][0]["vectors"] for c in v["clusters"]]
        assert hidden == found.breaks["hidden"].tolist()
        assert set(hidden) == {True, False}
        assert setting["flat_step"] == 20

    def test_uneven_steps_have_no_breakthroughs(self, tmp_path: Path) -> None:
        tiny_analysis.write(tmp_path, steps=(0, 10, 30, 50))
        setting = shown(analysis_page(tmp_path))
        clusters = [c for v in setting["analyses"][0]["vectors"] for c in v["clusters"]]
        assert clusters
        assert {(c["break_step"], c["hidden"]) for c in clusters} == {(None, False)}
        assert setting["exact"]["steps"] == [0, 10, 30, 50]

    def test_no_cluster_at_all(self, tmp_path: Path) -> None:
        found = tiny_analysis.write(tmp_path, min_cluster_size=281)
        assert not len(found.clusters)
        vectors = shown(analysis_page(tmp_path))["analyses"][0]["vectors"]
        assert [v["clusters"] for v in vectors] == [[], []]

    def test_tokens_are_those_evaluated(self, page: Page) -> None:
        tokens, data = page.settings[0].tokens, tiny_analysis.evaluation()
        words = [tiny_analysis.WORDS[i] for i in data.targets.flatten().tolist()]
        assert [tokens.text(x) for x in range(len(tokens))] == [f" {word}" for word in words]
        assert "".join(tokens.sequences[3]) == tiny_analysis.decode([int(data.inputs[3, 0]), *data.targets[3].tolist()])

    def test_composition(self, page: Page) -> None:
        """Counted from the page's facet, a cluster's tokens are those counted from the words themselves."""
        setting, clusters = shown(page), page.settings[0].analyses[0].clusters
        facet = setting["facets"][0]
        names, values = [c["name"] for c in facet["categories"]], unpack(facet["values"])
        words = np.array([tiny_analysis.WORDS[i] for i in tiny_analysis.evaluation().targets.flatten().tolist()])
        frequent = sorted(Counter(words.tolist()).items(), key=lambda item: (-item[1], item[0]))[:FREQUENT]
        # A word "other" is not the rest, and a long one is cut.
        assert names == [f"“{w}”" if len(w) <= 24 else f"“{w[:23]}…”" for w, _ in frequent] + ["other"]
        assert "“other”" in names
        assert len({c["color"] for c in facet["categories"]}) == FREQUENT + 1
        for m in range(len(clusters)):
            members = clusters.members(m)
            counts = Counter(words[members].tolist())
            right = [counts[w] for w, _ in frequent]
            assert np.bincount(values[members], minlength=FREQUENT + 1).tolist() == [*right, len(members) - sum(right)]

    def test_joint_clusters_colour_the_tokens(self, tmp_path: Path) -> None:
        """The second facet has the clusters of the map, by the token that tells most of each."""
        write_analysis(tiny_analysis.analysis(), Numbered(), tmp_path)
        facets = shown(analysis_page(tmp_path))["facets"]
        kept, table = read_npz(tmp_path / "token_map.npz"), read_csv(tmp_path / "joint_clusters.csv")
        assert len(table) > 0, "there is nothing to colour"
        assert [f["title"] for f in facets] == ["frequent token", "joint cluster"]
        names = [c["name"] for c in facets[1]["categories"]]
        assert names[:-1] == [f"{n}: “{token}”" for n, token in enumerate(table["telling_token"][:FREQUENT])]
        values = unpack(facets[1]["values"])[kept["tokens"]]
        for cluster in range(len(names) - 1):
            np.testing.assert_array_equal(values == cluster, kept["clusters"] == cluster)

    def test_few_tokens_are_all_shown(self, tmp_path: Path) -> None:
        class Classes(Numbered):
            def name(self, token: int) -> str:
                return str(token % 3)

        write_analysis(tiny_analysis.analysis(), Classes(), tmp_path)
        facet = shown(analysis_page(tmp_path))["facets"][0]
        assert (facet["title"], [c["name"] for c in facet["categories"]]) == ("token", ["“0”", "“1”", "“2”"])
        assert np.array_equal(unpack(facet["values"]), np.arange(280) % 3)

    def test_tokens_that_all_differ(self, tmp_path: Path) -> None:
        write_analysis(tiny_analysis.analysis(), Numbered(), tmp_path)
        facet = shown(analysis_page(tmp_path))["facets"][0]
        assert [c["name"] for c in facet["categories"]] == ["other"]
        assert not unpack(facet["values"]).any()

    def test_nothing_of_the_data_is_markup(self, page: Page) -> None:
        elements = Elements.of(render(page))
        assert list(elements.scripts) == ["data", "1", "2"]
        assert not {"img", "b"} & {tag for tag, _ in elements.tags}
        assert not set("<>&") & set(elements.scripts["data"])
        setting = json.loads(elements.scripts["data"])["settings"][0]
        assert any(HOSTILE in text for pieces in setting["tokens"]["sequences"] for text in pieces)
        assert any(HOSTILE in c["name"] for c in setting["analyses"][0]["vectors"][0]["clusters"])

    def test_same_bytes_twice_and_no_path(self, results: Path, page: Page) -> None:
        html = render(page)
        assert render(analysis_page(results)) == html
        assert str(results.parent) not in html
        assert "results" in page.source


class Numbered:
    """Names that are not of `Sequences`: every token has its own."""

    count = 280

    def name(self, token: int) -> str:
        return f"token {token}"

    def context(self, token: int) -> str:
        return self.name(token)

    def texts(self) -> TokenTexts:
        names = [self.name(x) for x in range(self.count)]
        return TokenTexts(names, [names], [0] * self.count, list(range(self.count)))


def test_summary_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder left by a run that could not write its tokens has no summary, and is no results."""
    tiny_analysis.write(tmp_path)

    def full(*_: Any) -> None:
        raise PolcaError("the disk is full")

    monkeypatch.setattr(TokenTexts, "save", full)
    with pytest.raises(PolcaError, match="disk"):
        tiny_analysis.write(tmp_path)
    with pytest.raises(PolcaError, match=r"no summary\.json"):
        analysis_page(tmp_path)


def spoilt_json(name: str, **values: Any) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        old = json.loads((results / name).read_text(encoding="utf-8"))
        (results / name).write_text(json.dumps(old | values), encoding="utf-8")

    return spoil


def spoilt_settings(**values: Any) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        old = json.loads((results / "summary.json").read_text(encoding="utf-8"))["settings"]
        spoilt_json("summary.json", settings=old | values)(results)

    return spoil


def spoilt_clusters(**change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        found = tiny_analysis.analysis().clusters
        replace(found, **{n: f(getattr(found, n).copy()) for n, f in change.items()}).save(results / "clusters.npz")

    return spoil


def spoilt_table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        change(pd.read_csv(results / "clusters.csv")).to_csv(results / "clusters.csv", index=False)

    return spoil


def fewer_tokens(results: Path) -> None:
    tiny_analysis.evaluation().part(0, 39).texts().save(results / "tokens.json")


def other_tokens(results: Path) -> None:
    texts = tiny_analysis.evaluation().texts()
    replace(texts, names=[*texts.names[7:], *texts.names[:7]]).save(results / "tokens.json")


def other_projections(results: Path) -> None:
    p = tiny_analysis.analysis().projections
    replace(p, gradients=1.01 * p.gradients).save(results / "projections.npz")


def fewer_projections(results: Path) -> None:
    p = tiny_analysis.analysis().projections
    replace(p, gradients=p.gradients[:, 1:], losses=p.losses[:, 1:]).save(results / "projections.npz")


def other_strategy(results: Path) -> None:
    """Clusters of the exact loss beside projections and settings of POLCA."""
    tiny_analysis.analysis(strategy="loss").clusters.save(results / "clusters.npz")


def first(value: int) -> Callable[[np.ndarray], np.ndarray]:
    """A change of an array's first number."""

    def change(array: np.ndarray) -> np.ndarray:
        array.flat[0] = value
        return array

    return change


class TestBadInput:
    @pytest.mark.parametrize("name", ["projections.npz", "clusters.npz", "clusters.csv", "tokens.json", "summary.json"])
    @pytest.mark.parametrize("how", ["missing", "cut", "foreign", "folder"])
    def test_files(self, name: str, how: str, results: Path, tmp_path: Path) -> None:
        """One line that names the file, or the folder where its summary is not there."""
        directory = tmp_path / "results"
        shutil.copytree(results, directory)
        path = directory / name
        content = path.read_bytes()
        path.unlink()
        if how == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif how == "foreign":
            path.write_bytes({"npz": b"PK\x05\x06" + bytes(18), "csv": b"a,b\n1,2\n"}.get(path.suffix[1:], b'{"a": 1}'))
        elif how == "folder":
            path.mkdir()
        with pytest.raises(PolcaError) as refused:
            analysis_page(directory)
        message, no_summary = str(refused.value), name == "summary.json" and how in ("missing", "folder")
        assert message.startswith(f"{directory if no_summary else path}: ")
        assert message.endswith(AGAIN)
        assert len(message) > len(f"{path}: : {AGAIN}") + 5
        assert "\n" not in message
        assert "make repro" not in message

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (spoilt_json("summary.json", steps=[0, 10]), r"summary\.json: other steps or tokens"),
            (spoilt_json("summary.json", tokens=3), r"summary\.json: other steps or tokens"),
            (spoilt_json("summary.json", settings=7), r"summary\.json: holds no settings"),
            (spoilt_settings(strategy="magic"), r"summary\.json: holds no settings .*'magic'"),
            (spoilt_settings(spell=1), r"summary\.json: holds no settings"),
            (spoilt_settings(standardise="no"), r"summary\.json: holds no settings .*standardise = 'no'"),
            (spoilt_settings(flat_step="<b>"), r"summary\.json: flat_step is '<b>'"),
            (spoilt_settings(second_order="exact"), r"projections\.npz: does not fit summary\.json .*token_curvatures"),
            (spoilt_settings(strategy="loss"), r"clusters\.npz: other tokens, vectors or steps"),
            (spoilt_settings(second_order="none"), r"clusters\.npz: its clusters are not of the trajectories"),
            (other_projections, r"clusters\.npz: its clusters are not of the trajectories"),
            (fewer_projections, r"summary\.json: other steps or tokens"),
            (other_strategy, r"clusters\.npz: other tokens, vectors or steps"),
            (spoilt_clusters(vector_steps=first(7)), r"clusters\.npz: other tokens, vectors or steps"),
            (spoilt_clusters(loss_steps=first(7)), r"clusters\.npz: other tokens, vectors or steps"),
            (spoilt_clusters(labels=lambda a: np.where(a == -1, -4, a)), r"clusters\.npz: its labels"),
            (spoilt_clusters(labels=lambda a: a[:, ::-1]), r"clusters\.npz: its clusters are not of the trajectories"),
            (spoilt_clusters(cluster_vector=first(9)), r"clusters\.npz: its labels"),
            (spoilt_clusters(cluster_size=first(1)), r"clusters\.npz: its labels"),
            (spoilt_clusters(medoid=first(280)), r"clusters\.npz: its labels"),
            (spoilt_clusters(nearest=first(-2)), r"clusters\.npz: its labels"),
            (fewer_tokens, r"tokens\.json: 273 tokens"),
            (other_tokens, r"clusters\.csv: its tokens are not those of tokens\.json"),
            (spoilt_table(lambda t: t.drop(columns="hidden")), r"clusters\.csv: lacks columns"),
            (spoilt_table(lambda t: t.iloc[:-1]), r"clusters\.csv: has not the clusters"),
            (spoilt_table(lambda t: t.iloc[::-1]), r"clusters\.csv: has not the clusters"),
            (spoilt_table(lambda t: t.assign(break_step="soon")), r"clusters\.csv: break_step or hidden"),
            (spoilt_table(lambda t: t.assign(hidden="yes")), r"clusters\.csv: break_step or hidden"),
            (spoilt_table(lambda t: t.assign(top_tokens=HOSTILE)), r"clusters\.csv: its tokens"),
        ],
    )
    def test_files_that_do_not_fit(
        self, spoil: Callable[[Path], None], message: str, results: Path, tmp_path: Path
    ) -> None:
        directory = tmp_path / "results"
        shutil.copytree(results, directory)
        spoil(directory)
        with pytest.raises(PolcaError, match=message) as refused:
            analysis_page(directory)
        assert str(refused.value).startswith(str(directory))
        assert str(refused.value).endswith(AGAIN)
        assert "\n" not in str(refused.value)


def explore(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["explore", *arguments])


class TestCommand:
    def test_folder(self, results: Path, tmp_path: Path) -> None:
        """Into the folder itself, or where told."""
        directory = tmp_path / "results"
        shutil.copytree(results, directory)
        assert explore(str(directory)).exit_code == 0
        assert explore(str(directory), "--output", str(tmp_path / "page.html")).exit_code == 0
        html = (directory / "explorer.html").read_text(encoding="utf-8")
        assert html == (tmp_path / "page.html").read_text(encoding="utf-8")
        assert json.loads(Elements.of(html).scripts["data"])["settings"][0]["title"] == "Your checkpoints"

    def test_a_new_analysis_takes_the_old_page_away(self, tmp_path: Path) -> None:
        found, names = tiny_analysis.analysis(), tiny_analysis.evaluation()
        write_analysis(found, names, tmp_path)
        assert explore(str(tmp_path)).exit_code == 0
        assert (tmp_path / "explorer.html").is_file()
        write_analysis(found, names, tmp_path)
        assert not (tmp_path / "explorer.html").exists()

    def test_a_preset_comes_first(self, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its name alone is the preset, which here has no results; with a slash it is the folder."""
        monkeypatch.chdir(tmp_path)
        shutil.copytree(results, tmp_path / "mine")
        (tmp_path / "presets" / "mine").mkdir(parents=True)
        shutil.copy(ROOT / "params.yaml", tmp_path / "presets" / "mine")
        refused = explore("mine", "--root", str(tmp_path)).exception
        assert isinstance(refused, PolcaError)
        assert "preset mine: no results to show" in str(refused)
        assert explore("mine/", "--root", str(tmp_path)).exit_code == 0
        assert (tmp_path / "mine" / "explorer.html").is_file()

    def test_neither(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("")
        for name in ("nothing", "file"):
            refused = explore(name).exception
            assert isinstance(refused, PolcaError)
            assert re.fullmatch(rf"{name}: neither a preset \(known: .*laptop.*\) nor a folder: .*", str(refused))
        refused = explore("empty").exception
        assert isinstance(refused, PolcaError)
        assert str(refused).startswith("empty: no summary.json: ")
        assert not list(tmp_path.rglob("*.html"))


MODULE = """
import torch

def make():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))

def batches():
    y = torch.arange(60) % 3
    x = torch.randn(60, 4, 4, generator=torch.Generator().manual_seed(5))
    return [(x + 0.5 * y[:, None, None], y)]
"""


def test_both_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`polca analyze` on images, and then the command that it names, to the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = "images_of_test_explorer_analyses"
    (tmp_path / f"{name}.py").write_text(MODULE)
    content: dict[str, Any] = {}
    exec(MODULE, content)
    ((_, y),) = content["batches"]()
    train_on_images(content["make"](), tmp_path / "run")
    options = ["--factory", f"{name}:make", "--data", f"{name}:batches", "--out", "my results", "--vectors", "2"]
    options += ["--tokens", "40", "--min-cluster-size", "5", "--min-samples-divisor", "100", "--tolerance", "0.01"]
    # Among so few images HDBSCAN finds no cluster of shapes.
    ran = CliRunner().invoke(app, ["analyze", "run", *options, "--raw"])
    sys.modules.pop(name, None)
    assert ran.exception is None, ran.exception
    assert ran.output.rstrip().endswith("polca explore 'my results/'")
    explored = explore("my results/")
    assert explored.exception is None, explored.exception
    html = (tmp_path / "my results" / "explorer.html").read_text(encoding="utf-8")
    (setting,) = json.loads(Elements.of(html).scripts["data"])["settings"]
    classes = y[16:56].tolist()
    assert setting["tokens"]["sequences"] == [[str(c)] for c in classes]
    assert [c["name"] for c in setting["facets"][0]["categories"]] == ["“1”", "“0”", "“2”"]
    assert setting["analyses"][0]["reading"] == "raw trajectories"
    labels = unpack(setting["analyses"][0]["labels"])
    assert labels.max() >= 0
    for vector, row in zip(setting["analyses"][0]["vectors"], labels, strict=True):
        for cluster in vector["clusters"]:
            members = np.flatnonzero(row == cluster["number"])
            assert cluster["name"] == top_tokens(str(classes[m]) for m in members)
