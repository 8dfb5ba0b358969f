"""Tables 8–11 over several seeds of training and data: every value, mean and standard deviation."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.files import write_csv, write_json
from polca.method.bases import Basis, axis_basis, hessian_basis, random_basis, shuffled
from polca.method.breakthrough import hidden_fraction
from polca.method.checkpoints import CheckpointDirectory, select_steps
from polca.method.projections import Projections, project_bases
from polca.study.analyses import TABLES, analyse, trajectories_of
from polca.study.scores import BASES, SCORES, best_clusters, three_best
from polca.study.settings import ArithmeticSettings
from polca.tasks.arithmetic import batch
from polca.tasks.arithmetic_labels import carry_labels, place_labels
from polca.tasks.training import train
from polca.tasks.transformer import TokenLoss, initialize
from polca.validity.profiles import CELLS, cluster_profiles, skill_cells, vector_profiles
from polca.validity.seeds_settings import of_seed

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


def train_and_project(settings: ArithmeticSettings, work: Path) -> dict[str, Projections]:
    """Everything from data to projections for one seed, in the folder `work`; a killed run goes on where it was.

    The checkpoints are removed at the end; the bases and projections stay.
    """
    finished = {name: work / "projections" / f"{name}.npz" for name in BASES}
    if all(path.is_file() for path in finished.values()):
        return {name: Projections.load(path) for name, path in finished.items()}
    data, size, loss = settings.data(), settings.training.batch_size, TokenLoss(settings.model)
    start = initialize(settings.model, settings.seed)
    checkpoints = CheckpointDirectory(work / "checkpoints", {name: p.shape for name, p in start.items()})
    if not (work / "trained.json").is_file():
        train(
            loss,
            start,
            lambda step: batch(data.training[step * size : (step + 1) * size]),
            settings.training,
            checkpoints,
            resume=work / "state",
            description=f"train seed {settings.seed}",
        )
        write_json(work / "trained.json", {"steps": settings.training.steps})
    sample = [batch(data.training[: settings.basis.hessian_examples])]
    steps = settings.basis_steps()
    bases: dict[str, Basis] = {}
    for name, order in (("hessian", steps), ("shuffled_hessian", shuffled(steps, settings.seed))):
        bases[name] = hessian_basis(
            loss,
            checkpoints,
            sample,
            steps=order,
            per_step=settings.basis.per_step,
            which=settings.basis.which,
            tolerance=settings.basis.tolerance,
            seed=settings.seed,
            kind=name,
            resume=work / name,
        )
    at = [step for step in steps for _ in range(settings.basis.per_step)]
    bases["random"] = random_basis(start, len(at), steps=at, seed=settings.seed)
    bases["lca"] = axis_basis(checkpoints.load(checkpoints.steps()[-1]), settings.lca_parameters)
    tokens, per_batch = data.evaluation, settings.polca.batch_sequences
    projections = project_bases(
        loss,
        checkpoints,
        bases,
        [batch(tokens[i : i + per_batch]) for i in range(0, len(tokens), per_batch)],
        steps=select_steps(checkpoints.steps(), settings.polca.interval),
        method="backward",
        resume=work / "projected",
    )
    for name, result in projections.items():
        result.save(finished[name])
    for folder in ("checkpoints", "state", "projected", "hessian", "shuffled_hessian"):
        shutil.rmtree(work / folder, ignore_errors=True)
    return projections


def _profile_rows(kind: str, seed: int, keys: Mapping[str, Any], profiles: NDArray[np.float64]) -> pd.DataFrame:
    head = {"seed": np.full(len(profiles), seed), "kind": kind, "index": np.arange(len(profiles)), **keys}
    return pd.DataFrame(head | {cell: profiles[:, c] for c, cell in enumerate(CELLS)})


def seed_tables(
    projections: Mapping[str, Projections],
    place: NDArray[np.integer],
    carry: NDArray[np.bool_],
    settings: ArithmeticSettings,
) -> dict[str, pd.DataFrame]:
    """The tables of `analyses.TABLES` for every analysis of Tables 8–11, and `profiles`, all with a column `seed`."""
    parts: dict[str, list[pd.DataFrame]] = {table: [] for table in (*TABLES, "profiles")}
    cells = skill_cells(place, carry)
    for name in SEEDS_ANALYSES:
        result = analyse(name, projections, place, carry, settings)
        for table in TABLES:
            parts[table].append(result.tables[table])
        if name == PROFILED:
            c, trajectories = result.clusters, trajectories_of(name, projections, settings)
            vectors = {"vector": np.arange(len(c.labels)) + 1, "cluster": -1, "kept": c.vector_kept}
            clusters = {"vector": c.cluster_vector + 1, "cluster": c.cluster_index, "kept": True}
            parts["profiles"].append(
                _profile_rows("vector", settings.seed, vectors, vector_profiles(trajectories, cells))
            )
            parts["profiles"].append(_profile_rows("cluster", settings.seed, clusters, cluster_profiles(c, cells)))
    tables = {}
    for table, found in parts.items():
        whole = pd.concat([f for f in found if len(f)] or found[:1], ignore_index=True)
        if "seed" not in whole:
            whole.insert(0, "seed", settings.seed)
        tables[table] = whole
    return tables


@dataclass(frozen=True)
class SeedsWork:
    """What a worker needs: the preset's settings on the grid of the seeds, and a folder to work in."""

    settings: ArithmeticSettings
    folder: Path


def run_seed(shared: SeedsWork, seed: int) -> dict[str, float]:
    """One seed from data to tables, which it writes to `<folder>/tables/<table>/<seed>.csv`."""
    settings, work = of_seed(shared.settings, seed), shared.folder / f"seed_{seed}"
    projections = train_and_project(settings, work)
    evaluation = settings.data().evaluation
    tables = seed_tables(projections, place_labels(evaluation), carry_labels(evaluation), settings)
    for table, rows in tables.items():
        write_csv(shared.folder / "tables" / table / f"{seed}.csv", rows)
    return {"last_loss": float(projections["hessian"].losses[-1].mean(dtype=np.float64))}


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
