"""Verdicts on made-up results whose truth is known."""

from pathlib import Path

import pandas as pd
import pytest

from polca.claims import check_claims
from polca.results import Results


def results(rows: list[tuple[str, float, float, bool]]) -> Results:
    """Clusters as (analysis, homogeneity, recall, hidden), one a vector, all eligible."""
    made = Results(Path("nowhere"), {})
    columns = ["analysis", "homogeneity", "recall", "hidden"]
    table = pd.DataFrame(rows, columns=columns).assign(eligible=True, f1=0.5, size=10, cluster=0)
    table["vector"] = range(1, len(table) + 1)
    made.__dict__["clusters"] = table
    return made


PUBLISHED = [
    ("loss", 0.514, 0.771, False),
    ("loss_change", 0.524, 0.958, False),
    ("lca", 0.792, 0.772, False),
    ("polca_first_order", 0.948, 0.767, True),
    ("polca", 0.973, 0.736, True),
    ("polca_random", 0.902, 0.655, False),
]


def test_published_values_show_every_claim() -> None:
    assert check_claims(results(PUBLISHED))["verdict"].tolist() == ["holds"] * 5


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
    table = check_claims(results([change if row[0] == change[0] else row for row in PUBLISHED]))
    assert {i for i, verdict in enumerate(table["verdict"]) if verdict == "fails"} == fails


def test_nothing_found_is_said() -> None:
    table = check_claims(results([("fisher", 0.1, 0.1, False)]))
    assert "polca: no eligible cluster" in table["statistic"][1]
    assert table["verdict"].tolist() == ["holds", "fails", "fails", "fails", "fails"]
