"""Evidence for readings: misfits and the rule by hand, and the table of made-up results counted anew."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import synthetic_english
from polca.machine.checkout import ROOT
from polca.machine.files import read_params
from polca.study.paths import TaskPaths
from polca.study.readings import (
    CAP,
    COLUMNS,
    Evidence,
    evidence_table,
    least_count,
    mean_misfits,
    misfit,
    overlap,
    readings,
    rule_names,
)
from polca.study.results import EnglishResults, PresetResults, Results
from synthetic import SUMMARY, Synthetic, params
from synthetic_english import SyntheticEnglish

PUBLISHED = read_params(ROOT / "data" / "published.yaml")


# --- Misfits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "least", "most", "expected"),
    [
        (0.5, 0.5, 0.5, 0),
        (1.0, 0.5, 0.5, math.log(2)),
        (0.25, 0.5, 0.5, math.log(2)),
        (2.5, 2, 3, 0),
        (1.0, 2, 3, math.log(2)),
        (6.0, 2, 3, math.log(2)),
        (9.0, 0.6, math.inf, 0),  # more than a least number is no misfit
        (0.3, 0.6, math.inf, math.log(2)),
        (0.0, 2, 3, math.log(10)),
        (math.nan, 2, 3, math.log(10)),
        (0.01, 2, 3, math.log(10)),
        (500.0, 2, 3, math.log(10)),
    ],
)
def test_misfit(value: float, least: float, most: float, expected: float) -> None:
    assert misfit(value, least, most) == pytest.approx(expected)


def test_numbers_of_clusters_behind_the_published_fractions() -> None:
    """By trying all fractions: 11 / 31, 23 / 75 and 1 / 32 are the first that round to what is printed."""
    for printed, count in ((0.355, 31), (0.307, 75), (0.031, 32), (0.304, 23), (0.5, 2)):
        found = [n for n in range(1, 200) if any(round(k / n, 3) == printed for k in range(n + 1))]
        assert least_count(printed, 3) == found[0] == count


def test_overlap() -> None:
    bars = np.array([[10, 0], [0, 4]])
    assert overlap(bars, bars) == 1
    assert overlap(bars[::-1], bars) == 1
    assert overlap(np.zeros((0, 2), int), bars) == 0
    # The first cluster shares 8 tokens with the first bar, the second none with the other.
    assert overlap(np.array([[8, 2], [6, 0]]), bars) == 2 * 8 / (16 + 14)
    # One that holds all: it can be matched with one bar alone.
    assert overlap(np.array([[10, 4]]), bars) == 2 * 10 / (14 + 14)


# --- The rule ---------------------------------------------------------------------------------------------------------


def table(standardised: list[float], raw: list[float], counts: bool = True) -> pd.DataFrame:
    rows = [("standardised", m) for m in standardised] + [("raw", m) for m in raw]
    return pd.DataFrame(
        [{**dict.fromkeys(COLUMNS, ""), "reading": r, "value": 1.0, "misfit": m, "counts": counts} for r, m in rows]
    )


def test_rule_at_its_edge() -> None:
    edge = math.log(1.25)
    assert rule_names(table([1.0, 1.0 + 2 * edge], [1.0, 1.0])) == "raw"
    assert rule_names(table([1.0, 1.0 + 2 * edge - 1e-6], [1.0, 1.0])) == "standardised"
    assert rule_names(table([0.0], [1.0])) == "standardised"
    assert rule_names(table([1.0], [1.0])) == "standardised"


def test_rule_looks_at_what_counts() -> None:
    lost = table([2.0], [0.0], counts=False)
    assert rule_names(lost) == "standardised"
    both = pd.concat([lost, table([0.1], [0.2])])
    assert mean_misfits(both) == {"standardised": 0.1, "raw": 0.2}
    assert rule_names(both) == "standardised"


# --- Results ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> PresetResults:
    run = tmp_path_factory.mktemp("run")
    arithmetic = Results(Synthetic(run / "a", sequences=100).write().paths, params())
    english = EnglishResults(SyntheticEnglish(run / "e").write().paths, synthetic_english.params())
    return PresetResults(arithmetic, english)


def vectors(paths: TaskPaths, analysis: str) -> list[dict[str, Any]]:
    rows = pd.read_csv(paths.table("vectors")).to_dict("records")
    return [{str(k): v for k, v in row.items()} for row in rows if row["analysis"] == analysis]


def test_table_of_results(results: PresetResults) -> None:
    found = readings(results)
    assert list(found) == list(COLUMNS)
    assert results.arithmetic is not None
    assert results.english is not None
    keys = ["setting", "observable", "analysis", "reading"]
    assert not found.duplicated(keys).any()
    by_key = {tuple(row[k] for k in keys): row for row in found.to_dict("records")}
    tokens = {"arithmetic": SUMMARY["tokens"], "english": synthetic_english.SUMMARY["tokens"]}
    least = {"polca_first_order": 75 / 50, "polca": 31 / 50, "polca_random": 32 / 50}
    for own in results.all:
        for reading in ("standardised", "raw"):
            for analysis in least if own.setting == "arithmetic" else ("polca",):
                rows = vectors(own.of_reading(reading).paths, analysis)
                kept = [row for row in rows if row["kept"]]
                clusters = sum(row["n_clusters"] for row in rows)
                some = sum(row["n_clusters"] > 0 for row in rows)
                dropped = sum(row["n_dropped"] for row in kept) / len(kept) / tokens[own.setting]
                expected = {
                    "clusters_per_vector": (clusters / len(rows), least[analysis], math.inf),
                    "share_with_clusters": (some / len(kept), 22 / 26, math.inf),
                    "clusters_per_clustered_vector": (clusters / some, 2, 3),
                    "share_dropped": (dropped, *2 * [2360.8 / 5000 if own.setting == "arithmetic" else 6655.5 / 12600]),
                }
                del expected["share_with_clusters" if own.setting == "arithmetic" else "clusters_per_vector"]
                if analysis == "polca_random":
                    del expected["clusters_per_clustered_vector"], expected["share_dropped"]
                for observable, (value, low, high) in expected.items():
                    row = by_key.pop((own.setting, observable, analysis, reading))
                    assert row["value"] == pytest.approx(value)
                    assert row["misfit"] == pytest.approx(misfit(value, low, high))
                    assert row["counts"] == (observable != "share_dropped")
    orders = {key[1]: row for key, row in by_key.items()}
    assert list(orders) == ["orders_cosine_similarity", "orders_l2_norm", "orders_relative_l2_norm"]
    assert not any(row["counts"] or row["reading"] for row in orders.values())
    assert orders["orders_cosine_similarity"]["value"] == SUMMARY["table_12"]["cosine_similarity"]
    assert orders["orders_l2_norm"]["misfit"] == pytest.approx(
        math.log(SUMMARY["table_12"]["l2_norm"] / PUBLISHED["table_12"]["cosine_similarity"])
    )
    assert math.isnan(orders["orders_relative_l2_norm"]["misfit"])


def test_nothing_clustered_is_the_cap(tmp_path: Path) -> None:
    made = Synthetic(tmp_path, sequences=20, empty=("polca", "polca_random", "polca_first_order")).write()
    found = readings(PresetResults(Results(made.paths, params()), None))
    assert (found.loc[found["counts"], "misfit"] == CAP).all()
    assert rule_names(found) == "standardised"
    assert rule_names(readings(PresetResults(None, None))) == "standardised"


def test_compositions_of_figure_4() -> None:
    """Vector 1 as published, vector 2 without a cluster."""
    bars = PUBLISHED["readings"]["figure_04"]["vector_1"]
    places = ("1000s", "100s", "10s", "1s")
    clusters = pd.DataFrame(
        [
            {
                "analysis": "polca",
                "vector": 1,
                **{f"n_{place}_carry": number // 2 for place, number in zip(places, bar, strict=True)},
                **{f"n_{place}_nocarry": number - number // 2 for place, number in zip(places, bar, strict=True)},
            }
            for bar in bars
        ]
    )
    found = evidence_table(Evidence("arithmetic", PUBLISHED).of_compositions(clusters, "raw"))
    rows = {(row["observable"], row["analysis"]): row for row in found.to_dict("records")}
    assert rows["figure_4_vector_1", "polca"]["value"] == 1
    assert rows["figure_4_vector_1", "polca"]["misfit"] == 0
    assert rows["figure_4_vector_2", "polca"]["misfit"] == 1
    assert rows["figure_4_vector_1", "polca_first_order"]["misfit"] == 1
    assert found["counts"].all()
