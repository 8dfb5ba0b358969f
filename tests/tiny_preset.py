"""A preset of the smallest size that every stage accepts, in a root of its own, and its stages run in this process.

Starting Python and PyTorch takes seconds a stage; in one process hundreds of runs take a minute.
"""

import contextlib
import io
import os
import runpy
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import yaml
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import NDArray

from polca.machine.code import code_hash
from polca.tasks.english.tagging import load_pipeline

ROOT = Path(__file__).parents[1]

TASKS = ("arithmetic", "english")


class Stage(NamedTuple):
    """A stage of the pipeline: its script, and the task it is run for, if it is one of a task's."""

    script: str
    task: str | None = None

    def __str__(self) -> str:
        """As DVC calls it."""
        return self.script if self.task is None else f"{self.script}@{self.task}"

    def arguments(self, params: Path | str) -> list[str]:
        """Of the command line."""
        return ["--params", str(params), *([] if self.task is None else ["--task", self.task])]


CHAIN = ("data", "labels", "train", "basis", "project", "trajectories", "cluster", "signatures")

STAGES = (
    Stage("code"),
    *(Stage(script, task) for task in TASKS for script in CHAIN),
    *(Stage("tables"), Stage("figures"), Stage("paper")),
)
"""All stages of the paper's pipeline, each after those that it needs."""

OUTPUTS = {
    "code": ("runs/tiny/code",),
    "data": ("runs/tiny/{task}/data",),
    "labels": ("runs/tiny/results/{task}/labels.npz",),
    "train": ("runs/tiny/{task}/checkpoints", "runs/tiny/results/{task}/training_log.csv"),
    "basis": ("runs/tiny/{task}/bases",),
    "project": ("runs/tiny/{task}/projections", "runs/tiny/results/{task}/losses.npz"),
    "trajectories": ("runs/tiny/{task}/trajectories", "runs/tiny/results/{task}/projected_losses.npz"),
    "cluster": tuple(f"runs/tiny/results/{{task}}/{name}" for name in ("standardised", "raw")),
    "signatures": ("runs/tiny/results/{task}/signatures",),
    "tables": ("paper/tiny/tables", "paper/tiny/plots", "paper/tiny/metrics.json", "paper/tiny/metrics_all.json"),
    "figures": ("figures/tiny",),
    "paper": ("paper/tiny/paper.pdf", "paper/tiny/index.html"),
}
"""What each script writes."""

NOUNS = ["harbour", "bridge", "engineer", "council", "market", "winter", "storm", "captain", "river", "letter", "table"]
VERBS = ["measured", "carried", "rebuilt", "refused", "believed", "printed", "studied", "followed", "crossed"]
ADJECTIVES = ["old", "quiet", "northern", "large", "small", "certain", "wooden", "narrow", "famous", "broken"]


def sentences(number: int) -> Iterator[str]:
    """Grammatical nonsense, the same on every machine."""
    draw = np.random.default_rng(0)
    for _ in range(number):
        a, b, c = draw.choice(NOUNS, 3)
        verb, adjective, other = draw.choice(VERBS), *draw.choice(ADJECTIVES, 2)
        yield f"The {adjective} {a} of the {b} {verb} the {other} {c}, and the {c} {draw.choice(VERBS)} it in the {b}."


