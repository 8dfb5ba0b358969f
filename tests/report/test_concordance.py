"""Texts of the table of contexts are cut to their width, and drawn as they stand."""

import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from polca.report.figures.concordance import CUT, fit_left, fit_right, printable, text_width
from polca.report.figures.style import FONTS, SMALL

FONT = FontProperties(family=list(FONTS), size=SMALL)
SENTENCES = (
    "The harbour of the old town lies between two hills.",
    "W" * 50,
    "i" * 90,
    "a b c d e f g h i j k l m n o p q",
)


@pytest.mark.parametrize("sentence", SENTENCES)
@pytest.mark.parametrize("width", [20.0, 61.5, 150.0, 1000.0])
def test_texts_are_cut_to_their_width(sentence: str, width: float) -> None:
    for cut, mirrored in ((fit_right, False), (fit_left, True)):
        found = cut(sentence, width, FONT)
        assert text_width(found, FONT) <= width
        if text_width(sentence, FONT) <= width:
            assert found == sentence
            continue
        kept = found.removeprefix(CUT) if mirrored else found.removesuffix(CUT)
        assert len(kept) < len(found), "the cut is not marked"
        assert sentence.endswith(kept) if mirrored else sentence.startswith(kept)
        # Nothing longer fits, but for a word that would be broken.
        n = len(kept)
        rest = sentence[: len(sentence) - n] if mirrored else sentence[n:]
        step = next((i for i, c in enumerate(reversed(rest) if mirrored else rest) if c != " "), 0) + 1
        more = CUT + sentence[-n - step :] if mirrored else sentence[: n + step] + CUT
        border = rest[-1:] if mirrored else rest[:1]
        assert text_width(more, FONT) > width or border == " "


def test_width_is_that_of_the_drawn_text() -> None:
    """Against Matplotlib's own layout at a high resolution."""
    figure = Figure(figsize=(6, 1), dpi=1200)
    for string in ("harbour", "$x^2$ and \\", "W␣⏎…", " of "):
        drawn = figure.text(0, 0, string, fontproperties=FONT, parse_math=False).get_window_extent()
        assert text_width(string, FONT) == pytest.approx(drawn.width * 72 / 1200, abs=0.5)


def test_printable() -> None:
    assert printable("a\nb\tc") == "a⏎b c"
    assert printable("中\x00é$\\ﷺ\u200b")[:2] == "□□"
    assert printable("naïve ⏎ ␣ … Ωμέγα ¶ $\\^{}") == "naïve ⏎ ␣ … Ωμέγα ¶ $\\^{}"
