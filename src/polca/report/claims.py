"""The paper's claims: for each its sentence, its rule, the numbers that decide it, and the verdict.

A claim about clusters is judged in both readings. A claim that fails at a preset's scale is shown as failed. Thresholds
of the claims about addition were set before any run; the preset's scale, the second-order form and which claims stand
here were not (docs/choices.md).

Whether a run can tell, by kind of statement:

- *POLCA finds something*: every run can; it fails where there is no cluster, since that is to find nothing.
- *The exact loss does not find something*: not where it has no cluster at all, since it could not have found it.
- *One finds more than the other*: not where a side has no statistic (no eligible cluster, or no cluster).

A claim of several parts fails if one part fails, and holds if all hold.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

import pandas as pd

from polca.method.breakthrough import hidden_fraction
from polca.report.verdicts import FAILS, HOLDS, NOT_RUN, Chance, Measure, Run, Validity, judge, probe_areas, spread
from polca.study.paths import PresetPaths
from polca.study.published_run import RunFacts
from polca.study.results import EnglishResults, PresetResults, TaskResults
from polca.tasks.english.scores import constructions
from polca.typing import Reading

COLUMNS = ("claim", "sentence", "reading", "rule", "statistic", "verdict", "why")


@dataclass(frozen=True)
class Claim:
    """A claim about runs of a setting.

    Attributes:
        name: begins with `english_` where it is about English.
        decide: whether it holds in a run; None where the run cannot tell.
        measures: the numbers that decide it, by name.
        null: its p-value in a reading; None where it has no null.
        clusters: whether it is about clusters, and so depends on the reading.
    """

    name: str
    sentence: str
    rule: str
    decide: Callable[[Any], bool | None]
    measures: Mapping[str, Measure]
    null: Callable[[Validity, Reading], Chance] | None = None
    clusters: bool = True

    def row(self, own: Any, seeds: list[Any], validity: Validity, reading: Reading, seeded: bool) -> dict[str, str]:
        """A row of `claims.csv`."""
        chance = self.null(validity, reading) if self.null else None
        verdict, why = judge(self.decide(own), [self.decide(run) for run in seeds], chance, seeded)
        return {
            "claim": self.name,
            "sentence": self.sentence,
            "reading": reading if self.clusters else "",
            "rule": self.rule,
            "statistic": spread(self.measures, own, seeds),
            "verdict": verdict,
            "why": why,
        }


def _all(*parts: bool | None) -> bool | None:
    """Whether all parts hold: False where one does not, else None where one cannot be told."""
    return False if False in parts else None if None in parts else True


def _less(one: float | None, other: float | None) -> bool | None:
    """Whether one is less than the other; None where either is missing."""
    return None if one is None or other is None or pd.isna(one) or pd.isna(other) else one < other


# --- Addition ---------------------------------------------------------------------------------------------------------


def _best(name: str, score: int = 0) -> Measure:
    """Homogeneity (0) or recall (1) of an analysis' best eligible cluster."""
    return lambda run: run.best[name][score] if name in run.best else None


def _hidden(name: str) -> Measure:
    return lambda run: run.hidden[name] if run.clusters[name] else None


def _auc(name: str, place: str) -> Measure:
    return lambda run: run.auc.get((name, place))


def _probe(name: str, place: str) -> Measure:
    return lambda run: run.probes.get((name, place))


def _best_of(*names: str) -> dict[str, Measure]:
    return {name: _best(name) for name in names}


def _loss_mixes(run: Run) -> bool | None:
    names = ("loss", "loss_change")
    return _all(*((_best(n)(run) or 0.0) <= 0.6 if run.clusters[n] else None for n in names))


def _polca_isolates(run: Run) -> bool:
    homogeneity, recall = run.best.get("polca", (0.0, 0.0))
    return homogeneity >= 0.9 and recall >= 0.5


def _orders(run: Run) -> bool | None:
    polca, first, lca = (_best(name)(run) for name in ("polca", "polca_first_order", "lca"))
    return _all(None if polca is None or first is None else polca >= first, _less(lca, first))


def _purer_than_loss(run: Run) -> bool | None:
    """Without an eligible cluster of the exact loss, which has clusters, POLCA's is the purer one."""
    polca, loss = run.best.get("polca", (0.0, 0.0))[0], run.best.get("loss", (0.0, 0.0))[0]
    return None if not run.clusters["loss"] else polca > loss


def _finds_hidden(run: Run) -> bool | None:
    return _all((_hidden("polca")(run) or 0.0) > 0, run.hidden["loss"] == 0 if run.clusters["loss"] else None)


