"""Further bases on the preset's own seed, beside its own: what they find, what they see of learning, what they cost."""

from typing import Any

from polca.machine.files import read_npz, write_csv, write_json, writing
from polca.machine.parallel import map_processes
from polca.method.bases import Basis
from polca.method.further_bases import subspace_overlap
from polca.method.projections import Projections, thin
from polca.study.settings import Preset
from polca.study.stage import resumable, run
from polca.study.stages.checkpoints import checkpoint_directory
from polca.study.stages.project import project
from polca.tasks.arithmetic.labels import EVALUATION_FORM
from polca.validity.bases import (
    FURTHER,
    OWN,
    PRODUCT_COST,
    BasesWork,
    ScoringWork,
    bases_table,
    cost,
    groups,
    make_further_basis,
    sample_size,
    score_saved,
)
from polca.validity.settings import BasesSettings, on_grid, read

VECTORS_AT_ONCE = 50
"""Projected together; half a gigabyte a process at the laptop scale."""


def main(preset: Preset) -> None:
    bases, out = read(preset, "bases", BasesSettings), preset.paths.task("arithmetic")
    task = on_grid(preset.arithmetic(), bases)
    settings = task.settings
    with resumable(preset, "validity_bases", "arithmetic", "validity") as folder:
        work = BasesWork(task, bases.window, out.checkpoints, folder)
        map_processes(make_further_basis, work, FURTHER, description="further bases")
        projected = folder / "projections"
        for kind in OWN:
            thin(Projections.load(out.projection(kind)), bases.interval).save(projected / f"{kind}.npz")
        vectors = settings.basis.vectors * settings.basis.per_step
        for number, kinds in enumerate(groups(FURTHER, vectors, VECTORS_AT_ONCE)):
            if not all((projected / f"{kind}.npz").is_file() for kind in kinds):
                found = {kind: Basis.load(work.basis_at(kind)) for kind in kinds}
                checkpoints = checkpoint_directory(task, out.checkpoints)
                made = project(task, checkpoints, found, resume=folder / f"group_{number}")
                for kind, result in made.items():
                    result.save(projected / f"{kind}.npz")
        kinds = (*OWN, *FURTHER)
        scoring = ScoringWork(task, projected, read_npz(out.labels, EVALUATION_FORM))
        rows = map_processes(score_saved, scoring, kinds, description="scores")
        hessian = Basis.load(out.basis("hessian"))
        costs: dict[str, dict[str, Any]] = {}
        for kind in kinds:
            basis = Basis.load(out.basis(kind) if kind in OWN else work.basis_at(kind))
            products = cost(kind, basis, settings, bases.window)
            costs[kind] = {
                "overlap_with_hessian": subspace_overlap(basis, hessian),
                "gradient_evaluations": products,
                "sample": sample_size(kind, settings) if products else 0,
            }
        with writing(preset.paths.validity / "bases") as target:
            write_csv(target / "bases.csv", bases_table(dict(zip(kinds, rows, strict=True)), costs))
            write_json(
                target / "bases.json",
                {
                    "interval": bases.interval,
                    "delta": bases.delta,
                    "window": bases.window,
                    "seed": settings.seed,
                    "product_cost": PRODUCT_COST,
                },
            )


if __name__ == "__main__":
    run(main)
