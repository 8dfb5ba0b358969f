"""How a claim is judged: over seeds, on both grids and against chance, never on one run.

- *holds*: in at least four of five seeds, in the preset's own run on its finer grid, and better than chance where the
  claim has a null.
- *fails*: in so many seeds that four of five cannot be reached, or in the one run of a setting that has no seeds. That
  run can refute a claim, and bear one out only where there is a null.
- *inconclusive*: the runs cannot tell (too few have what is compared), disagree, or are no better than chance.
- *not run*: the seeds of a claim that asks for them are missing (`make validity`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

import pandas as pd

from polca.machine.files import read_csv
from polca.method.breakthrough import hidden_fraction
from polca.study.results import Results
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import ANALYSES, ROWS, three_best
from polca.typing import Reading

HOLDS, FAILS, INCONCLUSIVE, NOT_RUN = "holds", "fails", "inconclusive", "not run"
SEEDS_SHARE = 0.8
"""Of the seeds, in which a claim must hold."""
LEVEL = 0.05
"""Of every test that the report counts; the result files give the null's corresponding quantile."""


@dataclass(frozen=True)
class Chance:
    """A p-value of the preset's own run; None where there was nothing to test, or the null was not run."""

    p_value: float | None

    @property
    def words(self) -> str:
        """The p-value."""
        return "no null" if self.p_value is None else f"p = {self.p_value:.3g}"


def judge(
    own: bool | None, seeds: Sequence[bool | None], chance: Chance | None, seeded: bool = True
) -> tuple[str, str]:
    """Verdict and reason.

    Args:
        own: whether the claim holds in the preset's own run; None where that cannot be told.
        seeds: the same of every seed, on the seeds' grid; empty where they were not run.
        chance: of the claim's null; None where it has none.
        seeded: whether the setting has seeds at all.
    """
    if seeded and not seeds:
        return NOT_RUN, "the seeds: `make validity`"
    runs, needed = len(seeds), ceil(SEEDS_SHARE * len(seeds))
    held, failed = sum(s is True for s in seeds), sum(s is False for s in seeds)
    among = f"holds in {held} of {runs} seeds" if runs else f"{'holds' if own else 'fails'} in the one run"
    if own is None and not runs:
        return INCONCLUSIVE, "the one run has too few clusters to tell"
    if failed > runs - needed or (not runs and own is False):
        return FAILS, among
    if held < needed:
        return INCONCLUSIVE, f"{among}; {runs - held - failed} have too few clusters to tell"
    if own is not True:
        reason = "it fails" if own is False else "there are too few clusters to tell"
        return INCONCLUSIVE, f"{among}; on the finer grid {reason}"
    if not runs and (chance is None or chance.p_value is None):
        return INCONCLUSIVE, f"{among}; no other seed was run"
    if chance is None:
        return HOLDS, among
    better = chance.p_value is not None and chance.p_value <= LEVEL
    return (HOLDS if better else INCONCLUSIVE), f"{among}; {chance.words}"


@dataclass(frozen=True)
class Run:
    """What a run of the arithmetic setting gives, in one reading.

    Attributes:
        best: homogeneity and recall of the best eligible cluster by analysis; left out where there is none.
        clusters: number of clusters by analysis.
        hidden: fraction of them with a hidden breakthrough; NaN without clusters.
        auc: of the carries of a place along the best single vector, by analysis and place.
        probes: of the carries of a place by a probe on all vectors together; empty where probes were not run.
        absent: analyses that the run does not have.
    """

    best: Mapping[str, tuple[float, float]]
    clusters: Mapping[str, int]
    hidden: Mapping[str, float]
    auc: Mapping[tuple[str, str], float] = field(default_factory=dict)
    probes: Mapping[tuple[str, str], float] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()

    @classmethod
    def own(cls, results: Results) -> "Run":
        """The preset's own run."""
        tops = {name: three_best(results.clusters, name).head(1) for name in ANALYSES}
        shares = {name: hidden_fraction(results.clusters, name) for name in ANALYSES}
        aucs = results.vectors.groupby("analysis")[[f"auc_{place}" for place in PLACES[:3]]].max()
        return cls(
            best={
                name: (float(top["homogeneity"].iloc[0]), float(top["recall"].iloc[0]))
                for name, top in tops.items()
                if len(top)
            },
            clusters={name: count for name, (_, count) in shares.items()},
            hidden={name: fraction for name, (fraction, _) in shares.items()},
            auc={
                (str(name), place): float(row[f"auc_{place}"])
                for name, row in aucs.to_dict("index").items()
                for place in PLACES[:3]
            },
            absent=frozenset(ANALYSES) - set(results.vectors["analysis"]),
        )


