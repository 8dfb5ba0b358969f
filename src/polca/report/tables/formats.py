"""Numbers as tables and metrics print them."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

SIGNIFICANT = 6
"""Significant digits of every reproduced number in `paper/<preset>/`."""


def rounded(value: float) -> float:
    """`value` with `SIGNIFICANT` digits."""
    return float(f"{value:.{SIGNIFICANT}g}")


def text(value: Any) -> str:
    """A setting as text: whole numbers in full, others with `SIGNIFICANT` digits, lists with commas."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(text(v) for v in value)
    if isinstance(value, float):
        return f"{value:.{SIGNIFICANT}g}"
    return str(value)


def finite(value: float) -> float | int | None:
    """A number for JSON, rounded unless it is whole; None for NaN and infinities, which JSON has no word for."""
    if isinstance(value, int):
        return value
    return rounded(value) if math.isfinite(value) else None


def tidy(rows: pd.DataFrame | list[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a table with these columns and types; missing values are empty, floats are rounded."""
    table = pd.DataFrame(rows, columns=list(columns)).astype(dict(columns))
    floats = [name for name, kind in columns.items() if kind == "float64"]
    table[floats] = table[floats].map(rounded)
    return table
