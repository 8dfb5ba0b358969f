"""A made-up checkout with results of both settings and all that the explorer reads beside them."""

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from polca.machine.checkout import ROOT
from polca.machine.files import write_npz, write_text
from polca.method.projections import Projections
from polca.study.paths import PresetPaths, TaskPaths
from polca.study.settings import Preset
from polca.study.stages.trajectories import archive_analysis
from polca.tasks.english.text import PAD
from synthetic import Synthetic
from synthetic_english import TOKENS, VECTORS, SyntheticEnglish

HOSTILE = "</script><b><img src=x onerror=hacked=1>"
"""A token and a cluster's name that would run code where they reached the page as HTML, or be bold in a chart."""
TAGS = ("ADP", "DET", "NOUN", "PUNCT", "SPACE", "VERB", PAD)
WINDOW = 65


def line(steps: NDArray[np.int64], losses: NDArray[np.float32], vectors: int, seed: int) -> Projections:
    """Projections whose gradients along the basis never change: every form of POLCA is a straight line.

    Token x changes by `gradients[0, x, k] · movements[0, k]` on vector k in every interval; no curvature adds to it.
    """
    rng = np.random.default_rng(seed)
    count, tokens = losses.shape
    slopes = rng.standard_normal((tokens, vectors)).astype(np.float32)
    return Projections(
        steps=steps,
        losses=losses,
        gradients=np.broadcast_to(slopes, (count, tokens, vectors)).copy(),
        movements=np.full((count - 1, vectors), -0.01, np.float32),
        vector_steps=400 * np.arange(1, vectors + 1),
        eigenvalues=np.zeros(vectors, np.float32),
        curvatures=np.zeros((count, vectors), np.float32),
        token_curvatures=np.zeros((count, tokens, vectors), np.float32),
    )


def put_reading(source: TaskPaths, target: TaskPaths) -> None:
    """Clusters and tables of one run's reading in place of another's."""
    shutil.rmtree(target.tables.parent, ignore_errors=True)
    shutil.copytree(source.tables.parent, target.tables.parent)


@dataclass
class SyntheticRun:
    """Writes `presets/made_up` and `runs/made_up` below `root`; raw trajectories have clusters of their own."""

    root: Path
    vectors: int = 5
    """Of additions."""

    def write(self) -> "SyntheticRun":
        self.paths = PresetPaths("made_up", self.root)
        self.paths.params.parent.mkdir(parents=True)
        params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        params["english"]["data"]["evaluation_contexts"] = 20  # as many windows as are made up here
        for setting, steps in (("arithmetic", 5000), ("english", 3000)):  # and checkpoints
            params[setting]["training"].update(steps=steps, checkpoint_interval=50)
            params[setting]["polca"]["interval"], params[setting]["breakthroughs"]["delta"] = 50, 100
            params[setting]["polca"]["curvature_points"] = None  # every analysis
        self.paths.params.write_text(yaml.safe_dump(params), encoding="utf-8")
        preset = Preset.read(self.paths)
        self.arithmetic = Synthetic(self.paths.run, sequences=60, vectors=self.vectors).write()
        other = Synthetic(
            self.root / "other", sequences=60, vectors=self.vectors, dropped=(2,), empty=("fisher",)
        ).write()
        put_reading(other.paths, self.arithmetic.paths.of_reading("raw"))
        self.projections = {
            basis: line(self.arithmetic.steps, self.arithmetic.losses, self.arithmetic.vectors, seed)
            for seed, basis in enumerate(("hessian", "lca", "random", "shuffled_hessian"))
        }
        for analysis in preset.arithmetic().analyses:
            archive = archive_analysis(preset.arithmetic(), analysis, self.projections)
            archive.save(self.arithmetic.paths.trajectory(analysis))
        self.english = SyntheticEnglish(self.paths.run, names=(HOSTILE, "comma")).write()
        others = SyntheticEnglish(self.root / "other", vectors=VECTORS[::-1]).write()
        put_reading(others.paths, self.english.paths.of_reading("raw"))
        english = {"hessian": line(self.english.steps, self.english.losses, len(self.english.vectors), 9)}
        for analysis in preset.english().analyses:
            archive = archive_analysis(preset.english(), analysis, english)
            archive.save(self.english.paths.trajectory(analysis))
        self._text()
        return self

    def _text(self) -> None:
        """Windows of the passage, again and again, with the hostile token and a `<PAD>` in the second."""
        windows = self.english.tokens // (WINDOW - 3)
        strings = [t.replace("⏎", "\n") for t in itertools.islice(itertools.cycle(TOKENS), windows * WINDOW)]
        strings[WINDOW + 10] = HOSTILE
        pad = WINDOW + 20
        starts, ends, text = [], [], ""
        for i, string in enumerate(strings):
            if i == pad:
                starts.append(-1)
                ends.append(-1)
                text += "\n\n"
                continue
            starts.append(len(text))
            text += string
            ends.append(len(text))
        shape = (windows, WINDOW)
        tags = np.array([_tag(string) for string in strings])
        tags[pad] = TAGS.index(PAD)
        self.strings = np.array(strings, object).reshape(shape)
        tokens = np.arange(windows * WINDOW, dtype=np.int32).reshape(shape)
        arrays = {"tokens": tokens, "starts": np.array(starts).reshape(shape), "ends": np.array(ends).reshape(shape)}
        paths = self.english.paths
        write_npz(paths.data / "evaluation.npz", arrays)
        write_text(paths.data / "evaluation.txt", text)
        write_npz(paths.labels, {"tags": tags.reshape(shape), "names": np.array(TAGS)})


def _tag(string: str) -> int:
    bare = string.strip()
    kind = "SPACE" if not bare else "DET" if bare in ("the", "a") else "NOUN" if bare.isalnum() else "PUNCT"
    return TAGS.index(kind)
