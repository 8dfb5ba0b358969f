"""The paper's claims: for each its sentence, the statistic that decides it, the rule, and what came out.

`CLAIMS` are decided by the results of a run; `CHECKS`, whether what holds also beats chance and the truth, by what
`make validity` left in `paper/<preset>/validity/`. A check that was not run, or has nothing to check, is not tested.

A claim that fails at a preset's scale is shown as failed. Thresholds of the claims about addition were set before any
run, the preset's scale and second-order form were not (docs/choices.md); the rules of the claims about English, all
comparisons or majorities, and the criterion for `not tested` were set after the laptop and wikipedia runs.

The criterion, by kind of statement:

- *POLCA finds something*: decided by every run; it fails where there is no cluster, since that is to find nothing.
- *The exact loss does not find something*: not tested where it has no cluster at all, since it could not have found it.
- *One finds more than the other*: not tested where a side has no statistic (no eligible cluster, or no cluster).

A claim of several parts fails if one part fails, and holds if all hold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from polca.machine.files import read_csv
from polca.method.breakthrough import hidden_fraction
from polca.study.paths import PresetPaths
from polca.study.results import EnglishResults, PresetResults, Results, TaskResults
from polca.tasks.arithmetic.scores import three_best
from polca.tasks.english.scores import constructions

HOLDS, FAILS, NOT_TESTED = "holds", "fails", "not tested"
Decision = tuple[bool | None, str]
"""Whether a claim holds, None where that is not tested, and the statistic in words."""


LEVEL = 0.05
"""Of every test that the report counts; the result files give the null's corresponding quantile."""


@dataclass(frozen=True)
class Claim:
    """One claim about addition, or, where its name begins with `english_`, about English.

    `decide` takes the results of its setting; of a check, whose name begins with `check_`, the folder of its tables.
    """

    name: str
    sentence: str
    rule: str
    decide: Callable[..., Decision]

    def row(self, *evidence: Any) -> dict[str, str]:
        """Claim, sentence, rule, statistic, verdict (`holds`, `fails` or `not tested`)."""
        holds, statistic = self.decide(*evidence)
        verdict = {True: HOLDS, False: FAILS, None: NOT_TESTED}[holds]
        words = {"claim": self.name, "sentence": self.sentence, "rule": self.rule}
        return {**words, "statistic": statistic, "verdict": verdict}


CLAIMS: list[Claim] = []
"""The paper's claims, those about addition first."""
Decide = Callable[[Any], Decision]


def _claim(sentence: str, rule: str) -> Callable[[Decide], Decide]:
    """Makes a function that decides a claim, and has its name, one of `CLAIMS`."""

    def listed(decide: Decide) -> Decide:
        CLAIMS.append(Claim(decide.__name__, sentence, rule, decide))
        return decide

    return listed


def _all(*parts: bool | None) -> bool | None:
    """Whether all parts hold: False where one does not, else None where one is not tested."""
    return False if False in parts else None if None in parts else True


def _less(one: float | None, other: float | None) -> bool | None:
    return None if one is None or other is None else one < other


# --- Addition ---------------------------------------------------------------------------------------------------------


def _best(results: Results, analysis: str) -> tuple[float | None, float | None]:
    """Homogeneity and recall of the best eligible cluster; None where there is none."""
    best = three_best(results.clusters, analysis)
    return (float(best["homogeneity"].iloc[0]), float(best["recall"].iloc[0])) if len(best) else (None, None)


def _clusters(results: TaskResults, analysis: str) -> pd.DataFrame:
    return results.clusters[results.clusters["analysis"] == analysis]


def _say(results: Results, *analyses: str) -> str:
    parts = []
    for analysis in analyses:
        homogeneity, recall = _best(results, analysis)
        none = "no eligible cluster" if len(_clusters(results, analysis)) else "no cluster"
        parts.append(f"{analysis}: " + (none if homogeneity is None else f"{homogeneity:.3g} (recall {recall:.3g})"))
    return "; ".join(parts)


