"""Table 12: first-order against second-order POLCA trajectories."""

import pandas as pd

from polca.report.tables.formats import tidy
from polca.study.results import Results

COLUMNS = {"reading": "str", "quantity": "str", "value": "float64", "published": "float64"}


def table_12(results: Results) -> pd.DataFrame:
    """Table 12 under two readings of the printed numbers: `as_printed`, and with the column heads swapped.

    The text calls the two trajectories very similar, which a cosine similarity of 5.5e-4 would contradict: the heads
    are evidently swapped.
    """
    printed = results.published_part("table_12")
    cosine, norm = printed["cosine_similarity"], printed["l2_norm"]
    rows = [
        {
            "reading": reading,
            "quantity": quantity,
            "value": results.scalar(f"table_12.{quantity}"),
            "published": value,
        }
        for reading, values in (("as_printed", (cosine, norm)), ("heads_swapped", (norm, cosine)))
        for quantity, value in zip(("cosine_similarity", "l2_norm"), values, strict=True)
    ]
    return tidy(rows, COLUMNS)
