"""Verdicts on made-up results whose truth is known."""

from pathlib import Path

import pandas as pd
import pytest

from polca.report.claims import CLAIMS, check_claims
from polca.study.paths import TaskPaths
from polca.study.results import EnglishResults, PresetResults, Results

ADDITION = sum(not claim.name.startswith("english_") for claim in CLAIMS)


def results(rows: list[tuple[str, float, float, bool]]) -> Results:
    """Clusters as (analysis, homogeneity, recall, hidden), one a vector, all eligible."""
    made = Results(TaskPaths(Path("nowhere"), "arithmetic"), {})
    columns = ["analysis", "homogeneity", "recall", "hidden"]
    table = pd.DataFrame(rows, columns=columns).assign(eligible=True, f1=0.5, size=10, cluster=0)
    table["vector"] = range(1, len(table) + 1)
    made.__dict__["clusters"] = table
    return made


def english(rows: list[tuple[str, int, bool, bool, str]], kept: int = 3) -> EnglishResults:
    """Clusters as (analysis, vector, simple, hidden, name); POLCA has `kept` vectors and one more that was dropped."""
    made = EnglishResults(TaskPaths(Path("nowhere"), "english"), {})
    table = pd.DataFrame(rows, columns=["analysis", "vector", "simple", "hidden", "name"])
    made.__dict__["clusters"] = table.assign(tags_0="PUNCT", tags_1="NOUN")
    vectors = pd.DataFrame({"analysis": "polca", "vector": range(1, kept + 2)}).assign(kept=lambda t: t.vector <= kept)
    simple = [sum(r[0] == "polca" and r[1] == v and r[2] for r in rows) for v in vectors["vector"]]
    made.__dict__["vectors"] = vectors.assign(n_simple=simple)
    return made


PUBLISHED = [
    ("loss", 0.514, 0.771, False),
    ("loss_change", 0.524, 0.958, False),
    ("lca", 0.792, 0.772, False),
    ("polca_first_order", 0.948, 0.767, True),
    ("polca", 0.973, 0.736, True),
    ("polca_random", 0.902, 0.655, False),
]
# As the paper tells it: two of three vectors have a simply labelled cluster, of two constructions.
ENGLISH = [
    ("loss", 1, False, False, "mixed"),
    ("loss", 1, True, False, "`,`"),
    ("polca", 1, True, True, "`,`"),
    ("polca", 2, True, False, "newline after `.`"),
    ("polca", 3, False, False, "mixed"),
]


def verdicts(arithmetic: list[tuple[str, float, float, bool]]) -> list[str]:
    return list(check_claims(PresetResults(results(arithmetic), english(ENGLISH)))["verdict"][:ADDITION])


def english_verdicts(rows: list[tuple[str, int, bool, bool, str]]) -> list[str]:
    return list(check_claims(PresetResults(results(PUBLISHED), english(rows)))["verdict"][ADDITION:])


def test_published_values_show_every_claim() -> None:
    assert verdicts(PUBLISHED) == ["holds"] * 5
    assert english_verdicts(ENGLISH) == ["holds"] * 4


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        (("loss", 0.7, 0.7, False), {0}),
        (("polca", 0.973, 0.3, True), {1}),
        (("polca", 0.8, 0.7, True), {1, 2}),
        (("polca_first_order", 0.75, 0.7, True), {2}),
        (("polca", 0.973, 0.736, False), {3, 4}),
        (("loss", 0.5, 0.7, True), {3}),
        (("polca_random", 0.9, 0.6, True), {4}),
    ],
)
def test_each_claim_can_fail(change, fails) -> None:
    changed = verdicts([change if row[0] == change[0] else row for row in PUBLISHED])
    assert {i for i, verdict in enumerate(changed) if verdict == "fails"} == fails
    assert "not tested" not in changed


@pytest.mark.parametrize(
    ("at", "change", "fails"),
    [
        (3, ("polca", 2, False, False, "newline after `.`"), {0, 2}),
        (2, ("polca", 1, True, False, "`,`"), {1}),
        (0, ("loss", 1, True, False, "mixed"), {2}),
        (0, ("loss", 1, False, False, "newline after `.`"), {3}),
        (3, ("polca", 2, True, False, "`,`"), {3}),
    ],
)
def test_each_claim_about_english_can_fail(at, change, fails) -> None:
    changed = english_verdicts([*ENGLISH[:at], change, *ENGLISH[at + 1 :]])
    assert {i for i, verdict in enumerate(changed) if verdict == "fails"} == fails
    assert "not tested" not in changed


@pytest.mark.parametrize(
    ("without", "not_tested", "fails"),
    [
        ({"loss"}, {0, 3}, set()),
        ({"loss_change"}, {0}, set()),
        ({"lca"}, {2}, set()),
        ({"polca_random"}, {4}, set()),
        ({"polca"}, {2, 4}, {1, 3}),
    ],
)
def test_what_has_no_cluster_is_not_tested_unless_it_was_to_find_something(without, not_tested, fails) -> None:
    changed = verdicts([row for row in PUBLISHED if row[0] not in without])
    assert {i for i, verdict in enumerate(changed) if verdict == "not tested"} == not_tested
    assert {i for i, verdict in enumerate(changed) if verdict == "fails"} == fails


def test_english_without_clusters() -> None:
    assert english_verdicts([r for r in ENGLISH if r[0] != "loss"]) == ["holds", "holds", "not tested", "not tested"]
    assert english_verdicts([r for r in ENGLISH if r[0] != "polca"]) == ["fails", "fails", "not tested", "not tested"]


def test_a_failing_part_decides_what_an_untested_one_leaves_open() -> None:
    """POLCA below its first order refutes the order, whether or not LCA has a cluster to compare."""
    without_lca = [row for row in PUBLISHED if row[0] != "lca"]
    assert verdicts(without_lca)[2] == "not tested"
    assert verdicts([("polca", 0.92, 0.7, True) if row[0] == "polca" else row for row in without_lca])[2] == "fails"


def test_clusters_that_are_not_eligible_are_clusters() -> None:
    """The exact loss was tried and has no eligible cluster: it isolates no carries. LCA then has nothing to compare."""
    made = results(PUBLISHED)
    made.clusters.loc[made.clusters["analysis"].isin(["loss", "lca"]), "eligible"] = False
    table = check_claims(PresetResults(made, english(ENGLISH)))
    assert "loss: no eligible cluster" in table["statistic"][0]
    assert list(table["verdict"][:3]) == ["holds", "holds", "not tested"]


def test_nothing_found_is_said() -> None:
    table = check_claims(PresetResults(results([("fisher", 0.1, 0.1, False)]), english([])))
    assert "polca: no cluster" in table["statistic"][1]
    assert "polca: 0 of 3 vectors" in table["statistic"][ADDITION]
    assert table["verdict"].tolist() == [
        *("not tested", "fails", "not tested", "fails", "not tested"),
        *("fails", "fails", "not tested", "not tested"),
    ]


@pytest.mark.parametrize("setting", ["arithmetic", "english"])
def test_a_preset_of_one_task_has_its_claims_alone(setting: str) -> None:
    both = {"arithmetic": results(PUBLISHED), "english": english(ENGLISH)}
    one = check_claims(PresetResults(**{name: made if name == setting else None for name, made in both.items()}))
    of_english = [name.startswith("english_") for name in one["claim"]]
    assert of_english == ([True] * 4 if setting == "english" else [False] * 5)
    whole = check_claims(PresetResults(**both)).set_index("claim")
    pd.testing.assert_frame_equal(one.set_index("claim"), whole.loc[one["claim"]])
