"""Figures show what the result files hold, legibly, and are the same bytes every time."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy.optimize import minimize

from layout import check_layout, lines, texts, words
from polca.errors import PolcaError
from polca.report.figures import FIGURES, render_figure, save_figure
from polca.report.figures import style as figure_style
from polca.report.figures.addition import SUMMANDS, carries
from polca.report.figures.panels import plot_range, spread
from polca.report.figures.selection import ranked_rows
from polca.report.figures.skills import PLACE_TONES, carry_share, dominant_skills, held_places, looks
from polca.report.figures.style import PAGE_WIDTH, new_figure, step_axis, step_ticks, styled
from polca.report.figures.vectors import MAXIMUM_CLUSTERS, drawn_clusters, ranked_vectors
from polca.study.paths import TaskPaths
from polca.study.results import Results
from polca.tasks.arithmetic.data import encode
from polca.tasks.arithmetic.labels import PLACES, carry_labels
from polca.tasks.arithmetic.scores import COUNTS
from synthetic import Synthetic, link_without, params

NOWHERE = TaskPaths(Path("nowhere"), "arithmetic")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    """Vectors 1–3 and 5 are kept, 1–3 have clusters."""
    return Synthetic(tmp_path_factory.mktemp("run")).write()


@pytest.fixture(scope="module")
def results(files: Synthetic) -> Results:
    return Results(files.paths, params())


@pytest.fixture(scope="module")
def situations(tmp_path_factory: pytest.TempPathFactory, results: Results) -> dict[str, Results]:
    """The usual case, and those that strain the layout."""
    empty = Synthetic(tmp_path_factory.mktemp("empty"), sequences=60, empty=("loss", "polca")).write()
    few = Synthetic(tmp_path_factory.mktemp("few"), sequences=60, dropped=(2, 3, 4, 5)).write()
    crowded = Synthetic(tmp_path_factory.mktemp("crowded"), crowded=1).write()
    small = Synthetic(tmp_path_factory.mktemp("small"), scale=1e-6).write()
    cut = params(plots={"last_step": 1000, "vectors": [1, 4]})
    return {
        "usual": results,
        "nothing clustered": Results(empty.paths, params()),
        "one vector kept": Results(few.paths, params()),
        "tiny losses": Results(small.paths, params(plots={"last_step": 14000})),
        "many clusters": Results(crowded.paths, cut),
    }


# --- Parts ------------------------------------------------------------------------------------------------------------


def test_carries_of_the_diagram() -> None:
    """Against the labels of the evaluation tokens."""
    for a, b in (SUMMANDS, (0, 0), (999, 1), (999, 999), (500, 500), (109, 91)):
        expected = carry_labels(encode(np.array([a]), np.array([b])))
        assert list(carries(a, b).values()) == expected.tolist()
    assert sorted(carries(*SUMMANDS).values()) == [False, False, True, True], "the example should show both kinds"


@pytest.mark.parametrize("seed", range(5))
def test_spread_is_the_nearest_feasible_placement(seed: int) -> None:
    """Against a general-purpose optimiser."""
    rng = np.random.default_rng(seed)
    wanted = np.sort(rng.uniform(-10, 60, 5))
    gap, low, high = 8.0, 0.0, 50.0
    apart = [{"type": "ineq", "fun": lambda p, i=i: p[i + 1] - p[i] - gap} for i in range(4)]
    best = minimize(
        lambda p: ((p - wanted) ** 2).sum(), np.linspace(0, 50, 5), bounds=[(low, high)] * 5, constraints=apart
    )
    shuffled = rng.permutation(5)
    found = spread(wanted[shuffled].tolist(), gap, low, high)
    np.testing.assert_allclose(np.array(found)[np.argsort(shuffled)], best.x, atol=1e-3)


def test_spread_shrinks_gaps_where_there_is_no_room() -> None:
    assert spread([5, 5, 5], 100, 0, 10) == pytest.approx([0, 5, 10])
    assert spread([3.0], 8, 0, 10) == [3.0]
    assert spread([], 8, 0, 10) == []


def test_figures_end_at_the_last_step() -> None:
    def shown(last_step: int) -> list[int]:
        steps = np.array([0, 10, 20, 30])
        return steps[plot_range(steps, Results(NOWHERE, params(plots={"last_step": last_step})))].tolist()

    assert shown(20) == shown(29) == [0, 10, 20]
    with pytest.raises(PolcaError, match=r"plots\.last_step = 9"):
        shown(9)


@pytest.mark.parametrize("end", [40, 1600, 2000, 10000, 143000])
def test_steps_are_spaced_by_their_roots(end: int) -> None:
    """Early training is seen: a hundredth of it takes a tenth of the axis, and there are three ticks at least."""
    ticks = np.array(step_ticks(end, 4))
    assert (ticks[0], ticks[-1]) == (0, end)
    np.testing.assert_allclose(np.sqrt(ticks / end), [0, 0.25, 0.5, 0.75, 1], atol=0.03)
    with styled():
        axes = new_figure(3, 2).subplots()
        axes.plot([0, end], [0, 1])
        step_axis(axes, end)
        places = axes.transAxes.inverted().transform(axes.transData.transform([(end / 100, 0), (end / 2, 0)]))[:, 0]
    np.testing.assert_allclose(places, [0.1, 0.5**0.5], atol=1e-9)
    assert axes.get_xticks().tolist() == ticks.tolist()


def composition(**counts: int) -> dict[str, int]:
    return {**dict.fromkeys(COUNTS, 0), **counts}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"n_100s_carry": 7, "n_10s_nocarry": 3}, ("100s", True)),
        ({"n_100s_carry": 69, "n_10s_nocarry": 31}, (None, None)),
        ({"n_100s_carry": 5, "n_100s_nocarry": 5}, ("100s", None)),
        ({"n_1s_nocarry": 9, "n_1000s_carry": 1}, ("1s", False)),
        ({"n_100s_carry": 5, "n_10s_carry": 5}, (None, True)),
    ],
)
def test_dominant_skills(counts: dict[str, int], expected: tuple[str | None, bool | None]) -> None:
    assert dominant_skills(composition(**counts)) == expected


def test_clusters_are_named_by_what_they_hold() -> None:
    """The fewest places that make up seven tenths; three or more are `mixed`."""
    for counts, name in (
        ({"n_100s_carry": 7, "n_10s_nocarry": 3}, "100s"),
        ({"n_1s_nocarry": 40, "n_100s_carry": 35, "n_10s_carry": 25}, "100s + 1s"),
        ({"n_1s_nocarry": 35, "n_100s_carry": 34, "n_10s_carry": 31}, "mixed"),
    ):
        assert held_places(composition(**counts)) == name


def test_looks_follow_the_dominant_skill_and_differ() -> None:
    made = [
        composition(n_100s_carry=50),
        composition(n_100s_nocarry=40),
        composition(n_100s_carry=30),
        composition(n_1s_nocarry=20),
        *(composition(n_100s_carry=n, n_10s_nocarry=n) for n in (5, 4, 3, 2)),
    ]
    rows = [{"cluster": i, "size": sum(c.values()), **c} for i, c in enumerate(made)]
    result = looks(pd.DataFrame(rows[::-1]))
    assert [look.number for look in result] == list(range(8))
    tones = PLACE_TONES["100s"]
    assert [look.color for look in result[:4]] == [tones.carry, tones.no_carry, tones.carry, PLACE_TONES["1s"].both]
    assert [look.name for look in result[:4]] == ["100s, carry", "100s, no carry", "100s, carry", "1s"]
    assert len({(look.color, look.dashes) for look in result}) == len(result)
    assert [carry_share(look) for look in result[:2]] == [1, 0]


class TestChosenVectors:
    @staticmethod
    def results(
        table: list[tuple[int, dict[str, Any]]],
        shares: dict[tuple[str, int], list[tuple[int, int]]] | None = None,
        **plots: Any,
    ) -> Results:
        """Rows of vectors by number; of clusters, by analysis and vector, carries into the 1000s and all tokens."""
        made = Results(NOWHERE, params(plots={"last_step": 4000, **plots}))
        nothing = {"analysis": "polca", "kept": True, "best_homogeneity": np.nan, "n_clusters": 1}
        rows = [{**nothing, "vector": i, "auc_1000s": np.nan, "auc_100s": 0.5, "auc_10s": 0.5} | v for i, v in table]
        rows.append({**rows[0], "analysis": "fisher", "vector": 1, "best_homogeneity": 1.0})
        made.__dict__["vectors"] = pd.DataFrame(rows)
        made.__dict__["clusters"] = pd.DataFrame(
            [
                {"analysis": analysis, "vector": vector, "cluster": c, "size": size, "n_1000s_carry": carries}
                for (analysis, vector), clusters in ({} if shares is None else shares).items()
                for c, (carries, size) in enumerate(clusters)
            ],
            columns=["analysis", "vector", "cluster", "size", "n_1000s_carry"],
        )
        return made

    def test_first_with_clusters_then_the_other_kept_ones(self) -> None:
        table: list[Any] = [
            (5, {}),
            (1, {"n_clusters": 0}),
            (2, {"kept": False}),
            (4, {"n_clusters": 3, "best_homogeneity": 1.0}),
        ]
        assert ranked_vectors(self.results(table))[:3] == [4, 5, 1]

    def test_at_most_three(self) -> None:
        assert ranked_vectors(self.results([(4, {}), (3, {}), (1, {}), (2, {})]))[:3] == [1, 2, 3]

    def test_override(self) -> None:
        table: list[Any] = [(i, {}) for i in range(1, 6)]
        assert ranked_vectors(self.results(table, vectors=[5, 2])) == [5, 2, 1, 3, 4]
        assert ranked_vectors(self.results(table, vectors=[])) == [1, 2, 3, 4, 5]

    def test_figure_8_shows_the_purest_cluster_of_carries_into_the_1000s(self) -> None:
        """A share and no number; not of a vector that Figure 4 has, nor of one dropped, nor of another analysis."""
        table: list[Any] = [(i, {"kept": i != 6}) for i in range(1, 8)]
        shares = {
            ("polca", 1): [(10, 10)],
            ("polca", 3): [(60, 100), (0, 50)],
            ("polca", 4): [(50, 100)],
            ("polca", 5): [(1, 90), (9, 12)],
            ("polca", 6): [(10, 10)],
            ("polca", 7): [(3, 4)],
            ("fisher", 4): [(10, 10)],
        }
        # Vectors 5 and 7 tie at 0.75: the first of equals.
        assert ranked_vectors(self.results(table, shares)) == [1, 2, 5, 3, 4, 7]
        del shares["polca", 5]
        assert ranked_vectors(self.results(table, shares)) == [1, 2, 7, 3, 4, 5]
        assert ranked_vectors(self.results(table, {})) == [1, 2, 3, 4, 5, 7]
        # Figure 4 takes the first two of those with clusters, which vector 1 has not; what is listed comes first.
        table[0][1]["n_clusters"] = 0
        del shares["polca", 1]
        assert ranked_vectors(self.results(table, shares)) == [2, 3, 7, 4, 5, 1]
        assert ranked_vectors(self.results(table, shares, vectors=[6])) == [6, 2, 3, 7, 4, 5, 1]

    @pytest.mark.parametrize("wrong", [[0], [6], [1, 1], ["1"], 3, [True], [[1]]])
    def test_impossible_override(self, wrong: Any) -> None:
        table: list[Any] = [(i, {}) for i in range(1, 6)]
        with pytest.raises(PolcaError, match=r"arithmetic\.plots\.vectors"):
            ranked_vectors(self.results(table, vectors=wrong))


def test_drawn_clusters_hold_the_best_eligible_one() -> None:
    rows = [
        {"analysis": "polca", "vector": 1, "cluster": i, "size": 50 - i, "homogeneity": i / 10, "recall": 0.1}
        | {"eligible": i in (2, 8)}
        | composition(n_100s_carry=50 - i)
        for i in range(9)
    ]
    numbers = [look.number for look in drawn_clusters(pd.DataFrame(rows), "polca")]
    assert numbers == [*range(MAXIMUM_CLUSTERS - 1), 8]


# --- Contents ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("style")
def test_figure_6_draws_medians_and_quartiles(files: Synthetic, results: Results) -> None:
    (axes,) = FIGURES[6](results).axes
    kept = files.steps <= 4000
    assert len(lines(axes)) == len(PLACES)
    for place, line, band in zip(range(4), lines(axes), axes.collections, strict=True):
        losses = files.losses[kept][:, files.place == place]
        np.testing.assert_allclose(line.get_ydata(), np.median(losses, axis=1), rtol=1e-6)
        low, high = np.percentile(losses, [25, 75], axis=1)
        drawn = band.get_paths()[0].vertices
        assert (drawn[:, 1].min(), drawn[:, 1].max()) == pytest.approx((low.min(), high.max()), rel=1e-6)
        assert max(line.get_xdata()) == 4000
        assert to_hex(line.get_color()).upper() == PLACE_TONES[PLACES[place]].both


@pytest.mark.usefixtures("style")
def test_figure_7_splits_by_carry(files: Synthetic, results: Results) -> None:
    figure = FIGURES[7](results)
    assert [len(lines(axes)) for axes in figure.axes] == [2, 2, 2, 1]
    kept = files.steps <= 4000
    for place, axes in enumerate(figure.axes):
        for carry, line in zip((True, False) if place < 3 else (False,), lines(axes), strict=True):
            members = (files.place == place) & (files.carry == carry)
            np.testing.assert_allclose(line.get_ydata(), np.median(files.losses[kept][:, members], axis=1), rtol=1e-6)


@pytest.mark.usefixtures("style")
@pytest.mark.parametrize(("number", "vectors"), [(4, (1, 2)), (8, (3,))])
def test_vectors_are_drawn_from_their_files(number: int, vectors: tuple[int, ...], results: Results) -> None:
    figure = FIGURES[number](results)
    curves = results.curves("polca")
    for row, vector in enumerate(vectors):
        left, middle, right = figure.axes[3 * row : 3 * row + 3]
        own = np.flatnonzero(curves.cluster_vector == vector - 1)
        for axes, arrays in ((left, curves.projected_quartiles), (middle, curves.loss_quartiles)):
            drawn = lines(axes)
            assert len(drawn) == len(own)
            for line, index in zip(drawn, own, strict=True):
                np.testing.assert_array_equal(line.get_ydata(), arrays[index, 1, curves.steps <= 4000])
        assert [a.get_color() for a in lines(left)] == [b.get_color() for b in lines(middle)]
        rule = next(line for line in left.lines if len(line.get_xdata()) == 2)
        assert list(rule.get_xdata()) == [400 * vector] * 2
        # Ten bars a cluster: eight skills and two shares.
        clusters = results.clusters.query(f"analysis == 'polca' and vector == {vector}")
        widths = np.array([patch.get_width() for patch in right.patches]).reshape(len(own), 10)
        np.testing.assert_allclose(widths[:, :8] * clusters[["size"]].to_numpy() / 100, clusters[list(COUNTS)])
        np.testing.assert_allclose(widths[:, 8], 100 * clusters["homogeneity"])
        assert f"Basis vector {vector} of step {400 * vector:,}, standardised" in words(figure)


@pytest.mark.usefixtures("style")
def test_figure_3_draws_mean_losses_of_clusters_and_of_all(files: Synthetic, results: Results) -> None:
    left = FIGURES[3](results).axes[0]
    kept = files.steps <= 4000
    everything, *clusters = lines(left)
    np.testing.assert_allclose(everything.get_ydata(), files.losses[kept].mean(axis=1), rtol=1e-5)
    expected = results.curves("loss").loss_mean[:, kept]
    np.testing.assert_array_equal([line.get_ydata() for line in clusters], expected)


@pytest.mark.usefixtures("style")
def test_where_nothing_is_clustered_the_figure_says_so(situations: dict[str, Results]) -> None:
    empty = situations["nothing clustered"]
    assert "HDBSCAN found no cluster" in words(FIGURES[3](empty))
    assert words(FIGURES[4](empty)).count("HDBSCAN found no cluster") == 2
    few = situations["one vector kept"]
    # Its other reading takes the second row, and there is no third.
    assert "Basis vector 1 of step 400, raw" in words(FIGURES[4](few))
    assert "No further basis vector" in words(FIGURES[8](few))
    assert "Dropped by the filter" in words(FIGURES[4](situations["many clusters"]))
    assert "9 clusters (6 shown)" in words(FIGURES[4](situations["many clusters"]))


@pytest.mark.usefixtures("style")
def test_figure_8_shows_carries_into_the_1000s(results: Results) -> None:
    """Vectors 1 and 2 have clusters and are in Figure 4; of the others the third alone has one of such carries."""
    rows = results.clusters.query("analysis == 'polca' and vector == 3")
    assert (rows["n_1000s_carry"] / rows["size"]).max() > 0.8
    assert "1000s" in words(FIGURES[8](results))


@pytest.fixture(scope="module")
def of_one(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """POLCA has clusters of raw trajectories alone; the exact loss has them in both readings."""
    made = Synthetic(tmp_path_factory.mktemp("raw"), sequences=60, empty=("polca",), empty_in=("standardised",))
    return Results(made.write().paths, params())


class TestFallback:
    """Where the reading that figures show has no more clusters, the other is drawn, and its name stands above it."""

    @pytest.mark.parametrize("number", [4, 8])
    def test_the_other_reading_is_drawn_and_named(self, number: int, of_one: Results) -> None:
        figure, raw = FIGURES[number](of_one), of_one.of_reading("raw")
        assert ", raw" in words(figure)
        assert "standardised" not in words(figure)
        vectors = [1, 2] if number == 4 else [3]
        for row, vector in enumerate(vectors):
            own = raw.curves("polca")
            own_lines = own.projected_quartiles[own.cluster_vector == vector - 1, 1][:, own.steps <= 4000]
            drawn = [line.get_ydata() for line in lines(figure.axes[3 * row])]
            np.testing.assert_array_equal(drawn, own_lines)
        assert len(raw.curves("polca")) > 0 == len(of_one.curves("polca"))

    def test_rows_fall_back_one_by_one(self, tmp_path: Path) -> None:
        """Two vectors with clusters in each reading: the third row is the other reading's first."""
        made = Synthetic(tmp_path, sequences=60, dropped=(2, 4)).write()
        results = Results(made.paths, params())
        rows = [(view.reading, vector) for view, vector in ranked_rows(results, ranked_vectors)]
        assert rows == [("standardised", 1), ("standardised", 3), ("raw", 1), ("raw", 3), ("standardised", 5)]
        assert "Basis vector 1 of step 400, raw" in words(FIGURES[8](results))
        raw = results.of_reading("raw")
        rows = [(view.reading, vector) for view, vector in ranked_rows(raw, ranked_vectors)]
        assert rows == [("raw", 1), ("raw", 3), ("standardised", 1), ("standardised", 3), ("raw", 5)]
        # What the preset lists comes first, with clusters or without.
        listed = Results(made.paths, params(plots={"last_step": 4000, "vectors": [4, 3]}))
        rows = [(view.reading, vector) for view, vector in ranked_rows(listed, ranked_vectors)]
        assert rows[:3] == [("standardised", 4), ("standardised", 3), ("standardised", 1)]
        assert rows[3:5] == [("raw", 3), ("raw", 1)]

    def test_figures_of_other_clusters_do_not_follow(self, of_one: Results) -> None:
        shown = words(FIGURES[3](of_one))
        assert "Clusters of the exact loss, standardised" in shown
        assert "3 clusters" in shown
        assert "2 clusters" in words(FIGURES[3](of_one.of_reading("raw")))

    def test_without_clusters_in_either_the_shown_one_says_so(self, situations: dict[str, Results]) -> None:
        empty = situations["nothing clustered"]
        for own in (empty, empty.of_reading("raw")):
            for number in (3, 4):
                assert f", {own.reading}" in words(FIGURES[number](own))
                assert "HDBSCAN found no cluster" in words(FIGURES[number](own))


