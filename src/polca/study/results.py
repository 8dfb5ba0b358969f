"""The results of a preset's tasks, as tables and figures read them: loaded when asked for, never recomputed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.machine.files import dotted, read_csv, read_json, read_npz, read_params
from polca.method.clustering import Clusters
from polca.study.paths import PresetPaths, TaskPaths
from polca.study.stages.cluster import ExactLosses
from polca.tasks.arithmetic.labels import EVALUATION_FORM
from polca.tasks.arithmetic.scores import COUNTS
from polca.tasks.english.scores import TABLES as ENGLISH_TABLES
from polca.tasks.english.text import evaluated
from polca.tasks.task import Labels
from polca.typing import Reading

STABLE = ("ari_bootstrap", "ari_perturbed")
"""Columns of the tables of vectors that say how stable clusters are."""
COLUMNS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "arithmetic": {
        "clusters": (
            *("analysis", "basis", "strategy", "vector", "cluster", "size", "n_carry", "homogeneity", "recall", "f1"),
            *("eligible", "break_step", "onset_step", "hidden", "hidden_onset", "hidden_published", *COUNTS),
        ),
        "vectors": (
            *("analysis", "basis", "strategy", "vector", "vector_step", "kept", "n_dropped", "n_clustered"),
            *("n_outliers", "n_clusters", "auc_1000s", "auc_100s", "auc_10s", "best_homogeneity", *STABLE),
        ),
    },
    "english": {
        name: (*columns, *STABLE) if name == "vectors" else tuple(columns) for name, columns in ENGLISH_TABLES.items()
    },
}
"""Columns that the tables of a task's results must have."""

TEXT = {name for columns in ENGLISH_TABLES.values() for name, kind in columns.items() if kind == "str"}
"""Columns that hold text as it is: `NA`, `null` and `1` are tokens like others."""


def read_losses(out: TaskPaths, points: int | None = None) -> ExactLosses:
    """The exact losses of a task (`losses.npz`); `points` is how many checkpoints the preset asks for.

    Raises:
        PolcaError: missing, damaged or of another preset.
    """
    size = "C" if points is None else str(points)
    return ExactLosses(**read_npz(out.losses, {"steps": f"int {size}", "losses": f"finite {size} X"}))


LABELS: Mapping[str, tuple[Mapping[str, str], Callable[[Labels], int]]] = {
    "arithmetic": (EVALUATION_FORM, lambda labels: len(labels["place"])),
    "english": ({"tags": "int S L", "names": "text N"}, lambda labels: len(evaluated(labels["tags"]))),
}
"""What `labels.npz` of a task holds, and how many evaluated tokens that labels."""


def read_labels(out: TaskPaths, tokens: int) -> dict[str, NDArray[Any]]:
    """The labels of a task's evaluated tokens (`labels.npz`).

    Raises:
        PolcaError: missing, damaged, or of another number of tokens.
    """
    if out.name not in LABELS:
        return read_npz(out.labels)
    form, count = LABELS[out.name]
    labels = read_npz(out.labels, form)
    if (labelled := count(labels)) != tokens:
        raise PolcaError(
            f"{out.labels}: labels {labelled} tokens, but losses are of {tokens}: run stage labels@{out.name} again"
        )
    return labels


def read_facts(out: TaskPaths, tokens: int) -> dict[str, Any]:
    """Numbers about the projections, for `summary.json` (`facts.json`).

    Raises:
        PolcaError: missing, damaged, or of another number of tokens.
    """
    facts = read_json(out.facts)
    if facts.get("tokens") != tokens:
        raise PolcaError(f"{out.facts}: not of the {tokens} tokens of losses: run stage trajectories@{out.name} again")
    return facts


def read_table(path: Path) -> pd.DataFrame:
    """A table of clusters; text stays as it stands.

    Raises:
        PolcaError: missing, damaged or cut off.
    """
    header = read_csv(path).columns
    return read_csv(path, [name for name in header if name in TEXT - {"analysis"}])


