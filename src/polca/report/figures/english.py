"""Figures 5 and 9 to 11: mean losses of English clusters, and a table of their names and contexts."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from polca.report.figures.concordance import Context, draw_concordance, table_height
from polca.report.figures.panels import Curve, draw_curves, last_plotted_step, letter, place_labels, plotted, say
from polca.report.figures.roles import NamedLook, looks
from polca.report.figures.style import PAGE_WIDTH, heading, loss_axis, new_figure, step_axis
from polca.report.figures.vectors import (
    SENTENCE_HEIGHT,
    kept_vectors,
    mark_sampling,
    token_counts,
    vector_clusters,
    vector_facts,
    vector_name,
    why_no_panels,
    with_chosen,
)
from polca.study.results import EnglishResults

PER_FIGURE = 2
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


def draw_pair(results: EnglishResults, pair: int) -> Figure:
    """Vectors number 2 · `pair` + 1 and + 2 of `ranked_vectors`, one row each, or a sentence where there is none."""
    first = PER_FIGURE * pair
    ranked: list[int | None] = [*ranked_vectors(results), *[None] * (first + PER_FIGURE)]
    return _draw_vectors(results, ranked[first : first + PER_FIGURE])


def _draw_vectors(results: EnglishResults, vectors: Sequence[int | None]) -> Figure:
    shown = [[] if v is None else largest_clusters(vector_clusters(results, v)) for v in vectors]
    contexts = [
        [nearest_contexts(results, results.shown_analysis, v, look.number, contexts_that_fit(len(row))) for look in row]
        if v
        else []
        for v, row in zip(vectors, shown, strict=True)
    ]
    heights = [row_height(row) if row else SENTENCE_HEIGHT for row in contexts]
    top = sum(heights) + ROW_GAP * (len(heights) - 1)
    figure = new_figure(PAGE_WIDTH, top)
    figure.set_layout_engine("none")
    letters = iter("abcdef")
    for vector, row, table, height in zip(vectors, shown, contexts, heights, strict=True):
        if vector is not None and row:
            _vector_row(figure, results, vector, row, table, top, height, [next(letters) for _ in range(3)])
        else:
            _sentence_row(figure, results, vector, top, height)
        top -= height + ROW_GAP
    place_labels(figure)
    return figure


def row_height(contexts: Sequence[Sequence[Context]]) -> float:
    """Inches that panels with a table of these contexts take, their heading included."""
    return HEAD + max(LEAST_HEIGHT, table_height([len(rows) for rows in contexts]) / 72 + 0.1)


def contexts_that_fit(clusters: int) -> int:
    """How many contexts of each of so many clusters fit beside the panels, `CONTEXTS` at least."""
    number = CONTEXTS
    while clusters and row_height([[("", "", "")] * (number + 1)] * clusters) <= HEAD + LEAST_HEIGHT:
        number += 1
    return number


def largest_clusters(clusters: pd.DataFrame) -> list[NamedLook]:
    """The `MAXIMUM_CLUSTERS` largest of one vector's clusters, which are numbered by size."""
    return looks(clusters.sort_values("cluster").head(MAXIMUM_CLUSTERS))


def nearest_contexts(
    results: EnglishResults, analysis: str, vector: int, cluster: int, number: int = CONTEXTS
) -> list[Context]:
    """The contexts nearest to a cluster's medoid, so many or all that there are."""
    table = results.contexts
    own = table[(table["analysis"] == analysis) & (table["vector"] == vector) & (table["cluster"] == cluster)]
    nearest = own.sort_values("rank").head(number)
    return list(nearest[["before", "target", "after"]].itertuples(index=False, name=None))


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes of which the upper left corner is at (`left`, `top`), all in inches from the page's lower left corner."""
    page_width, page_height = figure.get_size_inches()
    return figure.add_axes((left / page_width, (top - height) / page_height, width / page_width, height / page_height))


def place_table(
    figure: Figure,
    panel: str,
    clusters: int,
    shown: Sequence[NamedLook],
    contexts: Sequence[Sequence[Context]],
    top: float,
    height: float,
    note: str = "",
) -> None:
    """The names and contexts of the clusters shown, beside the panels; `note` says what is special about them."""
    width = TABLE_RIGHT - TABLE_LEFT
    axes = place(figure, TABLE_LEFT, top, width, height)
    part = f"{len(shown)} largest of {clusters} clusters" if len(shown) < clusters else f"all {clusters} clusters"
    contexts_of = "nearest contexts" if note else "contexts nearest to the medoid"
    remark = f"{part if clusters > 1 else 'one cluster'}{note}, {contexts_of}"
    draw_concordance(axes, (72 * width, 72 * height), panel, remark, shown, contexts)


def loss_panel(axes: Axes, name: str, last: int) -> None:
    """Axes of a panel that is drawn: steps up to `last`, and a loss whose name stands at the same place in all."""
    step_axis(axes, last, ticks=3)
    loss_axis(axes, name)
    axes.yaxis.set_label_coords(-0.4 / PANEL_WIDTH, 0.5)


def _vector_row(
    figure: Figure,
    results: EnglishResults,
    vector: int,
    shown: Sequence[NamedLook],
    contexts: Sequence[Sequence[Context]],
    top: float,
    height: float,
    letters: Sequence[str],
) -> None:
    """Mean projected loss above mean exact loss of the same clusters; beside them the table."""
    facts, clusters = vector_facts(results, vector), len(vector_clusters(results, vector))
    top, height = top - HEAD, height - HEAD
    each = (height - FOOT - GAP) / 2
    upper = place(figure, PANEL_LEFT, top, PANEL_WIDTH, each)
    lower = place(figure, PANEL_LEFT, top - each - GAP, PANEL_WIDTH, each)
    heading(upper, vector_name(vector, facts), token_counts(facts, clusters))
    last_step, curves = last_plotted_step(results), results.curves(results.shown_analysis)
    at = [results.cluster_row(curves, vector, look.number) for look in shown]
    for axes, means, steps, name in (
        (upper, curves.projected_mean, curves.steps, "mean projected\nloss"),
        (lower, curves.loss_mean, curves.loss_steps, "mean exact\nloss"),
    ):
        cut = plotted(steps, last_step, results.setting)
        draw_curves(axes, steps[cut], [Curve.of_cluster(k, means[row, cut]) for k, row in zip(shown, at, strict=True)])
        loss_panel(axes, name, int(steps[cut][-1]))
        mark_sampling(axes, int(facts["vector_step"]), axes.get_xlim()[1], named=axes is upper)
    upper.set_xlabel("")
    upper.tick_params(axis="x", labelbottom=False)
    lower.set_ylim(bottom=0)
    for axes, text in ((upper, letters[0]), (lower, letters[1])):
        letter(axes, text)
    place_table(figure, letters[2], clusters, shown, contexts, top, height, clustering_note(results))


def clustering_note(results: EnglishResults) -> str:
    """What to say of the clusters shown where they are not those of the published settings."""
    return "" if results.shown_analysis == "polca" else " (finer, Table 7)"


def _sentence_row(figure: Figure, results: EnglishResults, vector: int | None, top: float, height: float) -> None:
    name, counts, sentence = why_no_panels(results, vector)
    axes = place(figure, PANEL_LEFT, top - HEAD, PANEL_WIDTH, height - HEAD)
    heading(axes, name, counts)
    say(axes, sentence, center=0.5)
