"""Figures 5 and 9 to 11: mean losses of English clusters, and a table of their names and contexts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from polca.report.figures.concordance import Context, draw_concordance, table_height
from polca.report.figures.panels import all_tokens_curve, cluster_panel, mark_sampling, place_labels
from polca.report.figures.roles import looks
from polca.report.figures.selection import (
    all_tokens,
    kept_vectors,
    loss_counts,
    no_panels,
    of_vector,
    places,
    ranked_rows,
    vector_facts,
    vector_heading,
    with_chosen,
    with_clusters,
)
from polca.report.figures.style import PAGE_WIDTH, Look, heading, letter, new_figure, percent, say
from polca.report.figures.vectors import SENTENCE_HEIGHT
from polca.study.results import EnglishResults
from polca.tasks.english.task import FINER

MAXIMUM_CLUSTERS = 5
"""Clusters drawn per vector."""
CONTEXTS = 3
"""Contexts printed per cluster, as in the paper; more where few clusters leave room beside the panels."""

PANEL_LEFT, PANEL_WIDTH = 0.68, 1.9
TABLE_LEFT, TABLE_RIGHT = 3.0, PAGE_WIDTH - 0.06
HEAD, FOOT, GAP, ROW_GAP = 0.38, 0.4, 0.2, 0.12
"""Inches: above a row's panels, below them, between two panels one above the other, and between rows."""
LEAST_HEIGHT = 2.4
"""Inches: a row's panels with what is below them."""


def ranked_vectors(results: EnglishResults) -> list[int]:
    """The vectors (counted from 1) in the order in which figures show them.

    Those that `english.plots.vectors` lists; then the kept ones by the number of their clusters that have both a simple
    label and a hidden breakthrough (eq. 10), then by the number of those with a simple label, then by the number of
    clusters, each the most first; equals by their numbers.

    Raises:
        PolcaError: `english.plots.vectors` names a vector that does not exist, or one twice.
    """
    clusters = results.clusters[results.clusters["analysis"] == results.shown_analysis]
    both = clusters[clusters["simple"].astype(bool) & clusters["hidden"].astype(bool)].groupby("vector").size()
    kept = kept_vectors(results)
    order = kept.assign(both=kept["vector"].map(both).fillna(0)).sort_values(
        ["both", "n_simple", "n_clusters", "vector"], ascending=[False, False, False, True]
    )
    return with_chosen(results, [int(v) for v in order["vector"]])


def draw(results: EnglishResults, first: int, count: int) -> Figure:
    """A row for so many of `ranked_rows` from place `first` (from 0) on, or a sentence where there is none.

    A row has the mean projected loss of the clusters above their mean exact loss, and beside them the table.
    """
    chosen = [found or (results, None) for found in places(ranked_rows(results, ranked_vectors), first, count)]
    rows = [(view, vector, _table_rows(view, view.shown_analysis, vector, fill=True)) for view, vector in chosen]
    heights = [row_height([len(contexts) for _, contexts in table]) if table else SENTENCE_HEIGHT for *_, table in rows]
    top = sum(heights) + ROW_GAP * (len(heights) - 1)
    figure = new_figure(PAGE_WIDTH, top)
    figure.set_layout_engine("none")
    letters = iter("abcdef")
    for (view, vector, table), height in zip(rows, heights, strict=True):
        if vector is not None and table:
            _vector_row(figure, view, vector, table, top, height, [next(letters) for _ in range(3)])
        else:
            no_panels([_place(figure, PANEL_LEFT, top - HEAD, PANEL_WIDTH, height - HEAD)], view, vector)
        top -= height + ROW_GAP
    place_labels(figure)
    return figure


def draw_loss(results: EnglishResults) -> Figure:
    """Figure 9: (a) mean exact loss of each cluster of exact-loss trajectories, and of all tokens; (b) the table."""
    results = with_clusters(results, ("loss",))
    rows, table = of_vector(results, results.clusters, 1), _table_rows(results, results.shown_analysis, 1)
    height = row_height([len(contexts) for _, contexts in table])
    figure = new_figure(PAGE_WIDTH, height)
    figure.set_layout_engine("none")
    height = top = height - HEAD
    axes = _place(figure, PANEL_LEFT, top, PANEL_WIDTH, height - FOOT)
    all_tokens_curve(axes, results)
    _panel(axes, results, results.shown_analysis, "loss_mean", 1, table)
    heading(axes, all_tokens(results), loss_counts(results, rows))
    letter(axes, "a")
    if table:
        _place_table(figure, "b", len(rows), table, top, height, clustering_note(results))
    else:
        beside = _place(figure, TABLE_LEFT, top, TABLE_RIGHT - TABLE_LEFT, LEAST_HEIGHT)
        say(beside, "HDBSCAN found no cluster among the exact-loss trajectories.")
    place_labels(figure)
    return figure


# --- Tables -----------------------------------------------------------------------------------------------------------

