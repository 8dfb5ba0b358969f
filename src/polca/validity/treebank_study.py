"""The English model on a treebank's text: clusters and directions against the constructions that are marked there."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from polca.errors import PolcaError
from polca.method.clustering import cluster
from polca.method.probes import probe_auc, rounded_auc
from polca.method.projections import Projections
from polca.method.signatures import token_features
from polca.study.stages.trajectories import decompose_analysis
from polca.tasks.arithmetic.probes import best_single_auc
from polca.tasks.english.task import EnglishTask
from polca.tasks.english.text import (
    BEFORE,
    BETWEEN_DOCUMENTS,
    EvaluationText,
    evaluated,
    evaluation_batch,
    evaluation_text,
    load_tokenizer,
)
from polca.tasks.task import in_batches
from polca.typing import Reading
from polca.validity.construction_scores import construction_scores
from polca.validity.settings import TreebankSettings
from polca.validity.treebank import CONSTRUCTIONS, Annotated, annotate, read_conllu, token_labels

PROBED = ("polca", "loss")
"""The analyses that are probed for constructions."""
PROBE_COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "construction": "str", "tokens": "int64", "windows": "int64"},
    **{"auc": "float64", "best_single": "float64"},
}


@dataclass(frozen=True)
class TreebankText:
    """Evaluation windows cut from a treebank by the preset's own tokenizer.

    Attributes:
        sentences: how many the treebank has.
        labels: `[X, constructions]` of the evaluated tokens.
    """

    annotated: Annotated
    sentences: int
    windows: EvaluationText
    labels: NDArray[np.bool_]

    @classmethod
    def read(cls, source: Path, task: EnglishTask, settings: TreebankSettings) -> "TreebankText":
        """Read a CoNLL-U file and draw windows from it.

        Raises:
            PolcaError: a damaged file, or more windows than it holds.
        """
        sentences = read_conllu(source)
        annotated = annotate(sentences, BETWEEN_DOCUMENTS)
        tokenizer = load_tokenizer(task.file("tokenizer.json"))
        context, seed = task.settings.data.context, task.settings.seed
        try:
            windows = evaluation_text(tokenizer, annotated.documents, settings.windows, context, seed)
        except PolcaError as error:
            raise PolcaError(
                f"validity.treebank.windows = {settings.windows}: more than {settings.file} holds: lower it"
            ) from error
        labels = token_labels(windows.text, windows.starts, windows.ends, annotated)
        return cls(annotated, len(sentences), windows, labels[:, BEFORE:].reshape(-1, len(CONSTRUCTIONS)))

    @property
    def targets(self) -> NDArray[np.int32]:
        """Ids `[X]` of the evaluated tokens."""
        return evaluated(self.windows.tokens)

    @property
    def window_of(self) -> NDArray[np.int64]:
        """Number `[X]` of the window that each evaluated token is in."""
        return evaluated(np.broadcast_to(np.arange(len(self.windows.tokens))[:, None], self.windows.tokens.shape))

    def batches(self, task: EnglishTask) -> list[tuple[Tensor, Tensor]]:
        """The windows in batches of the preset's size."""
        return [evaluation_batch(part) for part in in_batches(self.windows.tokens, task.settings.polca.batch_sequences)]


def scores(
    task: EnglishTask, projections: Mapping[str, Projections], text: TreebankText, settings: TreebankSettings
) -> tuple[list[pd.DataFrame], dict[str, dict[str, int]]]:
    """Scores of every analysis in both readings, and the sizes of its clustering.

    The least cluster size is the same share of the tokens as in the preset.
    """
    share = settings.windows / task.settings.data.evaluation_contexts
    tables: list[pd.DataFrame] = []
    sizes: dict[str, dict[str, int]] = {}
    for name, reading in product(task.analyses, get_args(Reading)):
        chosen = task.clustering(name)
        least = max(2, round(chosen.min_cluster_size * share))
        trajectories = decompose_analysis(task, name, projections)
        clusters = cluster(
            trajectories,
            min_cluster_size=least,
            min_samples_divisor=chosen.min_samples_divisor,
            standardise=reading == "standardised",
        )
        sizes[f"{name}_{reading}"] = {
            "min_cluster_size": least,
            "clusters": len(clusters),
            "vectors": len(clusters.vector_kept),
            "kept": int(clusters.vector_kept.sum()),
        }
        tables.append(
            construction_scores(
                name,
                clusters,
                trajectories,
                text.labels,
                text.targets,
                tuple(CONSTRUCTIONS),
                permutations=settings.permutations,
                seed=task.settings.seed,
            ).assign(reading=reading)
        )
    return tables, sizes


def no_probes() -> pd.DataFrame:
    """The table of `construction_probes` without rows."""
    return pd.DataFrame(columns=list(PROBE_COLUMNS)).astype(dict(PROBE_COLUMNS))


def construction_probes(task: EnglishTask, projections: Mapping[str, Projections], text: TreebankText) -> pd.DataFrame:
    """Does a linear probe tell a construction's tokens from all others, by all vectors together and by the exact loss?

    Folds share no window: tokens of one window have their topic, and often their words, in common.

    Returns:
        One row for each of `PROBED` and each construction, with the columns of `PROBE_COLUMNS`: tokens with it and
        windows that have such a token; auc as in `probes.probe_auc`, NaN for a construction in fewer windows than there
        are folds; best_single as in `tasks.arithmetic.probes.best_single_auc`.
    """
    windows, everywhere = text.window_of, np.ones(len(text.labels), np.bool_)
    rows = []
    for name in PROBED:
        trajectories = decompose_analysis(task, name, projections)
        features = token_features(trajectories)
        for construction, truth in zip(CONSTRUCTIONS, text.labels.T, strict=True):
            rows.append(
                {
                    "analysis": name,
                    "construction": construction,
                    "tokens": int(truth.sum()),
                    "windows": len(np.unique(windows[truth])),
                    "auc": rounded_auc(probe_auc(features, truth, groups=windows)),
                    "best_single": best_single_auc(trajectories, truth, everywhere),
                }
            )
    return pd.DataFrame(rows, columns=list(PROBE_COLUMNS)).astype(dict(PROBE_COLUMNS))


def summary(
    source: Path,
    text: TreebankText,
    settings: TreebankSettings,
    projections: Mapping[str, Projections],
    sizes: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """What was read, and how much of it."""
    losses = projections["hessian"].losses.mean(axis=1, dtype="float64")
    return {
        "status": "done",
        "file": settings.file,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "documents": len(text.annotated.documents),
        "sentences": text.sentences,
        "words": len(text.annotated.starts),
        "windows": settings.windows,
        "tokens": len(text.targets),
        "permutations": settings.permutations,
        "loss_first": float(losses[0]),
        "loss_last": float(losses[-1]),
        "constructions": dict(CONSTRUCTIONS),
        "analyses": dict(sizes),
    }
