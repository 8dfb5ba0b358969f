"""The specification curve: points are the cells, sorted, bands what the table holds, marks what the cells are."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba

from layout import check_layout, words
from polca.report.figures.specification import draw_specification, in_order
from polca.report.figures.style import PAGE_WIDTH, SMALL, encode
from polca.report.figures.validity import BLUE

pytestmark = pytest.mark.usefixtures("style")


def cells(seeds: int = 1, forms: tuple[str, ...] = ("none", "paper", "paper_current", "trapezoid", "exact")):
    """A made-up table: raw cells of one form have no eligible cluster; every other cell is above its null or not."""
    rng = np.random.default_rng(0)
    rows = [
        {"seed": s, "form": f, "reading": r, "interval": i, "length": n, "min_samples": m}
        for s, f, r, i, n, m in product(
            range(seeds), forms, ("standardised", "raw"), (20, 100), (1.0, 0.4), ("left", "all")
        )
    ]
    table = pd.DataFrame(rows)
    none = (table["reading"] == "raw") & (table["form"] == "none")
    table["homogeneity"] = np.where(none, 0.0, 0.2 + 0.7 * rng.random(len(table)))
    table["null_95"] = np.where(none, np.nan, 0.3 + 0.1 * rng.random(len(table)))
    table["loss_homogeneity"] = np.where(table["reading"] == "raw", 0.0, 0.25)
    return table


def points(axes) -> dict[str, PathCollection]:
    return {c.get_label(): c for c in axes.collections if isinstance(c, PathCollection)}


@pytest.mark.parametrize(
    ("seeds", "forms"), [(1, ("none", "trapezoid")), pytest.param(1, None, marks=pytest.mark.thorough), (5, None)]
)
def test_layout_and_bytes(seeds: int, forms: tuple[str, ...] | None) -> None:
    table = cells(seeds, forms) if forms else cells(seeds)
    figure = draw_specification(table, 0.973)
    check_layout(figure, PAGE_WIDTH)
    assert min(t.get_fontsize() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize"))) >= SMALL
    assert encode(draw_specification(table, 0.973)) == encode(draw_specification(table, 0.973))
    assert f"{len(table)} specifications" in words(figure)
    assert ("seed" in words(figure).splitlines()) == (seeds > 1)


def test_what_is_drawn() -> None:
    table = cells()
    figure = draw_specification(table, 0.973)
    scores = figure.axes[0]
    ordered = in_order(table)
    assert ordered["homogeneity"].is_monotonic_increasing
    drawn = points(scores)
    offsets = np.concatenate([np.asarray(c.get_offsets()) for c in drawn.values()])
    np.testing.assert_allclose(offsets[np.argsort(offsets[:, 0])][:, 1], ordered["homogeneity"])
    nothing = drawn["no eligible cluster"]
    assert len(nothing.get_offsets()) == (table["homogeneity"] == 0).sum() > 0
    assert nothing.get_facecolors()[0].tolist() == list(to_rgba("white"))
    above = drawn["best cluster, above its null's 95 % point"]
    assert len(above.get_offsets()) == (table["homogeneity"] > table["null_95"]).sum()
    assert above.get_facecolors()[0].tolist() == list(to_rgba(BLUE))
    (published,) = [line for line in scores.lines if line.get_label() == "published"]
    assert list(published.get_ydata()) == [0.973, 0.973]
    bands = {patch.get_label(): patch for patch in scores.patches}
    of_loss, of_null = bands["exact loss, least to largest"], bands["95 % points of the nulls, least to largest"]
    for band, low, high in ((of_loss, 0, 0.25), (of_null, table["null_95"].min(), table["null_95"].max())):
        ends = band.get_extents().transformed(scores.transData.inverted())
        assert (ends.y0, ends.y1) == pytest.approx((low, high))
    assert of_loss.get_hatch(), "the bands lie over each other: one that is filled hides the other"
    assert of_loss.get_facecolor()[3] == 0 < of_null.get_facecolor()[3]
    assert not of_null.get_hatch()


def test_marks_say_which_cell_it_is() -> None:
    table = cells()
    ordered = in_order(table)
    matrix = draw_specification(table, 0.973).axes[1]
    names = dict(zip(matrix.get_yticks(), (t.get_text() for t in matrix.get_yticklabels()), strict=True))
    marked = {(round(x), names[y]) for c in matrix.collections for x, y in np.asarray(c.get_offsets()).tolist()}
    assert len(marked) == 5 * len(table)
    shown = {"standardised": "standardised", "raw": "raw", "none": "first order", "left": "tokens left by the filter"}
    for at, row in enumerate(ordered.to_dict("records")):
        for factor in ("reading", "form", "min_samples"):
            for value, name in shown.items():
                if value in set(table[factor]):
                    assert ((at, name) in marked) == (row[factor] == value)
        assert ((at, "first 40 %") in marked) == (row["length"] == 0.4)
        assert ((at, "100") in marked) == (row["interval"] == 100)


def test_nothing_eligible_anywhere() -> None:
    table = cells(forms=("none",))
    table = table.assign(homogeneity=0.0, null_95=np.nan, loss_homogeneity=0.0)
    figure = draw_specification(table, 0.973)
    check_layout(figure, PAGE_WIDTH)
    assert len(points(figure.axes[0])["no eligible cluster"].get_offsets()) == len(table)
