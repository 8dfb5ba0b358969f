"""Tables 8–11 over several seeds of training and data: every value, mean and standard deviation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import stacked, write_csv
from polca.method.breakthrough import hidden_fraction
from polca.method.projections import Projections
from polca.study import in_memory
from polca.study.stages.cluster import ExactLosses, cluster_analysis
from polca.study.stages.trajectories import decompose_analysis
from polca.tasks.arithmetic.scores import SCORES, best_clusters, three_best
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.task import Labels
from polca.validity.profiles import CELLS, cluster_profiles, skill_cells, vector_profiles
from polca.validity.settings import of_seed

ROWS: Mapping[int, Mapping[str, str]] = {
    8: {n: n for n in ("loss", "loss_change", "fisher", "lca", "polca_first_order", "polca")},
    9: {n: n for n in ("loss", "loss_change", "fisher", "lca", "polca_first_order", "polca")},
    10: {"random": "polca_random", "shuffled_hessian": "polca_shuffled_hessian", "hessian": "polca"},
    11: {"random": "polca_random", "shuffled_hessian": "polca_shuffled_hessian", "hessian": "polca"},
}
"""Rows of Tables 8–11 and the analyses behind them."""
SEEDS_ANALYSES = tuple(dict.fromkeys(name for rows in ROWS.values() for name in rows.values()))
PROFILED = "polca"
"""The analysis whose vectors and clusters are matched between seeds."""


def _profile_rows(kind: str, seed: int, keys: Mapping[str, Any], profiles: NDArray[np.float64]) -> pd.DataFrame:
    head = {"seed": np.full(len(profiles), seed), "kind": kind, "index": np.arange(len(profiles)), **keys}
    return pd.DataFrame(head | {cell: profiles[:, c] for c, cell in enumerate(CELLS)})


def seed_tables(
    task: ArithmeticTask, projections: Mapping[str, Projections], labels: Labels
) -> dict[str, pd.DataFrame]:
    """The task's tables for every analysis of Tables 8–11, and `profiles`, all with a column `seed`."""
    seed, losses = task.settings.seed, ExactLosses.of(projections)
    parts: dict[str, list[pd.DataFrame]] = {}
    cells = skill_cells(labels["place"], labels["carry"])
    for name in SEEDS_ANALYSES:
        trajectories = decompose_analysis(task, name, projections)
        done = cluster_analysis(task, name, trajectories, losses, labels)
        for table, rows in done.tables.items():
            parts.setdefault(table, []).append(rows)
        if name == PROFILED:
            c = done.clusters
            vectors = {"vector": np.arange(len(c.labels)) + 1, "cluster": -1, "kept": c.vector_kept}
            clusters = {"vector": c.cluster_vector + 1, "cluster": c.cluster_index, "kept": True}
            parts["profiles"] = [
                _profile_rows("vector", seed, vectors, vector_profiles(trajectories, cells)),
                _profile_rows("cluster", seed, clusters, cluster_profiles(c, cells)),
            ]
    tables = {}
    for table, rows_of in parts.items():
        whole = stacked(*rows_of)
        if "seed" not in whole:
            whole.insert(0, "seed", seed)
        tables[table] = whole
    return tables


@dataclass(frozen=True)
class SeedsWork:
    """What a worker needs: the task on the grid of the seeds, and a folder to work in."""

    task: ArithmeticTask
    folder: Path


def run_seed(work: SeedsWork, seed: int) -> dict[str, float]:
    """One seed from data to tables, which it writes to `<folder>/tables/<table>/<seed>.csv`."""
    task = of_seed(work.task, seed)
    study = in_memory.run(task)
    for table, rows in seed_tables(task, study.projections, study.labels).items():
        write_csv(work.folder / "tables" / table / f"{seed}.csv", rows)
    return {"last_loss": float(study.projections["hessian"].losses[-1].mean(dtype=np.float64))}


def table_values(clusters: pd.DataFrame, vectors: pd.DataFrame) -> pd.DataFrame:
    """Tables 8–11 of every seed, one value a row.

    Returns:
        Columns table, row, rank (0 where there is none), measure, seed, value; NaN where a seed has no such cluster.
        Beside the paper's measures, Table 8 and 10 have `auc_<place>`: the best vector's AUC for carries, dropped
        vectors included.
    """
    rows: list[tuple[int, str, int, str, int, float]] = []
    for seed in sorted(vectors["seed"].unique()):
        mine, own = clusters[clusters["seed"] == seed], vectors[vectors["seed"] == seed]
        for table, names in ROWS.items():
            for row, analysis in names.items():
                if table in (8, 10):
                    best = three_best(mine, analysis)
                    for rank in (1, 2, 3):
                        for score in SCORES:
                            value = float(best[score].iloc[rank - 1]) if rank <= len(best) else float("nan")
                            rows.append((table, row, rank, score, int(seed), value))
                    of_analysis = own[own["analysis"] == analysis]
                    for place in ("1000s", "100s", "10s"):
                        rows.append(
                            (table, row, 0, f"auc_{place}", int(seed), float(of_analysis[f"auc_{place}"].max()))
                        )
                    rows.append((table, row, 0, "n_eligible", int(seed), float(len(best_clusters(mine, analysis)))))
                else:
                    fraction, count = hidden_fraction(mine, analysis)
                    rows.append((table, row, 0, "fraction_hidden", int(seed), fraction))
                    rows.append((table, row, 0, "n_clusters", int(seed), float(count)))
    return pd.DataFrame(rows, columns=["table", "row", "rank", "measure", "seed", "value"])


def summarize_values(values: pd.DataFrame, published: Mapping[str, Any]) -> pd.DataFrame:
    """Mean, sample standard deviation, least and largest value over the seeds that have one, beside the published.

    Args:
        values: of `table_values`.
        published: `data/published.yaml`.
    """
    seeds = values["seed"].nunique()
    rows: list[dict[str, Any]] = []
    keys = ["table", "row", "rank", "measure"]
    for head in values[keys].drop_duplicates().to_dict("records"):
        found = values.loc[(values[keys] == pd.Series(head)).all(axis=1), "value"].dropna()
        numbers = {
            "mean": found.mean(),
            "sd": found.std(ddof=1),
            "least": found.min(),
            "largest": found.max(),
            "seeds_with_value": len(found),
            "seeds": seeds,
        }
        rows.append({**{str(k): v for k, v in head.items()}, **numbers, "published": _published(published, head)})
    return pd.DataFrame(rows)


def _published(published: Mapping[str, Any], head: Mapping[Any, Any]) -> float:
    """The paper's value of a row of `summarize_values`; NaN where it has none."""
    try:
        entry = published[f"table_{head['table']:02d}"][head["row"]]
    except KeyError as error:
        raise PolcaError(f"data/published.yaml: no entry {error} of Table {head['table']}: restore the file") from error
    if head["measure"] == "fraction_hidden":
        return float(entry)
    if head["measure"] in SCORES and head["rank"] <= len(entry):
        return float(entry[head["rank"] - 1][SCORES.index(head["measure"])])
    return float("nan")
