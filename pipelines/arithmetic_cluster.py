"""From projections to clusters: every strategy of Table 8 and basis of Table 10, scored against the skills."""

import pandas as pd

from polca.analyses import analyse, summarise
from polca.artifacts import PresetPaths, read_npz, write_csv, write_json
from polca.projections import Projections
from polca.scores import ANALYSES
from polca.settings import read_arithmetic
from polca.stage import publish, resumable, run


def main(paths: PresetPaths) -> None:
    settings, out = read_arithmetic(paths.params), paths.arithmetic
    evaluation = read_npz(out.evaluation)
    bases = sorted({basis for basis, _ in ANALYSES.values()} - {"none"})
    projections = {basis: Projections.load(out.projections / f"{basis}.npz") for basis in bases}
    clusters, vectors, partitions, guarded = [], [], [], {}
    with resumable(paths, "arithmetic_cluster", "arithmetic") as work:
        for name in ANALYSES:
            result = analyse(name, projections, evaluation["place"], evaluation["carry"], settings)
            result.clusters.save(work / "clusters" / f"{name}.npz")
            clusters.append(result.cluster_table)
            vectors.append(result.vector_table)
            partitions.append(result.partition_table)
            guarded[name] = result.guarded
        write_csv(out.cluster_table, pd.concat(clusters, ignore_index=True))
        write_csv(out.vector_table, pd.concat(vectors, ignore_index=True))
        write_csv(out.partition_table, pd.concat(partitions, ignore_index=True))
        write_json(out.summary, summarise(projections, settings, guarded))
        publish(work / "clusters", out.clusters)


if __name__ == "__main__":
    run(main)
