"""The Hessian basis of the English model (Algorithm 1)."""

from polca.machine.distributed import is_first
from polca.machine.files import PresetPaths, read_npz
from polca.method.bases import hessian_basis
from polca.method.checkpoints import CheckpointDirectory
from polca.study.english_settings import read_english
from polca.study.stage import resumable, run
from polca.tasks.english.text import training_batch
from polca.tasks.transformer import TokenLoss, initialize

GRAPH_BYTES = 1 << 28
"""Logits of the sample up to which its graphs are kept between products (about ten times as much memory)."""


def main(paths: PresetPaths) -> None:
    settings, out = read_english(paths.params), paths.english
    config, basis, size = settings.model(), settings.basis, settings.polca.batch_sequences
    shapes = {name: p.shape for name, p in initialize(config, settings.seed).items()}
    sample = settings.windows(read_npz(out.training, {"tokens": "int N"})["tokens"]).take(0, basis.hessian_examples)
    with resumable(paths, "english_basis", "english") as work:
        found = hessian_basis(
            TokenLoss(config),
            CheckpointDirectory(out.checkpoints, shapes),
            [training_batch(sample[i : i + size]) for i in range(0, len(sample), size)],
            steps=settings.basis_steps(),
            per_step=basis.per_step,
            which=basis.which,
            tolerance=basis.tolerance,
            seed=settings.seed,
            keep_graphs=4 * sample.size * config.output_vocabulary <= GRAPH_BYTES,
            resume=work / "vectors",
        )
        if is_first():
            found.save(out.basis)


if __name__ == "__main__":
    run(main, parallel=True)
