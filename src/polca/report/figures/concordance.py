"""Clusters as a typeset table: under each name some contexts, one below the other, with the target tokens in line."""

import re
from bisect import bisect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import TextToPath

from polca.report.figures.style import FONTS, INK, MUTED, NORMAL, RULE, SMALL, Look, letter, note, percent

Context = tuple[str, str, str]
"""Text before the target, the target, text after it."""

TARGET_AT = 0.56
"""Where targets begin, as a share of the table's width: a target is labelled by what comes before it."""
INDENT = 28.0
LEADING, HEADING_LEADING, BETWEEN = 9.6, 10.6, 6.5
"""Points between lines, from a cluster's heading to its first context, and more between two clusters."""
TOP = 9.0
"""Points from the table's upper edge to the first baseline."""
CUT, MISSING = "…", "□"
"""What stands where a text is cut, and for a character that the font does not have."""
_WORD_END = 12
"""A cut moves by up to so many characters to fall between two words."""


def table_height(blocks: Sequence[int]) -> float:
    """Points that a table of clusters with so many contexts each takes."""
    lines = sum(HEADING_LEADING + LEADING * (count - 1) + LEADING for count in blocks)
    return TOP + lines + BETWEEN * max(0, len(blocks) - 1)


def _font(weight: str = "normal", size: float = SMALL, family: Sequence[str] = FONTS) -> FontProperties:
    return FontProperties(family=list(family), weight=weight, size=size)


@lru_cache(maxsize=8)
def _glyphs(weight: str, family: str) -> Any:
    return get_font(findfont(_font(weight, family=[family])))


@lru_cache(maxsize=4096)
def _drawable(character: str) -> bool:
    """Whether some font has the character, in both weights."""
    return character.isprintable() and all(
        any(_glyphs(weight, family).get_char_index(ord(character)) for family in FONTS) for weight in ("normal", "bold")
    )


def printable(text: str) -> str:
    """Text on one line in characters that the fonts have, in both weights."""
    return "".join(c if _drawable(c) else MISSING for c in text.replace("\n", "⏎").replace("\t", " "))


def text_width(text: str, font: FontProperties) -> float:
    """Points that a text takes, spaces at its ends included; `$` and `\\` are characters like others."""
    return float(TextToPath().get_text_width_height_descent(text, font, False)[0])


def _fits(text: str, width: float, font: FontProperties) -> bool:
    # Hardly a letter is narrower than a point, and to measure long texts takes long.
    return len(text) <= width and text_width(text, font) <= width


def _longest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` for which `fits`, by bisection; 0 always fits."""
    return bisect(range(1, most + 1), False, key=lambda number: not fits(number))


def fit_right(text: str, width: float, font: FontProperties) -> str:
    """The beginning of `text`, with `CUT` at its end where it is wider than `width` points."""
    if _fits(text, width, font):
        return text
    kept = _longest(lambda n: _fits(text[:n].rstrip() + CUT, width, font), len(text))
    space = text.rfind(" ", max(1, kept - _WORD_END), kept + 1)
    return text[: space if space > 0 else kept].rstrip() + CUT


def fit_left(text: str, width: float, font: FontProperties) -> str:
    """The end of `text`, with `CUT` at its beginning where it is wider than `width` points."""
    if _fits(text, width, font):
        return text
    n = len(text)
    kept = _longest(lambda count: _fits(CUT + text[n - count :].lstrip(), width, font), n)
    space = text.find(" ", n - kept - 1 if kept < n else 0, n - kept + _WORD_END)
    return CUT + text[space if space >= 0 else n - kept :].lstrip()


def draw_concordance(
    axes: Axes,
    size: tuple[float, float],
    panel: str,
    remark: str,
    table: Sequence[tuple[Look, Sequence[Context]]],
) -> None:
    """Fill `axes` of `size` points; `panel` is their letter, `remark` says what is shown, `table` has each cluster."""
    width, height = size
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    letter(axes, panel, x=0)
    for x, offset, text, side in ((0, 12, remark, "left"), (1, 0, "tokens, fit", "right")):
        note(axes, text, (x, 1), (offset, 3), ha=side, va="bottom", color=MUTED)
    axes.plot([0, width], [0, 0], color=RULE, linewidth=0.6, clip_on=False)
    y = TOP
    for look, contexts in table:
        _heading(axes, look, width, y)
        y += HEADING_LEADING
        for context in contexts:
            _context(axes, look, context, width, y)
            y += LEADING
        y += BETWEEN


def _put(axes: Axes, x: float, y: float, text: str, font: FontProperties, color: str, **style: Any) -> None:
    if text.strip():
        axes.text(x, y, text, fontproperties=font, color=color, va="baseline", parse_math=False, **style)


def _heading(axes: Axes, look: Look, width: float, y: float) -> None:
    """Line sample, number and name at the left, size and fit at the right."""
    axes.plot([0, 15], [y - 2.6, y - 2.6], color=look.color, linestyle=look.dashes, solid_capstyle="butt")
    bold = _font("bold", NORMAL)
    number = str(look.number)
    _put(axes, INDENT - 4, y, number, bold, look.text_color, ha="right")
    counts = f"{look.size:,}" + (f", {percent(100 * look.fit)}" if look.fit else "")
    _put(axes, width, y, counts, _font(), MUTED, ha="right")
    _name(axes, printable(look.name), INDENT, y, width - text_width(counts, _font()) - 8 - INDENT)


def _name(axes: Axes, name: str, x: float, y: float, width: float) -> None:
    """A name in bold, its `quoted` tokens in a typewriter face."""
    bold, code = _font("bold", NORMAL), _font("bold", NORMAL - 1, ("DejaVu Sans Mono",))
    # A token can be a backquote itself; quotes stand at the beginning or end of words.
    parts = re.split(r"(?:(?<=^)|(?<= ))`(.+?)`(?= |$)", name)
    runs = [(part, code if index % 2 else bold) for index, part in enumerate(parts)]
    if sum(text_width(part, font) for part, font in runs) > width:
        runs = [(fit_right(name, width, bold), bold)]
    for part, font in runs:
        gap = text_width(" ", font) * part.startswith(" ")
        _put(axes, x + gap, y, part.strip(" "), font, INK)
        x += text_width(part, font)


def _context(axes: Axes, look: Look, context: Context, width: float, y: float) -> None:
    """One context; all targets of a table begin at the same place."""
    plain, bold = _font(), _font("bold")
    before, target, after = (printable(part) for part in context)
    space = text_width(" ", plain)
    # Spaces at the ends of a part are gaps: only so do the words themselves stand in line.
    bare = target.strip(" ") or "␣" * len(target)
    gap_before = space * bool(before.endswith(" ") or (target.startswith(" ") and target.strip(" ")))
    gap_after = space * bool(after.startswith(" ") or (target.endswith(" ") and target.strip(" ")))
    at = TARGET_AT * width
    bare = fit_right(bare, width - at, bold)
    _put(axes, at - gap_before, y, fit_left(before.strip(" "), at - gap_before, plain), plain, INK, ha="right")
    _put(axes, at, y, bare, bold, look.text_color)
    x = at + text_width(bare, bold) + gap_after
    rest = fit_right(after.strip(" "), width - x, plain)
    if text_width(rest, plain) <= width - x:
        _put(axes, x, y, rest, plain, INK)
