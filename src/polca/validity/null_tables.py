"""The tables of the null stage: rows of Tables 8 to 11, and English's simple labels, against chance.

Not in the paper.
"""

from itertools import product
from typing import Any, get_args

import numpy as np
import pandas as pd

from polca.machine.files import read_csv, read_npz, stacked
from polca.machine.progress import progress
from polca.method.clustering import Clusters, memberships
from polca.study.archive import Archive
from polca.study.results import read_losses
from polca.study.settings import Preset
from polca.tasks.arithmetic.labels import EVALUATION_FORM
from polca.tasks.arithmetic.scores import ANALYSES
from polca.typing import Reading
from polca.validity.permutation import Clustered, beside_the_maximum, best_row, by_chance, simple_null, simple_row
from polca.validity.settings import ChanceSettings


def arithmetic_tables(preset: Preset, chance: ChanceSettings) -> dict[str, pd.DataFrame]:
    """Best clusters and hidden breakthroughs of every analysis against their nulls, and means beside the maximum."""
    settings, readings = preset.arithmetic().settings, get_args(Reading)
    breaks, losses = settings.breakthroughs, read_losses(preset.paths.task("arithmetic"))
    eq_9 = {"delta": breaks.delta, "flat_step": losses.flat_step(breaks.fall)}
    skills = read_npz(preset.paths.task("arithmetic").labels, EVALUATION_FORM)
    place, carry = skills["place"], skills["carry"].astype(bool)
    rows: dict[str, list[dict[str, Any]]] = {"best": [], "hidden": [], "beside": []}
    own = [(number, row) for number, row in enumerate(ANALYSES.items()) if row[0] in preset.arithmetic().analyses]
    with progress("permutations", len(readings) * len(own) * (chance.vector_permutations + 1)) as bar:
        for reading, (number, (name, (basis, strategy))) in product(readings, own):
            out = preset.paths.task("arithmetic", reading)
            vectors, partitions = read_csv(out.table("vectors")), read_csv(out.table("partitions"))
            # A stream of its own for each analysis, so that none depends on which others there are.
            rng = np.random.default_rng([chance.seed, number])
            head = {"analysis": name, "basis": basis, "strategy": strategy, "reading": reading}
            clusters = Clusters.load(out.cluster(name))
            study = Clustered(Archive.load(out.trajectory(name)).trajectories(), clusters.labels, place, carry)
            nulls = {
                "labels": study.swap_skills(chance.permutations, rng),
                "labels_within_place": study.swap_skills(chance.permutations, rng, within_place=True),
            }
            # Trajectories without a basis have no vectors to swap.
            if len(clusters.labels) > 1:
                nulls["vectors"] = study.swap_vectors(
                    chance.vector_permutations, rng, settings.clustering, reading == "standardised", bar.advance
                )
            else:
                bar.advance(chance.vector_permutations)
            rows["best"] += [{**head, "null": null, **best_row(scores)} for null, scores in nulls.items()]
            times = study.swap_times(chance.permutations, rng, **eq_9)
            share = {"clusters": len(clusters), **by_chance(times), "permutations": len(times) - 1}
            rows["hidden"].append({**head, **share})
            rows["beside"].append({**head, **beside_the_maximum(vectors, partitions, name, len(place))})
            bar.advance()
    return {name: pd.DataFrame(of_table) for name, of_table in rows.items()}


def english_tables(preset: Preset, chance: ChanceSettings) -> dict[str, pd.DataFrame]:
    """Simple labels of every analysis against tokens that swap their tag patterns."""
    task = preset.english()
    targets = task.tagged_text(read_npz(preset.paths.task("english").labels)).targets
    labels = task.settings.labels
    rows: list[dict[str, Any]] = []
    of_clusters: list[pd.DataFrame] = []
    for reading, (number, name) in product(get_args(Reading), enumerate(task.analyses)):
        rng = np.random.default_rng([chance.seed, len(ANALYSES) + number])
        clusters = Clusters.load(preset.paths.task("english", reading).cluster(name))
        inside, vectors = memberships(clusters.labels)
        simple = simple_null(
            inside, targets.tags, targets.names, labels.coverage, labels.simple_tags, chance.permutations, rng
        )
        head = {"analysis": name, "reading": reading}
        rows.append({**head, "kept": int(clusters.vector_kept.sum()), **simple_row(simple, vectors)})
        columns = {
            **head,
            "vector": vectors + 1,
            "cluster": clusters.cluster_index,
            "size": inside.sum(axis=1),
            "simple": simple[0],
            "by_chance": simple[1:].mean(axis=0),
        }
        of_clusters.append(pd.DataFrame(columns))
    return {"simple": pd.DataFrame(rows), "simple_clusters": stacked(*of_clusters)}
