"""The page `paper/<preset>/index.html`: verdicts, every figure, published beside reproduced numbers, links to the rest.

One file of plain HTML without scripts, which reads no network; pictures and tables are the committed files beside it.
Its words and looks are in `paper/page.html`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from polca.machine.files import read_params, read_text
from polca.report import names
from polca.report.answers import Files, answer
from polca.report.comparison import KINDS
from polca.report.figures import ENGLISH_FIGURES, FURTHER_ENGLISH
from polca.report.headlines import scalars_path
from polca.report.typeset import presets_shown
from polca.report.verify import Verification, counted, number_words, verify
from polca.study.paths import PresetPaths

SOURCE = Path("paper") / "page.html"

CAPTIONS: Mapping[str, str] = {
    "figure_01": "Figure 1: why breakthroughs hide, a drawing",
    "figure_02": "Figure 2: the task, with the digit and the carry of each output token",
    "figure_03": "Figure 3: addition, clusters of the exact loss",
    "figure_04": "Figure 4: addition, POLCA clusters along two directions",
    "figure_05": "Figure 5: English, POLCA clusters along two directions",
    "figure_06": "Figure 6: addition, exact loss by digit",
    "figure_07": "Figure 7: addition, exact loss by digit and carry",
    "figure_08": "Figure 8: addition, POLCA clusters along one more direction",
    "figure_09": "Figure 9: English, clusters of the exact loss",
    "figure_10": "Figure 10: English, POLCA clusters along two more directions",
    "figure_11": "Figure 11: English, POLCA clusters along two more directions",
    "figure_D1": "Ours: carries along single directions, before any clustering",
    "figure_D2": "Ours: additions on a map, by all directions together",
    "figure_D4": "Ours: when the clusters of addition break through",
    "figure_D3": "Ours: the most frequent English tokens on a map",
    "validity_completeness": "Check: how much of the loss change the directions account for",
    "validity_null": "Check: the best cluster beside chance",
    "validity_seeds": "Check: every seed beside the published values",
    "validity_sensitivity": "Check: one setting changed at a time",
    "validity_specification": "Check: every reading of what the paper leaves open",
    "validity_treebank": "Check: known constructions of a treebank",
}
"""What each picture shows, in the order of the page."""

SETTINGS: Mapping[str, str] = {"arithmetic": "addition", "english": "English"}
"""What readers see in place of a setting's name."""


@dataclass(frozen=True)
class Picture:
    """A picture that is there: its caption, and links to it and to its PDF, relative to the page."""

    caption: str
    png: str
    pdf: str


def _link(paths: PresetPaths, target: Path) -> str:
    return Path(os.path.relpath(target, paths.paper)).as_posix()


def pictures(paths: PresetPaths) -> Iterator[Picture]:
    """Those of `CAPTIONS` that the preset has; where it has no English, that of the report's other preset, named."""
    english = {*(f"figure_{number:02d}" for number in ENGLISH_FIGURES), *(f"figure_{name}" for name in FURTHER_ENGLISH)}
    others = [PresetPaths(name, paths.root) for name in presets_shown(paths)[1:]]
    for name, caption in CAPTIONS.items():
        png = (paths.figures if name.startswith("figure") else paths.paper / "validity") / f"{name}.png"
        if png.is_file():
            yield Picture(caption, _link(paths, png), _link(paths, png.with_suffix(".pdf")))
        elif name in english:
            for other in others:
                if (png := other.figures / png.name).is_file():
                    told = f"{caption}, of the smaller preset {other.name}"
                    yield Picture(told, _link(paths, png), _link(paths, png.with_suffix(".pdf")))


def _files(paths: PresetPaths) -> Iterator[Sequence[str]]:
    """Links with their words to what the preset has beside the pictures."""
    yield "paper.pdf", "the report (PDF)"
    for table in sorted(paths.tables.glob("*.csv")):
        yield _link(paths, table), table.stem
    yield _link(paths, scalars_path(paths)), "every number"


def results_page(paths: PresetPaths) -> str:
    """The page of a preset; equal results give equal text.

    Raises:
        PolcaError: a result file is missing or damaged, or the page's source is.
    """
    found: Verification = verify(paths)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(read_text(paths.root / SOURCE)).render(
        preset=paths.name,
        description=str(read_params(paths.params)["preset"].get("description", "")),
        answer=" ".join(answer(Files(paths.root), paths.name, "this preset's model")),
        run=found.run,
        claims=found.claims,
        counts=counted([claim.verdict for claim in found.claims]),
        pictures=list(pictures(paths)),
        rows=found.numbers.rows,
        kinds=KINDS,
        names=names,
        number_words=number_words,
        settings=SETTINGS,
        other_settings={name: others for name, others in found.numbers.other_settings.items() if others},
        files=list(_files(paths)),
    )
