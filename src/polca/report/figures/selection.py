"""Which vectors and clusters figures show, and what is said of them and of those that they do not."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, get_args

import pandas as pd
from matplotlib.axes import Axes

from polca.errors import PolcaError
from polca.report.figures.style import heading, say
from polca.study.results import EnglishResults, TaskResults
from polca.tasks.english.task import FINER
from polca.typing import Reading

R = TypeVar("R", bound=TaskResults)
T = TypeVar("T")


def all_tokens(results: TaskResults) -> str:
    """What heads the one panel of the exact loss."""
    return f"Clusters of the exact loss, {results.reading}"


def views(results: R, analyses: Sequence[str] = ()) -> list[R]:
    """The results that a figure may show, in the order in which it takes them.

    Analyses as given, by default `plots.analysis` alone, in English each followed by its finer clustering; of each the
    reading of `plots.reading` first, then the other.
    """
    finer = FINER if isinstance(results, EnglishResults) else {}
    given = analyses or (results.shown_analysis,)
    names = [name for own in given for name in (own, finer.get(own)) if name is not None]
    readings = sorted(get_args(Reading), key=lambda reading: reading != results.reading)
    return [replace(results.of_reading(reading), analysis=name) for name in names for reading in readings]


def with_clusters(results: R, analyses: Sequence[str] = ()) -> R:
    """The first of `views` in which some vector has a cluster; the first of all where none has."""
    found = views(results, analyses)
    return next((view for view in found if (view.clusters["analysis"] == view.shown_analysis).any()), found[0])


def ranked_rows(results: R, ranked: Callable[[R], list[int]]) -> list[tuple[R, int]]:
    """Vectors in the order in which figures show them, each with the view that it comes from.

    First those of the first view that have clusters, or that `plots.vectors` lists; then those of the following views
    that have clusters; then the others of the first.

    Args:
        ranked: of a view its vectors, counted from 1, in order.
    """
    first, *others = views(results)

    def clustered(view: R, vector: int) -> bool:
        return len(of_vector(view, view.clusters, vector)) > 0

    order, chosen = ranked(first), results.param("plots").get("vectors") or []
    shown = [vector for vector in order if vector in chosen or clustered(first, vector)]
    rest = [vector for vector in order if vector not in shown]
    known = [view for view in others if (view.vectors["analysis"] == view.shown_analysis).any()]
    more = [(view, vector) for view in known for vector in ranked(view) if clustered(view, vector)]
    return [*((first, vector) for vector in shown), *more, *((first, vector) for vector in rest)]


def kept_vectors(results: TaskResults) -> pd.DataFrame:
    """The rows of `vectors.csv` of the vectors that the filter kept."""
    return results.vectors[
        (results.vectors["analysis"] == results.shown_analysis) & results.vectors["kept"].astype(bool)
    ]


def with_chosen(results: TaskResults, ranked: Sequence[int]) -> list[int]:
    """Vectors with those that the setting's `plots.vectors` lists put first.

    Raises:
        PolcaError: `plots.vectors` names a vector that does not exist, or one twice.
    """
    known = [int(v) for v in results.vectors.loc[results.vectors["analysis"] == results.shown_analysis, "vector"]]
    value = results.param("plots").get("vectors") or []
    right = isinstance(value, list) and all(type(v) is int and v in known for v in value)
    if not right or len(set(value)) != len(value):
        raise PolcaError(
            f"{results.setting}.plots.vectors = {value!r}: expected different vector numbers from 1 to "
            f"{max(known, default=0)}"
        )
    return [*value, *(v for v in ranked if v not in value)]


def places(ranked: Sequence[T], first: int, count: int) -> list[T | None]:
    """So many of the ranked from place `first` (from 0) on; None where there are no more."""
    return [ranked[place] if place < len(ranked) else None for place in range(first, first + count)]


def of_vector(results: TaskResults, table: pd.DataFrame, vector: int) -> pd.DataFrame:
    """A vector's rows of `clusters.csv` or `vectors.csv`, of the analysis that figures show."""
    return table[(table["analysis"] == results.shown_analysis) & (table["vector"] == vector)]


def vector_facts(results: TaskResults, vector: int) -> "pd.Series[Any]":
    """A vector's row of `vectors.csv`."""
    return of_vector(results, results.vectors, vector).iloc[0]


def vector_heading(results: TaskResults, facts: "pd.Series[Any]", clusters: int) -> tuple[str, str]:
    """What heads a kept vector's panels, and where its tokens went."""
    dropped, outliers, clustered = (int(facts[f"n_{key}"]) for key in ("dropped", "outliers", "clustered"))
    counts = token_counts(dropped + outliers + clustered, dropped, outliers, clusters)
    # Beside the counts there is room for no more, with five digits a step and four a count.
    return f"Basis vector {facts['vector']} of step {int(facts['vector_step']):,}, {results.reading}", counts


def token_counts(tokens: int, dropped: int | None, outliers: int, clusters: int) -> str:
    """Where tokens went; `dropped` is None where no filter looked at them."""
    rising = "" if dropped is None else f"{dropped:,} dropped as rising, "
    clustered = tokens - (dropped or 0) - outliers
    inside = f", {clustered:,} in {clusters} cluster{'' if clusters == 1 else 's'}" if clusters else ""
    return f"{tokens:,} tokens: {rising}{outliers:,} outliers{inside}"


def loss_counts(results: TaskResults, rows: pd.DataFrame) -> str:
    """Where the tokens of the exact-loss analysis went; `rows` are its clusters in `clusters.csv`."""
    tokens = results.losses.losses.shape[1]
    return token_counts(tokens, None, tokens - int(rows["size"].sum()), len(rows))


def no_panels(panels: Sequence[Axes], results: TaskResults, vector: int | None) -> None:
    """What stands in place of a vector's panels: its name, where its tokens went, and the reason in a sentence."""
    if vector is None:
        name, counts = "No further basis vector", ""
        reason = "The filter of Algorithm 1 kept no other: the mean projected loss along the rest rises over training."
    else:
        facts = vector_facts(results, vector)
        name, counts = vector_heading(results, facts, 0)
        reason = "HDBSCAN found no cluster among this vector's projected losses."
        if not facts["kept"]:
            counts = ""
            reason = "Dropped by the filter of Algorithm 1: the mean projected loss along it rises over training."
    for axes in panels:
        axes.set_axis_off()
    heading(panels[0], name, counts)
    say(panels[len(panels) // 2], reason, center=0.5)