# --- Looks ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("style")
@pytest.mark.parametrize("situation", ["usual", "nothing clustered", "one vector kept", "tiny losses", "many clusters"])
@pytest.mark.parametrize("number", FIGURES)
def test_texts_do_not_overlap_and_stay_inside(number: int, situation: str, situations: dict[str, Results]) -> None:
    check_layout(FIGURES[number](situations[situation]), PAGE_WIDTH)


@pytest.mark.usefixtures("style")
@pytest.mark.parametrize("number", FIGURES)
def test_font_sizes_suit_a_page(number: int, results: Results) -> None:
    sizes = {t.get_fontsize() for t in texts(FIGURES[number](results))}
    assert min(sizes) >= 7
    assert max(sizes) <= (10.5 if number == 2 else 9)


@pytest.mark.parametrize("family", figure_style.FONTS)
def test_fonts_are_matplotlibs_own(family: str) -> None:
    """A system's font of another version would have other outlines."""
    for weight in ("normal", "bold"):
        path = Path(findfont(FontProperties(family=family, weight=weight), fallback_to_default=False))
        assert path.is_relative_to(mpl.get_data_path())


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.mark.thorough  # `make test` compares smoke's figures with the committed bytes
@pytest.mark.parametrize("number", FIGURES)
def test_the_same_bytes_whatever_the_surroundings(
    number: int, results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = render_figure(number, results)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "savefig.bbox": "tight", "path.simplify": False}):
        paths = save_figure(number, Results(results.paths, results.params), tmp_path)
        assert mpl.rcParams["font.size"] == 30, "the user's settings are to be left as they were"
    assert [p.name for p in paths] == [f"figure_{number:02d}.pdf", f"figure_{number:02d}.png"]
    assert {p.suffix[1:]: p.read_bytes() for p in paths} == first
    assert sorted(tmp_path.iterdir()) == sorted(paths), "temporary files are left"
    for word in (b"CreationDate", b"Producer", b"Creator", b"Software", b"atplotlib"):
        assert not any(word in content for content in first.values()), word