def make_preset(root: Path) -> Path:
    """Write the preset `tiny` below `root`; returns its `params.yaml`."""
    params = yaml.safe_load((ROOT / "presets" / "smoke" / "params.yaml").read_text())
    arithmetic, english = params["arithmetic"], params["english"]
    for setting in (arithmetic, english):
        setting["model"] |= {"layers": 1, "width": 8, "heads": 2, "mlp_width": 16}
        setting["training"] |= {"steps": 40, "batch_size": 4, "warmup_steps": 4, "resume_interval": 10}
        setting["basis"] |= {"vectors": 2, "hessian_examples": 4, "tolerance": 0.1}
        setting["plots"]["last_step"] = 40
    arithmetic["basis"]["interval"] = 20
    arithmetic["breakthroughs"]["published"] = {"flat_step": 20, "delta": 10}
    arithmetic["data"]["evaluation_examples"] = 20
    arithmetic["clustering"]["min_cluster_size"] = 5
    english["data"] |= {"context": 16, "vocabulary": 300, "evaluation_contexts": 6}
    english["data"]["corpus"]["source"] = "local"
    params["tasks"]["english"]["data"] = "data/corpora/tiny"
    english["clustering"]["min_cluster_size"] = english["clustering"]["finer"]["min_cluster_size"] = 5
    params["preset"] |= {"name": "tiny", "params": "presets/tiny/params.yaml"}
    path = root / "presets" / "tiny" / "params.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(params))
    text = root / "data" / "corpora" / "tiny" / "text.txt"
    text.parent.mkdir(parents=True)
    text.write_text("".join(s + ("\n\n" if i % 8 == 7 else "\n") for i, s in enumerate(sentences(400))))
    (root / "data" / "tagger").symlink_to(ROOT / "data" / "tagger")
    return path


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: its exit code, and what it wrote to standard error, progress bars left out."""

    code: int
    errors: list[str]

    @property
    def refused(self) -> bool:
        """Whether it ended as on bad input: exit code 1 and one line."""
        return self.code == 1 and len(self.errors) == 1


_loaded: dict[Path, Any] = {}


def _pipeline_once(name: str, root: Path) -> Any:
    """A spaCy pipeline, loaded once for all stages."""
    folder = (root / name).resolve()
    if folder not in _loaded:
        _loaded[folder] = load_pipeline(name, root)
    return _loaded[folder]


_hash_once = cache(code_hash)


def quick_map(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """In place of t-SNE, which takes a second a map, whatever its size."""
    return features[:, :2].astype(np.float32)


QUICK = {
    "polca.study.stages.signatures.token_map": quick_map,
    "polca.tasks.english.tagging.load_pipeline": _pipeline_once,
    # The repository's own code, which does not change while tests run.
    "polca.machine.code.code_hash": _hash_once,
    "polca.machine.resume.code_hash": _hash_once,
}
"""What a stage would otherwise spend most of its time on, at this size."""


def run_stage(stage: Stage, params: Path) -> Outcome:
    """Run a stage script in this process, and in no others beside it.

    Raises:
        Exception: whatever a user would see as a traceback.
    """
    errors = io.StringIO()
    code = 0
    with contextlib.ExitStack() as changes:
        changes.enter_context(mock.patch.object(sys, "argv", [f"{stage.script}.py", *stage.arguments(params)]))
        changes.enter_context(mock.patch.dict(os.environ, POLCA_WORKERS="1"))
        for name, quick in QUICK.items():
            changes.enter_context(mock.patch(name, quick))
        changes.enter_context(contextlib.redirect_stderr(errors))
        try:
            runpy.run_path(str(ROOT / "pipelines" / f"{stage.script}.py"), run_name="__main__")
        except SystemExit as error:
            code = int(error.code or 0)
    return Outcome(code, [line for line in errors.getvalue().splitlines() if line.startswith("error: ")])


def _drawn_data(figure: Figure, target: Any, **options: Any) -> None:
    shown = [artist.get_text() for artist in figure.findobj(Text)]
    lines = [np.asarray(artist.get_xydata()) for artist in figure.findobj(Line2D)]
    points = [np.asarray(artist.get_offsets()) for artist in figure.findobj(Collection)]
    target.write(repr([shown, *(array.tolist() for array in lines + points)]).encode())


@contextlib.contextmanager
def quick_figures() -> Iterator[None]:
    """Figures are saved as what they show, without laying them out, which takes seconds."""
    unsettled = mock.patch("polca.report.figures.style.settle")
    with unsettled, mock.patch.object(Figure, "savefig", _drawn_data):
        yield


def outputs(stage: Stage, root: Path) -> list[Path]:
    """Files and folders that a stage writes."""
    return [root / name.format(task=stage.task) for name in OUTPUTS[stage.script]]


def remove_outputs(stage: Stage, root: Path) -> None:
    """Remove what a stage wrote, as DVC does before it runs one."""
    for path in outputs(stage, root):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def contents(root: Path, *below: str) -> dict[str, bytes]:
    """Contents of all files below `root`, or below some of its folders, by their path."""
    tops = [root / name for name in below] or [root]
    files = (path for top in tops for path in top.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
