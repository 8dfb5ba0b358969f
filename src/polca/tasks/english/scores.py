"""Clusters of English tokens as the paper reads them (§5): labels by parts of speech, names, contexts, counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.text import visible
from polca.method.breakthrough import hidden_fraction
from polca.method.clustering import Clusters, vector_counts
from polca.method.completeness import ratio
from polca.tasks.english.patterns import (
    FAMILIES,
    Targets,
    continues_word,
    covering_tags,
    evaluation_targets,
    family,
    is_simple,
    name_cluster,
    shown,
)
from polca.tasks.english.text import BEFORE, PAD, EvaluationText

BETWEEN = "¶"
"""What stands for `<PAD>` inside a context."""

CLUSTER_COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "vector": "int64", "cluster": "int64", "size": "int64"},
    **{"break_step": "float64", "onset_step": "float64", "hidden": "bool", "hidden_onset": "bool"},
    "hidden_published": "boolean",
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


class LabelRule(Protocol):
    """§5: a position's tag set covers `coverage` of a cluster; a label is simple with at most `simple_tags` of them."""

    @property
    def coverage(self) -> float: ...
    @property
    def simple_tags(self) -> int: ...


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
        target = visible(e.text[start:end], space=" ") if start >= 0 else PAD
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
            pieces.append(visible(e.text[at:end], space=" "))
            at = end
        return "".join(pieces)


def _shown(string: str) -> str:
    return PAD if string == PAD else shown(string)


def _table(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    """Rows as a table whose columns and types do not depend on the rows, empty tables included."""
    columns = dict(TABLES[name])
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


def _label(members: NDArray[np.int64], targets: Targets, labels: LabelRule) -> dict[str, Any]:
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


def score_tables(
    name: str, clusters: Clusters, breaks: pd.DataFrame, text: TaggedText, labels: LabelRule
) -> dict[str, pd.DataFrame]:
    """The tables of `TABLES` for one analysis (§5).

    Args:
        breaks: of `breakthroughs`, a row a cluster.

    Raises:
        PolcaError: clusters of other windows.
    """
    targets, tokens = text.targets, clusters.labels.shape[1]
    if len(targets) != tokens:
        raise PolcaError(f"clusters: of {tokens} tokens, but the text has {len(targets)} evaluated ones: project again")
    rows: list[dict[str, Any]] = []
    contexts: list[dict[str, Any]] = []
    for m in range(len(clusters)):
        key = {"analysis": name, "vector": clusters.cluster_vector[m] + 1, "cluster": clusters.cluster_index[m]}
        members = clusters.members(m)
        breaking = {str(column): breaks.at[m, column] for column in breaks.columns[2:]}
        rows.append({**key, "size": len(members), **breaking, **_label(members, targets, labels)})
        for rank, token in enumerate(t for t in clusters.nearest[m].tolist() if t >= 0):
            parts = dict(zip(("before", "target", "after"), text.context(token), strict=True))
            contexts.append({**key, "rank": rank + 1, "token": token, **parts})
    table = _table(rows, "clusters")
    vectors: list[dict[str, Any]] = []
    for k, row in enumerate(clusters.labels):
        own = table[table["vector"] == k + 1]
        vectors.append(
            {
                "analysis": name,
                "vector": k + 1,
                "vector_step": int(clusters.vector_steps[k]),
                "kept": bool(clusters.vector_kept[k]),
                **vector_counts(row),
                "n_simple": int(own["simple"].sum()),
                "n_hidden": int(own["hidden"].sum()),
            }
        )
    return {"clusters": table, "vectors": _table(vectors, "vectors"), "contexts": _table(contexts, "contexts")}


def constructions(clusters: pd.DataFrame) -> dict[str, int]:
    """How many clusters of a table there are of each of `patterns.FAMILIES`."""
    kinds = [family(*row) for row in clusters[["name", "tags_0", "tags_1"]].itertuples(index=False, name=None)]
    return {kind: kinds.count(kind) for kind in FAMILIES}


def analysis_counts(name: str, clusters: pd.DataFrame, vectors: pd.DataFrame) -> dict[str, Any]:
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
