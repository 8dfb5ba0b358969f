"""Verdicts on made-up result files, where the right answer is plain."""

from pathlib import Path

import pandas as pd
import pytest

from polca.machine.files import write_csv
from polca.report.claims import CHECKS, validity_claims
from polca.study.paths import PresetPaths


@pytest.fixture
def paths(tmp_path: Path) -> PresetPaths:
    return PresetPaths("smoke", tmp_path)


def verdicts(paths: PresetPaths) -> dict[str, str]:
    return {row["claim"]: row["verdict"] for row in validity_claims(paths)}


def write(paths: PresetPaths, name: str, **columns: list[object]) -> None:
    write_csv(paths.metrics.parent / "validity" / name, pd.DataFrame(columns))


def test_nothing_run_is_not_tested(paths: PresetPaths) -> None:
    assert set(verdicts(paths).values()) == {"not tested"}
    assert len(verdicts(paths)) == len(CHECKS)


@pytest.mark.parametrize(("p", "eligible", "verdict"), [(0.05, 1, "holds"), (0.06, 1, "fails"), (1.0, 0, "not tested")])
def test_best_cluster_is_judged_within_digits(paths: PresetPaths, p: float, eligible: int, verdict: str) -> None:
    write(
        paths,
        "null_best.csv",
        analysis=["polca", "polca", "loss"],
        null=["labels", "labels_within_place", "labels_within_place"],
        observed=[0.4, 0.4, 0.9],
        null_95=[0.3, 0.3, 0.1],
        p_value=[0.5, p, 0.001],
        vectors_eligible=[1, eligible, 1],
    )
    assert verdicts(paths)["check_best_cluster_beats_chance"] == verdict


@pytest.mark.parametrize(("fourth", "verdict"), [(0.2, "holds"), (0.6, "fails")])
def test_equation_4_against_the_first_order(paths: PresetPaths, fourth: float, verdict: str) -> None:
    write(paths, "completeness_integrators.csv", form=["none", "paper", "trapezoid"], relative_rmse=[0.3, fourth, 0.1])
    assert verdicts(paths)["check_second_order_is_nearer"] == verdict


def test_a_null_without_clusters_is_not_tested(paths: PresetPaths) -> None:
    write(
        paths,
        "null_simple.csv",
        analysis=["polca", "polca_fine"],
        clusters=[0, 20],
        clusters_simple=[0, 5],
        clusters_null_95=[0, 0],
        clusters_p_value=[1.0, 0.001],
    )
    write(paths, "null_hidden.csv", analysis=["polca"], clusters=[8], observed=[0.0], null_95=[0.75], p_value=[1.0])
    found = verdicts(paths)
    assert found["check_english_labels_beat_chance"] == "not tested"
    assert found["check_english_finer_labels_beat_chance"] == "holds"
    assert found["check_hidden_breakthroughs_beat_chance"] == "fails"
