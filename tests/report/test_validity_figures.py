"""Figures of the checks, of the committed tables: the layout holds, and what they show is what the tables say."""

import pytest

from layout import check_layout, words
from polca.machine.files import ROOT, read_csv
from polca.report.figures.style import PAGE_WIDTH, encode, styled
from polca.report.figures.validity import draw_completeness, draw_nulls, draw_sensitivity


def table(preset: str, name: str):
    return read_csv(ROOT / "paper" / preset / "validity" / f"{name}.csv")


@pytest.mark.parametrize("preset", ["laptop", "smoke"])
def test_layout_and_bytes(preset: str) -> None:
    parts = {n: table(preset, f"completeness_{n}") for n in ("curves", "errors", "forms", "vectors")}
    nulls = {n: table(preset, f"null_{n}") for n in ("best", "hidden")}
    with styled():
        for draw in (
            lambda: draw_completeness(**parts),
            lambda: draw_nulls(**nulls),
            lambda: draw_sensitivity(table(preset, "sensitivity_factors")),
        ):
            check_layout(draw(), PAGE_WIDTH)
            assert encode(draw())["pdf"] == encode(draw())["pdf"]


def test_curves_end_where_the_tables_do() -> None:
    parts = {n: table("laptop", f"completeness_{n}") for n in ("curves", "errors", "forms", "vectors")}
    with styled():
        figure = draw_completeness(**parts)
        ends = [line.get_ydata()[-1] for line in figure.axes[0].lines]
        for column in ("actual", "none", "paper", "trapezoid"):
            assert any(abs(end - parts["curves"][column].sum()) < 1e-9 for end in ends), column
        assert "first order" in words(figure)