def _directions(run: Run) -> bool | None:
    return _all(*(_less(_auc("polca_random", p)(run), _auc("polca", p)(run)) for p in ("100s", "10s")))


def _probes(run: Run) -> bool | None:
    pairs = product(("100s", "10s"), ("polca_random", "loss"))
    return _all(*(_less(_probe(other, place)(run), _probe("polca", place)(run)) for place, other in pairs))


def _within_digits(validity: Validity, reading: Reading) -> Chance:
    return validity.chance(
        "null_best", "vectors_eligible", analysis="polca", null="labels_within_place", reading=reading
    )


def _times(validity: Validity, reading: Reading) -> Chance:
    return validity.chance("null_hidden", "clusters", analysis="polca", reading=reading)


ADDITION = (
    Claim(
        "loss_does_not_isolate_carries",
        "Clusters of the exact loss, or of its change, do not isolate carries",
        "best homogeneity of both at most 0.6",
        _loss_mixes,
        _best_of("loss", "loss_change"),
    ),
    Claim(
        "polca_isolates_carries",
        "POLCA clusters isolate carries",
        "best homogeneity at least 0.9, with recall at least 0.5; purer than with carries permuted within each digit",
        _polca_isolates,
        {"homogeneity": _best("polca"), "recall": _best("polca", 1)},
        _within_digits,
    ),
    Claim(
        "polca_is_purer_than_the_loss",
        "POLCA has a purer cluster of carries than the exact loss",
        "best homogeneity: polca > loss; purer than with carries permuted within each digit",
        _purer_than_loss,
        _best_of("polca", "loss"),
        _within_digits,
    ),
    Claim(
        "polca_beats_first_order_beats_lca",
        "POLCA isolates carries at least as well as its first order, and that better than LCA",
        "best homogeneity: polca >= polca_first_order > lca",
        _orders,
        _best_of("polca", "polca_first_order", "lca"),
    ),
    Claim(
        "polca_finds_hidden_breakthroughs",
        "POLCA finds hidden breakthroughs, the exact loss none",
        "fraction of clusters later than τ: above 0 for polca, 0 for loss; more than with increments permuted in time",
        _finds_hidden,
        {name: _hidden(name) for name in ("polca", "loss")},
        _times,
    ),
    Claim(
        "random_basis_finds_fewer",
        "A random basis finds fewer hidden breakthroughs than the Hessian's",
        "fraction of clusters: polca_random < polca",
        lambda run: _less(_hidden("polca_random")(run), _hidden("polca")(run)),
        {name: _hidden(name) for name in ("polca", "polca_random")},
    ),
    Claim(
        "directions_tell_carries_apart",
        "Some Hessian direction tells carries apart better than any random one, without clusters",
        "AUC of the best vector: polca > polca_random, into the 100s and into the 10s",
        _directions,
        {f"{name}, {p}": _auc(name, p) for p in ("100s", "10s") for name in ("polca", "polca_random")},
        clusters=False,
    ),
    Claim(
        "carries_are_in_the_decomposition",
        "All directions together tell carries apart better than random ones, and than the exact loss",
        "cross-validated AUC of a probe: polca > polca_random and > loss, into the 100s and into the 10s",
        _probes,
        {f"{name}, {p}": _probe(name, p) for p in ("100s", "10s") for name in ("polca", "polca_random", "loss")},
        clusters=False,
    ),
)
"""The claims about addition; the last two ask what the paper's clusters presuppose, and are ours."""


# --- English ----------------------------------------------------------------------------------------------------------


def _own(results: TaskResults, analysis: str) -> pd.DataFrame:
    return results.clusters[results.clusters["analysis"] == analysis]


def _kept(english: EnglishResults) -> pd.DataFrame:
    own = english.vectors[english.vectors["analysis"] == "polca"]
    return own[own["kept"].astype(bool)]


def _with(column: str) -> Measure:
    return lambda english: int((_kept(english)[column] > 0).sum())


def _share_hidden(english: EnglishResults) -> float | None:
    fraction, count = hidden_fraction(english.clusters, "polca")
    return fraction if count else None


def _simple(analysis: str) -> Measure:
    def share(english: EnglishResults) -> float | None:
        clusters = _own(english, analysis)
        return float(clusters["simple"].astype(bool).mean()) if len(clusters) else None

    return share


def _kinds(analysis: str) -> Measure:
    def count(english: EnglishResults) -> int | None:
        clusters = _own(english, analysis)
        named = [k for k, n in constructions(clusters).items() if n and k not in ("mixed", "other")]
        return len(named) if len(clusters) else None

    return count


def _labels(validity: Validity, reading: Reading) -> Chance:
    return validity.chance("null_simple", "clusters", "clusters_", analysis="polca", reading=reading)


