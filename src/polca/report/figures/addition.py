"""Figure 2: the task, with the digit skill and the carry skill of each output token."""

from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from polca.report.figures.skills import GREYS, PLACE_TONES
from polca.report.figures.style import INK, LARGE, MUTED, PAGE_WIDTH, RULE, SMALL, new_figure
from polca.study.results import Results
from polca.tasks.arithmetic.labels import PLACES

SUMMANDS = (357, 681)
"""An addition with both kinds of digits: a carry into the 1000s and the 100s, none into the 10s."""

HEIGHT = 2.3
TOKEN, PITCH = 0.29, 0.345
OUTPUT_X, OUTPUT_PITCH = 3.98, 0.74
TOKEN_Y = 1.48
GLYPH = 10.5


def carries(a: int, b: int) -> dict[str, bool]:
    """Whether the lower places of a + b carry into each output digit, by place."""
    powers = {place: 10 ** (len(PLACES) - 1 - index) for index, place in enumerate(PLACES)}
    return {place: a % power + b % power >= power for place, power in powers.items()}


def _box(axes: Axes, x: float, y: float, width: float, height: float, face: str, edge: str = "none") -> None:
    """A rounded box centred on (x, y), in inches."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=face,
            edgecolor=edge,
            linewidth=0.7,
        )
    )


def _write(axes: Axes, x: float, y: float, text: str, size: float = GLYPH, color: str = INK, **look: Any) -> None:
    """A text, centred on (x, y) if `look` does not say otherwise."""
    axes.text(x, y, text, fontsize=size, color=color, **{"ha": "center", "va": "center_baseline", **look})


def _bracket(axes: Axes, x0: float, x1: float, y: float, text: str) -> None:
    """A bracket over [x0, x1] that opens downwards, with its text on top."""
    axes.plot([x0, x0, x1, x1], [y - 0.05, y, y, y - 0.05], color=MUTED, linewidth=0.7, solid_joinstyle="round")
    _write(axes, (x0 + x1) / 2, y + 0.05, text, SMALL, MUTED, va="bottom")


def draw(results: Results | None = None) -> Figure:
    """One addition: its twelve tokens, and for each output token the digit skill and the carry skill. Reads no file."""
    figure = new_figure(PAGE_WIDTH, HEIGHT)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, PAGE_WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.set_axis_off()
    a, b = SUMMANDS
    carry = carries(a, b)
    outputs = {place: OUTPUT_X + index * OUTPUT_PITCH for index, place in enumerate(PLACES)}
    _context(axes, f"{a:03d}+{b:03d}=")
    _outputs(axes, dict(zip(PLACES, f"{a + b:04d}", strict=True)), outputs, carry)
    _carry_arrows(axes, outputs, carry)
    _written_addition(axes, a, b, carry)
    return figure


def _context(axes: Axes, text: str) -> None:
    """The eight context tokens; digits in the colour of their place."""
    places = [*PLACES[1:], None, *PLACES[1:], None]
    xs = [0.32 + index * PITCH for index in range(len(text))]
    for x, glyph, place in zip(xs, text, places, strict=True):
        _box(axes, x, TOKEN_Y, TOKEN, 0.36, "#F4F4F4", RULE)
        _write(axes, x, TOKEN_Y, glyph, color=PLACE_TONES[place].carry if place else INK)
    _bracket(axes, xs[0] - TOKEN / 2, xs[-1] + TOKEN / 2, 2.0, "context: eight tokens, no loss")


def _outputs(axes: Axes, digits: dict[str, str], xs: dict[str, float], carry: dict[str, bool]) -> None:
    """The four output tokens with their skills below them."""
    for y, text in ((0.83, "digit skill"), (0.45, "carry skill")):
        _write(axes, OUTPUT_X - 0.47, y, text, SMALL, MUTED, ha="right")
    for place, x in xs.items():
        tones, dark = PLACE_TONES[place], carry[place]
        on_carry = "white" if dark else INK
        _box(axes, x, TOKEN_Y, TOKEN, 0.36, tones.carry if dark else tones.no_carry)
        _write(axes, x, TOKEN_Y, digits[place], color=on_carry, fontweight="bold")
        axes.plot([x, x], [TOKEN_Y - 0.2, 0.97], color=tones.both, linewidth=0.7)
        _box(axes, x, 0.83, 0.64, 0.26, tones.both)
        ink = "white" if place == PLACES[0] else INK  # only the blue is too dark for dark text
        _write(axes, x, 0.83, place, SMALL, ink, fontweight="bold")
        _box(axes, x, 0.45, 0.64, 0.26, GREYS.carry if dark else GREYS.no_carry)
        _write(axes, x, 0.45, "carry" if dark else "no carry", SMALL, on_carry)
        if place == PLACES[-1]:
            _write(axes, x, 0.26, "never a carry", SMALL, MUTED, va="top")
    left, right = xs[PLACES[0]] - TOKEN / 2, xs[PLACES[-1]] + TOKEN / 2
    _bracket(axes, left, right, 2.0, "output: four tokens, each a datum x with its own loss")


def _carry_arrows(axes: Axes, xs: dict[str, float], carry: dict[str, bool]) -> None:
    """What each place passes to the next: an arrow with +1, or a dotted line."""
    for into, source in pairwise(PLACES):
        start, end = xs[source] - 0.06, xs[into] + 0.06
        y = TOKEN_Y + 0.21
        axes.add_patch(
            FancyArrowPatch(
                (start, y),
                (end, y),
                connectionstyle="arc3,rad=0.3",
                arrowstyle="-|>" if carry[into] else "-",
                mutation_scale=6,
                shrinkA=0,
                shrinkB=0,
                linewidth=0.9,
                linestyle="-" if carry[into] else (0, (1, 1.5)),
                color=GREYS.carry if carry[into] else GREYS.both,
            )
        )
        if carry[into]:
            _write(axes, (start + end) / 2, y + 0.12, "+1", SMALL, GREYS.carry, va="bottom")


def _written_addition(axes: Axes, a: int, b: int, carry: dict[str, bool]) -> None:
    """The same addition in columns, with the carries above them."""
    xs = {place: 1.2 + 0.24 * index for index, place in enumerate(PLACES)}
    beside: dict[str, Any] = {"ha": "left", "va": "baseline"}

    def write(digits: str, y: float, weight: str = "normal") -> None:
        for place, glyph in zip(PLACES[-len(digits) :], digits, strict=True):
            _write(axes, xs[place], y, glyph, color=PLACE_TONES[place].carry, fontweight=weight, va="baseline")

    for place in PLACES:
        if carry[place]:
            _write(axes, xs[place], 0.97, "1", SMALL, GREYS.carry, va="baseline")
    _write(axes, xs[PLACES[-1]] + 0.3, 0.97, "carries", SMALL, MUTED, **beside)
    write(f"{a:03d}", 0.74)
    write(f"{b:03d}", 0.5)
    _write(axes, xs[PLACES[0]], 0.5, "+", va="baseline")
    axes.plot([xs[PLACES[0]] - 0.12, xs[PLACES[-1]] + 0.12], [0.42, 0.42], color=INK, linewidth=0.8)
    write(f"{a + b:04d}", 0.21, "bold")
    _write(axes, xs[PLACES[-1]] + 0.3, 0.21, "sum", LARGE - 1, MUTED, **beside)
