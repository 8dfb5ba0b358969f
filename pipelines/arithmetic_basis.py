"""The bases: Hessian eigenvectors (Algorithm 1), the same in shuffled order, random directions, LCA's parameters."""

from pathlib import Path

from polca.machine.distributed import is_first
from polca.machine.files import PresetPaths
from polca.machine.parallel import map_processes
from polca.method.bases import Basis, axis_basis, hessian_basis, random_basis, shuffled, with_rayleigh_quotients
from polca.method.checkpoints import CheckpointDirectory
from polca.study.settings import ArithmeticSettings, read_arithmetic
from polca.study.stage import publish, resumable, run
from polca.tasks.arithmetic import batch
from polca.tasks.transformer import TokenLoss, initialize


def make_basis(shared: tuple[ArithmeticSettings, Path, Path], kind: str) -> dict[str, int]:
    """Make one basis and write it to the work folder."""
    settings, checkpoints_at, work = shared
    target = work / "bases" / f"{kind}.safetensors"
    if target.is_file():
        return {"vectors": len(Basis.load(target))}
    shapes = {name: p.shape for name, p in initialize(settings.model, settings.seed).items()}
    checkpoints = CheckpointDirectory(checkpoints_at, shapes)
    steps, seed = settings.basis_steps(), settings.seed
    loss = TokenLoss(settings.model)
    sample = [batch(settings.data().training[: settings.basis.hessian_examples])]
    if kind == "random":
        at = [step for step in steps for _ in range(settings.basis.per_step)]
        basis = random_basis(checkpoints.load(steps[0]), len(at), steps=at, seed=seed)
        basis = with_rayleigh_quotients(basis, loss, checkpoints, sample)
    elif kind == "lca":
        basis = axis_basis(checkpoints.load(checkpoints.steps()[-1]), settings.lca_parameters)
    else:
        if kind == "shuffled_hessian":
            steps = shuffled(steps, seed)
        basis = hessian_basis(
            loss,
            checkpoints,
            sample,
            steps=steps,
            per_step=settings.basis.per_step,
            which=settings.basis.which,
            tolerance=settings.basis.tolerance,
            seed=seed,
            kind=kind,
            resume=work / kind,
        )
    if is_first():
        basis.save(target)
    return {"vectors": len(basis)}


def main(paths: PresetPaths) -> None:
    settings, out = read_arithmetic(paths.params), paths.arithmetic
    with resumable(paths, "arithmetic_basis", "arithmetic") as work:
        map_processes(
            make_basis,
            (settings, out.checkpoints, work),
            ["hessian", "shuffled_hessian", "random", "lca"],
            workers=settings.workers,
            description="bases",
        )
        if is_first():
            publish(work / "bases", out.bases)


if __name__ == "__main__":
    run(main, parallel=True)