@dataclass(frozen=True)
class Validity:
    """What `make validity` left in `paper/<preset>/validity`, all of it read when it is asked for."""

    folder: Path

    def table(self, name: str) -> pd.DataFrame | None:
        """A table; None where it was not made.

        Raises:
            PolcaError: it is damaged.
        """
        path = self.folder / f"{name}.csv"
        return read_csv(path) if path.is_file() else None

    def row(self, name: str, **keys: str) -> "pd.Series[Any] | None":
        """The one row with these values."""
        table = self.table(name)
        if table is None or not set(keys) <= set(table):
            return None
        found = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)]
        return found.iloc[0] if len(found) else None

    def chance(self, name: str, counted: str, prefix: str = "", **keys: str) -> Chance:
        """The p-value of a row of a permutation null, which counts what it tests in the column `counted`."""
        row = self.row(name, **keys)
        if row is None or pd.isna(row[f"{prefix}p_value"]) or not row[counted] > 0:
            return Chance(None)
        return Chance(float(row[f"{prefix}p_value"]))

    def seeds(self, reading: Reading) -> dict[int, Run]:
        """A run for every seed, on the seeds' grid."""
        values, probes = self.table("seeds_values"), self.table("seeds_probes")
        if values is None or "reading" not in values:
            return {}
        return {
            int(str(seed)): _seed(own, None if probes is None else probes[probes["seed"] == seed])
            for seed, own in values[values["reading"] == reading].groupby("seed")
        }


def _seed(values: pd.DataFrame, probes: pd.DataFrame | None) -> Run:
    """One seed's rows of `seeds_values.csv` and `seeds_probes.csv`."""
    known = values.dropna(subset="value").set_index(["table", "row", "rank", "measure"])["value"].to_dict()
    best: dict[str, tuple[float, float]] = {}
    clusters: dict[str, int] = {}
    hidden: dict[str, float] = {}
    auc: dict[tuple[str, str], float] = {}
    for carries, times in ((8, 9), (10, 11)):
        for row, name in ROWS[carries].items():
            if (carries, row, 1, "homogeneity") in known:
                best[name] = known[carries, row, 1, "homogeneity"], known[carries, row, 1, "recall"]
            clusters[name] = int(known.get((times, row, 0, "n_clusters"), 0))
            hidden[name] = known.get((times, row, 0, "fraction_hidden"), float("nan"))
            for place in PLACES[:3]:
                auc[name, place] = known.get((carries, row, 0, f"auc_{place}"), float("nan"))
    return Run(best, clusters, hidden, auc, {} if probes is None else probe_areas(probes))


def probe_areas(probes: pd.DataFrame) -> dict[tuple[str, str], float]:
    """The AUC of each analysis and place, of a table of probes."""
    columns = [probes[name] for name in ("analysis", "place", "auc")]
    return {(str(name), str(place)): float(area) for name, place, area in zip(*columns, strict=True)}


Measure = Callable[[Any], float | None]
"""A number of a run; None where the run has none."""


def spread(measures: Mapping[str, Measure], own: Any, seeds: Sequence[Any]) -> str:
    """The numbers of the preset's own run in words, and their range over the seeds."""
    parts = []
    absent = getattr(own, "absent", ())
    for name, measure in measures.items():
        value = measure(own)
        none = "not in this run" if name.partition(",")[0] in absent else "none"
        words = none if value is None or pd.isna(value) else f"{value:.3g}"
        known = [v for v in map(measure, seeds) if v is not None and not pd.isna(v)]
        if known:
            words += f" (seeds {min(known):.3g}–{max(known):.3g}" + (
                f", {len(known)} of {len(seeds)})" if len(known) < len(seeds) else ")"
            )
        parts.append(f"{name} {words}")
    return "; ".join(parts)
