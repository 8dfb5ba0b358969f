"""The explorer on what `polca analyze` wrote: the page holds the results."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny_analysis
from elements import Elements, trajectories, unpack
from polca.explorer import Page, analysis_page, render
from polca.explorer.analyses import FREQUENT
from polca.explorer.packing import LEVELS
from polca.explorer.presets import READINGS
from polca.external.analyze import write_analysis
from polca.external.token_texts import TokenTexts
from polca.machine.files import read_csv, read_npz
from polca.report.figures.projected_losses import COLORS
from synthetic_explorer import HOSTILE
from tiny_analysis import written

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
def page(results: Path) -> Page:
    return analysis_page(results)


def shown(page: Page) -> dict[str, Any]:
    """The one setting as a browser would read it."""
    (setting,) = json.loads(Elements.of(render(page)).scripts["data"])["settings"]
    return dict(setting)


class TestPage:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.thorough
    def test_every_strategy(self, kind: str, tmp_path: Path) -> None:
        """Clusters, curves and trajectories are those of the analysis, to the rounding that the page states."""
        found = written(tmp_path, **KINDS[kind])
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
        found = written(tmp_path, strategy="fisher")
        views = analysis_page(tmp_path).settings[0].analyses[0].views
        first = [
            (v.look.color, v.look.dashes) for v, k in zip(views, found.clusters.cluster_vector, strict=True) if k == 0
        ]
        assert len(first) > len(COLORS)
        assert len(set(first)) == len(first)

    @pytest.mark.parametrize("standardise", [True, False])
    def test_reading(self, standardise: bool, tmp_path: Path) -> None:
        """Its title says in which reading the clusters were found, its note what that means."""
        found = written(tmp_path, standardise=standardise)
        (analysis,) = shown(analysis_page(tmp_path))["analyses"]
        words, sentence = READINGS["standardised" if standardise else "raw"]
        assert (analysis["id"], analysis["reading"]) == ("polca", words)
        assert analysis["note"].endswith(sentence)
        assert np.array_equal(unpack(analysis["labels"]), found.clusters.labels)

    def test_settings_before_there_was_a_choice(self, tmp_path: Path) -> None:
        """They are of raw trajectories, which were all that there was."""
        written(tmp_path, standardise=False)
        page = analysis_page(tmp_path)
        summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
        assert summary["settings"].pop("standardise") is False
        (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        assert shown(analysis_page(tmp_path)) == shown(page)

    def test_hidden_breakthroughs(self, tmp_path: Path) -> None:
        found = written(tmp_path, flat_step=20)
        setting = shown(analysis_page(tmp_path))
        assert found.breaks is not None
        hidden = [c["hidden"] for v in setting["analyses"][0]["vectors"] for c in v["clusters"]]
        assert hidden == found.breaks["hidden"].tolist()
        assert set(hidden) == {True, False}
        assert setting["flat_step"] == 20

    def test_uneven_steps_have_no_breakthroughs(self, tmp_path: Path) -> None:
        written(tmp_path, steps=(0, 10, 30, 50))
        setting = shown(analysis_page(tmp_path))
        clusters = [c for v in setting["analyses"][0]["vectors"] for c in v["clusters"]]
        assert clusters
        assert {(c["break_step"], c["hidden"]) for c in clusters} == {(None, False)}
        assert setting["exact"]["steps"] == [0, 10, 30, 50]

    def test_no_cluster_at_all(self, tmp_path: Path) -> None:
        found = written(tmp_path, min_cluster_size=281)
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
