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
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import SCORES, best_clusters, three_best
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.task import Labels
from polca.validity.profiles import CELLS, cluster_profiles, skill_cells, vector_profiles
from polca.validity.settings import of_seed

_STRATEGIES = {n: n for n in ("loss", "loss_change", "fisher", "lca", "polca_first_order", "polca")}
_BASES = {"random": "polca_random", "shuffled_hessian": "polca_shuffled_hessian", "hessian": "polca"}
ROWS: Mapping[int, Mapping[str, str]] = {8: _STRATEGIES, 9: _STRATEGIES, 10: _BASES, 11: _BASES}
"""Rows of Tables 8–11 and the analyses behind them."""
SEEDS_ANALYSES = tuple(dict.fromkeys(name for rows in ROWS.values() for name in rows.values()))
PROFILED = "polca"
"""The analysis whose vectors and clusters are matched between seeds."""


def _profile_rows(kind: str, keys: Mapping[str, Any], profiles: NDArray[np.float64]) -> pd.DataFrame:
    cells = {cell: profiles[:, c] for c, cell in enumerate(CELLS)}
    return pd.DataFrame({"kind": kind, "index": np.arange(len(profiles)), **keys, **cells})


def seed_tables(
    task: ArithmeticTask, projections: Mapping[str, Projections], labels: Labels
) -> dict[str, pd.DataFrame]:
    """The task's tables for every analysis of Tables 8–11, and `profiles`, all with a column `seed`."""
    losses = ExactLosses.of(projections)
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
                _profile_rows("vector", vectors, vector_profiles(trajectories, cells)),
                _profile_rows("cluster", clusters, cluster_profiles(c, cells)),
            ]
    tables = {table: stacked(*rows) for table, rows in parts.items()}
    for whole in tables.values():
        whole.insert(0, "seed", task.settings.seed)
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
                found = _carry_values(mine, own, analysis) if table in (8, 10) else _hidden_values(mine, analysis)
                rows += [(table, row, rank, name, int(seed), value) for (rank, name), value in found.items()]
    return pd.DataFrame(rows, columns=["table", "row", "rank", "measure", "seed", "value"])


def _carry_values(clusters: pd.DataFrame, vectors: pd.DataFrame, analysis: str) -> dict[tuple[int, str], float]:
    """What Tables 8 and 10 say of an analysis in one seed, by rank and measure."""
    three = three_best(clusters, analysis).reindex(range(3))
    values = {(rank + 1, score): float(three[score].iloc[rank]) for rank in range(3) for score in SCORES}
    aucs = vectors[vectors["analysis"] == analysis]
    values |= {(0, f"auc_{place}"): float(aucs[f"auc_{place}"].max()) for place in PLACES[:3]}
    return values | {(0, "n_eligible"): float(len(best_clusters(clusters, analysis)))}


def _hidden_values(clusters: pd.DataFrame, analysis: str) -> dict[tuple[int, str], float]:
    """The same of Tables 9 and 11."""
    fraction, count = hidden_fraction(clusters, analysis)
    return {(0, "fraction_hidden"): fraction, (0, "n_clusters"): float(count)}


def summarize_values(values: pd.DataFrame, published: Mapping[str, Any]) -> pd.DataFrame:
    """Mean, sample standard deviation, least and largest value over the seeds that have one, beside the published.

    Args:
        values: of `table_values`.
        published: `data/published.yaml`.
    """
    seeds = values["seed"].nunique()
    rows: list[dict[str, Any]] = []
    keys = ["table", "row", "rank", "measure"]
    for key, found in values.groupby(keys, sort=False)["value"]:
        head, numbers = dict(zip(keys, key, strict=True)), found.dropna()
        rows.append(
            {
                **head,
                "mean": numbers.mean(),
                "sd": numbers.std(ddof=1),
                "least": numbers.min(),
                "largest": numbers.max(),
                "seeds_with_value": len(numbers),
                "seeds": seeds,
                "published": _published(published, head),
            }
        )
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
