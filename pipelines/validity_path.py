"""The refined path integral along each basis vector, on evenly spaced intervals; the expensive step of the validity."""

from polca.machine.files import PresetPaths
from polca.method.bases import Basis
from polca.method.checkpoints import CheckpointDirectory, select_steps
from polca.study.settings import read_arithmetic
from polca.study.stage import resumable, run
from polca.tasks.arithmetic import batch
from polca.tasks.transformer import TokenLoss, initialize
from polca.validity.path_integral import path_gradients, spread
from polca.validity.paths import ValidityPaths
from polca.validity.settings import read_completeness


def main(paths: PresetPaths) -> None:
    settings, validity, out = read_arithmetic(paths.params), read_completeness(paths.params), paths.arithmetic
    shapes = {name: p.shape for name, p in initialize(settings.model, settings.seed).items()}
    checkpoints = CheckpointDirectory(out.checkpoints, shapes)
    tokens, size = settings.data().evaluation, settings.polca.batch_sequences
    steps = select_steps(checkpoints.steps(), settings.polca.interval, "arithmetic.polca.interval")
    with resumable(paths, "validity_path", "arithmetic", "validity") as work:
        path_gradients(
            TokenLoss(settings.model),
            checkpoints,
            Basis.load(out.bases / "hessian.safetensors"),
            [batch(tokens[i : i + size]) for i in range(0, len(tokens), size)],
            steps=steps,
            intervals=spread(len(steps) - 1, validity.path_intervals),
            count=validity.path_nodes,
            workers=settings.workers,
            resume=work / "nodes",
        ).save(ValidityPaths.of(paths).path)


if __name__ == "__main__":
    run(main)
