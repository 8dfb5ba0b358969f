"""Runs at the published scale, read from their folders: those of `polca.study.in_memory`, or the first one's.

The first run was made before this package kept archives, and has files of its own.
"""

import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import read_json, read_npz, reading
from polca.method.decomposition import Trajectories
from polca.study.archive import Archive, Factors
from polca.study.archive_parts import joined, paths_there
from polca.tasks.english.text import evaluated

FIRST_RUN = {
    "polca_first_order": ("hessian_first_order", "polca_first_order"),
    "polca": ("hessian_trapezoid", "polca"),
    "polca_random": ("random_trapezoid", "polca"),
}
"""File and strategy of each analysis of the first run."""

ARCHIVED = ("polca_first_order", "polca", "polca_random", "polca_shuffled_hessian")
"""Analyses whose trajectories a run keeps, each in the file of its name."""
NEEDED = ARCHIVED[:2]
"""Without which there is nothing to show of addition; of English `polca` alone."""
TEXT = "text.zip"
"""The file of an English run that holds `TEXT_FILES`."""
TEXT_FILES = ("evaluation.npz", "evaluation.txt", "corpus.json", "tokenizer.json")
"""What clusters of English are named by, as the stage `data` writes it."""

_FACTORS = {
    "scores": "finite K X R",
    "curves": "finite K P R",
    "mean": "finite K P",
    "relative_error": "finite K",
}
_BESIDE = (("hessian", "P", "K"), ("lca", "P", "A"), ("random", "Q", "K"), ("shuffled_hessian", "Q", "K"))
_TOKENS = {
    "tokens": "int N L",
    "place": "int X",
    "carry": "bool X",
    "losses": "finite P X",
    "movements": "finite P-1 M",
    "steps": "int P",
    "training_loss": "finite U",
}

_ARRAYS = ("tokens", "place", "carry", "losses", "steps", "training_loss")
_SMALL = {
    # One letter a basis: the shuffled and the random one may have been cut at an earlier checkpoint.
    **{f"movements_{basis}?": f"finite {p}-1 {k}" for basis, p, k in _BESIDE},
    **{f"mean_gradients_{basis}?": f"finite {p} {k}" for basis, p, k in _BESIDE},
}
_RUN = {**{name: _TOKENS[name] for name in _ARRAYS}, **_SMALL}
_ENGLISH_LABELS = {"tags": "int S L", "names": "text N"}
_ENGLISH = {
    **_ENGLISH_LABELS,
    **{name: _TOKENS[name] for name in ("losses", "steps", "training_loss")},
    **_SMALL,
}


@dataclass(frozen=True)
class PublishedScale:
    """A run of the arithmetic setting at the published scale.

    Attributes:
        archives: by name of the analysis: `polca_first_order`, `polca` (trapezoid), `polca_random` (trapezoid) and, but
            for the first run, `polca_shuffled_hessian` (trapezoid), as far as the folder has them.
        tokens: `[N, L]` evaluation sequences.
        place, carry: `[X]` skills of the evaluation tokens, X = N · targets.
        losses: `[P, X]` exact losses in nats, of the first run to float16's digits.
        steps: `[P]` training steps of losses and trajectories.
        training_loss: `[U]` mean loss of each update's batch.
    """

    archives: Mapping[str, Archive]
    tokens: NDArray[np.integer]
    place: NDArray[np.integer]
    carry: NDArray[np.bool_]
    losses: NDArray[np.float32]
    steps: NDArray[np.int64]
    training_loss: NDArray[np.float32]

    @property
    def trajectories(self) -> dict[str, Trajectories]:
        """All analyses' trajectories, by name: K · X · P numbers each."""
        return {name: archive.trajectories() for name, archive in self.archives.items()}

    @property
    def labels(self) -> dict[str, NDArray[Any]]:
        """`labels.npz` of the task."""
        return {"tokens": self.tokens, "place": self.place, "carry": self.carry}


@dataclass(frozen=True)
class PublishedEnglish:
    """A run of English at the published scale.

    Attributes:
        archives: `polca` (trapezoid), and what else was kept.
        labels: `labels.npz` of the task: `tags` and `names`.
        losses, steps, training_loss: as in `PublishedScale`.
        text: the contents of `TEXT_FILES`.
    """

    archives: Mapping[str, Archive]
    labels: Mapping[str, NDArray[Any]]
    losses: NDArray[np.float32]
    steps: NDArray[np.int64]
    training_loss: NDArray[np.float32]
    text: Mapping[str, bytes]


def read_published_scale(directory: Path) -> PublishedScale:
    """Read a run's folder.

    Raises:
        PolcaError: a file is missing, damaged, of another form, or does not fit the others.
    """
    return _run(directory) if (directory / "summary.json").exists() else _first_run(directory)


