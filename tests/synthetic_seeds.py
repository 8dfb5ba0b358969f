"""Made-up values of Tables 8–11 over seeds."""

import numpy as np
import pandas as pd

from polca.tasks.arithmetic.scores import ROWS
from polca.validity.seeds import table_values
from synthetic import READINGS

SEEDS = range(5)


def made_up_values() -> pd.DataFrame:
    """Five seeds; the exact loss never has an eligible cluster, POLCA has one in three, of raw trajectories in one."""
    generator = np.random.default_rng(0)
    analyses = list(dict.fromkeys(name for rows in ROWS.values() for name in rows.values()))
    eligible = {"standardised": 3, "raw": 1}
    clusters = pd.DataFrame(
        [
            {
                "seed": s, "analysis": a, "reading": reading, "vector": 1, "cluster": 0, "size": 30,
                "homogeneity": generator.random(), "recall": 0.5, "f1": 0.6,
                "eligible": a != "loss" and (a != "polca" or s < eligible[reading]), "hidden": s == 0,
            }
            for reading in READINGS
            for s in SEEDS
            for a in analyses
        ]
    )  # fmt: skip
    vectors = pd.DataFrame(
        [
            {"seed": s, "analysis": a, "reading": reading}
            | {f"auc_{p}": generator.uniform(0.5, 1) for p in ("1000s", "100s", "10s")}
            for reading in READINGS
            for s in SEEDS
            for a in analyses
        ]
    )
    return table_values(clusters, vectors)
