"""The paper's claims as claims: for each its sentence, the statistic that decides it, the rule, and what came out.

A claim that fails at a preset's scale is shown as failed. Thresholds of the claims about addition were set before any
run, the preset's scale and second-order form were not (docs/choices.md); the rules of the claims about English, all
comparisons or majorities, and the criterion for `not tested` were set after the laptop and wikipedia runs.

The criterion, by kind of statement:

- *POLCA finds something*: decided by every run; it fails where there is no cluster, since that is to find nothing.
- *The exact loss does not find something*: not tested where it has no cluster at all, since it could not have found it.
- *One finds more than the other*: not tested where a side has no statistic (no eligible cluster, or no cluster).

A claim of several parts fails if one part fails, and holds if all hold.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from polca.method.breakthrough import hidden_fraction
from polca.study.results import EnglishResults, Results
from polca.tasks.arithmetic.scores import three_best
from polca.tasks.english.scores import constructions

HOLDS, FAILS, NOT_TESTED = "holds", "fails", "not tested"
Decision = tuple[bool | None, str]
"""Whether a claim holds, None where that is not tested, and the statistic in words."""


@dataclass(frozen=True)
class Claim:
    """One claim about addition, or, where its name begins with `english_`, about English."""

    name: str
    sentence: str
    rule: str
    decide: Callable[[Results, EnglishResults], Decision]


def _all(*parts: bool | None) -> bool | None:
    """Whether all parts hold: False where one does not, else None where one is not tested."""
    return False if False in parts else None if None in parts else True


def _less(one: float | None, other: float | None) -> bool | None:
    return None if one is None or other is None else one < other


# --- Addition ---------------------------------------------------------------------------------------------------------


def _best(results: Results, analysis: str) -> tuple[float, float] | None:
    """Homogeneity and recall of the best eligible cluster; None where there is none."""
    best = three_best(results.clusters, analysis)
    return (float(best["homogeneity"].iloc[0]), float(best["recall"].iloc[0])) if len(best) else None


def _homogeneity(results: Results, analysis: str) -> float | None:
    best = _best(results, analysis)
    return None if best is None else best[0]


def _clusters(results: Results | EnglishResults, analysis: str) -> pd.DataFrame:
    return results.clusters[results.clusters["analysis"] == analysis]


def _say(results: Results, *analyses: str) -> str:
    parts = []
    for analysis in analyses:
        best, count = _best(results, analysis), len(_clusters(results, analysis))
        none = "no eligible cluster" if count else "no cluster"
        parts.append(f"{analysis}: " + (none if best is None else f"{best[0]:.3g} (recall {best[1]:.3g})"))
    return "; ".join(parts)


def _loss_does_not(results: Results, _: EnglishResults) -> Decision:
    names = ("loss", "loss_change")
    parts = [(_homogeneity(results, n) or 0.0) <= 0.6 if len(_clusters(results, n)) else None for n in names]
    return _all(*parts), _say(results, *names)


def _polca_does(results: Results, _: EnglishResults) -> Decision:
    homogeneity, recall = _best(results, "polca") or (0.0, 0.0)
    return homogeneity >= 0.9 and recall >= 0.5, _say(results, "polca")


def _order(results: Results, _: EnglishResults) -> Decision:
    names = ("polca", "polca_first_order", "lca")
    polca, first, lca = (_homogeneity(results, name) for name in names)
    at_least = None if polca is None or first is None else polca >= first
    return _all(at_least, _less(lca, first)), _say(results, *names)


def _fractions(results: Results | EnglishResults, *analyses: str) -> tuple[list[float | None], str]:
    """Fraction of each analysis' clusters with a hidden breakthrough, None where it has no cluster."""
    found = [hidden_fraction(results.clusters, name) for name in analyses]
    words = [
        f"{name}: {value:.3g} of {count} clusters" if count else f"{name}: no cluster"
        for name, (value, count) in zip(analyses, found, strict=True)
    ]
    return [value if count else None for value, count in found], "; ".join(words)


def _hidden(results: Results, _: EnglishResults) -> Decision:
    (polca, loss), words = _fractions(results, "polca", "loss")
    return _all((polca or 0.0) > 0, None if loss is None else loss == 0), words


