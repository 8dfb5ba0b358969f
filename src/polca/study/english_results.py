"""The results of the English setting, as figures and tables read them."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from polca.errors import PolcaError
from polca.machine.files import EnglishPaths, read_csv, read_json
from polca.study.english_analyses import CLUSTER_COLUMNS, CONTEXT_COLUMNS, TABLES, VECTOR_COLUMNS
from polca.study.results import SettingResults

TEXT_COLUMNS = tuple(name for columns in TABLES.values() for name, kind in columns.items() if kind == "str")
"""Columns that hold text as it is: `NA`, `null` and `1` are tokens like others."""


def read_table(path: Path, text: Collection[str] = TEXT_COLUMNS) -> pd.DataFrame:
    """`read_csv` for the English tables."""
    return read_csv(path, text)


@dataclass(frozen=True)
class EnglishResults(SettingResults):
    """Result files of the English setting."""

    setting: ClassVar[str] = "english"
    cluster_columns: ClassVar[tuple[str, ...]] = tuple(CLUSTER_COLUMNS)
    vector_columns: ClassVar[tuple[str, ...]] = tuple(VECTOR_COLUMNS)

    @property
    def paths(self) -> EnglishPaths:
        """Where the files are."""
        return EnglishPaths(self.directory)

    @cached_property
    def corpus(self) -> dict[str, Any]:
        """What was read and how much of it (`corpus.json`)."""
        self._require(self.paths.corpus, "corpus")
        return read_json(self.paths.corpus)

    @cached_property
    def contexts(self) -> pd.DataFrame:
        """The contexts nearest to each cluster's medoid, one a row (`contexts.csv`)."""
        table, keys = self._table(self.paths.contexts, tuple(CONTEXT_COLUMNS)), ["analysis", "vector", "cluster"]
        if not set(self.clusters[keys].itertuples(index=False)) <= set(table[keys].itertuples(index=False)):
            raise PolcaError(f"{self.paths.contexts}: lacks clusters of clusters.csv: run stage english_cluster again")
        return table

    def fact(self, name: str) -> Any:
        """An entry of `corpus.json`.

        Raises:
            PolcaError: it is missing.
        """
        if name not in self.corpus:
            raise PolcaError(f"{self.paths.corpus}: lacks {name!r}: run stage english_corpus again")
        return self.corpus[name]

    def _read_table(self, path: Path) -> pd.DataFrame:
        return read_table(path)
