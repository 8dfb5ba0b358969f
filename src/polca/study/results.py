"""The results of one preset, as figures and tables read them: loaded when asked for, never recomputed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import ROOT, ArithmeticPaths, EnglishPaths, read_csv, read_json, read_npz, read_params
from polca.method.clustering import Clusters
from polca.study.scores import COUNTS
from polca.tasks.arithmetic_labels import EVALUATION_FORM

CLUSTER_COLUMNS = (
    *("analysis", "basis", "strategy", "vector", "cluster", "size", "n_carry", "homogeneity", "recall", "f1"),
    *("eligible", "break_step", "onset_step", "hidden", "hidden_onset", *COUNTS),
)
VECTOR_COLUMNS = (
    *("analysis", "basis", "strategy", "vector", "vector_step", "kept", "n_dropped", "n_clustered", "n_outliers"),
    *("n_clusters", "auc_1000s", "auc_100s", "auc_10s", "best_homogeneity"),
)


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
class ExactLosses:
    """`steps [C]` and the exact loss `losses [C, X]` of every evaluation token, in nats."""

    steps: NDArray[np.int64]
    losses: NDArray[np.float32]


@dataclass(frozen=True)
class SettingResults(ABC):
    """Result files that both settings have.

    Attributes:
        directory: `runs/<preset>/<setting>`.
        params: the preset's parameters, as read from its `params.yaml`.
        published_path: the published values.

    Every property raises `PolcaError` naming the file and the stage to run where a file is missing or damaged.
    """

    directory: Path
    params: Mapping[str, Any]
    published_path: Path = ROOT / "data" / "published.yaml"

    setting: ClassVar[str]
    """Name of the setting: its section of `params.yaml`, and how its stages' names begin."""
    cluster_columns: ClassVar[tuple[str, ...]]
    vector_columns: ClassVar[tuple[str, ...]]

    @property
    @abstractmethod
    def paths(self) -> ArithmeticPaths | EnglishPaths:
        """Where the files are."""

    @property
    def shown_analysis(self) -> str:
        """The analysis whose vectors the figures show: `plots.analysis`, POLCA as published where it is not given."""
        return str(self.param("plots").get("analysis", "polca"))

    def param(self, name: str) -> Any:
        """A parameter of the setting by its dotted name, such as `training.steps`.

        Raises:
            PolcaError: it is missing.
        """
        value: Any = self.params.get(self.setting)
        for key in name.split("."):
            if not isinstance(value, Mapping) or key not in value:
                raise PolcaError(f"params.yaml: {self.setting}.{name} is missing: compare with another preset's")
            value = value[key]
        return value

    @cached_property
    def losses(self) -> ExactLosses:
        """Exact losses (`losses.npz`)."""
        points = self.param("training.steps") // self.param("polca.interval") + 1
        form = {"steps": f"int {points}", "losses": f"finite {points} X"}
        arrays = self._arrays(self.paths.losses, "project", form)
        return ExactLosses(arrays["steps"], arrays["losses"])

    def curves(self, analysis: str) -> Clusters:
        """Clusters of an analysis (`clusters/<analysis>.npz`); read anew at every call, for these files are large."""
        path = self.paths.clusters / f"{analysis}.npz"
        self._require(path, "cluster")
        return Clusters.load(path)

    def cluster_row(self, curves: Clusters, vector: int, cluster: int) -> int:
        """Row of `curves` that holds a cluster, named as in `clusters.csv` (`vector` from 1, `cluster` from 0).

        Raises:
            PolcaError: there is no such cluster.
        """
        found = np.flatnonzero((curves.cluster_vector == vector - 1) & (curves.cluster_index == cluster))
        if len(found) != 1:
            raise PolcaError(
                f"{self.paths.clusters}: no cluster {cluster} of vector {vector}, which "
                f"{self.paths.cluster_table.name} lists: run stage {self.setting}_cluster again"
            )
        return int(found[0])

    @cached_property
    def clusters(self) -> pd.DataFrame:
        """One row a cluster, over all analyses (`clusters.csv`)."""
        table, path = self._table(self.paths.cluster_table, self.cluster_columns), self.paths.cluster_table
        counted = self.vectors.groupby("analysis")["n_clusters"].sum()
        if not table["analysis"].value_counts().reindex(counted.index, fill_value=0).equals(counted.rename("count")):
            raise PolcaError(
                f"{path}: has not the clusters that {self.paths.vector_table.name} counts: "
                f"run stage {self.setting}_cluster again"
            )
        return table

    @cached_property
    def vectors(self) -> pd.DataFrame:
        """One row an analysis and vector (`vectors.csv`)."""
        table = self._table(self.paths.vector_table, self.vector_columns)
        if table.empty:
            raise PolcaError(f"{self.paths.vector_table}: has no rows: run stage {self.setting}_cluster again")
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

    def scalar(self, name: str) -> float:
        """A number of `summary.json` by its dotted name, such as `table_12.l2_norm`; NaN where it is null there.

        Raises:
            PolcaError: it is missing.
        """
        value: Any = self.summary
        for key in name.split("."):
            if not isinstance(value, Mapping) or key not in value:
                raise PolcaError(f"{self.paths.summary}: lacks {name!r}: run stage {self.setting}_cluster again")
            value = value[key]
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

    def _require(self, path: Path, stage: str) -> None:
        if not path.is_file():
            raise PolcaError(f"{path}: no such file: run stage {self.setting}_{stage} (`make repro` runs all)")

    def _arrays(self, path: Path, stage: str, form: Mapping[str, str]) -> dict[str, NDArray[Any]]:
        self._require(path, stage)
        return read_npz(path, form)

    def _table(self, path: Path, columns: Sequence[str]) -> pd.DataFrame:
        self._require(path, "cluster")
        table = self._read_table(path)
        if missing := [name for name in columns if name not in table]:
            raise PolcaError(f"{path}: lacks the column {missing[0]!r}: run stage {self.setting}_cluster again")
        return table

    def _read_table(self, path: Path) -> pd.DataFrame:
        return read_csv(path)


@dataclass(frozen=True)
class Results(SettingResults):
    """Result files of the arithmetic setting."""

    setting: ClassVar[str] = "arithmetic"
    cluster_columns: ClassVar[tuple[str, ...]] = CLUSTER_COLUMNS
    vector_columns: ClassVar[tuple[str, ...]] = VECTOR_COLUMNS

    @property
    def paths(self) -> ArithmeticPaths:
        """Where the files are."""
        return ArithmeticPaths(self.directory)

    @cached_property
    def evaluation(self) -> Evaluation:
        """Evaluation tokens and skills (`evaluation.npz`)."""
        arrays = self._arrays(self.paths.evaluation, "train", EVALUATION_FORM)
        return Evaluation(arrays["tokens"], arrays["place"], arrays["carry"].astype(bool))
