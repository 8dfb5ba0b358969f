"""Projections of every evaluation token's gradient, exact curvature, and exact loss, at every interval."""

from polca.machine.distributed import is_first
from polca.machine.files import PresetPaths, write_npz
from polca.method.bases import Basis
from polca.method.checkpoints import CheckpointDirectory, select_steps
from polca.method.projections import project_bases
from polca.study.settings import read_arithmetic
from polca.study.stage import publish, resumable, run
from polca.tasks.arithmetic import batch
from polca.tasks.transformer import TokenLoss, initialize

BASES = ("hessian", "shuffled_hessian", "random", "lca")


def main(paths: PresetPaths) -> None:
    settings, out = read_arithmetic(paths.params), paths.arithmetic
    shapes = {name: p.shape for name, p in initialize(settings.model, settings.seed).items()}
    checkpoints = CheckpointDirectory(out.checkpoints, shapes)
    tokens, size = settings.data().evaluation, settings.polca.batch_sequences
    with resumable(paths, "arithmetic_project", "arithmetic") as work:
        projections = project_bases(
            TokenLoss(settings.model),
            checkpoints,
            {name: Basis.load(out.bases / f"{name}.safetensors", shapes) for name in BASES},
            [batch(tokens[i : i + size]) for i in range(0, len(tokens), size)],
            steps=select_steps(checkpoints.steps(), settings.polca.interval, "arithmetic.polca.interval"),
            curvature_of=settings.polca.curvature_of,
            method="backward",
            workers=settings.workers,
            resume=work / "checkpoints",
        )
        if not is_first():
            return
        for name, result in projections.items():
            result.save(work / "projections" / f"{name}.npz")
        first = projections["hessian"]
        write_npz(out.losses, {"steps": first.steps, "losses": first.losses})
        publish(work / "projections", out.projections)


if __name__ == "__main__":
    run(main, parallel=True)
