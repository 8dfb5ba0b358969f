"""From projections to clusters: every strategy of Table 8 and basis of Table 10, scored against the skills."""

from pathlib import Path
from typing import Any

from polca.machine.files import PresetPaths, read_csv, read_npz, write_csv, write_json
from polca.machine.parallel import map_processes
from polca.method.projections import Projections
from polca.study.analyses import TABLES, analyse, summarise
from polca.study.scores import ANALYSES
from polca.study.settings import ArithmeticSettings, read_arithmetic
from polca.study.stage import publish, resumable, run
from polca.tasks.arithmetic_labels import EVALUATION_FORM

Shared = tuple[ArithmeticSettings, dict[str, Projections], dict[str, Any], Path]


def make_analysis(shared: Shared, name: str) -> dict[str, int]:
    """Make one analysis and write it to the work folder."""
    settings, projections, evaluation, work = shared
    result = analyse(name, projections, evaluation["place"], evaluation["carry"], settings)
    result.clusters.save(work / "clusters" / f"{name}.npz")
    for table in TABLES:
        write_csv(work / table / f"{name}.csv", result.tables[table])
    return {"guarded": result.guarded}


def main(paths: PresetPaths) -> None:
    settings, out = read_arithmetic(paths.params), paths.arithmetic
    bases = sorted({basis for basis, _ in ANALYSES.values()} - {"none"})
    projections = {basis: Projections.load(out.projections / f"{basis}.npz") for basis in bases}
    with resumable(paths, "arithmetic_cluster", "arithmetic") as work:
        done = map_processes(
            make_analysis,
            (settings, projections, read_npz(out.evaluation, EVALUATION_FORM), work),
            list(ANALYSES),
            workers=settings.workers,
            description="analyses",
            resume=work / "done",
        )
        for table, target in zip(TABLES, (out.cluster_table, out.vector_table, out.partition_table), strict=True):
            write_csv(target, *(read_csv(work / table / f"{name}.csv") for name in ANALYSES))
        guarded = {name: int(result["guarded"]) for name, result in zip(ANALYSES, done, strict=True)}
        write_json(out.summary, summarise(projections, settings, guarded))
        publish(work / "clusters", out.clusters)


if __name__ == "__main__":
    run(main)