@_claim(
    "Clusters of the exact loss, or of its change, do not isolate carries",
    "best homogeneity of both at most 0.6",
)
def loss_does_not_isolate_carries(results: Results) -> Decision:
    names = ("loss", "loss_change")
    parts = [(_best(results, n)[0] or 0.0) <= 0.6 if len(_clusters(results, n)) else None for n in names]
    return _all(*parts), _say(results, *names)


@_claim(
    "POLCA clusters isolate carries",
    "best homogeneity at least 0.9, with recall at least 0.5",
)
def polca_isolates_carries(results: Results) -> Decision:
    homogeneity, recall = _best(results, "polca")
    return (homogeneity or 0.0) >= 0.9 and (recall or 0.0) >= 0.5, _say(results, "polca")


@_claim(
    "POLCA isolates carries at least as well as its first order, and that better than LCA",
    "best homogeneity: polca >= polca_first_order > lca",
)
def polca_beats_first_order_beats_lca(results: Results) -> Decision:
    names = ("polca", "polca_first_order", "lca")
    polca, first, lca = (_best(results, name)[0] for name in names)
    at_least = None if polca is None or first is None else polca >= first
    return _all(at_least, _less(lca, first)), _say(results, *names)


def _sides(
    results: TaskResults, analyses: Sequence[str], measure: Callable[[pd.DataFrame], tuple[float, str]]
) -> tuple[list[float | None], str]:
    """A measure of each analysis' clusters, None where it has no cluster, and all in words."""
    values: list[float | None] = []
    words = []
    for name in analyses:
        clusters = _clusters(results, name)
        value, said = measure(clusters) if len(clusters) else (None, "no cluster")
        values.append(value)
        words.append(f"{name}: {said}")
    return values, "; ".join(words)


def _fraction_hidden(clusters: pd.DataFrame) -> tuple[float, str]:
    fraction, count = hidden_fraction(clusters, clusters["analysis"].iloc[0])
    return fraction, f"{fraction:.3g} of {count} clusters"


@_claim(
    "POLCA finds hidden breakthroughs, the exact loss none",
    "fraction of clusters later than flat_step: above 0 for polca, 0 for loss",
)
def polca_finds_hidden_breakthroughs(results: Results) -> Decision:
    (polca, loss), words = _sides(results, ("polca", "loss"), _fraction_hidden)
    return _all((polca or 0.0) > 0, None if loss is None else loss == 0), words


@_claim(
    "A random basis finds fewer hidden breakthroughs than the Hessian's",
    "fraction of clusters: polca_random < polca",
)
def random_basis_finds_fewer(results: Results) -> Decision:
    (polca, random), words = _sides(results, ("polca", "polca_random"), _fraction_hidden)
    return _less(random, polca), words


# --- English ----------------------------------------------------------------------------------------------------------


@_claim(
    "Most kept directions have a cluster with a simple label",
    "more than half of the kept vectors",
)
def english_most_vectors_have_a_simple_label(english: EnglishResults) -> Decision:
    own = english.vectors[english.vectors["analysis"] == "polca"]
    kept = own[own["kept"].astype(bool)]
    simple = int((kept["n_simple"] > 0).sum())
    return 2 * simple > len(kept), f"polca: {simple} of {len(kept)} vectors"


@_claim(
    "POLCA finds hidden breakthroughs",
    "fraction of clusters later than flat_step above 0",
)
def english_polca_finds_hidden_breakthroughs(english: EnglishResults) -> Decision:
    (polca,), words = _sides(english, ("polca",), _fraction_hidden)
    return (polca or 0.0) > 0, words


@_claim(
    "Clusters of the exact loss have simple labels more rarely than POLCA's",
    "share of clusters with a simple label: loss < polca",
)
def english_loss_has_fewer_simple_labels(english: EnglishResults) -> Decision:
    def simple(clusters: pd.DataFrame) -> tuple[float, str]:
        flags = clusters["simple"].astype(bool)
        return float(flags.mean()), f"{flags.sum()} of {len(flags)} clusters"

    values, words = _sides(english, ("loss", "polca"), simple)
    return _less(*values), words


