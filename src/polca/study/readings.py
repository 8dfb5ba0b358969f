"""Evidence for readings of the paper: observables that are not about its claim, beside what each reading gives.

§3.3 does not say whether HDBSCAN sees trajectories as they are or their shapes. Which reading the figures draw must not
hang on which gives the purer clusters, so it is decided by what the paper shows beside the claim.

**Misfit** of a value is |ln(value / published)|, 0 inside a published range, of a published least number only where it
falls short, and at most ln 10, which is also that of 0 and of no value at all. That of a composition of clusters is 1 −
overlap (`overlap`).

**Rule** (`rule_names`): the figures draw standardised trajectories, unless the mean misfit of raw ones over the
observables that readings change (column `counts`) is lower by at least ln 1.25. It was fixed before the homogeneity of
any run of this code in both readings was looked at, but after a run at the published scale had been seen in both
(docs/choices.md says what).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from polca.method.completeness import ratio
from polca.study.results import PresetResults
from polca.tasks.arithmetic.labels import PLACES
from polca.typing import Reading

COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(("setting", "observable", "analysis", "published", "reading"), "str"),
    **dict.fromkeys(("value", "misfit"), "float64"),
    "counts": "bool",
}
"""Columns of `readings.csv`; `reading` is empty where an observable compares forms, not readings."""
CAP = math.log(10)
"""The largest misfit."""
MARGIN = math.log(1.25)
"""By so much must the mean misfit of raw trajectories be lower."""
_EDGE = 1e-9

FRACTIONS: Mapping[str, tuple[str, str]] = {
    "polca_first_order": ("table_09", "polca_first_order"),
    "polca": ("table_09", "polca"),
    "polca_random": ("table_11", "random"),
}
"""Where the paper prints the fraction of an analysis' clusters that have a hidden breakthrough."""
SHOWN: Mapping[str, tuple[str, ...]] = {"arithmetic": ("polca_first_order", "polca"), "english": ("polca",)}
"""Analyses that the paper's figures may show; it calls the first two nearly the same (Table 12)."""

Row = dict[str, Any]


def misfit(value: float, least: float, most: float = math.inf) -> float:
    """Of a value from a published range; NaN and 0 are as far off as anything can be."""
    if not value > 0:
        return CAP
    return min(CAP, max(0.0, math.log(least / value), math.log(value) - math.log(most)))


def least_count(fraction: float, digits: int) -> int:
    """The smallest n for which some k / n, rounded to so many digits, is a printed fraction."""
    n = 1
    while abs(round(fraction * n) / n - fraction) > 0.5 * 10**-digits + _EDGE:
        n += 1
    return n


def overlap(ours: NDArray[np.integer], published: NDArray[np.integer]) -> float:
    """How far clusters have the published composition, from 0 to 1.

    Each published cluster is matched with one of ours, or with none, so that as many tokens as possible agree in kind;
    twice their number is divided by the tokens of all our clusters and all published ones.

    Args:
        ours, published: `[M, kinds]` tokens of each cluster by kind.
    """
    shared = np.minimum(ours[:, None], published[None]).sum(axis=2)
    agreed = int(shared[linear_sum_assignment(shared, maximize=True)].sum())
    return 2 * agreed / (int(ours.sum()) + int(published.sum()))