TableRow = tuple[Look, list[Context]]
"""A cluster that is drawn, and the contexts nearest to its medoid."""


def _table_rows(results: EnglishResults, analysis: str, vector: int | None, fill: bool = False) -> list[TableRow]:
    """The `MAXIMUM_CLUSTERS` largest of a vector's clusters, which are numbered by size, with their contexts.

    With `fill` few clusters have as many contexts as there is room for.
    """
    tables = (results.clusters, results.contexts)
    rows, contexts = (t[(t["analysis"] == analysis) & (t["vector"] == vector)] for t in tables)
    largest = rows.sort_values("cluster").head(MAXIMUM_CLUSTERS)
    shown = [_named(look, row) for look, row in zip(looks(largest), largest.to_dict("records"), strict=True)]
    number = contexts_that_fit(len(shown)) if fill else CONTEXTS
    words = contexts.sort_values("rank").set_index("cluster")[["before", "target", "after"]]
    return [(look, list(words.loc[[look.number]].head(number).itertuples(index=False, name=None))) for look in shown]


def _named(look: Look, row: Mapping[Any, Any]) -> Look:
    """The look of a cluster; where no rule names it, with its most frequent token."""
    if look.name != "mixed":
        return look
    return replace(look, name=f"mixed, most often `{row['top_target']}` ({percent(100 * row['top_target_share'])})")


def row_height(contexts: Sequence[int]) -> float:
    """Inches that panels take with a table of clusters with so many contexts each, their heading included."""
    return HEAD + max(LEAST_HEIGHT, table_height(contexts) / 72 + 0.1)


def contexts_that_fit(clusters: int) -> int:
    """How many contexts of each of so many clusters fit beside the panels, `CONTEXTS` at least."""
    number = CONTEXTS
    while clusters and row_height([number + 1] * clusters) <= HEAD + LEAST_HEIGHT:
        number += 1
    return number


def clustering_note(results: EnglishResults) -> str:
    """What to say of the clusters shown where they are not those of the published settings."""
    return " (finer, Table 7)" if results.shown_analysis in FINER.values() else ""


def _place_table(
    figure: Figure, panel: str, clusters: int, table: Sequence[TableRow], top: float, height: float, note: str = ""
) -> None:
    """The names and contexts of the clusters shown, beside the panels; `note` says what is special about them."""
    width = TABLE_RIGHT - TABLE_LEFT
    axes = _place(figure, TABLE_LEFT, top, width, height)
    part = f"{len(table)} largest of {clusters} clusters" if len(table) < clusters else f"all {clusters} clusters"
    contexts_of = "nearest contexts" if note else "contexts nearest to the medoid"
    remark = f"{part if clusters > 1 else 'one cluster'}{note}, {contexts_of}"
    draw_concordance(axes, (72 * width, 72 * height), panel, remark, table)


# --- Panels -----------------------------------------------------------------------------------------------------------


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes of which the upper left corner is at (`left`, `top`), all in inches from the page's lower left corner."""
    page_width, page_height = figure.get_size_inches()
    return figure.add_axes((left / page_width, (top - height) / page_height, width / page_width, height / page_height))


def _panel(
    axes: Axes, results: EnglishResults, analysis: str, curves: str, vector: int, table: Sequence[TableRow]
) -> None:
    """A panel of `cluster_panel`, whose loss has its name at the same place in all figures."""
    name = "mean exact\nloss" if curves == "loss_mean" else "mean projected\nloss"
    cluster_panel(
        axes, results, results.curves(analysis), curves, vector, [look for look, _ in table], name, intervals=4
    )
    axes.yaxis.set_label_coords(-0.4 / PANEL_WIDTH, 0.5)


def _vector_row(
    figure: Figure,
    results: EnglishResults,
    vector: int,
    table: Sequence[TableRow],
    top: float,
    height: float,
    letters: Sequence[str],
) -> None:
    """Mean projected loss above mean exact loss of the same clusters; beside them the table."""
    facts, clusters = vector_facts(results, vector), len(of_vector(results, results.clusters, vector))
    top, height = top - HEAD, height - HEAD
    each = (height - FOOT - GAP) / 2
    upper = _place(figure, PANEL_LEFT, top, PANEL_WIDTH, each)
    lower = _place(figure, PANEL_LEFT, top - each - GAP, PANEL_WIDTH, each)
    heading(upper, *vector_heading(results, facts, clusters))
    for axes, curves, text in ((upper, "projected_mean", letters[0]), (lower, "loss_mean", letters[1])):
        _panel(axes, results, results.shown_analysis, curves, vector, table)
        mark_sampling(axes, int(facts["vector_step"]), named=axes is upper)
        letter(axes, text)
    upper.set_xlabel("")
    upper.tick_params(axis="x", labelbottom=False)
    _place_table(figure, letters[2], clusters, table, top, height, clustering_note(results))