@_claim(
    "POLCA tells more kinds of construction apart than the exact loss",
    "number of kinds that clusters are named after: polca > loss",
)
def english_polca_finds_more_constructions(english: EnglishResults) -> Decision:
    def kinds(clusters: pd.DataFrame) -> tuple[float, str]:
        named = [k for k, count in constructions(clusters).items() if count and k not in ("mixed", "other")]
        return len(named), f"{len(named)} in {len(clusters)} clusters"

    values, words = _sides(english, ("loss", "polca"), kinds)
    return _less(*values), words


# --- Checks -----------------------------------------------------------------------------------------------------------


def _table(name: str, decide: Callable[[pd.DataFrame], Decision]) -> Callable[[Path], Decision]:
    """A decision by a table of the folder that `make validity` fills."""

    def in_folder(folder: Path) -> Decision:
        path = folder / name
        return decide(read_csv(path)) if path.is_file() else (None, "`make validity` has not been run")

    return in_folder


def _row(table: pd.DataFrame, **keys: str) -> pd.Series | None:
    found = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)]
    return found.iloc[0] if len(found) else None


def _above_chance(
    file: str, counted: str, observed: str = "observed", prefix: str = "", **keys: str
) -> Callable[[Path], Decision]:
    """Whether a row of a permutation null is above chance; not tested where it counts nothing."""

    def decide(table: pd.DataFrame) -> Decision:
        row = _row(table, **keys)
        if row is None or pd.isna(p_value := row[f"{prefix}p_value"]) or not row[counted] > 0:
            return None, "no cluster to test"
        limit = row[f"{prefix}null_95"]
        words = f"p = {p_value:.3g}; observed {row[observed]:.3g}, 95 % of permutations at most {limit:.3g}"
        return bool(p_value <= LEVEL), words

    return _table(file, decide)


def _simple_labels(name: str, sentence: str, analysis: str) -> Claim:
    """The check of how often clusters of an analysis of English have a simple label."""
    decide = _above_chance("null_simple.csv", "clusters", "clusters_simple", "clusters_", analysis=analysis)
    return Claim(name, sentence, f"p at most {LEVEL}, tag patterns permuted over tokens", decide)


def _nearer(table: pd.DataFrame) -> Decision:
    first, second = (_row(table, form=form) for form in ("none", "paper"))
    if first is None or second is None:
        return None, "not measured"
    words = f"eq. 4: {second['relative_rmse']:.3g}; first order: {first['relative_rmse']:.3g}"
    return bool(second["relative_rmse"] < first["relative_rmse"]), words


CHECKS = (
    Claim(
        "check_best_cluster_beats_chance",
        "POLCA's best cluster of carries is purer than chance",
        f"p at most {LEVEL}, skills permuted within each digit",
        _above_chance("null_best.csv", "vectors_eligible", analysis="polca", null="labels_within_place"),
    ),
    Claim(
        "check_hidden_breakthroughs_beat_chance",
        "Hidden breakthroughs of POLCA clusters are more frequent than chance",
        f"p at most {LEVEL}, increments of the trajectories permuted in time",
        _above_chance("null_hidden.csv", "clusters", analysis="polca"),
    ),
    Claim(
        "check_second_order_is_nearer",
        "The second-order term of eq. 4 brings the allocation nearer to the true loss change along a direction",
        "relative error against the path integral: eq. 4, λ fixed, below first order",
        _table("completeness_integrators.csv", _nearer),
    ),
    _simple_labels(
        "check_english_labels_beat_chance",
        "Simply labelled clusters of English are more frequent than chance",
        "polca",
    ),
    _simple_labels(
        "check_english_finer_labels_beat_chance",
        "The same for the finer clusters, which are not the paper's",
        "polca_fine",
    ),
)


def check_claims(results: PresetResults) -> pd.DataFrame:
    """One row a claim of `CLAIMS` about a setting that the preset has, as `Claim.row`."""
    rows = []
    for claim in CLAIMS:
        own = results.english if claim.name.startswith("english_") else results.arithmetic
        if own is not None:
            rows.append(claim.row(own))
    return pd.DataFrame(rows)


def validity_claims(paths: PresetPaths) -> list[dict[str, str]]:
    """`Claim.row` of each of `CHECKS`.

    Raises:
        PolcaError: a result file is damaged.
    """
    folder = paths.paper / "validity"
    return [check.row(folder) for check in CHECKS]