def test_unknown_figure(results: Results) -> None:
    with pytest.raises(PolcaError, match="figure 12: not drawn here"):
        render_figure(12, results)
    with pytest.raises(PolcaError, match="figure 5: not of the arithmetic setting"):
        render_figure(5, results)


@pytest.mark.parametrize(
    ("file", "number", "stage"),
    [
        ("labels.npz", 6, "labels@arithmetic"),
        ("losses.npz", 6, "project@arithmetic"),
        ("standardised/clusters/loss.npz", 3, "cluster@arithmetic"),
        ("standardised/tables/clusters.csv", 4, "cluster@arithmetic"),
        ("standardised/tables/vectors.csv", 8, "cluster@arithmetic"),
    ],
)
def test_missing_file_names_the_stage(file: str, number: int, stage: str, files: Synthetic, tmp_path: Path) -> None:
    link_without(f"results/arithmetic/{file}", files.run, tmp_path)
    with pytest.raises(PolcaError, match=f"{file}: no such file: run stage {stage}"):
        render_figure(number, Results(TaskPaths(tmp_path, "arithmetic"), params()))


@pytest.mark.parametrize("value", [0, -5, "4000", None, 1.5, True])
def test_impossible_last_step(value: Any, results: Results) -> None:
    with pytest.raises(PolcaError, match=r"arithmetic\.plots\.last_step"):
        render_figure(6, Results(results.paths, params(plots={"last_step": value})))
    with pytest.raises(PolcaError, match=r"arithmetic\.plots\.last_step is missing"):
        render_figure(6, Results(results.paths, params(plots={})))


