"""What all vectors together tell apart, without the clusters of single vectors: scores, a map, and controls.

Not the paper's. Projected losses are seen through `signatures`; the exact loss and its change, which have one number
where those have one for each vector, are given every point of their trajectory. Controls are the gradients of single
checkpoints along the same vectors: what they show needs no path through training.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from polca.machine.files import stacked
from polca.method.decomposition import Trajectories
from polca.method.maps import joint_clusters, token_map
from polca.method.probes import (
    NEIGHBOURS,
    PERMUTATIONS,
    chance_agreement,
    nearest_rows,
    neighbour_null,
    same_label,
    variance_explained,
)
from polca.method.projections import Projections
from polca.method.signatures import token_features
from polca.tasks.task import Labels, Skill, Tables, Task

STRATEGIES = ("polca", "polca_first_order", "loss", "loss_change")
"""Strategies of the analyses that are compared."""
CONTROLLED = ("hessian", "random")
"""Bases along which gradients of single checkpoints are compared as well."""
MOMENTS = {"first": 0.0, "middle": 0.5, "last": 1.0}
"""Checkpoints of these gradients, as shares of training."""
NULL_POINT = 0.95

COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "label": "str", "tokens": "int64", "kinds": "int64", "features": "int64"},
    **dict.fromkeys(("agreement", "chance", "null_95", "within_null_95"), "float64"),
    **dict.fromkeys(("variance_mean", "variance_max"), "float64"),
}
JOINT_COLUMNS: Mapping[str, str] = {
    **{"analysis": "str", "label": "str", "tokens": "int64", "clusters": "int64"},
    **{"outliers": "float64", "ari": "float64"},
}


def change_of(loss: Trajectories) -> Trajectories:
    """The change of the exact loss from each point to the next, `[1, X, C − 1]`."""
    change = np.diff(loss.values.astype(np.float64), axis=2).astype(np.float32)
    return Trajectories("loss_change", change, loss.steps[1:], projected=False)


def compared_analyses(task: Task) -> list[str]:
    """The analyses whose trajectories are compared: each basis and strategy once, with the preset's second order."""
    found: dict[tuple[str | None, str], str] = {}
    for name, analysis in task.analyses.items():
        if analysis.strategy in STRATEGIES and analysis.second_order is None:
            found.setdefault((analysis.basis, analysis.strategy), name)
    return list(found.values())


def control_trajectories(projections: Mapping[str, Projections]) -> Iterator[Trajectories]:
    """Gradients `[K, X, 1]` of each of `MOMENTS` along each of `CONTROLLED`, named `gradients_<moment>_<basis>`."""
    for basis in CONTROLLED:
        if basis in projections:
            p = projections[basis]
            for moment, share in MOMENTS.items():
                point = round(share * (len(p.steps) - 1))
                values = np.ascontiguousarray(p.gradients[point].T[:, :, None])
                yield Trajectories(f"gradients_{moment}_{basis}", values, p.steps[[point]], projected=True)


def signature_scores(
    analysis: str,
    trajectories: Trajectories,
    skills: Mapping[str, Skill],
    *,
    neighbours: int = NEIGHBOURS,
    permutations: int = PERMUTATIONS,
) -> pd.DataFrame:
    """How far tokens that all vectors together treat alike have their labels in common.

    Returns:
        One row a label, with the columns of `COLUMNS`:

        - tokens, kinds: how many are asked, and of how many different labels;
        - features: how many numbers a token neighbours are sought by;
        - agreement: share of the nearest neighbours among these tokens with the same label; NaN for too few tokens;
        - chance, null_95: the same for any two tokens, and the 95 % point of labels permuted among all tokens;
        - within_null_95: that of labels permuted among tokens with the same `Skill.within`; NaN where there is none;
        - variance_mean, variance_max: η² of the label in the last value along a vector, mean and largest over vectors
          with any variance.

    Raises:
        PolcaError: labels that do not fit.
    """
    features, last = token_features(trajectories), trajectories.values[:, :, -1]
    nearest: dict[bytes, NDArray[np.int64]] = {}
    rows = []
    for name, skill in skills.items():
        among, label = skill.among, np.unique(skill.values[skill.among], return_inverse=True)[1]
        row: dict[str, Any] = {"analysis": analysis, "label": name, "features": features.shape[1]}
        row |= _explained(last[:, among], label)
        if int(among.sum()) > neighbours:
            found = nearest.get(key := among.tobytes())
            if found is None:
                found = nearest[key] = nearest_rows(features[among], neighbours)
            row["agreement"] = same_label(found, label)
            row["null_95"] = _null_point(neighbour_null(found, label, permutations))
            if skill.within is not None:
                row["within_null_95"] = _null_point(neighbour_null(found, label, permutations, skill.within[among]))
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict(COLUMNS))


