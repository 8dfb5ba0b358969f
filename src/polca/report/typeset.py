"""The report `paper/<preset>/paper.pdf`: what `paper/paper.typ` is told, and its compilation.

All of the report's text and layout is in `paper/`. Typst reads the result files itself; it only cannot ask which exist.
"""

import json
from pathlib import Path
from typing import Any, Literal

import typst

from polca.errors import PolcaError
from polca.machine.files import read_json
from polca.method.decomposition import GUARD
from polca.method.probes import NEIGHBOURS
from polca.report.figures import FURTHER, FURTHER_ENGLISH
from polca.report.figures.directions import NAMED
from polca.report.figures.separation import CLIP
from polca.report.headlines import scalars_path
from polca.report.verdicts import LEVEL
from polca.study.paths import PresetPaths
from polca.tasks.arithmetic.scores import ELIGIBLE_PERCENT

SOURCE = Path("paper") / "paper.typ"
BESIDE: dict[str, tuple[str, ...]] = {"laptop": ("wikipedia",), "wikipedia": ("laptop",), "paper": ("wikipedia",)}
"""Presets whose English results a preset's report shows beside its own, or in place of those it lacks."""
STATIC = (
    "CITATION.cff",
    "data/published.yaml",
    "data/tagger/metrics.json",
    "benchmarks/arithmetic_clusters.csv",
    "benchmarks/arithmetic_scale.csv",
    "benchmarks/laptop_run.json",
    "benchmarks/speed.csv",
    "benchmarks/speed.pdf",
)
"""Files that are no preset's; the benchmarks are those of the laptop scale."""


def _of_preset(paths: PresetPaths) -> list[str]:
    """Every file of a preset that the report can show, whether it is there or not."""
    name, params = paths.name, paths.params.relative_to(paths.root).as_posix()
    numbers = (*(f"{n:02d}" for n in range(1, 12)), *FURTHER, *FURTHER_ENGLISH)
    figures = [f"figures/{name}/figure_{number}.pdf" for number in numbers]
    alone = [params, f"paper/{name}/metrics_all.json", f"paper/{name}/ATTRIBUTION.md"]
    return [*alone, *_in_folder(paths, paths.tables), *figures]


def _in_folder(paths: PresetPaths, folder: Path) -> list[str]:
    """The files of a folder but for its remarks."""
    return [path.relative_to(paths.root).as_posix() for path in sorted(folder.glob("*")) if path.suffix != ".md"]


def presets_shown(paths: PresetPaths) -> list[str]:
    """The preset, and those of `BESIDE` that have English results."""
    beside = []
    for name in BESIDE.get(paths.name, ()):
        metrics = scalars_path(PresetPaths(name, paths.root))
        if metrics.is_file() and "english_tokens" in read_json(metrics):
            beside.append(name)
    return [paths.name, *beside]


def report_inputs(paths: PresetPaths) -> dict[str, str]:
    """Typst's `sys.inputs`: one JSON object with the presets, the files that exist, and constants of the code."""
    presets = presets_shown(paths)
    files = [
        *STATIC,
        *(file for name in presets for file in _of_preset(PresetPaths(name, paths.root))),
        *_in_folder(paths, paths.paper / "validity"),
        *_in_folder(paths, paths.paper.with_name("published_scale")),
    ]
    told: dict[str, Any] = {
        "preset": paths.name,
        "presets": presets,
        "run": read_json(run) if (run := paths.paper / "run.json").is_file() else {},
        "files": [file for file in files if (paths.root / file).is_file()],
        "constants": {
            **{"eligible_percent": ELIGIBLE_PERCENT, "guard": GUARD, "level": LEVEL},
            **{"named": NAMED, "neighbours": NEIGHBOURS, "density": CLIP / 100},
        },
    }
    return {"report": json.dumps(told, sort_keys=True)}


def compile_report(
    paths: PresetPaths, form: Literal["pdf", "png", "html"] = "pdf", pixels_per_inch: float = 110
) -> list[bytes]:
    """The report as one file, or as one picture a page for `png`. The same results give the same bytes.

    Raises:
        PolcaError: the source does not compile, or a result file is damaged.
    """
    try:
        made: Any = typst.compile(
            str(paths.root / SOURCE),
            root=str(paths.root),
            ignore_system_fonts=True,
            format=form,
            ppi=pixels_per_inch,
            sys_inputs=report_inputs(paths),
        )
    except typst.TypstError as error:
        raise PolcaError(
            f"{SOURCE}: does not compile: {error}: correct it, or make the file that it names anew"
        ) from error
    return made if isinstance(made, list) else [made]
