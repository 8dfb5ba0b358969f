"""The paper's claims against the checks of `make validity`: does what holds also beat chance and the truth?

Read from `paper/<preset>/validity/`; a claim whose check has not been run, or has nothing to check, is not tested.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from polca.machine.files import read_csv
from polca.report.claims import FAILS, HOLDS, NOT_TESTED
from polca.validity.permutation import LEVEL

Decision = tuple[str, str]
"""Verdict, and the statistic in words."""


def _row(table: pd.DataFrame, **keys: str) -> pd.Series | None:
    found = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)]
    return found.iloc[0] if len(found) else None


def _chance(row: pd.Series | None, counted: str, observed: str, limit: str, p_value: str = "p_value") -> Decision:
    """Whether a row of a permutation null is above chance; not tested where it counts nothing."""
    if row is None or pd.isna(row[p_value]) or not row[counted] > 0:
        return NOT_TESTED, "no cluster to test"
    words = f"p = {row[p_value]:.3g}; observed {row[observed]:.3g}, 95 % of permutations at most {row[limit]:.3g}"
    return (HOLDS if row[p_value] <= LEVEL else FAILS), words


def _best(table: pd.DataFrame) -> Decision:
    row = _row(table, analysis="polca", null="labels_within_place")
    return _chance(row, "vectors_eligible", "observed", "null_95")


def _hidden(table: pd.DataFrame) -> Decision:
    return _chance(_row(table, analysis="polca"), "clusters", "observed", "null_95")


def _simple(analysis: str) -> Callable[[pd.DataFrame], Decision]:
    def decide(table: pd.DataFrame) -> Decision:
        row = _row(table, analysis=analysis)
        return _chance(row, "clusters", "clusters_simple", "clusters_null_95", "clusters_p_value")

    return decide


def _equation_4(table: pd.DataFrame) -> Decision:
    first, second = (_row(table, form=form) for form in ("none", "paper"))
    if first is None or second is None:
        return NOT_TESTED, "not measured"
    words = f"eq. 4: {second['relative_rmse']:.3g}; first order: {first['relative_rmse']:.3g}"
    return (HOLDS if second["relative_rmse"] < first["relative_rmse"] else FAILS), words


CHECKS: tuple[tuple[str, str, str, str, Callable[[pd.DataFrame], Decision]], ...] = (
    (
        "check_best_cluster_beats_chance",
        "POLCA's best cluster of carries is purer than chance",
        f"p at most {LEVEL}, skills permuted within each digit",
        "null_best.csv",
        _best,
    ),
    (
        "check_hidden_breakthroughs_beat_chance",
        "Hidden breakthroughs of POLCA clusters are more frequent than chance",
        f"p at most {LEVEL}, increments of the trajectories permuted in time",
        "null_hidden.csv",
        _hidden,
    ),
    (
        "check_second_order_is_nearer",
        "The second-order term of eq. 4 brings the allocation nearer to the true loss change along a direction",
        "relative error against the path integral: eq. 4, λ fixed, below first order",
        "completeness_integrators.csv",
        _equation_4,
    ),
    (
        "check_english_labels_beat_chance",
        "Simply labelled clusters of English are more frequent than chance",
        f"p at most {LEVEL}, tag patterns permuted over tokens",
        "null_simple.csv",
        _simple("polca"),
    ),
    (
        "check_english_finer_labels_beat_chance",
        "The same for the finer clusters, which are not the paper's",
        f"p at most {LEVEL}, tag patterns permuted over tokens",
        "null_simple.csv",
        _simple("polca_fine"),
    ),
)


def validity_claims(paths: PresetPaths) -> list[dict[str, str]]:
    """One mapping a claim: claim, sentence, rule, statistic, verdict.

    Raises:
        PolcaError: a result file is damaged.
    """
    folder: Path = paths.metrics.parent / "validity"
    rows = []
    for name, sentence, rule, file, decide in CHECKS:
        path = folder / file
        verdict, words = decide(read_csv(path)) if path.is_file() else (NOT_TESTED, "`make validity` has not been run")
        rows.append({"claim": name, "sentence": sentence, "rule": rule, "statistic": words, "verdict": verdict})
    return rows
