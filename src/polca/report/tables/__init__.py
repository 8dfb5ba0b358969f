"""The paper's tables by number, with the published values beside ours. Each only reads result files."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from polca.errors import PolcaError
from polca.machine.files import write_csv
from polca.report.tables.clusters import table_01, table_08, table_09, table_10, table_11
from polca.report.tables.english_settings import table_05, table_06, table_07
from polca.report.tables.metrics import english_metrics, metrics, save_metrics
from polca.report.tables.orders import table_12
from polca.report.tables.settings import table_02, table_03, table_04
from polca.study.results import EnglishResults, Results

__all__ = [
    "ENGLISH_TABLES",
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
    2: table_02,
    3: table_03,
    4: table_04,
    8: table_08,
    9: table_09,
    10: table_10,
    11: table_11,
    12: table_12,
}
"""Tables of the arithmetic setting."""

ENGLISH_TABLES: dict[int, Callable[[EnglishResults], pd.DataFrame]] = {5: table_05, 6: table_06, 7: table_07}
"""Tables of the English setting."""


def make_table(number: int, results: Results | EnglishResults) -> pd.DataFrame:
    """A table of the paper, tidy; floats have six significant digits.

    Raises:
        PolcaError: an unknown number, one of the other setting, or a result file is missing or damaged.
    """
    if isinstance(results, EnglishResults) and number in ENGLISH_TABLES:
        return ENGLISH_TABLES[number](results)
    if isinstance(results, Results) and number in TABLES:
        return TABLES[number](results)
    if number in TABLES or number in ENGLISH_TABLES:
        raise PolcaError(f"table {number}: not of the {results.setting} setting: give the other setting's results")
    known = ", ".join(map(str, sorted([*TABLES, *ENGLISH_TABLES])))
    raise PolcaError(f"table {number}: not made here (known: {known})")


def save_table(number: int, results: Results | EnglishResults, directory: Path) -> Path:
    """Make a table and write `table_NN.csv` to `directory`.

    Raises:
        PolcaError: as `make_table`, or the folder cannot be written.
    """
    path = directory / f"table_{number:02d}.csv"
    write_csv(path, make_table(number, results))
    return path


def save_tables(results: Results, english: EnglishResults, directory: Path) -> list[Path]:
    """Make and write all tables."""
    return [
        save_table(number, english if number in ENGLISH_TABLES else results, directory)
        for number in sorted([*TABLES, *ENGLISH_TABLES])
    ]