def _explained(last: NDArray[np.float32], labels: NDArray[np.integer]) -> dict[str, Any]:
    """What is known of labels `[n]` and of the last values `[K, n]` without neighbours."""
    shares = np.array([variance_explained(values, labels) for values in last])
    shares = shares[np.isfinite(shares)]
    return {
        "tokens": len(labels),
        "kinds": len(np.unique(labels)),
        "chance": chance_agreement(labels),
        "variance_mean": float(shares.mean()) if len(shares) else float("nan"),
        "variance_max": float(shares.max()) if len(shares) else float("nan"),
    }


def _null_point(null: NDArray[np.float64]) -> float:
    return float(np.quantile(null, NULL_POINT, method="higher"))


def map_of(trajectories: Trajectories, skill: Skill) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The map `[n, 2]` of the tokens that a skill asks about, and its clusters `[n]`.

    Its least cluster is half of what a kind has on average: from the number of kinds alone, whatever they are.
    """
    coordinates = token_map(token_features(trajectories)[skill.among])
    kinds = len(np.unique(skill.values[skill.among]))
    return coordinates, joint_clusters(coordinates, max(5, len(coordinates) // (2 * kinds)))


def joint_scores(
    analysis: str, clusters: NDArray[np.integer], mapped: Skill, skills: Mapping[str, Skill]
) -> pd.DataFrame:
    """Adjusted Rand index of a map's clusters with each label, outliers as a group of their own: 0 by chance, 1 alike.

    Args:
        clusters: `[n]` of the tokens `mapped.among`.
        skills: labels; of each the tokens count that are on the map.

    Returns:
        One row a label, with the columns of `JOINT_COLUMNS`.
    """
    rows = []
    for name, skill in skills.items():
        here = skill.among[mapped.among]
        found, known = clusters[here], skill.values[mapped.among][here]
        rows.append(
            {
                "analysis": analysis,
                "label": name,
                "tokens": len(found),
                "clusters": int(clusters.max(initial=-1)) + 1,
                "outliers": float((clusters < 0).mean()),
                "ari": float(adjusted_rand_score(known, found)),
            }
        )
    return pd.DataFrame(rows, columns=list(JOINT_COLUMNS)).astype(dict(JOINT_COLUMNS))


def signature_tables(
    task: Task, analysis: str, trajectories: Trajectories, loss: Trajectories, labels: Labels
) -> Tables:
    """Tables of one analysis by name: `signatures`, and the task's own.

    Args:
        analysis: or the name of a control.
        loss: the exact losses, K = 1.
    """
    skills = task.skills(labels)
    scores = signature_scores(analysis, trajectories, skills)
    return {"signatures": scores, **task.probe_tables(analysis, trajectories, loss, labels)}


def scored_map(
    task: Task, analysis: str, trajectories: Trajectories, labels: Labels
) -> tuple[pd.DataFrame, dict[str, NDArray[Any]]]:
    """`joint_scores` of an analysis, and its map of the task's first skill: `coordinates [n, 2]` and `clusters [n]`."""
    skills = task.skills(labels)
    mapped = next(iter(skills.values()))
    coordinates, clusters = map_of(trajectories, mapped)
    return joint_scores(analysis, clusters, mapped, skills), {"coordinates": coordinates, "clusters": clusters}


def compared_trajectories(
    task: Task, trajectories: Mapping[str, Trajectories], projections: Mapping[str, Projections]
) -> dict[str, Trajectories]:
    """Everything that is compared, by name: the analyses, the change of the exact loss, and the controls.

    Args:
        trajectories: of `compared_analyses`.
    """
    chosen = {name: trajectories[name] for name in compared_analyses(task)}
    chosen.setdefault("loss_change", change_of(chosen["loss"]))
    return chosen | {control.name: control for control in control_trajectories(projections)}


def is_mapped(name: str) -> bool:
    """Whether something that is compared has a map; gradients of single checkpoints have none."""
    return not name.startswith("gradients_")


def all_signature_tables(task: Task, compared: Mapping[str, Trajectories], labels: Labels) -> Tables:
    """The tables of everything in `compared_trajectories`."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for name, own in compared.items():
        tables = signature_tables(task, name, own, compared["loss"], labels)
        if is_mapped(name):
            tables["joint"], _ = scored_map(task, name, own, labels)
        for table, rows in tables.items():
            parts.setdefault(table, []).append(rows)
    return {table: stacked(*rows) for table, rows in parts.items()}
