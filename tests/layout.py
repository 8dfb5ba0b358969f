"""What can be checked of a figure's layout without looking at it."""

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(figure: Figure) -> list[Text]:
    """Every visible, non-empty text, the end labels without their leader lines."""
    if figure.stale:
        figure.draw_without_rendering()
    found = {id(t): t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_visible() and t.get_text().strip()}
    shown = [t for t in found.values() if np.isfinite(t.get_window_extent().get_points()).all()]
    # Ticks just outside an axis' limits exist but are not drawn.
    hidden = set()
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
            for tick in axis.get_major_ticks():
                if not axes.axison or not low <= tick.get_loc() <= high:
                    hidden |= {id(tick.label1), id(tick.label2)}
            if not axes.axison:
                hidden.add(id(axis.label))
    return [t for t in shown if id(t) not in hidden]


def body(text: Text) -> Any:
    """The box of a text's letters, without an annotation's leader line."""
    return Text.get_window_extent(text)


def words(figure: Figure) -> str:
    return "\n".join(t.get_text() for t in texts(figure))


def lines(axes: Axes) -> list[Any]:
    """Curves of a panel, without rules across it."""
    return [line for line in axes.lines if len(line.get_xdata()) > 2]


def check_layout(figure: Figure, page_width: float) -> None:
    """Texts stay on the page, which is at most `page_width` inches wide, and do not run into each other."""
    assert figure.get_figwidth() <= page_width
    page = figure.bbox
    boxes = [(t.get_text(), body(t)) for t in texts(figure)]
    assert boxes
    for text, box in boxes:
        assert box.x0 >= page.x0, text
        assert box.x1 <= page.x1, text
        assert box.y0 >= page.y0 - 1, text
        assert box.y1 <= page.y1 + 1, text
    for (one, a), (other, b) in combinations(boxes, 2):
        # Boxes are drawn around the tallest letters, on a grid of pixels: their edges may touch.
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width <= 1 or height <= 0.3 * min(a.height, b.height), f"{one!r} runs into {other!r}"
