"""One look for all figures, and files that are the same bytes on every run."""

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Annotation
from matplotlib.ticker import StrMethodFormatter

from polca.machine.files import writing

PAGE_WIDTH = 6.75
"""Inches: the text width of a two-column conference page."""
COLUMN_WIDTH = 3.25
"""Inches: one of its columns."""

LARGE, NORMAL, SMALL = 9.0, 8.5, 8.0
"""Font sizes in points, for figures printed at 100 %."""

LINE_SPACING = 0.95
"""Of labels of several lines: the fonts' own lines are far apart."""

FONTS = ("STIXGeneral", "DejaVu Sans")
"""The serif face of Matplotlib's own that is nearest to the report's, and what has the characters that it lacks."""

INK = "#222222"
MUTED = "#6B6B6B"
RULE = "#BDBDBD"

Dashes = str | tuple[int, tuple[float, ...]]

DASHES: tuple[Dashes, ...] = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
"""Clusters that would share a colour, in order of their numbers."""

RC: dict[str, Any] = {
    "font.family": list(FONTS),
    "mathtext.fontset": "stix",
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), NORMAL),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), SMALL),
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED),
    **dict.fromkeys(("figure.facecolor", "savefig.facecolor"), "white"),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2.5),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("figure.constrained_layout.h_pad", "figure.constrained_layout.w_pad"), 0.03),
    "legend.borderpad": 0,
    "axes.unicode_minus": True,
    "text.hinting": "none",  # hinted letters are wider than the PDF's, from which texts are cut to their width
    "lines.linewidth": 1.3,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "polca",
}


@dataclass(frozen=True)
class Look:
    """How a cluster is drawn in every panel.

    Attributes:
        number: cluster number as in `clusters.csv`.
        size: its tokens.
        name: what it is, in words.
        color: line and band.
        text_color: the same hue, dark enough to read.
        dashes: line style.
        fit: of English, the share of its tokens that fit the name; 0 where it has none.
        counts: of addition, tokens by skill, `COUNTS` → number.
    """

    number: int
    size: int
    name: str
    color: str
    text_color: str
    dashes: Dashes
    fit: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Mapping[Any, Any], name: str, color: str, text_color: str, same: int, **facts: Any) -> "Look":
        """The look of a cluster (a row of `clusters.csv`); `same` clusters before it have its colour."""
        dashes = DASHES[same % len(DASHES)]
        return cls(int(row["cluster"]), int(row["size"]), name, color, text_color, dashes, **facts)


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

FORMATS: dict[str, dict[str, Any]] = {
    "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
    "png": {"metadata": {"Software": None}, "dpi": 300},
}


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's defaults with `RC` on top, whatever the user's own configuration; draw *and* save inside."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(cast(Any, RC))  # typed by its literal keys
        yield


def new_figure(width: float, height: float, bottom: float = 0.0) -> Figure:
    """An empty figure of `width` × `height` inches, outside pyplot's global state.

    Constrained layout fills it but for a strip of `bottom` inches.
    """
    engine = ConstrainedLayoutEngine(rect=(0, bottom / height, 1, 1 - bottom / height))
    figure = Figure(figsize=(width, height), layout=engine)
    FigureCanvasAgg(figure)
    return figure


def settle(figure: Figure) -> None:
    """Lay the figure out once and for all, its panels in places rounded to a millionth of its size.

    The solver behind constrained layout differs in the last bits from run to run, which can move a shade of grey.
    """
    engine, resolution = figure.get_layout_engine(), figure.get_dpi()
    if isinstance(engine, ConstrainedLayoutEngine):
        figure.set_dpi(FORMATS["png"]["dpi"])
        engine.execute(figure)
        figure.set_dpi(resolution)
        figure.set_layout_engine("none")
        for axes in figure.axes:
            left, bottom, width, height = (round(value, 6) for value in axes.get_position(original=True).bounds)
            axes.set_position((left, bottom, width, height))


def encode(figure: Figure) -> dict[str, bytes]:
    """The figure as PDF and PNG, without dates or versions: equal figures give equal bytes."""
    settle(figure)
    contents = {}
    for kind, options in FORMATS.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, **options)
        contents[kind] = buffer.getvalue()
    return contents


