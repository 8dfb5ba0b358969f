"""Tables 1 and 8–12: carry homogeneity and hidden breakthroughs of clusters, by strategy, basis, reading and order."""

from typing import Any, get_args

import pandas as pd

from polca.method.breakthrough import hidden_fraction
from polca.report.tables.formats import tidy
from polca.study.results import STABLE, Results
from polca.tasks.arithmetic.scores import ROWS, SCORES, three_best
from polca.typing import Reading

HEADLINE = ("loss", "loss_change", "lca", "polca")
"""Strategies of Table 1."""

ABSENT = "not in this run"
"""In the column `note`, which only tables of a run have that lacks analyses; its row has published values alone."""

HIDDEN_COLUMNS = {
    "hidden": "fraction_hidden",
    "hidden_onset": "fraction_hidden_onset",
    "hidden_published": "fraction_hidden_published_constants",
}
"""Columns of `clusters.csv`, and what Tables 9 and 11 call their means."""

_PUBLISHED_SCORES = dict.fromkeys((f"published_{score}" for score in SCORES), "float64")
_BEST = {
    "rank": "int64",
    "vector": "Int64",
    **dict.fromkeys(SCORES, "float64"),
    "size": "Int64",
    **dict.fromkeys(STABLE, "float64"),
    **_PUBLISHED_SCORES,
}
_HIDDEN = {
    "fraction_hidden": "float64",
    "n_clusters": "Int64",
    "published_fraction_hidden": "float64",
    "fraction_hidden_onset": "float64",
    "fraction_hidden_published_constants": "float64",
}


def _with_notes(
    results: Results, rows: list[dict[str, Any]], head: str, number: int, columns: dict[str, str]
) -> pd.DataFrame:
    """Rows of Table 8 to 11 as a table, with a column `note` where the run lacks some of the analyses."""
    there = set(results.vectors["analysis"])
    if set(ROWS[number].values()) <= there:
        return tidy(rows, columns)
    noted = [{**row, "note": "" if ROWS[number][row[head]] in there else ABSENT} for row in rows]
    return tidy(noted, {**columns, "note": "str"})


def best_clusters(results: Results, number: int, head: str) -> pd.DataFrame:
    """Tables 8 and 10: carry homogeneity of the best clusters, by strategy or basis, in both readings.

    Of each as many rows as the paper prints; ours are empty where there is no such cluster. `ari_bootstrap` and
    `ari_perturbed` say how stable the labels of the cluster's vector are (`method.stability`).
    """
    published = results.published_part(f"table_{number:02d}")
    rows: list[dict[str, Any]] = []
    for name, analysis in ROWS[number].items():
        for reading in get_args(Reading):
            own = results.of_reading(reading)
            stable = own.vectors.loc[own.vectors["analysis"] == analysis, ["vector", *STABLE]]
            found = three_best(own.clusters, analysis).merge(stable, on="vector").set_index("rank").to_dict("index")
            for rank, scores in enumerate(published[name], start=1):
                expected = {f"published_{score}": value for score, value in zip(SCORES, scores, strict=True)}
                ours = {str(k): v for k, v in found.get(rank, {}).items()}
                rows.append({head: name, "reading": reading, "rank": rank, **ours, **expected})
    return _with_notes(results, rows, head, number, {head: "str", "reading": "str", **_BEST})


def hidden_fractions(results: Results, number: int, head: str) -> pd.DataFrame:
    """Tables 9 and 11: fraction of clusters with a hidden breakthrough, in both readings.

    τ and Δ follow the preset's scale; beside it the sign-corrected onset, and the fraction by the published constants.
    """
    published = results.published_part(f"table_{number:02d}")
    there = set(results.vectors["analysis"])
    rows: list[dict[str, Any]] = []
    for name, analysis in ROWS[number].items():
        for reading in get_args(Reading):
            clusters = results.of_reading(reading).clusters
            fractions = {column: hidden_fraction(clusters, analysis, column) for column in HIDDEN_COLUMNS}
            rows.append(
                {
                    head: name,
                    "reading": reading,
                    **{HIDDEN_COLUMNS[column]: fraction for column, (fraction, _) in fractions.items()},
                    "n_clusters": fractions["hidden"][1] if analysis in there else pd.NA,
                    "published_fraction_hidden": published[name],
                }
            )
    return _with_notes(results, rows, head, number, {head: "str", "reading": "str", **_HIDDEN})


def table_01(results: Results) -> pd.DataFrame:
    """Table 1: the best cluster of Table 8 with the fraction of Table 9, for the four headline strategies."""
    published = results.published_part("table_01")
    best = best_clusters(results, 8, "strategy")
    hidden = hidden_fractions(results, 9, "strategy")
    keys = ["strategy", "reading"]
    first = best[best["rank"] == 1].merge(hidden[[*keys, "fraction_hidden"]], on=keys)
    rows = [
        {**row, **{f"published_{key}": value for key, value in published[name].items()}}
        for name in HEADLINE
        for row in first[first["strategy"] == name].to_dict("records")
    ]
    floats = (*SCORES, "fraction_hidden")
    columns = [*floats, *(f"published_{name}" for name in floats)]
    notes = dict.fromkeys(best.columns.intersection(["note"]), "str")
    return tidy(rows, {"strategy": "str", "reading": "str", **dict.fromkeys(columns, "float64"), **notes})


def table_12(results: Results) -> pd.DataFrame:
    """Table 12, first against second order, as printed and with the column heads swapped (`heads_swapped`).

    The text calls the two trajectories very similar, which a cosine similarity of 5.5e-4 would contradict: the heads
    are evidently swapped.
    """
    printed = results.published_part("table_12")
    quantities = ("cosine_similarity", "l2_norm")
    rows = [
        {"reading": reading, "quantity": name, "value": results.scalar(f"table_12.{name}"), "published": printed[key]}
        for reading, keys in (("as_printed", quantities), ("heads_swapped", quantities[::-1]))
        for name, key in zip(quantities, keys, strict=True)
    ]
    return tidy(rows, {"reading": "str", "quantity": "str", "value": "float64", "published": "float64"})