@dataclass(frozen=True)
class TaskResults:
    """Result files that every task has.

    Attributes:
        paths: where they are.
        params: the preset's parameters, as read from its `params.yaml`.
        published_path: the published values.
        analysis: in place of the analysis that figures show.

    Every property raises `PolcaError` naming the file and the stage to run where a file is missing or damaged.
    """

    paths: TaskPaths
    params: Mapping[str, Any]
    published_path: Path = ROOT / "data" / "published.yaml"
    analysis: str | None = None

    setting: ClassVar[str]
    """Name of the task: its section of `params.yaml`."""

    def of_reading(self, reading: Reading) -> Self:
        """The same task's results with the clusters of a reading."""
        return replace(self, paths=self.paths.of_reading(reading))

    @property
    def reading(self) -> Reading:
        """Whose clusters these are."""
        return self.paths.reading

    @property
    def shown_analysis(self) -> str:
        """The analysis whose vectors the figures show: `plots.analysis`, POLCA as published where it is not given."""
        return self.analysis or str(self.param("plots").get("analysis", "polca"))

    def param(self, name: str) -> Any:
        """A parameter of the task by its dotted name, such as `training.steps`.

        Raises:
            PolcaError: it is missing.
        """
        try:
            return dotted(self.params, f"{self.setting}.{name}")
        except KeyError as error:
            raise PolcaError(f"params.yaml: {error.args[0]} is missing: compare with another preset's") from error

    @cached_property
    def losses(self) -> ExactLosses:
        """Exact losses (`losses.npz`)."""
        self._require(self.paths.losses, "project")
        return read_losses(self.paths, self.param("training.steps") // self.param("polca.interval") + 1)

    @cached_property
    def projected_losses(self) -> dict[str, NDArray[np.floating]]:
        """Projected losses `[3, K, X]` by analysis at `MOMENTS` of training (`projected_losses.npz`)."""
        self._require(self.paths.projected_losses, "trajectories")
        found = read_npz(self.paths.projected_losses)
        tokens = self.losses.losses.shape[1]
        if "steps" not in found or any(v.shape[-1] != tokens for name, v in found.items() if name != "steps"):
            raise PolcaError(
                f"{self.paths.projected_losses}: not of the {tokens} tokens: {self._again('trajectories')}"
            )
        return found

    def signature_table(self, name: str) -> pd.DataFrame:
        """A table of what all vectors together tell apart, such as `signatures` (`signatures/<name>.csv`)."""
        path = self.paths.signatures / f"{name}.csv"
        self._require(path, "signatures")
        return read_csv(path)

    def signature_tables(self) -> list[str]:
        """Names of these tables."""
        self._require(self.paths.signatures / "signatures.csv", "signatures")
        return sorted(path.stem for path in self.paths.signatures.glob("*.csv"))

    def token_map(self, analysis: str) -> dict[str, NDArray[Any]]:
        """`coordinates [n, 2]` and `clusters [n]` of an analysis' map (`signatures/maps/<analysis>.npz`)."""
        path = self.paths.signatures / "maps" / f"{analysis}.npz"
        self._require(path, "signatures")
        return read_npz(path, {"coordinates": "finite N D", "clusters": "int N"})

    @cached_property
    def mapped(self) -> dict[str, NDArray[Any]]:
        """`tokens [n]` that are mapped, and the `values [n]` of the label that chose them (`signatures/mapped.npz`)."""
        path = self.paths.signatures / "mapped.npz"
        self._require(path, "signatures")
        return read_npz(path)

    def curves(self, analysis: str) -> Clusters:
        """Clusters of an analysis (`clusters/<analysis>.npz`); read anew at every call, for these files are large."""
        path = self.paths.cluster(analysis)
        self._require(path, "cluster")
        return Clusters.load(path)

    def cluster_row(self, curves: Clusters, vector: int, cluster: int) -> int:
        """Row of `curves` that holds a cluster, named as in `clusters.csv` (`vector` from 1, `cluster` from 0).

        Raises:
            PolcaError: there is no such cluster.
        """
        rows = np.flatnonzero((curves.cluster_vector == vector - 1) & (curves.cluster_index == cluster))
        if len(rows) != 1:
            raise PolcaError(
                f"{self.paths.clusters}: no cluster {cluster} of vector {vector}, which "
                f"{self.paths.table('clusters').name} lists: {self._again('cluster')}"
            )
        return int(rows[0])

    @cached_property
    def clusters(self) -> pd.DataFrame:
        """One row a cluster, over all analyses (`tables/clusters.csv`)."""
        table = self._table("clusters")
        counted = self.vectors.groupby("analysis")["n_clusters"].sum()
        if not table["analysis"].value_counts().reindex(counted.index, fill_value=0).equals(counted.rename("count")):
            raise PolcaError(
                f"{self.paths.table('clusters')}: has not the clusters that {self.paths.table('vectors').name} "
                f"counts: {self._again('cluster')}"
            )
        return table

    @cached_property
    def vectors(self) -> pd.DataFrame:
        """One row an analysis and vector (`tables/vectors.csv`)."""
        table = self._table("vectors")
        if table.empty:
            raise PolcaError(f"{self.paths.table('vectors')}: has no rows: {self._again('cluster')}")
        return table

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Scalars (`summary.json`)."""
        self._require(self.paths.summary, "cluster")
        return read_json(self.paths.summary)

    @cached_property
    def training_log(self) -> pd.DataFrame:
        """Training loss and learning rate by step (`training_log.csv`)."""
        self._require(self.paths.training_log, "train")
        return read_csv(self.paths.training_log)

    @cached_property
    def published(self) -> dict[str, Any]:
        """The published values (`data/published.yaml`)."""
        if not self.published_path.is_file():
            raise PolcaError(f"{self.published_path}: no such file: restore it from the repository")
        return read_params(self.published_path)

    def entry(self, name: str) -> Any:
        """An entry of `summary.json` by its dotted name, such as `table_12.l2_norm`.

        Raises:
            PolcaError: it is missing.
        """
        try:
            return dotted(self.summary, name)
        except KeyError as error:
            raise PolcaError(f"{self.paths.summary}: lacks {name!r}: {self._again('cluster')}") from error

    def scalar(self, name: str) -> float:
        """A number of `summary.json` by its dotted name; NaN where it is null there.

        Raises:
            PolcaError: it is missing.
        """
        value = self.entry(name)
        return float("nan") if value is None else value

    def published_part(self, name: str) -> dict[str, Any]:
        """One section of the published values, such as `table_08`.

        Raises:
            PolcaError: it is missing.
        """
        part = self.published.get(name)
        if not isinstance(part, dict):
            raise PolcaError(f"{self.published_path}: lacks {name!r}: restore it from the repository")
        return part

    def _again(self, stage: str) -> str:
        return f"run stage {stage}@{self.setting} again"

    def _require(self, path: Path, stage: str) -> None:
        if not path.is_file():
            raise PolcaError(f"{path}: no such file: run stage {stage}@{self.setting} (`make repro` runs all)")

    def _table(self, name: str) -> pd.DataFrame:
        path = self.paths.table(name)
        self._require(path, "cluster")
        table = read_table(path)
        if missing := [column for column in COLUMNS[self.setting][name] if column not in table]:
            raise PolcaError(f"{path}: lacks the column {missing[0]!r}: {self._again('cluster')}")
        return table


@dataclass(frozen=True)
class Evaluation:
    """Evaluation tokens and their skills.

    Attributes:
        tokens: `[S, 12]` token ids of the S additions.
        place: `[X]` output position 0 … 3 (1000s … 1s) of output token x = 4 · sequence + position.
        carry: `[X]` whether the lower places carried into this digit.
    """

    tokens: NDArray[np.uint8]
    place: NDArray[np.int8]
    carry: NDArray[np.bool_]


@dataclass(frozen=True)
class Results(TaskResults):
    """Result files of the arithmetic setting."""

    setting: ClassVar[str] = "arithmetic"

    @cached_property
    def evaluation(self) -> Evaluation:
        """Evaluation tokens and skills (`labels.npz`)."""
        self._require(self.paths.labels, "labels")
        arrays = read_npz(self.paths.labels, EVALUATION_FORM)
        return Evaluation(arrays["tokens"], arrays["place"], arrays["carry"].astype(bool))


@dataclass(frozen=True)
class EnglishResults(TaskResults):
    """Result files of the English setting."""

    setting: ClassVar[str] = "english"

    def fact(self, name: str) -> Any:
        """What is known of the corpus, such as `title` (`corpus.json`).

        Raises:
            PolcaError: it is missing.
        """
        return self.entry(f"corpus.{name}")

    @cached_property
    def contexts(self) -> pd.DataFrame:
        """The contexts nearest to each cluster's medoid, one a row (`tables/contexts.csv`)."""
        table, keys = self._table("contexts"), ["analysis", "vector", "cluster"]
        if not set(self.clusters[keys].itertuples(index=False)) <= set(table[keys].itertuples(index=False)):
            raise PolcaError(
                f"{self.paths.table('contexts')}: lacks clusters of clusters.csv: {self._again('cluster')}"
            )
        return table


@dataclass(frozen=True)
class PresetResults:
    """The results of a preset's tasks; None where the preset does not have the task."""

    arithmetic: Results | None
    english: EnglishResults | None

    @classmethod
    def of(cls, paths: PresetPaths, params: Mapping[str, Any]) -> "PresetResults":
        """Those below `runs/<preset>/results`, in the reading that figures show; nothing is read yet."""
        tasks = params.get("tasks", {})

        def of_task(name: str) -> TaskPaths:
            shown = params.get(name, {}).get("plots", {}).get("reading", "standardised")
            return paths.task(name, shown)

        return cls(
            Results(of_task("arithmetic"), params) if "arithmetic" in tasks else None,
            EnglishResults(of_task("english"), params) if "english" in tasks else None,
        )

    def of_reading(self, reading: Reading) -> "PresetResults":
        """The same with the clusters of a reading."""
        own, english = self.arithmetic, self.english
        return PresetResults(own and own.of_reading(reading), english and english.of_reading(reading))

    @property
    def all(self) -> list[TaskResults]:
        """Those that are there."""
        return [results for results in (self.arithmetic, self.english) if results is not None]
