"""Further bases on the preset's own seed, beside its own: what they find, what they see of learning, what they cost."""

from typing import Any

from polca.machine.files import PresetPaths, read_npz, write_csv, write_json, writing
from polca.machine.parallel import map_processes
from polca.method.bases import Basis
from polca.method.checkpoints import select_steps
from polca.method.further_bases import subspace_overlap
from polca.method.projections import Projections, project_bases, thin
from polca.study.stage import resumable, run
from polca.tasks.arithmetic import batch
from polca.tasks.arithmetic_labels import EVALUATION_FORM
from polca.tasks.transformer import TokenLoss
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
from polca.validity.seeds_settings import read_bases

VECTORS_AT_ONCE = 50
"""Projected together; half a gigabyte a process at the laptop scale."""


def main(paths: PresetPaths) -> None:
    bases, settings = read_bases(paths.params)
    out = paths.arithmetic
    tokens, size = settings.data().evaluation, settings.polca.batch_sequences
    data = [batch(tokens[i : i + size]) for i in range(0, len(tokens), size)]
    evaluation = read_npz(out.evaluation, EVALUATION_FORM)
    with resumable(paths, "validity_bases", "arithmetic", "validity") as folder:
        work = BasesWork(settings, bases.window, out.checkpoints, folder)
        map_processes(make_further_basis, work, FURTHER, workers=settings.workers, description="further bases")
        checkpoints = work.checkpoint_directory()
        projected = folder / "projections"
        for name in OWN:
            thin(Projections.load(out.projections / f"{name}.npz"), bases.interval).save(projected / f"{name}.npz")
        vectors = settings.basis.vectors * settings.basis.per_step
        for number, kinds in enumerate(groups(FURTHER, vectors, VECTORS_AT_ONCE)):
            if all((projected / f"{kind}.npz").is_file() for kind in kinds):
                continue
            found = project_bases(
                TokenLoss(settings.model),
                checkpoints,
                {kind: Basis.load(work.basis_at(kind)) for kind in kinds},
                data,
                steps=select_steps(checkpoints.steps(), bases.interval),
                method="backward",
                workers=settings.workers,
                resume=folder / f"group_{number}",
            )
            for kind, result in found.items():
                result.save(projected / f"{kind}.npz")
        kinds = (*OWN, *FURTHER)
        rows = map_processes(
            score_saved,
            ScoringWork(settings, projected, evaluation["place"], evaluation["carry"]),
            kinds,
            workers=settings.workers,
            description="scores",
        )
        hessian = Basis.load(out.bases / "hessian.safetensors")
        costs: dict[str, dict[str, Any]] = {}
        for kind in kinds:
            basis = Basis.load(out.bases / f"{kind}.safetensors" if kind in OWN else work.basis_at(kind))
            costs[kind] = {
                "overlap_with_hessian": subspace_overlap(basis, hessian),
                "gradient_evaluations": cost(kind, basis, settings, bases.window),
                "sample": 0 if not cost(kind, basis, settings, bases.window) else sample_size(kind, settings),
            }
        with writing(paths.root / "runs" / paths.name / "validity" / "bases") as target:
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
