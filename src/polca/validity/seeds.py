"""Tables 8–11 over several seeds of training and data: every value, mean and standard deviation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import stacked, write_csv
from polca.method.breakthrough import hidden_fraction
from polca.method.projections import Projections
from polca.study import in_memory
from polca.study.stages.cluster import ExactLosses, cluster_analysis
from polca.study.stages.signatures import all_signature_tables, compared_analyses, compared_trajectories
from polca.study.stages.trajectories import decompose_analysis
from polca.tasks.arithmetic.labels import PLACES
from polca.tasks.arithmetic.scores import ROWS, SCORES, best_clusters, three_best
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.task import Labels
from polca.typing import Reading
from polca.validity.profiles import CELLS, cluster_profiles, skill_cells, vector_profiles
from polca.validity.settings import SpecificationSettings, of_seed
from polca.validity.specification import Grid
from polca.validity.within_class import ALL, within_class_table

SEEDS_ANALYSES = tuple(dict.fromkeys(name for rows in ROWS.values() for name in rows.values()))
PROFILED = "polca"
"""The analysis whose vectors and clusters are matched between seeds."""


def _profile_rows(kind: str, keys: Mapping[str, Any], profiles: NDArray[np.float64]) -> pd.DataFrame:
    cells = {cell: profiles[:, c] for c, cell in enumerate(CELLS)}
    return pd.DataFrame({"kind": kind, "index": np.arange(len(profiles)), **keys, **cells})


def seed_tables(
    task: ArithmeticTask, projections: Mapping[str, Projections], labels: Labels, grid: SpecificationSettings
) -> dict[str, pd.DataFrame]:
    """The task's tables for every analysis of Tables 8–11, and `profiles`, those of `probes_of` and `specification`.

    All have a column `seed`. The grid of the specifications is not thinned any further here, and has no form that needs
    curvature, which further seeds lack.
    """
    losses = ExactLosses.of(projections)
    parts: dict[str, list[pd.DataFrame]] = {}
    cells = skill_cells(labels["place"], labels["carry"])
    for name, reading in product(SEEDS_ANALYSES, get_args(Reading)):
        trajectories = decompose_analysis(task, name, projections)
        done = cluster_analysis(task, name, trajectories, losses, labels, reading)
        for table, rows in done.tables.items():
            parts.setdefault(table, []).append(rows.assign(reading=reading))
        if name == PROFILED and reading == task.settings.plots.reading:
            c = done.clusters
            vectors = {"vector": np.arange(len(c.labels)) + 1, "cluster": -1, "kept": c.vector_kept}
            clusters = {"vector": c.cluster_vector + 1, "cluster": c.cluster_index, "kept": True}
            parts["profiles"] = [
                _profile_rows("vector", vectors, vector_profiles(trajectories, cells)),
                _profile_rows("cluster", clusters, cluster_profiles(c, cells)),
            ]
    tables = {table: stacked(*rows) for table, rows in parts.items()} | probes_of(task, projections, labels)
    for whole in tables.values():
        whole.insert(0, "seed", task.settings.seed)
    plain = replace(projections["hessian"], curvatures=None, token_curvatures=None)
    specified = Grid.of(labels, task.settings, grid.changed(thinning=(1,)))
    return {**tables, "specification": specified.of_projections(plain)}


def probes_of(task: ArithmeticTask, projections: Mapping[str, Projections], labels: Labels) -> dict[str, pd.DataFrame]:
    """What all vectors together tell apart (`study.stages.signatures`), and clusters `within_class`."""
    trajectories = {name: decompose_analysis(task, name, projections) for name in compared_analyses(task)}
    inside = within_class_table(trajectories, labels, task.settings.clustering)
    compared = compared_trajectories(task, trajectories, projections)
    return {**all_signature_tables(task, compared, labels), "within_class": inside}


@dataclass(frozen=True)
class SeedsWork:
    """What a worker needs: the task on the grid of the seeds, that of the specifications, and a folder to work in."""

    task: ArithmeticTask
    grid: SpecificationSettings
    folder: Path


def run_seed(work: SeedsWork, seed: int) -> dict[str, float]:
    """One seed from data to tables, which it writes to `<folder>/tables/<table>/<seed>.csv`."""
    task = of_seed(work.task, seed)
    study = in_memory.run(task)
    for table, rows in seed_tables(task, study.projections, study.labels, work.grid).items():
        write_csv(work.folder / "tables" / table / f"{seed}.csv", rows)
    return {"last_loss": float(study.projections["hessian"].losses[-1].mean(dtype=np.float64))}


def table_values(clusters: pd.DataFrame, vectors: pd.DataFrame) -> pd.DataFrame:
    """Tables 8–11 of every seed, one value a row.

    Returns:
        Columns table, row, reading, rank (0 where there is none), measure, seed, value; NaN where a seed has no such
        cluster.
        Beside the paper's measures, Table 8 and 10 have `auc_<place>`: the best vector's AUC for carries, dropped
        vectors included.
    """
    rows: list[tuple[int, str, str, int, str, int, float]] = []
    for reading, seed in product(get_args(Reading), sorted(vectors["seed"].unique())):
        mine, own = (t[(t["seed"] == seed) & (t["reading"] == reading)] for t in (clusters, vectors))
        for table, names in ROWS.items():
            for row, analysis in names.items():
                found = _carry_values(mine, own, analysis) if table in (8, 10) else _hidden_values(mine, analysis)
                rows += [(table, row, reading, rank, name, int(seed), value) for (rank, name), value in found.items()]
    return pd.DataFrame(rows, columns=["table", "row", "reading", "rank", "measure", "seed", "value"])


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
    summary = _over_seeds(values, ["table", "row", "reading", "rank", "measure"])
    return summary.assign(published=[_published(published, row) for row in summary.to_dict("records")])


def _over_seeds(values: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Mean, sample standard deviation, least and largest of the column `value` over the seeds that have one."""
    seeds = values["seed"].nunique()
    rows: list[dict[str, Any]] = []
    for key, found in values.groupby(keys, sort=False)["value"]:
        numbers = found.dropna()
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "mean": numbers.mean(),
                "sd": numbers.std(ddof=1),
                "least": numbers.min(),
                "largest": numbers.max(),
                "seeds_with_value": len(numbers),
                "seeds": seeds,
            }
        )
    return pd.DataFrame(rows)


def summarize_probes(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The same over seeds of every number of the tables of `probes_of`.

    Returns:
        Columns table, analysis, label (of `probes` and `emergence` the place; of `within_class` the reading, of all
        digits together), measure, then those of `summarize_values` but `published`. Of `emergence` the vector that
        tells carries apart best at the end of its seed counts.
    """
    keys = ["table", "analysis", "label", "measure"]
    emergence, inside = tables["emergence"], tables["within_class"]
    best = emergence.sort_values("auc_last", kind="stable").groupby(["seed", "analysis", "place"], sort=False).tail(1)
    plain = {
        "probes": tables["probes"].rename(columns={"place": "label"}),
        "signatures": tables["signatures"],
        "joint": tables["joint"],
        "emergence": best.drop(columns="vector").rename(columns={"place": "label"}),
        "within_class": inside[inside["digit"] == ALL].drop(columns="digit").rename(columns={"reading": "label"}),
    }
    long = [
        table.assign(table=name).melt(["seed", *keys[:3]], var_name="measure", value_name="value")
        for name, table in plain.items()
    ]
    return _over_seeds(stacked(*long), keys)


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