def _run(directory: Path) -> PublishedScale:
    """A folder that `polca.study.in_memory` wrote: `tokens.npz`, and the archives of `ARCHIVED` as far as it came."""
    source = directory / "tokens.npz"
    found = read_npz(source, _RUN)
    archives = _archives(directory, NEEDED, len(found["place"]))
    return PublishedScale(archives=archives, **{name: found[name] for name in _ARRAYS})


def read_published_english(directory: Path) -> PublishedEnglish:
    """Read the folder of a run of English that `polca.study.in_memory` wrote.

    Raises:
        PolcaError: a file is missing, damaged, of another form, or does not fit the others.
    """
    source, packed = directory / "tokens.npz", directory / TEXT
    found = read_npz(_there(source), _ENGLISH)
    tokens, labelled = found["losses"].shape[1], len(evaluated(found["tags"]))
    if labelled != tokens:
        raise PolcaError(f"{source}: labels of {labelled} tokens, losses of {tokens}: copy the run's folder again")
    with reading(packed, "a readable zip of text", Exception), zipfile.ZipFile(_there(packed)) as members:
        text = {name: members.read(name) for name in TEXT_FILES}
    return PublishedEnglish(
        archives=_archives(directory, ("polca",), tokens),
        labels={name: found[name] for name in _ENGLISH_LABELS},
        text=text,
        **{name: found[name] for name in ("losses", "steps", "training_loss")},
    )


def _there(path: Path) -> Path:
    """A file of a run, which no stage makes."""
    if not path.is_file():
        raise PolcaError(f"{path}: no such file: copy the run's folder again")
    return path


def _archives(directory: Path, needed: Collection[str], tokens: int) -> dict[str, Archive]:
    """Those of `ARCHIVED` that are there, each from one file or from several."""
    found = {}
    for name in ARCHIVED:
        paths = paths_there(directory / f"{name}.npz")
        if name not in needed and not any(path.exists() for path in paths):
            continue
        archives = [Archive.load(_there(path)) for path in paths]
        for path, archive in zip(paths, archives, strict=True):
            if (own := len(archive.matrix(0))) != tokens:
                raise PolcaError(
                    f"{path}: trajectories of {own} tokens, where tokens.npz has {tokens}: copy the run's folder again"
                )
        found[name] = joined(archives)
    return found


def _first_run(directory: Path) -> PublishedScale:
    """A folder of `hessian_first_order.npz`, `hessian_trapezoid.npz`, `random_trapezoid.npz`,
    `tokens_and_losses.npz` and `facts.json`.

    In it a vector's trajectories are `scores[k] @ curves[k].T + mean[k]` less their first column, all of one rank, and
    `relative_error` is the Frobenius norm of what is left out over that of the trajectories less their mean over
    tokens.

    Raises:
        PolcaError: a file is missing, damaged, of another form, or does not fit the others.
    """
    source = directory / "facts.json"
    try:
        vector_steps = np.array([vector["step"] for vector in read_json(source)["hessian"]], np.int64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, PolcaError):
            raise
        raise PolcaError(f"{source}: has no steps of Hessian vectors: copy the run's folder again") from error
    found = read_npz(directory / "tokens_and_losses.npz", _TOKENS)
    del found["movements"]
    archives = {}
    for analysis, (file, strategy) in FIRST_RUN.items():
        path = directory / f"{file}.npz"
        parts = read_npz(path, _FACTORS)
        vectors, tokens, rank = parts["scores"].shape
        if (vectors, tokens, parts["mean"].shape[1]) != (len(vector_steps), len(found["place"]), len(found["steps"])):
            raise PolcaError(
                f"{path}: scores {parts['scores'].shape} do not fit the folder's {len(vector_steps)} vectors, "
                f"{len(found['place'])} tokens and {len(found['steps'])} steps: copy the run's folder again"
            )
        try:
            factors = Factors(
                ranks=np.full(vectors, rank),
                exponents=np.zeros((vectors, tokens), np.int16),
                scores=parts["scores"].swapaxes(1, 2).reshape(vectors * rank, -1).astype(np.float32),
                curves=parts["curves"].swapaxes(1, 2).reshape(vectors * rank, -1),
                mean=parts["mean"],
            )
        except PolcaError as error:
            raise PolcaError(f"{path}: {error}") from error
        archives[analysis] = Archive(
            name=strategy,
            projected=True,
            steps=found["steps"],
            vector_steps=np.full(vectors, -1) if file.startswith("random") else vector_steps,
            guarded=0,
            relative_error=parts["relative_error"].astype(np.float64),
            values=factors,
        )
    return PublishedScale(archives=archives, **(found | {"losses": found["losses"].astype(np.float32)}))
