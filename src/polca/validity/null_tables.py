"""The tables of the null stage: rows of Tables 8 to 11, and English's simple labels, against chance.

Not in the paper.
"""

from typing import Any

import numpy as np
import pandas as pd

from polca.machine.files import read_csv, read_npz
from polca.machine.progress import progress
from polca.method.clustering import Clusters, memberships
from polca.study.archive import Archive
from polca.study.settings import Preset
from polca.tasks.arithmetic.labels import EVALUATION_FORM
from polca.tasks.arithmetic.scores import ANALYSES
from polca.validity.permutation import (
    beside_the_maximum,
    by_chance,
    label_null,
    simple_flags,
    simple_null,
    simple_row,
    time_null,
    vector_null,
)
from polca.validity.settings import ChanceSettings


def arithmetic_tables(preset: Preset, chance: ChanceSettings) -> dict[str, pd.DataFrame]:
    """Best clusters and hidden breakthroughs of every analysis against their nulls, and means beside the maximum."""
    settings, out = preset.arithmetic().settings, preset.paths.task("arithmetic")
    skills = read_npz(out.labels, EVALUATION_FORM)
    place, carry = skills["place"], skills["carry"].astype(bool)
    vectors, partitions = read_csv(out.table("vectors")), read_csv(out.table("partitions"))
    best: list[dict[str, Any]] = []
    hidden: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    with progress("permutations", len(ANALYSES) * (chance.vector_permutations + 1)) as bar:
        for number, (name, (basis, strategy)) in enumerate(ANALYSES.items()):
            # A stream of its own for each analysis, so that none depends on which others there are.
            rng = np.random.default_rng([chance.seed, number])
            head = {"analysis": name, "basis": basis, "strategy": strategy}
            trajectories = Archive.load(out.trajectory(name)).trajectories()
            labels = Clusters.load(out.cluster(name)).labels
            for name_of_null in ("labels", "labels_within_place"):
                within = name_of_null == "labels_within_place"
                null = label_null(labels, place, carry, chance.permutations, rng, within_place=within)
                best.append({**head, "null": name_of_null, **null.row()})
            # Trajectories without a basis have no vectors to swap.
            if len(labels) > 1:
                null = vector_null(
                    trajectories.values,
                    labels,
                    place,
                    carry,
                    chance.vector_permutations,
                    rng,
                    filters=trajectories.projected,
                    min_cluster_size=settings.clustering.min_cluster_size,
                    min_samples_divisor=settings.clustering.min_samples_divisor,
                    advance=bar.advance,
                )
                best.append({**head, "null": "vectors", **null.row()})
            else:
                bar.advance(chance.vector_permutations)
            share, drawn = time_null(
                trajectories.values,
                trajectories.steps,
                labels,
                chance.permutations,
                rng,
                delta=settings.breakthroughs.delta,
                flat_step=settings.breakthroughs.flat_step,
            )
            hidden.append(
                {
                    **head,
                    "clusters": len(memberships(labels)[0]),
                    "observed": share,
                    **by_chance(share, drawn),
                    "permutations": len(drawn),
                }
            )
            beside.append({**head, **beside_the_maximum(vectors, partitions, name, len(place))})
            bar.advance()
    return {"best": pd.DataFrame(best), "hidden": pd.DataFrame(hidden), "beside": pd.DataFrame(beside)}


def english_tables(preset: Preset, chance: ChanceSettings) -> dict[str, pd.DataFrame]:
    """Simple labels of every analysis against tokens that swap their tag patterns."""
    task, out = preset.english(), preset.paths.task("english")
    targets, labels = task.tagged_text(read_npz(out.labels)).targets, task.settings.labels
    coverage, limit = labels.coverage, labels.simple_tags
    rows: list[dict[str, Any]] = []
    simple_clusters: list[dict[str, Any]] = []
    for number, name in enumerate(task.analyses):
        rng = np.random.default_rng([chance.seed, len(ANALYSES) + number])
        clusters = Clusters.load(out.cluster(name))
        inside, vectors = memberships(clusters.labels)
        simple = simple_flags(inside, targets.tags, targets.names, coverage, limit)
        drawn = simple_null(inside, targets.tags, targets.names, coverage, limit, chance.permutations, rng)
        rows.append({"analysis": name, "kept": int(clusters.vector_kept.sum()), **simple_row(simple, drawn, vectors)})
        for m, size in enumerate(inside.sum(axis=1)):
            simple_clusters.append(
                {
                    "analysis": name,
                    "vector": int(vectors[m]) + 1,
                    "cluster": int(clusters.cluster_index[m]),
                    "size": int(size),
                    "simple": bool(simple[m]),
                    "by_chance": float(drawn[:, m].mean()),
                }
            )
    columns = ["analysis", "vector", "cluster", "size", "simple", "by_chance"]
    return {"simple": pd.DataFrame(rows), "simple_clusters": pd.DataFrame(simple_clusters, columns=columns)}
