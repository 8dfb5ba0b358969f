"""The paper's tables by number, with the published values beside ours. Each only reads result files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from polca.machine.files import write_csv
from polca.report.numbered import Numbered
from polca.report.tables.clusters import best_clusters, hidden_fractions, table_01, table_12
from polca.report.tables.curves import PLOTS
from polca.report.tables.metrics import english_metrics, metrics, save_metrics
from polca.report.tables.parameters import parameters_table
from polca.study.results import EnglishResults, PresetResults, Results

__all__ = [
    "ENGLISH_TABLES",
    "PLOTS",
    "TABLES",
    "english_metrics",
    "make_table",
    "metrics",
    "save_metrics",
    "save_table",
    "save_tables",
]

TABLES: dict[int, Callable[[Results], pd.DataFrame]] = {
    1: table_01,
    **{number: partial(parameters_table, number=number) for number in (2, 3, 4)},
    8: partial(best_clusters, number=8, head="strategy"),
    9: partial(hidden_fractions, number=9, head="strategy"),
    10: partial(best_clusters, number=10, head="basis"),
    11: partial(hidden_fractions, number=11, head="basis"),
    12: table_12,
}
"""Tables of the arithmetic setting."""

ENGLISH_TABLES: dict[int, Callable[[EnglishResults], pd.DataFrame]] = {
    number: partial(parameters_table, number=number) for number in (5, 6, 7)
}
"""Tables of the English setting."""

_TABLES = Numbered("table", "made", TABLES, ENGLISH_TABLES)


make_table = _TABLES.make
"""A table of the paper, by `Numbered.make`: tidy; floats have six significant digits."""


def save_table(number: int, results: Results | EnglishResults, directory: Path) -> Path:
    """Make a table and write `table_NN.csv` to `directory`.

    Raises:
        PolcaError: as `make_table`, or the folder cannot be written.
    """
    path = directory / f"table_{number:02d}.csv"
    write_csv(path, make_table(number, results))
    return path


def save_tables(results: PresetResults, directory: Path) -> list[Path]:
    """Make and write all tables of the settings that the preset has."""
    return [save_table(number, own, directory) for number, own in _TABLES.sources(results)]
