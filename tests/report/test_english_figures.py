"""English figures show what the result files hold, legibly, whatever the tokens are, and are the same bytes always."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import synthetic
from layout import body, check_layout, lines, texts, words
from polca.errors import PolcaError
from polca.machine.files import write_csv, write_json
from polca.report.figures import (
    ENGLISH_FIGURES,
    FIGURES,
    FURTHER,
    FURTHER_ENGLISH,
    draw_figure,
    render_figure,
    save_figure,
    save_figures,
)
from polca.report.figures.concordance import CUT, TARGET_AT
from polca.report.figures.directions import draw_token_map
from polca.report.figures.english import CONTEXTS, MAXIMUM_CLUSTERS, clustering_note, ranked_vectors
from polca.report.figures.roles import ROLES
from polca.report.figures.selection import ranked_rows, with_clusters
from polca.report.figures.style import FORMATS, PAGE_WIDTH, SMALL
from polca.study.paths import TaskPaths
from polca.study.results import EnglishResults, PresetResults, Results, read_table
from polca.typing import Reading
from synthetic import READINGS, link_without
from synthetic_english import SyntheticEnglish, params

WEIRD = [
    ("a $x^{ is ", "$", " and ${}"),
    (r"in C:\new\ ", "\\", r" \frac{1}{2}"),
    ("", "_", ""),
    ("at 100", "%", r" of \alpha^{}"),
    ("value ", "NA", ", null"),
    (" ", " ^{}", " x"),
    ("x" * 300, "y" * 300, "z" * 300),
    ("中文字", "字", "中文 Ελληνικά"),
    ("the end.¶", "⏎", "¶The start"),
    ("a  ", "  ", "  b"),
    ("wide " * 40, " " + "W" * 60, " " + "mmmm " * 40),
    ("i" * 90 + " ", "i" * 20, " " + "i" * 90),
    ("tab\tand\u200bno", "\x07", "\nline"),
]
"""Contexts that strain the typesetting, or that Matplotlib could take for formulas."""
NAMES = (
    "``` after `$`",
    "`$` or `^{}` after PUNCT",
    "W" * 40,
    "token after `_`",
    "token repeated from the three before",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> SyntheticEnglish:
    """Vectors 1–3 and 5–7 are kept; 6 has no clusters, 3 has seven."""
    return SyntheticEnglish(tmp_path_factory.mktemp("english")).write()


@pytest.fixture(scope="module")
def results(files: SyntheticEnglish) -> EnglishResults:
    return EnglishResults(files.paths, params())


@pytest.fixture(scope="module")
def situations(tmp_path_factory: pytest.TempPathFactory, results: EnglishResults) -> dict[str, EnglishResults]:
    """The usual case, and those that strain the layout."""

    def made(name: str, last_step: int = 2500, chosen: tuple[int, ...] = (), **options: Any) -> EnglishResults:
        written = SyntheticEnglish(tmp_path_factory.mktemp(name), **options).write()
        return EnglishResults(written.paths, params(plots={"last_step": last_step, "vectors": list(chosen)}))

    crowded = (("comma",) * 11, ("mixed",) * 5, ("piece",) * 2)
    return {
        "usual": results,
        "nothing clustered": made("empty", vectors=[(), (), ()], loss=(), dropped=(2,)),
        "one vector": made("one", vectors=[("comma",)], loss=("of",), dropped=()),
        "weird": made("weird", contexts=WEIRD, names=NAMES, vectors=crowded, loss=("comma",) * 6, scale=1e-6),
        "cut early": made("cut", last_step=600, chosen=(4, 3)),
    }


# --- Results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("string", ["NA", "null", "nan", "None", "", ",", '"', " the", "1", "01", "True", "-", "a, b"])
def test_strings_are_read_as_they_stand(string: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"target": [string, string], "name": [f"`{string}`", "y"], "fit": [0.5, np.nan], "kept": True})
    write_csv(tmp_path / "t.csv", table)
    read = read_table(tmp_path / "t.csv")
    assert read["target"].tolist() == [string, string]
    assert read["name"].tolist() == [f"`{string}`", "y"]
    assert read["fit"][0] == 0.5
    assert np.isnan(read["fit"][1])
    assert read["kept"].dtype == bool


def test_tables_and_facts(files: SyntheticEnglish, results: EnglishResults) -> None:
    assert results.clusters["top_target"].map(type).eq(str).all()
    assert len(results.clusters) == 22
    assert results.fact("documents") == 120
    assert results.scalar("analyses.polca.dropped_vectors") == 1
    assert np.isnan(results.scalar("analyses.loss.hidden_fraction"))
    assert results.param("data.context") == 64
    assert list(results.training_log) == ["step", "loss", "learning_rate"]
    assert len(results.curves("polca")) == 19
    assert len(results.contexts) == 10 * len(results.clusters)
    np.testing.assert_array_equal(results.losses.losses, files.losses)


def test_what_is_missing_is_named(files: SyntheticEnglish, tmp_path: Path) -> None:
    results = EnglishResults(TaskPaths(tmp_path, "english"), params())
    with pytest.raises(PolcaError, match=r"summary\.json: no such file: run stage cluster@english"):
        _ = results.summary
    with pytest.raises(PolcaError, match=r"training_log\.csv: no such file: run stage train@english"):
        _ = results.training_log
    with pytest.raises(PolcaError, match=r"english\.model\.depth is missing"):
        results.param("model.depth")
    write_json(results.paths.summary, {"corpus": {}})
    with pytest.raises(PolcaError, match=r"summary\.json: lacks 'corpus\.epochs': run stage cluster@english"):
        results.fact("epochs")
    results.paths.tables.mkdir()
    results.paths.table("contexts").write_text("analysis,vector\n")
    with pytest.raises(PolcaError, match=r"contexts\.csv: lacks the column 'cluster': run stage cluster@english"):
        _ = results.contexts
    results.paths.table("vectors").write_text("analysis,vector\n")
    results.paths.table("clusters").write_text("")
    with pytest.raises(PolcaError, match=r"clusters\.csv: not a readable CSV table"):
        _ = results.clusters


# --- Which vectors ----------------------------------------------------------------------------------------------------


class TestRankedVectors:
    @staticmethod
    def results(
        table: dict[int, list[tuple[bool, bool]]], dropped: tuple[int, ...] = (), **plots: Any
    ) -> EnglishResults:
        """Clusters as (simple, hidden) by vector."""
        made = EnglishResults(TaskPaths(Path("nowhere"), "english"), params(plots={"last_step": 2500, **plots}))
        rows = [
            {"analysis": "polca", "vector": v, "cluster": c, "simple": simple, "hidden": hidden}
            for v, clusters in table.items()
            for c, (simple, hidden) in enumerate(clusters)
        ]
        other = [{"analysis": "loss", "vector": 1, "cluster": c, "simple": True, "hidden": True} for c in range(9)]
        made.__dict__["clusters"] = pd.DataFrame(rows + other)
        counts = [
            {"analysis": "polca", "vector": v, "kept": v not in dropped, "n_clusters": len(clusters)}
            | {"n_simple": sum(simple for simple, _ in clusters)}
            for v, clusters in table.items()
        ]
        loss = {"analysis": "loss", "vector": 1, "kept": True, "n_clusters": 9, "n_simple": 9}
        made.__dict__["vectors"] = pd.DataFrame([*counts, loss])
        return made

    TABLE: dict[int, list[tuple[bool, bool]]] = {  # noqa: RUF012
        1: [],
        2: [(False, True)] * 4,
        3: [(True, False), (True, False)],
        4: [(True, True)],
        5: [(False, True)] * 5,
        6: [(True, True), (False, False)],
        7: [(True, False), (False, True), (False, True)],
        8: [(True, True)] * 3,
        9: [(False, True)] * 4,
    }

    def test_order(self) -> None:
        """Simple and hidden; then simple; then clusters; then the number. Vector 8 is dropped."""
        assert ranked_vectors(self.results(self.TABLE, dropped=(8,))) == [6, 4, 3, 7, 5, 2, 9, 1]

    def test_override_comes_first(self) -> None:
        assert ranked_vectors(self.results(self.TABLE, vectors=[9, 8], dropped=(8,))) == [9, 8, 6, 4, 3, 7, 5, 2, 1]
        assert ranked_vectors(self.results(self.TABLE, vectors=[]))[0] == 8

    @pytest.mark.parametrize("wrong", [[0], [10], [1, 1], ["1"], 3, [True], [[1]]])
    def test_impossible_override(self, wrong: Any) -> None:
        with pytest.raises(PolcaError, match=r"english\.plots\.vectors.*from 1 to 9"):
            ranked_vectors(self.results(self.TABLE, vectors=wrong))


# --- Contents ---------------------------------------------------------------------------------------------------------


def in_table(figure: Figure, index: int) -> list[Text]:
    """The texts of the table that is the figure's axes number `index`."""
    return [t for t in texts(figure) if t.axes is figure.axes[index]]