def _random_fewer(results: Results, _: EnglishResults) -> Decision:
    (polca, random), words = _fractions(results, "polca", "polca_random")
    return _less(random, polca), words


# --- English ----------------------------------------------------------------------------------------------------------


def _most_simple(_: Results, english: EnglishResults) -> Decision:
    own = english.vectors[english.vectors["analysis"] == "polca"]
    kept = own[own["kept"].astype(bool)]
    simple = int((kept["n_simple"] > 0).sum())
    return 2 * simple > len(kept), f"polca: {simple} of {len(kept)} vectors"


def _english_hidden(_: Results, english: EnglishResults) -> Decision:
    (polca,), words = _fractions(english, "polca")
    return (polca or 0.0) > 0, words


def _loss_less_simple(_: Results, english: EnglishResults) -> Decision:
    shares: list[float | None] = []
    words = []
    for name in ("loss", "polca"):
        simple = _clusters(english, name)["simple"].astype(bool)
        shares.append(float(simple.mean()) if len(simple) else None)
        words.append(f"{name}: {simple.sum()} of {len(simple)} clusters" if len(simple) else f"{name}: no cluster")
    return _less(*shares), "; ".join(words)


def _more_constructions(_: Results, english: EnglishResults) -> Decision:
    kinds: list[float | None] = []
    words = []
    for name in ("loss", "polca"):
        table = _clusters(english, name)
        found = [k for k, count in constructions(table).items() if count and k not in ("mixed", "other")]
        kinds.append(len(found) if len(table) else None)
        words.append(f"{name}: {len(found)} in {len(table)} clusters" if len(table) else f"{name}: no cluster")
    return _less(*kinds), "; ".join(words)


CLAIMS = (
    Claim(
        "loss_does_not_isolate_carries",
        "Clusters of the exact loss, or of its change, do not isolate carries",
        "best homogeneity of both at most 0.6",
        _loss_does_not,
    ),
    Claim(
        "polca_isolates_carries",
        "POLCA clusters isolate carries",
        "best homogeneity at least 0.9, with recall at least 0.5",
        _polca_does,
    ),
    Claim(
        "polca_beats_first_order_beats_lca",
        "POLCA isolates carries at least as well as its first order, and that better than LCA",
        "best homogeneity: polca >= polca_first_order > lca",
        _order,
    ),
    Claim(
        "polca_finds_hidden_breakthroughs",
        "POLCA finds hidden breakthroughs, the exact loss none",
        "fraction of clusters later than flat_step: above 0 for polca, 0 for loss",
        _hidden,
    ),
    Claim(
        "random_basis_finds_fewer",
        "A random basis finds fewer hidden breakthroughs than the Hessian's",
        "fraction of clusters: polca_random < polca",
        _random_fewer,
    ),
    Claim(
        "english_most_vectors_have_a_simple_label",
        "Most kept directions have a cluster with a simple label",
        "more than half of the kept vectors",
        _most_simple,
    ),
    Claim(
        "english_polca_finds_hidden_breakthroughs",
        "POLCA finds hidden breakthroughs",
        "fraction of clusters later than flat_step above 0",
        _english_hidden,
    ),
    Claim(
        "english_loss_has_fewer_simple_labels",
        "Clusters of the exact loss have simple labels more rarely than POLCA's",
        "share of clusters with a simple label: loss < polca",
        _loss_less_simple,
    ),
    Claim(
        "english_polca_finds_more_constructions",
        "POLCA tells more kinds of construction apart than the exact loss",
        "number of kinds that clusters are named after: polca > loss",
        _more_constructions,
    ),
)


def check_claims(results: Results, english: EnglishResults) -> pd.DataFrame:
    """One row a claim: claim, sentence, rule, statistic, verdict (`holds`, `fails` or `not tested`)."""
    verdicts = {True: HOLDS, False: FAILS, None: NOT_TESTED}
    rows = []
    for claim in CLAIMS:
        holds, statistic = claim.decide(results, english)
        rows.append(
            {
                "claim": claim.name,
                "sentence": claim.sentence,
                "rule": claim.rule,
                "statistic": statistic,
                "verdict": verdicts[holds],
            }
        )
    return pd.DataFrame(rows)
