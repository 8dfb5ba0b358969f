"""Figures of the checks, of the committed tables: the layout holds, and what they show is what the tables say."""

import pytest

from layout import check_layout, words
from polca.machine.checkout import ROOT
from polca.machine.files import read_csv
from polca.report.figures.style import PAGE_WIDTH, encode, styled
from polca.report.figures.validity import draw_completeness, draw_nulls, draw_sensitivity

pytestmark = pytest.mark.thorough


def table(preset: str, name: str):
    return read_csv(ROOT / "paper" / preset / "validity" / f"{name}.csv")


@pytest.mark.parametrize("preset", ["laptop", "smoke"])
def test_layout_and_bytes(preset: str) -> None:
    parts = {n: table(preset, f"completeness_{n}") for n in ("curves", "errors", "forms")}
    nulls = {n: table(preset, f"null_{n}") for n in ("best", "hidden")}
    with styled():
        for draw in (
            lambda: draw_completeness(**parts),
            lambda: draw_nulls(**nulls),
            lambda: draw_sensitivity(table(preset, "sensitivity_factors")),
        ):
            check_layout(draw(), PAGE_WIDTH)
            assert encode(draw())["pdf"] == encode(draw())["pdf"]


def test_forms_that_are_known_on_the_path_alone() -> None:
    """They have a line in (b), bars in (c) and their names below, and nothing over the whole training."""
    parts = {n: table("laptop", f"completeness_{n}") for n in ("curves", "errors", "forms")}
    some = ("exact", "paper_current")
    cut = {
        **parts,
        "curves": parts["curves"].drop(columns=list(some), errors="ignore"),
    }
    with styled():
        figure = draw_completeness(**cut)
        whole, error, _ = figure.axes
        assert [len(line.get_xdata()) > 0 for line in whole.lines if line.get_label()[0] != "_"] == [
            True, True, True, False, False, True,
        ]  # fmt: skip
        assert sum(len(line.get_xdata()) == len(set(parts["errors"]["step"])) for line in error.lines) == 5
        check_layout(figure, PAGE_WIDTH)
        assert {"eq. 4, λ current", "exact second order"} <= {text.get_text() for text in figure.legends[0].texts}


def test_curves_end_where_the_tables_do() -> None:
    parts = {n: table("laptop", f"completeness_{n}") for n in ("curves", "errors", "forms")}
    with styled():
        figure = draw_completeness(**parts)
        ends = [line.get_ydata()[-1] for line in figure.axes[0].lines if len(line.get_ydata())]
        for column in ("actual", "none", "paper", "trapezoid"):
            assert any(abs(end - parts["curves"][column].sum()) < 1e-9 for end in ends), column
        assert "first order" in words(figure)