@pytest.mark.usefixtures("style")
@pytest.mark.parametrize(("number", "vectors"), [(5, (3, 5)), (10, (1, 7)), (11, (2,))])
def test_vectors_are_drawn_from_their_files(number: int, vectors: tuple[int, ...], results: EnglishResults) -> None:
    figure = draw_figure(number, results)
    curves = results.curves("polca")
    cut = curves.steps <= 2500
    for row, vector in enumerate(vectors):
        upper, lower, _ = figure.axes[3 * row : 3 * row + 3]
        own = np.flatnonzero(curves.cluster_vector == vector - 1)[:MAXIMUM_CLUSTERS]
        for axes, means in ((upper, curves.projected_mean), (lower, curves.loss_mean)):
            np.testing.assert_array_equal([line.get_ydata() for line in lines(axes)], means[own][:, cut])
            assert axes.get_xlim() == (0, 2500)
            assert [list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2] == [
                [400 * vector] * 2 if 400 * vector <= 2500 else []
            ] * (400 * vector <= 2500)
        assert [a.get_color() for a in lines(upper)] == [b.get_color() for b in lines(lower)]
        assert f"Basis vector {vector} of step {400 * vector:,}, standardised" in words(figure)
    assert words(figure).count("sampled later →") == sum(400 * vector > 2500 for vector in vectors)


