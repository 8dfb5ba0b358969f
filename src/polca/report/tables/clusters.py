"""Tables 1 and 8–11: carry homogeneity and hidden breakthroughs of the clusters, by strategy and by basis."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from polca.method.breakthrough import hidden_fraction
from polca.report.tables.formats import tidy
from polca.study.results import Results
from polca.tasks.arithmetic.scores import SCORES, three_best

STRATEGIES = {name: name for name in ("loss", "loss_change", "fisher", "lca", "polca_first_order", "polca")}
"""Tables 8 and 9: analysis by strategy."""
BASES = {"random": "polca_random", "shuffled_hessian": "polca_shuffled_hessian", "hessian": "polca"}
"""Tables 10 and 11: analysis by basis."""
HEADLINE = ("loss", "loss_change", "lca", "polca")
"""Strategies of Table 1."""

_PUBLISHED_SCORES = dict.fromkeys((f"published_{score}" for score in SCORES), "float64")
_BEST = {
    "rank": "int64",
    "vector": "Int64",
    **dict.fromkeys(SCORES, "float64"),
    "size": "Int64",
    **_PUBLISHED_SCORES,
}
_HIDDEN = {
    "fraction_hidden": "float64",
    "n_clusters": "int64",
    "published_fraction_hidden": "float64",
    "fraction_hidden_onset": "float64",
}


def _best(results: Results, number: int, head: str, analyses: Mapping[str, str]) -> pd.DataFrame:
    """As many rows for each analysis as the paper prints; ours are empty where there is no such cluster."""
    published = results.published_part(f"table_{number:02d}")
    rows: list[dict[str, Any]] = []
    for name, analysis in analyses.items():
        found = three_best(results.clusters, analysis).set_index("rank").to_dict("index")
        for rank, scores in enumerate(published[name], start=1):
            expected = {f"published_{score}": value for score, value in zip(SCORES, scores, strict=True)}
            rows.append({head: name, "rank": rank, **{str(k): v for k, v in found.get(rank, {}).items()}, **expected})
    return tidy(rows, {head: "str", **_BEST})


def _hidden(results: Results, number: int, head: str, analyses: Mapping[str, str]) -> pd.DataFrame:
    published = results.published_part(f"table_{number:02d}")
    rows: list[dict[str, Any]] = []
    for name, analysis in analyses.items():
        fraction, count = hidden_fraction(results.clusters, analysis)
        onset, _ = hidden_fraction(results.clusters, analysis, "hidden_onset")
        rows.append(
            {
                head: name,
                "fraction_hidden": fraction,
                "n_clusters": count,
                "published_fraction_hidden": published[name],
                "fraction_hidden_onset": onset,
            }
        )
    return tidy(rows, {head: "str", **_HIDDEN})


def table_01(results: Results) -> pd.DataFrame:
    """Table 1: the best cluster of Table 8 with the fraction of Table 9, for the four headline strategies."""
    published = results.published_part("table_01")
    best = table_08(results)
    first = best[best["rank"] == 1].set_index("strategy")
    hidden = table_09(results).set_index("strategy")
    rows = [
        {
            "strategy": name,
            **{score: first.loc[name, score] for score in SCORES},
            "fraction_hidden": hidden.loc[name, "fraction_hidden"],
            **{f"published_{key}": value for key, value in published[name].items()},
        }
        for name in HEADLINE
    ]
    floats = (*SCORES, "fraction_hidden")
    columns = [*floats, *(f"published_{name}" for name in floats)]
    return tidy(rows, {"strategy": "str", **dict.fromkeys(columns, "float64")})


def table_08(results: Results) -> pd.DataFrame:
    """Table 8: carry homogeneity of the best clusters, by what was clustered."""
    return _best(results, 8, "strategy", STRATEGIES)


def table_09(results: Results) -> pd.DataFrame:
    """Table 9: fraction of clusters with a hidden breakthrough, by what was clustered; sign-corrected beside it."""
    return _hidden(results, 9, "strategy", STRATEGIES)


def table_10(results: Results) -> pd.DataFrame:
    """Table 10: carry homogeneity of the best POLCA clusters, by basis."""
    return _best(results, 10, "basis", BASES)


def table_11(results: Results) -> pd.DataFrame:
    """Table 11: fraction of POLCA clusters with a hidden breakthrough, by basis; sign-corrected beside it."""
    return _hidden(results, 11, "basis", BASES)