@dataclass(frozen=True)
class Evidence:
    """Rows of one setting.

    Attributes:
        setting: `arithmetic` or `english`.
        published: `data/published.yaml`.
    """

    setting: str
    published: Mapping[str, Any]

    def _row(self, observable: str, analysis: str, reading: str, shown: str, value: float, off: float) -> Row:
        counts = bool(reading) and observable != "share_dropped"
        values = (self.setting, observable, analysis, shown, reading, value, off, counts)
        return dict(zip(COLUMNS, values, strict=True))

    def of_vectors(self, vectors: pd.DataFrame, tokens: int, reading: Reading) -> list[Row]:
        """What `vectors.csv` of one reading says.

        - clusters_per_vector: clusters on a basis vector, dropped ones included. The paper gives no number, but its
          fractions ask for a least one, on at most as many vectors as the basis has;
        - clusters_per_clustered_vector: on a vector that has any, as in the figures;
        - share_with_clusters, of kept vectors: as many as have a simply labelled cluster have one;
        - share_dropped: of the tokens of a kept vector, as rising. The filters come first, so that readings share it.

        Args:
            tokens: evaluation tokens.
        """
        scalars, known = self.published["scalars"], self.published["readings"]
        low, high = known["clusters_of_a_vector"]
        rows: list[Row] = []
        for analysis in dict.fromkeys((*(FRACTIONS if self.setting == "arithmetic" else ()), *SHOWN[self.setting])):
            own = vectors[vectors["analysis"] == analysis]
            if own.empty:  # of a run without it
                continue
            kept = own[own["kept"].astype(bool)]
            clusters, some = int(own["n_clusters"].sum()), int((kept["n_clusters"] > 0).sum())
            if self.setting == "arithmetic":
                table, row = FRACTIONS[analysis]
                count = least_count(self.published[table][row], known["fraction_digits"])
                least, value = count / scalars["arithmetic_vectors"], ratio(clusters, len(own))
                shown = f"at least {count} / {scalars['arithmetic_vectors']}"
                rows.append(self._row("clusters_per_vector", analysis, reading, shown, value, misfit(value, least)))
            else:
                simple = scalars["english_vectors_with_simple_label"]
                others = scalars["english_vectors"] - scalars["english_dropped_vectors"]
                value, shown = ratio(some, len(kept)), f"at least {simple} / {others}"
                off = misfit(value, simple / others)
                rows.append(self._row("share_with_clusters", analysis, reading, shown, value, off))
            if analysis in SHOWN[self.setting]:
                value, shown = ratio(clusters, some), f"{low} to {high}"
                off = misfit(value, low, high)
                rows.append(self._row("clusters_per_clustered_vector", analysis, reading, shown, value, off))
                dropped, whole = (scalars[f"{self.setting}_{name}"] for name in ("mean_dropped_tokens", "tokens"))
                value, share = ratio(float(kept["n_dropped"].mean()), tokens), dropped / whole
                off = misfit(value, share, share)
                rows.append(self._row("share_dropped", analysis, reading, f"{dropped} / {whole}", value, off))
        return rows

    def of_orders(self, orders: Mapping[str, float]) -> list[Row]:
        """First against second order (Table 12, its heads swapped), which asks about forms and not about readings.

        Args:
            orders: the means of `completeness.OrderComparison`. The relative norm is not published; it says how far the
                two are from "very similar".
        """
        printed = self.published["table_12"]
        rows = []
        for name, key in (("cosine_similarity", "l2_norm"), ("l2_norm", "cosine_similarity")):
            value, known = orders[name], printed[key]
            rows.append(self._row(f"orders_{name}", "polca", "", f"{known}", value, misfit(value, known, known)))
        return [*rows, self._row("orders_relative_l2_norm", "polca", "", "", orders["relative_l2_norm"], math.nan)]

    def of_compositions(self, clusters: pd.DataFrame, reading: Reading) -> list[Row]:
        """Clusters of vectors 1 and 2 against the bars of Figure 4, at the published scale alone.

        Args:
            clusters: `clusters.csv` of one reading.
        """
        rows = []
        for name, bars in self.published["readings"]["figure_04"].items():
            number = int(name.removeprefix("vector_"))
            for analysis in SHOWN[self.setting]:
                own = clusters[(clusters["analysis"] == analysis) & (clusters["vector"] == number)]
                parts = [own[f"n_{place}_carry"] + own[f"n_{place}_nocarry"] for place in PLACES]
                value = overlap(np.stack(parts, axis=1), np.array(bars))
                shown = "; ".join("/".join(map(str, bar)) for bar in bars)
                rows.append(self._row(f"figure_4_{name}", analysis, reading, shown, value, 1 - value))
        return rows


def evidence_table(rows: list[Row]) -> pd.DataFrame:
    """Rows as a table, by observable and analysis."""
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict(COLUMNS))
    keys = table[["setting", "observable", "analysis"]].apply(tuple, axis=1)
    order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return table.iloc[keys.map(order).argsort(kind="stable")].reset_index(drop=True)


def readings(results: PresetResults) -> pd.DataFrame:
    """Evidence of a preset's settings, in the columns of `COLUMNS`.

    Raises:
        PolcaError: a result file is missing or damaged.
    """
    rows: list[Row] = []
    for own in results.all:
        evidence = Evidence(own.setting, own.published)
        for reading in get_args(Reading):
            rows += evidence.of_vectors(own.of_reading(reading).vectors, int(own.scalar("tokens")), reading)
        if own.setting == "arithmetic":
            names = ("cosine_similarity", "l2_norm", "relative_l2_norm")
            rows += evidence.of_orders({name: own.scalar(f"table_12.{name}") for name in names})
    return evidence_table(rows)


def mean_misfits(table: pd.DataFrame) -> dict[Reading, float]:
    """Of each reading over the observables that count; NaN where there are none."""
    counted = table[table["counts"].astype(bool)]
    return {
        reading: float(counted.loc[counted["reading"] == reading, "misfit"].mean()) for reading in get_args(Reading)
    }


def rule_names(table: pd.DataFrame) -> Reading:
    """The reading that figures draw, by the rule above; standardised where nothing counts."""
    means = mean_misfits(table)
    return "raw" if means["raw"] <= means["standardised"] - MARGIN + _EDGE else "standardised"