@pytest.mark.usefixtures("style")
def test_figure_9_draws_mean_losses_of_clusters_and_of_all(files: SyntheticEnglish, results: EnglishResults) -> None:
    figure = draw_figure(9, results)
    kept = files.steps <= 2500
    everything, *clusters = lines(figure.axes[0])
    np.testing.assert_allclose(everything.get_ydata(), files.losses[kept].mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal([c.get_ydata() for c in clusters], results.curves("loss").loss_mean[:, kept])
    assert "3 clusters" in words(figure)


@pytest.mark.usefixtures("style")
@pytest.mark.parametrize(("number", "index", "analysis", "vector"), [(5, 2, "polca", 3), (9, 1, "loss", 1)])
def test_tables_hold_names_and_nearest_contexts(
    number: int, index: int, analysis: str, vector: int, results: EnglishResults
) -> None:
    figure = draw_figure(number, results)
    panel, table = figure.axes[0], figure.axes[index]
    shown = results.clusters.query("analysis == @analysis and vector == @vector").head(MAXIMUM_CLUSTERS)
    colors = [line.get_color() for line in lines(panel)][-len(shown) :]
    samples = [line for line in table.lines if line.get_xdata()[1] < 20]
    assert [line.get_color() for line in samples] == colors
    # The rows from top to bottom, their texts from left to right.
    in_rows: dict[float, list[Text]] = {}
    for text in sorted(in_table(figure, index), key=lambda t: body(t).x0):
        if text not in table.texts[:3]:
            in_rows.setdefault(text.get_position()[1], []).append(text)
    rows = iter([in_rows[y] for y in sorted(in_rows)])
    for (_, cluster), color in zip(shown.iterrows(), colors, strict=True):
        role = next(role for role in ROLES.values() if role.color == color)
        fit = f", {100 * cluster['fit']:.0f} %" if cluster["fit"] else ""
        most = f", most often `{cluster['top_target']}` ({100 * cluster['top_target_share']:.0f} %)"
        whole = cluster["name"] + (most if cluster["name"] == "mixed" else "")
        name = [part.strip() for part in whole.split("`") if part]
        assert [t.get_text() for t in next(rows)] == [str(cluster["cluster"]), *name, f"{cluster['size']:,}{fit}"]
        nearest = results.contexts.query("analysis == @analysis and vector == @vector and cluster == @cluster.cluster")
        for context in nearest.sort_values("rank")[["before", "target", "after"]].to_numpy()[:CONTEXTS]:
            before, target, after = next(rows)
            wanted = [part.strip(" ") for part in context]
            assert wanted[0].endswith(before.get_text().removeprefix(CUT))
            assert target.get_text() == wanted[1]
            assert wanted[2].startswith(after.get_text().removesuffix(CUT))
            assert (target.get_color(), target.get_fontweight()) == (role.text_color, "bold")
            assert before.get_fontweight() == after.get_fontweight() == "normal"
    assert next(rows, None) is None
    assert f"{len(shown)} largest of 7" in words(figure) if vector == 3 else "all 3 clusters" in words(figure)


@pytest.mark.usefixtures("style")
def test_targets_stand_in_line(situations: dict[str, EnglishResults]) -> None:
    for name, index in (("usual", 2), ("weird", 2)):
        figure = draw_figure(5, situations[name])
        table = figure.axes[index]
        width = table.get_xlim()[1]
        starts = [
            t.get_position()[0]
            for t in in_table(figure, index)
            if t.get_fontsize() == SMALL and t.get_fontweight() == "bold"
        ]
        assert len(starts) == MAXIMUM_CLUSTERS * CONTEXTS
        assert set(starts) == {TARGET_AT * width}


@pytest.mark.usefixtures("style")
def test_points_and_white_space_stand_on_maps_in_words() -> None:
    clusters = np.repeat(np.arange(5), 6)
    coordinates = np.random.default_rng(0).normal(size=(30, 2)) + 20.0 * clusters[:, None]
    shown = words(draw_token_map(coordinates, clusters, [".", ",", "\n", " ", " the"])).splitlines()
    assert {"period", "comma", "newline", "space", "the"} <= set(shown)


@pytest.mark.usefixtures("style")
def test_strings_are_never_formulas(situations: dict[str, EnglishResults]) -> None:
    """Matplotlib would set `$…$` as a formula, or refuse to; every odd token is drawn as it stands."""
    drawn = [t for n in (5, 9, 10) for t in texts(draw_figure(n, situations["weird"]))]
    strings = {t.get_text() for t in drawn if not t.get_parse_math()}
    assert {"$", "\\", "_", "%", "NA", "^{}", "⏎", "␣␣", "□"} <= strings
    assert {r"\frac{1}{2}", "a $x^{ is", r"of \alpha^{}", "`", ", null"} <= strings
    assert not any("$" in t.get_text() for t in drawn if t.get_parse_math())


@pytest.mark.usefixtures("style")
def test_where_nothing_is_clustered_the_figure_says_so(situations: dict[str, EnglishResults]) -> None:
    empty, one = situations["nothing clustered"], situations["one vector"]
    assert "HDBSCAN found no cluster" in words(draw_figure(9, empty))
    assert words(draw_figure(5, empty)).count("HDBSCAN found no cluster") == 2
    assert words(draw_figure(10, empty)).count("No further basis vector") == 2
    assert "one cluster, contexts" in words(draw_figure(5, one))
    assert words(draw_figure(5, one)).count("No further basis vector") == 1
    assert words(draw_figure(11, one)).count("No further basis vector") == 2
    chosen = words(draw_figure(5, situations["cut early"]))
    assert "Basis vector 4" in chosen
    assert "Dropped by the filter" in chosen


# --- Looks ------------------------------------------------------------------------------------------------------------


SITUATIONS = ("usual", "nothing clustered", "one vector", "weird", "cut early")


@pytest.mark.usefixtures("style")
@pytest.mark.parametrize(
    "situation", [*SITUATIONS[:2], *(pytest.param(s, marks=pytest.mark.thorough) for s in SITUATIONS[2:])]
)
@pytest.mark.parametrize("number", ENGLISH_FIGURES)
def test_texts_do_not_overlap_and_stay_inside(
    number: int, situation: str, situations: dict[str, EnglishResults]
) -> None:
    figure = draw_figure(number, situations[situation])
    figure.set_dpi(FORMATS["png"]["dpi"])  # letters are placed on a grid of the resolution
    check_layout(figure, PAGE_WIDTH)
    shown = texts(figure)
    for table in figure.axes:
        if table.yaxis_inverted():
            box = table.get_window_extent()
            for text in shown:
                if text.axes is table:
                    assert body(text).x0 >= box.x0 - 1, text.get_text()
                    assert body(text).x1 <= box.x1 + 1, text.get_text()


@pytest.mark.usefixtures("style")
@pytest.mark.parametrize("number", ENGLISH_FIGURES)
def test_font_sizes_suit_a_page(number: int, results: EnglishResults) -> None:
    sizes = {t.get_fontsize() for t in texts(draw_figure(number, results))}
    assert min(sizes) >= 7
    assert max(sizes) <= 9


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.mark.thorough  # `make test` compares smoke's figures with the committed bytes
@pytest.mark.parametrize("number", [5, 9])
def test_the_same_bytes_whatever_the_surroundings(
    number: int, results: EnglishResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = render_figure(number, results)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    with mpl.rc_context({"font.size": 30, "font.family": "serif", "text.parse_math": True, "savefig.bbox": "tight"}):
        paths = save_figure(number, EnglishResults(results.paths, results.params), tmp_path)
    assert [p.name for p in paths] == [f"figure_{number:02d}.pdf", f"figure_{number:02d}.png"]
    assert {p.suffix[1:]: p.read_bytes() for p in paths} == first


def test_all_figures_are_saved(results: EnglishResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[int, Any] = {}
    for registry in (FIGURES, ENGLISH_FIGURES):
        for number in registry:
            monkeypatch.setitem(registry, number, lambda r, n=number: given.update({n: r}) or Figure())
    for name in FURTHER_ENGLISH:
        monkeypatch.setitem(FURTHER_ENGLISH, name, lambda r, n=name: given.update({n: r}) or Figure())
    for name in FURTHER:
        monkeypatch.setitem(FURTHER, name, lambda r, folder, n=name: given.update({n: r, "folder": folder}) or Figure())
    arithmetic = Results(TaskPaths(tmp_path, "arithmetic"), synthetic.params())
    own = {"arithmetic": [1, 2, 3, 4, 6, 7, 8], "english": [5, 9, 10, 11]}
    for name, preset in (
        ("both", PresetResults(arithmetic, results)),
        ("addition", PresetResults(arithmetic, None)),
        ("text", PresetResults(None, results)),
    ):
        given.clear()
        paths = save_figures(preset, tmp_path / name, tmp_path / "validity")
        sources: dict[Any, Any] = {n: made for made in preset.all for n in own[made.setting]}
        names = [f"{n:02d}" for n in sorted(sources)]
        further = dict.fromkeys(FURTHER, arithmetic) if preset.arithmetic else {}
        further |= dict.fromkeys(FURTHER_ENGLISH, results) if preset.english else {}
        assert [p.name for p in paths if p.suffix == ".png"] == [f"figure_{n}.png" for n in (*names, *further)]
        assert sorted((tmp_path / name).iterdir()) == sorted(paths)
        assert given.pop("folder", None) == (tmp_path / "validity" if preset.arithmetic else None)
        sources |= further
        assert given.keys() == sources.keys()
        assert all(given[n] is made for n, made in sources.items())


def test_figures_of_the_other_setting(results: EnglishResults) -> None:
    with pytest.raises(PolcaError, match="figure 4: not of the english setting"):
        render_figure(4, results)
    with pytest.raises(PolcaError, match=r"figure 12: not drawn here \(known: 1, 2, 3, 4, 5,"):
        render_figure(12, results)


@pytest.mark.parametrize(
    ("file", "number", "stage"),
    [
        ("losses.npz", 9, "project@english"),
        ("standardised/clusters/loss.npz", 9, "cluster@english"),
        ("standardised/clusters/polca.npz", 5, "cluster@english"),
        ("standardised/tables/clusters.csv", 5, "cluster@english"),
        ("standardised/tables/vectors.csv", 10, "cluster@english"),
        ("standardised/tables/contexts.csv", 11, "cluster@english"),
    ],
)
def test_missing_file_names_the_stage(
    file: str, number: int, stage: str, files: SyntheticEnglish, tmp_path: Path
) -> None:
    link_without(f"results/english/{file}", files.run, tmp_path)
    with pytest.raises(PolcaError, match=f"{file}: no such file: run stage {stage}"):
        render_figure(number, EnglishResults(TaskPaths(tmp_path, "english"), params()))


@pytest.mark.parametrize("value", [0, "2500", None, 1.5, True])
def test_impossible_last_step(value: Any, results: EnglishResults) -> None:
    with pytest.raises(PolcaError, match=r"english\.plots\.last_step"):
        render_figure(9, EnglishResults(results.paths, params(plots={"last_step": value})))


def test_nothing_left_to_draw(results: EnglishResults) -> None:
    with pytest.raises(PolcaError, match=r"english\.plots\.last_step = 49: leaves 1 of 61 points"):
        render_figure(5, EnglishResults(results.paths, params(plots={"last_step": 49})))


def test_figures_show_the_analysis_that_the_preset_names(tmp_path: Path) -> None:
    """`plots.analysis`: clusters finer than the published ones are said to be so."""
    made = EnglishResults(TaskPaths(tmp_path, "english"), params(plots={"last_step": 2500, "analysis": "polca_fine"}))
    assert made.shown_analysis == "polca_fine"
    assert "finer" in clustering_note(made)
    plain = EnglishResults(TaskPaths(tmp_path, "english"), params())
    assert plain.shown_analysis == "polca"
    assert clustering_note(plain) == ""


@pytest.fixture
def of_finer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., EnglishResults]:
    """Results of which some analyses and readings have no clusters."""

    def made(*empty: tuple[str, Reading], **plots: Any) -> EnglishResults:
        finer = [("comma", "of", "adp", "det"), (), ("noun", "verb"), *[()] * 4]
        written = SyntheticEnglish(
            tmp_path_factory.mktemp("finer"), finer=finer, finer_loss=("of", "comma", "noun"), empty=empty
        ).write()
        paths = written.paths.of_reading(plots.get("reading", "standardised"))
        return EnglishResults(paths, params(plots={"last_step": 2500, **plots}))

    return made


class TestFallback:
    """Where the shown reading has no clusters of the shown analysis: the other reading, then the finer clustering."""

    VIEWS = tuple(product(("polca", "polca_fine"), READINGS))
    """In the order in which they are tried."""

    @pytest.mark.parametrize("first", range(5))
    def test_order(self, first: int, of_finer: Callable[..., EnglishResults]) -> None:
        """The first so many of the views have no clusters; where none has, it is the very first."""
        found = with_clusters(of_finer(*self.VIEWS[:first]))
        assert (found.shown_analysis, found.reading) == self.VIEWS[first % 4]

    def test_order_begins_with_what_the_preset_shows(self, of_finer: Callable[..., EnglishResults]) -> None:
        found = with_clusters(of_finer(reading="raw"))
        assert (found.shown_analysis, found.reading) == ("polca", "raw")
        found = with_clusters(of_finer(("polca", "raw"), reading="raw"))
        assert (found.shown_analysis, found.reading) == ("polca", "standardised")
        # The finer clustering asked for, there is no other behind it: not the published one.
        fine = [("polca_fine", reading) for reading in READINGS]
        found = with_clusters(of_finer(*fine, analysis="polca_fine", reading="raw"))
        assert (found.shown_analysis, found.reading) == ("polca_fine", "raw")

    @pytest.mark.parametrize("first", range(5))
    def test_named_analyses_have_their_own_finer_clustering(
        self, first: int, of_finer: Callable[..., EnglishResults]
    ) -> None:
        order = tuple(product(("loss", "loss_fine"), READINGS))
        found = with_clusters(of_finer(*order[:first]), ("loss",))
        assert (found.shown_analysis, found.reading) == order[first % 4]

    def test_results_without_the_finer_clustering(self, tmp_path: Path) -> None:
        """As of a run that was made before there was one, and of a task that has none."""
        nothing = [("loss", reading) for reading in READINGS]
        written = SyntheticEnglish(tmp_path, empty=nothing).write()
        found = with_clusters(EnglishResults(written.paths, params()), ("loss",))
        assert (found.shown_analysis, found.reading) == ("loss", "standardised")

    def test_rows_fall_back_one_by_one(self, results: EnglishResults, of_finer: Callable[..., EnglishResults]) -> None:
        """All vectors with clusters of the first view, then those of the next; a vector without is the last resort."""

        def rows(own: EnglishResults) -> list[tuple[str, str, int]]:
            return [(view.shown_analysis, view.reading, v) for view, v in ranked_rows(own, ranked_vectors)]

        first = [("polca", "standardised", vector) for vector in (3, 5, 1, 7, 2)]
        raw = [("polca", "raw", vector) for vector in ranked_vectors(results.of_reading("raw")) if vector != 6]
        assert rows(results) == [*first, *raw, ("polca", "standardised", 6)]
        # Of the finer clustering vectors 1 and 3 have clusters; of raw trajectories as well.
        finer = [("polca_fine", reading, vector) for reading in READINGS for vector in (1, 3)]
        found = rows(of_finer())
        assert found[:10] == [*first, *raw]
        assert sorted(found[10:14]) == sorted(finer)
        assert [reading for _, reading, _ in found[10:14]] == ["standardised"] * 2 + ["raw"] * 2
        assert found[14:] == [("polca", "standardised", 6)]
        # What the preset lists comes first, with clusters or without.
        assert rows(of_finer(vectors=[6]))[:2] == [("polca", "standardised", 6), first[0]]

    @pytest.mark.usefixtures("style")
    def test_a_row_of_the_other_reading_is_named(self, results: EnglishResults) -> None:
        figure = draw_figure(11, results)
        assert "Basis vector 2 of step 800, standardised" in words(figure)
        vector = next(v for view, v in ranked_rows(results, ranked_vectors) if view.reading == "raw")
        assert f"Basis vector {vector} of step {400 * vector:,}, raw" in words(figure)
        curves = results.of_reading("raw").curves("polca")
        own = curves.projected_mean[curves.cluster_vector == vector - 1][:MAXIMUM_CLUSTERS, curves.steps <= 2500]
        np.testing.assert_array_equal([line.get_ydata() for line in lines(figure.axes[3])], own)

    @pytest.mark.usefixtures("style")
    def test_what_is_drawn_is_named(self, of_finer: Callable[..., EnglishResults]) -> None:
        results = of_finer(*self.VIEWS[:2])
        figure = draw_figure(5, results)
        assert "of step 400, standardised" in words(figure)
        assert "finer" in words(figure)
        curves = results.curves("polca_fine")
        own = curves.projected_mean[curves.cluster_vector == 0][:MAXIMUM_CLUSTERS, curves.steps <= 2500]
        np.testing.assert_array_equal([line.get_ydata() for line in lines(figure.axes[0])], own)
        raw = draw_figure(5, of_finer(*self.VIEWS[:1]))
        assert ", raw" in words(raw)
        assert "standardised" not in words(raw)
        assert "finer" not in words(raw)

    @pytest.mark.usefixtures("style")
    def test_figure_9_shows_finer_clusters_where_there_are_no_others(
        self, of_finer: Callable[..., EnglishResults]
    ) -> None:
        raw = words(draw_figure(9, of_finer(("loss", "standardised"))))
        assert "Clusters of the exact loss, raw" in raw
        assert "finer" not in raw
        results = of_finer(*(("loss", reading) for reading in READINGS))
        figure = draw_figure(9, results)
        check_layout(figure, PAGE_WIDTH)
        assert "Clusters of the exact loss, standardised" in words(figure)
        assert "all 3 clusters (finer, Table 7)" in words(figure)
        curves = results.curves("loss_fine")
        everywhere, *drawn = [line.get_ydata() for line in lines(figure.axes[0])]
        np.testing.assert_array_equal(drawn, curves.loss_mean[:, curves.loss_steps <= 2500])
        np.testing.assert_allclose(everywhere, results.losses.losses.mean(axis=1)[: len(everywhere)], rtol=1e-6)
