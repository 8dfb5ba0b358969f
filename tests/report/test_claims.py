"""Verdicts on made-up runs whose truth is known."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import synthetic
import synthetic_english
from polca.machine.files import write_csv
from polca.report.claims import ADDITION, COLUMNS, ENGLISH, check_claims
from polca.report.verdicts import FAILS, HOLDS, INCONCLUSIVE, NOT_RUN, Chance, Run, Validity, judge, spread
from polca.study.paths import PresetPaths, TaskPaths
from polca.study.results import EnglishResults, PresetResults, Results
from synthetic import Synthetic
from synthetic_english import SyntheticEnglish
from synthetic_seeds import made_up_values

HAVE = ("loss", "loss_change", "lca", "polca_first_order", "polca", "polca_random")
PUBLISHED = Run(
    best={
        "loss": (0.514, 0.771),
        "loss_change": (0.524, 0.958),
        "lca": (0.792, 0.772),
        "polca_first_order": (0.948, 0.767),
        "polca": (0.973, 0.736),
        "polca_random": (0.902, 0.655),
    },
    clusters=dict.fromkeys(HAVE, 3),
    hidden={**dict.fromkeys(HAVE, 0.0), "polca": 0.355, "polca_first_order": 0.307, "polca_random": 0.031},
    auc={(name, place): area for name, area in (("polca", 0.9), ("polca_random", 0.7)) for place in ("100s", "10s")},
    probes={
        (name, place): area
        for name, area in (("polca", 0.96), ("polca_random", 0.9), ("loss", 0.75))
        for place in ("100s", "10s")
    },
)
BY_NAME = {claim.name: claim for claim in (*ADDITION, *ENGLISH)}


def decisions(run: Run) -> dict[str, bool | None]:
    return {claim.name: claim.decide(run) for claim in ADDITION}


def changed(name: str, homogeneity: float | None = None, recall: float = 0.7, hidden: float | None = None) -> Run:
    """The published run with another cluster, or another share of hidden ones, of one analysis."""
    best = PUBLISHED.best if homogeneity is None else {**PUBLISHED.best, name: (homogeneity, recall)}
    shares = PUBLISHED.hidden if hidden is None else {**PUBLISHED.hidden, name: hidden}
    return replace(PUBLISHED, best=best, hidden=shares)


def without(name: str) -> Run:
    """The published run, in which an analysis has no cluster."""
    best = {key: value for key, value in PUBLISHED.best.items() if key != name}
    return replace(
        PUBLISHED,
        best=best,
        clusters={**PUBLISHED.clusters, name: 0},
        hidden={**PUBLISHED.hidden, name: float("nan")},
    )


class TestDecisions:
    """Whether a claim holds in one run."""

    def test_published_values_show_every_claim(self) -> None:
        assert set(decisions(PUBLISHED).values()) == {True}

    @pytest.mark.parametrize(
        ("run", "fails"),
        [
            (changed("loss", 0.7), {"loss_does_not_isolate_carries"}),
            (changed("polca", 0.973, recall=0.3), {"polca_isolates_carries"}),
            (changed("polca", 0.8), {"polca_isolates_carries", "polca_beats_first_order_beats_lca"}),
            (changed("polca_first_order", 0.75), {"polca_beats_first_order_beats_lca"}),
            (changed("polca", hidden=0.0), {"polca_finds_hidden_breakthroughs", "random_basis_finds_fewer"}),
            (changed("loss", hidden=0.5), {"polca_finds_hidden_breakthroughs"}),
            (changed("polca_random", hidden=0.4), {"random_basis_finds_fewer"}),
            (replace(PUBLISHED, auc=PUBLISHED.auc | {("polca", "10s"): 0.6}), {"directions_tell_carries_apart"}),
            (
                replace(PUBLISHED, probes=PUBLISHED.probes | {("loss", "10s"): 0.99}),
                {"carries_are_in_the_decomposition"},
            ),
        ],
    )
    def test_each_claim_can_fail(self, run: Run, fails: set[str]) -> None:
        assert {name for name, holds in decisions(run).items() if holds is False} == fails
        assert None not in decisions(run).values()

    @pytest.mark.parametrize(
        ("name", "unknown", "fails"),
        [
            (
                "loss",
                {"loss_does_not_isolate_carries", "polca_is_purer_than_the_loss", "polca_finds_hidden_breakthroughs"},
                set(),
            ),
            ("lca", {"polca_beats_first_order_beats_lca"}, set()),
            ("polca_random", {"random_basis_finds_fewer"}, set()),
            (
                "polca",
                {"polca_beats_first_order_beats_lca", "random_basis_finds_fewer"},
                {"polca_isolates_carries", "polca_is_purer_than_the_loss", "polca_finds_hidden_breakthroughs"},
            ),
        ],
    )
    def test_what_has_no_cluster_cannot_be_told_unless_it_was_to_find_something(
        self, name: str, unknown: set[str], fails: set[str]
    ) -> None:
        found = decisions(without(name))
        assert {claim for claim, holds in found.items() if holds is None} == unknown
        assert {claim for claim, holds in found.items() if holds is False} == fails

    def test_a_loss_without_an_eligible_cluster_is_less_pure(self) -> None:
        best = {name: scores for name, scores in PUBLISHED.best.items() if name != "loss"}
        assert decisions(replace(PUBLISHED, best=best))["polca_is_purer_than_the_loss"] is True

    def test_probes_that_were_not_run_tell_nothing(self) -> None:
        assert decisions(replace(PUBLISHED, probes={}))["carries_are_in_the_decomposition"] is None


GOOD, BAD, NO_NULL = Chance(0.01), Chance(0.2), Chance(None)


class TestJudge:
    """Verdicts over runs, by hand."""

    @pytest.mark.parametrize(
        ("own", "seeds", "chance", "verdict", "why"),
        [
            (True, [True] * 5, None, HOLDS, "holds in 5 of 5 seeds"),
            (True, [True] * 4 + [False], GOOD, HOLDS, "holds in 4 of 5 seeds; p = 0.01"),
            (True, [True] * 3 + [False] * 2, GOOD, FAILS, "holds in 3 of 5 seeds"),
            (True, [True] * 3 + [False, None], None, INCONCLUSIVE, "holds in 3 of 5 seeds; 1 have too few"),
            (True, [None] * 5, None, INCONCLUSIVE, "holds in 0 of 5 seeds; 5 have too few"),
            (False, [True] * 5, None, INCONCLUSIVE, "on the finer grid it fails"),
            (None, [True] * 5, None, INCONCLUSIVE, "on the finer grid there are too few"),
            (True, [True] * 5, BAD, INCONCLUSIVE, "p = 0.2"),
            (True, [True] * 5, NO_NULL, INCONCLUSIVE, "no null"),
            (False, [False] * 5, GOOD, FAILS, "holds in 0 of 5 seeds"),
            (True, [], None, NOT_RUN, "make validity"),
        ],
    )
    def test_a_setting_with_seeds(self, own, seeds, chance, verdict, why) -> None:
        found = judge(own, seeds, chance)
        assert found[0] == verdict
        assert why in found[1]

    @pytest.mark.parametrize(
        ("own", "chance", "verdict"),
        [
            (True, GOOD, HOLDS),
            (True, BAD, INCONCLUSIVE),
            (True, None, INCONCLUSIVE),
            (False, GOOD, FAILS),
            (None, GOOD, INCONCLUSIVE),
        ],
    )
    def test_one_run_can_refute_but_not_establish(self, own, chance, verdict) -> None:
        assert judge(own, [], chance, seeded=False)[0] == verdict


def test_numbers_in_words() -> None:
    measures = {"polca": lambda run: run}
    assert spread(measures, 0.5, []) == "polca 0.5"
    assert spread(measures, 0.5, [0.25, 0.75]) == "polca 0.5 (seeds 0.25–0.75)"
    assert spread(measures, None, [0.25, None]) == "polca none (seeds 0.25–0.25, 1 of 2)"


# --- What make validity left ------------------------------------------------------------------------------------------


def test_seeds_are_read_by_reading(tmp_path: Path) -> None:
    values = made_up_values()
    write_csv(tmp_path / "seeds_values.csv", values)
    for reading, eligible in (("standardised", {0, 1, 2}), ("raw", {0})):
        runs = Validity(tmp_path).seeds(reading)
        assert {seed for seed, run in runs.items() if "polca" in run.best} == eligible
        assert all("loss" not in run.best and run.clusters["loss"] == 1 for run in runs.values())
        assert [run.hidden["polca_random"] for run in runs.values()] == [1, 0, 0, 0, 0]
        one = values.query("reading == @reading and row == 'random' and measure == 'homogeneity' and rank == 1")
        assert [run.best["polca_random"][0] for run in runs.values()] == pytest.approx(one["value"].tolist())
    assert Validity(tmp_path / "nowhere").seeds("raw") == {}


@pytest.mark.parametrize(("p", "eligible", "found"), [(0.05, 1, 0.05), (1.0, 0, None), (None, 1, None)])
def test_a_null_is_of_its_reading_and_needs_something_to_test(tmp_path: Path, p, eligible, found) -> None:
    rows = [("polca", "raw", 0.9, 1), ("polca", "standardised", p, eligible), ("loss", "standardised", 0.001, 1)]
    table = pd.DataFrame(rows, columns=["analysis", "reading", "p_value", "vectors_eligible"])
    write_csv(tmp_path / "null_best.csv", table.assign(null="labels_within_place"))
    chance = BY_NAME["polca_isolates_carries"].null
    assert chance is not None
    assert chance(Validity(tmp_path), "standardised").p_value == found
    assert chance(Validity(tmp_path / "nowhere"), "standardised").p_value is None


# --- English, and the whole table -------------------------------------------------------------------------------------

# As the paper tells it: two of three vectors have a simply labelled cluster, of two constructions.
CLUSTERS = [
    ("loss", 1, False, False, "mixed"),
    ("loss", 1, True, False, "`,`"),
    ("polca", 1, True, True, "`,`"),
    ("polca", 2, True, False, "newline after `.`"),
    ("polca", 3, False, False, "mixed"),
]


def english(rows: list[tuple[str, int, bool, bool, str]], kept: int = 3) -> EnglishResults:
    """Clusters as (analysis, vector, simple, hidden, name); POLCA has `kept` vectors and one more that was dropped."""
    made = EnglishResults(TaskPaths(Path("nowhere"), "english"), {})
    table = pd.DataFrame(rows, columns=["analysis", "vector", "simple", "hidden", "name"])
    made.__dict__["clusters"] = table.assign(tags_0="PUNCT", tags_1="NOUN")
    vectors = pd.DataFrame({"analysis": "polca", "vector": range(1, kept + 2)}).assign(kept=lambda t: t.vector <= kept)
    own = [[r for r in rows if r[0] == "polca" and r[1] == v] for v in vectors["vector"]]
    made.__dict__["vectors"] = vectors.assign(
        n_simple=[sum(r[2] for r in o) for o in own], n_clusters=list(map(len, own))
    )
    return made


def of_english(rows: list[tuple[str, int, bool, bool, str]]) -> list[bool | None]:
    return [claim.decide(english(rows)) for claim in ENGLISH]


def test_english_as_published() -> None:
    assert of_english(CLUSTERS) == [True] * 5


@pytest.mark.parametrize(
    ("at", "change", "fails"),
    [
        (3, ("polca", 2, False, False, "newline after `.`"), {1, 3}),
        (2, ("polca", 1, True, False, "`,`"), {2}),
        (0, ("loss", 1, True, False, "mixed"), {3}),
        (0, ("loss", 1, False, False, "newline after `.`"), {4}),
        (3, ("polca", 2, True, False, "`,`"), {4}),
    ],
)
def test_each_claim_about_english_can_fail(at, change, fails) -> None:
    found = of_english([*CLUSTERS[:at], change, *CLUSTERS[at + 1 :]])
    assert {i for i, holds in enumerate(found) if holds is False} == fails
    assert None not in found


def test_english_without_clusters_of_a_side() -> None:
    assert of_english([r for r in CLUSTERS if r[0] != "loss"]) == [True, True, True, None, None]
    assert of_english([r for r in CLUSTERS if r[0] != "polca"]) == [False, False, False, None, None]


def test_the_whole_table(tmp_path: Path) -> None:
    """Both readings, the shown one first; claims about directions once; without clusters English has one row."""
    addition = Results(Synthetic(tmp_path / "a", sequences=100).write().paths, synthetic.params())
    empty = SyntheticEnglish(tmp_path / "e", empty=[("loss", "raw"), ("polca", "raw")]).write()
    english = EnglishResults(empty.paths, synthetic_english.params())
    table = check_claims(PresetResults(addition, english), PresetPaths("smoke", tmp_path))
    assert tuple(table) == COLUMNS
    by_reading = {reading: list(rows["claim"]) for reading, rows in table.groupby("reading")}
    clusters = [claim.name for claim in ADDITION if claim.clusters]
    assert by_reading["standardised"] == [*clusters, *(claim.name for claim in ENGLISH)]
    assert by_reading["raw"] == [*clusters, "english_vectors_have_clusters"]
    assert by_reading[""] == [*(c.name for c in ADDITION if not c.clusters), "second_order_is_nearer"]
    assert table["reading"][0] == "standardised"
    assert set(table.loc[~table["claim"].str.startswith("english_"), "verdict"]) == {NOT_RUN}
    none = check_claims(PresetResults(None, english), PresetPaths("smoke", tmp_path))
    assert none["claim"].str.startswith("english_").all()