ENGLISH = (
    Claim(
        "english_vectors_have_clusters",
        "Most kept directions have a cluster",
        "more than half of the kept vectors",
        lambda english: 2 * int((_kept(english)["n_clusters"] > 0).sum()) > len(_kept(english)),
        {"vectors": _with("n_clusters"), "kept": lambda english: len(_kept(english))},
    ),
    Claim(
        "english_most_vectors_have_a_simple_label",
        "Most kept directions have a cluster with a simple label",
        "more than half of the kept vectors; more clusters than with tag patterns permuted over tokens",
        lambda english: 2 * int((_kept(english)["n_simple"] > 0).sum()) > len(_kept(english)),
        {"vectors": _with("n_simple"), "kept": lambda english: len(_kept(english))},
        _labels,
    ),
    Claim(
        "english_polca_finds_hidden_breakthroughs",
        "POLCA finds hidden breakthroughs",
        "fraction of clusters later than τ above 0",
        lambda english: (_share_hidden(english) or 0.0) > 0,
        {"polca": _share_hidden},
    ),
    Claim(
        "english_loss_has_fewer_simple_labels",
        "Clusters of the exact loss have simple labels more rarely than POLCA's",
        "share of clusters with a simple label: loss < polca",
        lambda english: _less(_simple("loss")(english), _simple("polca")(english)),
        {name: _simple(name) for name in ("loss", "polca")},
    ),
    Claim(
        "english_polca_finds_more_constructions",
        "POLCA tells more kinds of construction apart than the exact loss",
        "number of kinds that clusters are named after: polca > loss",
        lambda english: _less(_kinds("loss")(english), _kinds("polca")(english)),
        {name: _kinds(name) for name in ("loss", "polca")},
    ),
)
"""The claims about English. Where HDBSCAN calls every token an outlier, the first is the only one that can be asked."""


# --- The method -------------------------------------------------------------------------------------------------------


def _second_order(validity: Validity) -> dict[str, str]:
    """Whether the second-order term helps, against the path integral; of one run, whose truth is known."""
    first, second = (validity.row("completeness_integrators", form=form) for form in ("none", "paper"))
    row = {
        "claim": "second_order_is_nearer",
        "sentence": "The second-order term of eq. 4 brings the allocation nearer to the true change along a direction",
        "reading": "",
        "rule": "relative error against the path integral: eq. 4, λ fixed, below first order",
    }
    if first is None or second is None:
        return {**row, "statistic": "", "verdict": NOT_RUN, "why": "the path integral: `make validity`"}
    errors = float(second["relative_rmse"]), float(first["relative_rmse"])
    words = f"eq. 4 {errors[0]:.3g}; first order {errors[1]:.3g}"
    verdict = HOLDS if errors[0] < errors[1] else FAILS
    return {**row, "statistic": words, "verdict": verdict, "why": "all tokens of one run, against its own truth"}


def _rows(results: PresetResults, validity: Validity, seeded: bool) -> Iterator[dict[str, str]]:
    shown = (results.all[0].reading, *get_args(Reading))
    for reading in dict.fromkeys(shown):
        first = reading == shown[0]
        if results.arithmetic is not None:
            own, seeds = Run.own(results.arithmetic.of_reading(reading)), validity.seeds(reading)
            if not seeded:
                own = replace(own, probes=probe_areas(results.arithmetic.signature_table("probes")))
            elif same := seeds.get(results.arithmetic.param("seed")):
                own = replace(own, probes=same.probes)  # which are made on the seeds' grid alone
            for claim in ADDITION:
                if claim.clusters or first:
                    yield claim.row(own, list(seeds.values()), validity, reading, seeded)
        if results.english is not None:
            english = results.english.of_reading(reading)
            found = any(len(_own(english, name)) for name in ("loss", "polca"))
            for claim in ENGLISH if found else ENGLISH[:1]:
                yield claim.row(english, [], validity, reading, seeded=False)
    if results.arithmetic is not None:
        yield _second_order(validity)


def check_claims(results: PresetResults, paths: PresetPaths) -> pd.DataFrame:
    """One row a claim and reading, with `COLUMNS`: the shown reading first; claims about directions stand once.

    A run that was read, not made here, has no seeds: it is judged alone.

    Raises:
        PolcaError: a result file is missing or damaged.
    """
    validity, facts = Validity(paths.paper / "validity"), RunFacts.load(paths)
    rows = list(_rows(results, validity, seeded=facts is None))
    if facts is not None:
        for row in rows:
            if row["verdict"] == NOT_RUN:
                row["why"] = "needs checkpoints, which were not kept"
    return pd.DataFrame(rows, columns=list(COLUMNS))