def test_schematic_shows_what_it_says() -> None:
    """Figure 1: each sigmoid falls within a small part of training, and their mean falls all through it."""
    right = FIGURES[1](Results(NOWHERE, {})).axes[1]
    *skills, mean = [line.get_ydata() for line in right.lines]
    t = np.asarray(right.lines[-1].get_xdata(), float)
    width = max(
        float(np.ptp(t[(y > 0.1) & (y < 0.9)])) for y in map(np.asarray, skills) if y.min() < 0.1 < 0.9 < y.max()
    )
    assert width < 0.2
    assert np.ptp(t[(np.asarray(mean) > 0.1) & (np.asarray(mean) < 0.9)]) > 0.6
    assert (np.diff(np.asarray(mean)) < 0).all()


def test_last_bits_of_the_layout_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The solver of constrained layout gives other last bits now and then; as strong a jitter as could be is put in."""

    def picture() -> dict[str, bytes]:
        with styled():
            figure = new_figure(4, 3)
            axes = figure.subplots(1, 3)
            for panel, power in zip(axes, (1, 2, 3), strict=True):
                panel.plot(np.linspace(0, 1, 50) ** power)
                panel.set_xlabel("training step")
            return figure_style.encode(figure)

    first = picture()
    execute = ConstrainedLayoutEngine.execute
    draw = np.random.default_rng(0)

    def jittered(engine: ConstrainedLayoutEngine, figure: Any) -> None:
        execute(engine, figure)
        for panel in figure.axes:
            bounds = panel.get_position(original=True).bounds
            panel._set_position([value + draw.normal(0, 1e-12) for value in bounds])

    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", jittered)
    assert all(picture() == first for _ in range(5))
