"""The English setting's analyses: projections and tags in, named clusters out (§5).

The exact loss and POLCA's projected losses are clustered, each cluster is labelled by parts of speech (`patterns`), and
the contexts nearest to its medoid are written out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import EnglishPaths, read_npz
from polca.method.breakthrough import breakthroughs, hidden_fraction
from polca.method.clustering import Clusters, cluster, vector_counts
from polca.method.completeness import completeness, ratio
from polca.method.decomposition import SecondOrder, Strategy, decompose
from polca.method.projections import Projections
from polca.study.english_settings import EnglishSettings, LabelSettings
from polca.study.settings import BreakthroughSettings, ClusteringSettings, PolcaSettings
from polca.tasks.english.patterns import (
    FAMILIES,
    NEWLINE,
    UNPRINTABLE,
    Targets,
    continues_word,
    covering_tags,
    evaluation_targets,
    family,
    is_simple,
    name_cluster,
    shown,
)
from polca.tasks.english.text import BEFORE, PAD, EvaluationText, read_evaluation

ANALYSES: Mapping[str, Strategy] = {"loss": "loss", "polca": "polca", "polca_fine": "polca"}
"""Strategy of every analysis: Figure 9; Figures 5, 10 and 11; and these with smaller clusters than the paper's.

With min_samples = n/15 density is measured over a fifteenth of the clustered tokens, and most constructions are rarer
than that: a likely reason, not a proven one, why little is found. `polca_fine` asks what smaller groups there are."""

BETWEEN = "¶"
"""What stands for `<PAD>` inside a context."""

CLUSTER_COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "vector": "int64", "cluster": "int64", "size": "int64"},
    **{"break_step": "float64", "onset_step": "float64", "hidden": "bool", "hidden_onset": "bool"},
    **{"simple": "bool", "name": "str", "fit": "float64"},
    **{"tags_3": "str", "tags_2": "str", "tags_1": "str", "tags_0": "str"},
    **{"top_target": "str", "top_target_share": "float64"},
}
VECTOR_COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "vector": "int64", "vector_step": "int64", "kept": "bool"},
    **dict.fromkeys(("n_dropped", "n_clustered", "n_outliers", "n_clusters", "n_simple", "n_hidden"), "int64"),
}
CONTEXT_COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "vector": "int64", "cluster": "int64", "rank": "int64", "token": "int64"},
    **{"before": "str", "target": "str", "after": "str"},
}
"""Columns and types of `clusters.csv`, `vectors.csv` and `contexts.csv`, whether or not there are rows."""

TABLES: Mapping[str, Mapping[str, str]] = {
    "clusters": CLUSTER_COLUMNS,
    "vectors": VECTOR_COLUMNS,
    "contexts": CONTEXT_COLUMNS,
}


class Settings(Protocol):
    """What an analysis takes from the preset; `EnglishSettings` has it."""

    @property
    def polca(self) -> PolcaSettings: ...
    @property
    def clustering(self) -> ClusteringSettings: ...
    @property
    def finer(self) -> ClusteringSettings: ...
    @property
    def breakthroughs(self) -> BreakthroughSettings: ...
    @property
    def labels(self) -> LabelSettings: ...


@dataclass(frozen=True)
class TaggedText:
    """The evaluation windows with their parts of speech.

    Attributes:
        evaluation: windows and text.
        tags: `[S, C + 1]` index into `names`.
        names: the tags' names; `<PAD>` tags the tokens that stand between documents, and no others.

    Raises:
        PolcaError: shapes that do not fit together, offsets outside the text, or tags of other windows.
    """

    evaluation: EvaluationText
    tags: NDArray[np.integer]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        e, shape = self.evaluation, self.evaluation.tokens.shape
        for name, array in (("starts", e.starts), ("ends", e.ends), ("tags", self.tags)):
            if array.shape != shape:
                raise PolcaError(f"evaluation: {name} {array.shape} do not fit tokens {shape}: make them again")
        if not e.fits:
            raise PolcaError("evaluation: offsets do not fit evaluation.txt: make the evaluation windows again")
        padded = self.tags == (self.names.index(PAD) if PAD in self.names else -1)
        if not np.array_equal(padded, e.starts < 0):
            raise PolcaError(f"tags: {PAD} does not stand where the windows have it: tag the evaluation text again")

    @classmethod
    def read(cls, paths: EnglishPaths, settings: EnglishSettings) -> "TaggedText":
        """Read the evaluation text, its windows and their tags from a run.

        Raises:
            PolcaError: a file is missing, damaged, of other sizes, or does not fit the others.
        """
        windows, context = settings.data.evaluation_contexts, settings.sizes.context
        evaluation = read_evaluation(paths.evaluation_text, paths.evaluation, windows, context)
        tags = read_npz(paths.tags, {"tags": f"int {windows} {context + 1}", "names": "text N"})
        return cls(evaluation, tags["tags"], tuple(tags["names"].tolist()))

    def string(self, window: int, place: int) -> str:
        """The text of a token, as it stands; `<PAD>` for itself."""
        e = self.evaluation
        start = int(e.starts[window, place])
        return e.text[start : int(e.ends[window, place])] if start >= 0 else PAD

    @cached_property
    def targets(self) -> Targets:
        """The evaluated tokens, for naming."""
        e = self.evaluation
        windows, length = e.tokens.shape
        strings = np.array([[_shown(self.string(s, i)) for i in range(length)] for s in range(windows)], np.str_)
        goes_on = [
            e.starts[s, i] >= 0 and continues_word(e.text, int(e.starts[s, i]), int(e.ends[s, i - 1]))
            for s in range(windows)
            for i in range(BEFORE, length)
        ]
        return Targets(
            tags=evaluation_targets(self.tags),
            ids=evaluation_targets(e.tokens),
            previous=strings[:, BEFORE - 1 : -1].reshape(-1),
            target=strings[:, BEFORE:].reshape(-1),
            continues=np.array(goes_on, np.bool_),
            names=self.names,
        )

    def context(self, token: int) -> tuple[str, str, str]:
        """What stands before, at and after evaluated token x in its window, line ends and `<PAD>` made visible.

        The three joined are the window's text, but for a `<PAD>` target.
        """
        e = self.evaluation
        length = e.tokens.shape[1]
        window, place = divmod(token, length - BEFORE)
        place += BEFORE
        start, end = int(e.starts[window, place]), int(e.ends[window, place])
        target = _visible(e.text[start:end]) if start >= 0 else PAD
        before = self._passage(window, range(place), stop=start)
        return before, target, self._passage(window, range(place + 1, length), begin=end)

    def _passage(self, window: int, places: range, begin: int = -1, stop: int = -1) -> str:
        """Text of successive tokens, from `begin` and up to `stop` where these are not −1."""
        e, pieces, at = self.evaluation, [], begin
        for place in places:
            start, end = int(e.starts[window, place]), int(e.ends[window, place])
            if start < 0:
                pieces.append(BETWEEN)
                at = -1
                continue
            # Tokens may share a character, and white space may lie between them.
            if stop >= 0:
                end = stop if place == places[-1] else min(end, stop)
            at = start if at < 0 else at
            pieces.append(_visible(e.text[at:end]))
            at = end
        return "".join(pieces)


def _shown(string: str) -> str:
    return PAD if string == PAD else shown(string)


def _visible(text: str) -> str:
    """Running text on one line: line ends visible, other white space as spaces."""
    return "".join(
        NEWLINE if c == "\n" else " " if c.isspace() else c if c.isprintable() else UNPRINTABLE for c in text
    )


@dataclass(frozen=True)
class EnglishAnalysis:
    """What one analysis leaves behind; `tables` by the names of `TABLES`."""

    clusters: Clusters
    tables: dict[str, pd.DataFrame]
    guarded: int


def _table(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    """Rows as a table whose columns and types do not depend on the rows, empty tables included."""
    columns = dict(TABLES[name])
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _label(members: NDArray[np.int64], targets: Targets, labels: LabelSettings) -> dict[str, Any]:
    """The columns of a cluster that say what its tokens have in common."""
    places = [covering_tags(targets.tags[members, i], labels.coverage) for i in range(BEFORE + 1)]
    sets = [[targets.names[tag] for tag in place] for place in places]
    name = name_cluster(members, targets, labels.coverage)
    strings, counts = np.unique(targets.target[members], return_counts=True)
    top = int(np.argmax(counts))
    return {
        "simple": is_simple(sets, labels.simple_tags),
        "name": name.name,
        "fit": name.fit,
        **{f"tags_{BEFORE - i}": "+".join(tags) for i, tags in enumerate(sets)},
        "top_target": str(strings[top]),
        "top_target_share": counts[top] / len(members),
    }


def analyse(name: str, projections: Projections, text: TaggedText, settings: Settings) -> EnglishAnalysis:
    """Decompose, cluster, label and name (§3.3, §5).

    Args:
        name: one of `ANALYSES`.

    Raises:
        PolcaError: an unknown analysis, projections of other windows, or as `cluster` and `breakthroughs`.
    """
    if name not in ANALYSES:
        raise PolcaError(f"analysis = {name!r}: expected one of {', '.join(ANALYSES)}")
    targets, tokens = text.targets, projections.losses.shape[1]
    if len(targets) != tokens:
        raise PolcaError(f"projections: {tokens} tokens but {len(targets)} evaluated ones in the text: project again")
    trajectories = decompose(projections, ANALYSES[name], settings.polca.second_order, settings.polca.eigenvalue)
    clustering = settings.finer if name == "polca_fine" else settings.clustering
    clusters = cluster(
        trajectories,
        min_cluster_size=clustering.min_cluster_size,
        min_samples_divisor=clustering.min_samples_divisor,
        losses=projections.losses,
        loss_steps=projections.steps,
    )
    breaks = settings.breakthroughs
    found = breakthroughs(trajectories, clusters, delta=breaks.delta, flat_step=breaks.flat_step)
    rows: list[dict[str, Any]] = []
    contexts: list[dict[str, Any]] = []
    for m in range(len(clusters)):
        key = {"analysis": name, "vector": clusters.cluster_vector[m] + 1, "cluster": clusters.cluster_index[m]}
        members = clusters.members(m)
        breaking = {str(column): found.at[m, column] for column in found.columns[2:]}
        rows.append({**key, "size": len(members), **breaking, **_label(members, targets, settings.labels)})
        for rank, token in enumerate(t for t in clusters.nearest[m].tolist() if t >= 0):
            parts = dict(zip(("before", "target", "after"), text.context(token), strict=True))
            contexts.append({**key, "rank": rank + 1, "token": token, **parts})
    table = _table(rows, "clusters")
    vectors: list[dict[str, Any]] = []
    for k, labels in enumerate(clusters.labels):
        own = table[table["vector"] == k + 1]
        vectors.append(
            {
                "analysis": name,
                "vector": k + 1,
                "vector_step": int(clusters.vector_steps[k]),
                "kept": bool(clusters.vector_kept[k]),
                **vector_counts(labels),
                "n_simple": int(own["simple"].sum()),
                "n_hidden": int(own["hidden"].sum()),
            }
        )
    tables = {"clusters": table, "vectors": _table(vectors, "vectors"), "contexts": _table(contexts, "contexts")}
    return EnglishAnalysis(clusters, tables, trajectories.guarded)


def constructions(clusters: pd.DataFrame) -> dict[str, int]:
    """How many clusters of a table there are of each of `patterns.FAMILIES`."""
    kinds = [family(*row) for row in clusters[["name", "tags_0", "tags_1"]].itertuples(index=False, name=None)]
    return {kind: kinds.count(kind) for kind in FAMILIES}


def _counts(name: str, clusters: pd.DataFrame, vectors: pd.DataFrame) -> dict[str, Any]:
    """The numbers of one analysis, as the paper counts them; means and shares over kept vectors."""
    own, table = vectors[vectors["analysis"] == name], clusters[clusters["analysis"] == name]
    kept = own[own["kept"].astype(bool)]
    dropped, outliers, clustered = (int(kept[c].sum()) for c in ("n_dropped", "n_outliers", "n_clustered"))
    return {
        "vectors": len(own),
        "dropped_vectors": len(own) - len(kept),
        "vectors_with_clusters": int((kept["n_clusters"] > 0).sum()),
        "vectors_with_simple_label": int((kept["n_simple"] > 0).sum()),
        "mean_dropped_tokens": ratio(dropped, len(kept)),
        "outlier_fraction": ratio(outliers, outliers + clustered),
        "clusters": len(table),
        "clusters_simple": int(table["simple"].sum()),
        "clusters_named": int((table["name"] != "mixed").sum()),
        "hidden_fraction": hidden_fraction(clusters, name)[0],
        "hidden_onset_fraction": hidden_fraction(clusters, name, "hidden_onset")[0],
        "constructions": constructions(table),
    }


def summarise(
    projections: Projections,
    text: TaggedText,
    clusters: pd.DataFrame,
    vectors: pd.DataFrame,
    settings: Settings,
    guarded: Mapping[str, int],
    analyses: Collection[str] = tuple(ANALYSES),
) -> dict[str, Any]:
    """Scalars that the paper quotes, and those that it should have; NaN where one is not defined.

    `target_unigram_entropy` is the mean loss on the evaluated tokens, in nats, of a model that knows their frequencies
    and nothing else. Completeness compares the sum of the allocations with the true change of the loss: 1 is complete.
    Under `analyses`, `mean_dropped_tokens` is per kept vector, and `outlier_fraction` is of the tokens of kept vectors
    that were not dropped as rising.

    Args:
        clusters, vectors: the tables of all analyses.
        guarded: of each analysis.
    """
    means = [float(projections.losses[i].mean(dtype=np.float64)) for i in (0, -1)]
    with np.errstate(over="ignore"):
        perplexities = [float(np.exp(mean)) for mean in means]
    shares = np.unique(text.targets.ids[:, BEFORE], return_counts=True)[1] / len(text.targets)
    forms: tuple[SecondOrder, ...] = ("none", "trapezoid", "paper")
    whole = {
        form: completeness(projections, form)
        for form in (*forms, *(("exact",) if projections.token_curvatures is not None else ()))
    }
    return {
        "tokens": len(text.targets),
        "checkpoints": len(projections.steps),
        "vectors": int(projections.gradients.shape[2]),
        "flat_step": settings.breakthroughs.flat_step,
        "delta": settings.breakthroughs.delta,
        "second_order": settings.polca.second_order,
        "eigenvalue": settings.polca.eigenvalue,
        "loss_first": means[0],
        "loss_last": means[1],
        "perplexity_first": perplexities[0],
        "perplexity_last": perplexities[1],
        "target_unigram_entropy": float(-(shares * np.log(shares)).sum()),
        "completeness": {
            form: {
                "fraction": c.fraction,
                "allocated": c.total_allocated,
                "relative_residual": c.relative_residual,
                "correlation": c.correlation,
            }
            for form, c in whole.items()
        },
        "guarded": dict(guarded),
        "analyses": {name: _counts(name, clusters, vectors) for name in analyses},
    }