def save(contents: Mapping[str, bytes], stem: Path) -> list[Path]:
    """Write what `encode` gives to files that are named `stem` with the format's ending.

    Raises:
        PolcaError: the folder cannot be written.
    """
    paths = {kind: stem.with_name(f"{stem.name}.{kind}") for kind in contents}
    for kind, path in paths.items():
        with writing(path) as temporary:
            temporary.write_bytes(contents[kind])
    return list(paths.values())


def step_ticks(end: int, intervals: int) -> list[int]:
    """Steps from 0 to `end` that a square-root axis sets equally far apart, those between with two digits."""
    between = (end * (i / intervals) ** 2 for i in range(1, intervals))
    return sorted({0, *(round(float(f"{step:.2g}")) for step in between), end})


def step_axis(axes: Axes, end: int, intervals: int = 4) -> None:
    """Training steps from 0 to `end` on the x axis, with so many intervals between ticks.

    Steps go by their square roots: the first hundredth of training, in which much is learned, takes a tenth of the
    axis, and the second half still takes three tenths, where a logarithm would leave it nothing.
    """
    axes.set_xscale("function", functions=(lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * x**2))
    axes.set_xlim(0, end)
    axes.set_xticks(step_ticks(end, intervals))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("training step (root scale)")


def loss_axis(axes: Axes, name: str) -> None:
    """A loss in nats on the y axis; small ones in powers of a thousand that the label names, not in a corner."""
    largest = max(map(abs, axes.get_ylim()))
    exponent = 3 * math.floor(math.log10(largest) / 3) if 0 < largest < 0.01 else 0
    if exponent:
        axes.yaxis.set_major_formatter(lambda y, _: f"{y / 10.0**exponent:.4g}".replace("-", "−"))
    power = f"10{str(exponent).translate(_SUPERSCRIPTS)} " if exponent else ""
    axes.set_ylabel(f"{name} ({power}nats)", linespacing=LINE_SPACING)


def note(
    axes: Axes,
    text: str,
    at: tuple[float, float],
    offset: tuple[float, float] = (0, 0),
    coords: Any = "axes fraction",
    **look: Any,
) -> Annotation:
    """A text `offset` points from a place of a panel, or outside it: small if `look` does not say otherwise."""
    return axes.annotate(
        text,
        xy=at,
        xycoords=coords,
        xytext=offset,
        textcoords="offset points",
        annotation_clip=False,
        **{"fontsize": SMALL, "linespacing": LINE_SPACING, **look},
    )


def heading(axes: Axes, name: str, remark: str = "", rise: float = 0) -> None:
    """A title for a row of panels, at the left edge of the figure above `axes`: a bold name, then a muted remark.

    It is `rise` points higher where panels have two lines of their own above them.
    """
    # The title reserves the height; the words, wider than the panel, must not count in the layout.
    axes.set_title(" ", fontsize=LARGE, pad=15 + rise)
    edge = ("figure fraction", "axes fraction")
    title = note(axes, name, (0.006, 1), (0, 16 + rise), edge, fontsize=LARGE, fontweight="bold")
    beside = note(axes, remark, (1, 0.5), (6, 0), title, va="center_baseline", color=MUTED)
    for text in (title, beside):
        text.set_in_layout(False)


def letter(axes: Axes, text: str, x: float = -24) -> None:
    """A panel's letter at its upper left, `x` points from its left edge."""
    note(axes, text, (0, 1), (x, 3), va="bottom", fontsize=LARGE, fontweight="bold")


def say(axes: Axes, message: str, center: float | None = None) -> None:
    """Give a panel over to a sentence where there is nothing to draw; `center` is its place in the figure's width."""
    axes.set_axis_off()
    at, across = (0.5, "axes fraction") if center is None else (center, "figure fraction")
    place: dict[str, Any] = {"ha": "center", "va": "center", "color": MUTED, "fontsize": NORMAL}
    note(axes, message, (at, 0.5), coords=(across, "axes fraction"), **place).set_in_layout(False)


def shortened(text: str, letters: int) -> str:
    """Text of at most so many letters, the last of them an ellipsis where it is cut."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def percent(value: float) -> str:
    """Whole per cents that say 0 and 100 only where it is exactly so."""
    rounded = round(value)
    if rounded in (0, 100) and not math.isclose(value, rounded, abs_tol=1e-9):
        return "<1 %" if rounded == 0 else ">99 %"
    return f"{rounded} %"
