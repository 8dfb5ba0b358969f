"""Train the arithmetic model: evaluation examples, checkpoints and the loss curve."""

from polca.machine.distributed import is_first
from polca.machine.files import PresetPaths, write_csv, write_npz
from polca.method.checkpoints import CheckpointDirectory
from polca.study.settings import read_arithmetic
from polca.study.stage import publish, resumable, run
from polca.tasks.arithmetic import batch
from polca.tasks.arithmetic_labels import carry_labels, place_labels
from polca.tasks.training import train
from polca.tasks.transformer import TokenLoss, initialize


def main(paths: PresetPaths) -> None:
    settings, out = read_arithmetic(paths.params), paths.arithmetic
    data, size = settings.data(), settings.training.batch_size
    labels = {"place": place_labels(data.evaluation), "carry": carry_labels(data.evaluation)}
    with resumable(paths, "arithmetic_train", "arithmetic") as work:
        log = train(
            TokenLoss(settings.model),
            initialize(settings.model, settings.seed),
            lambda step: batch(data.training[step * size : (step + 1) * size]),
            settings.training,
            CheckpointDirectory(work / "checkpoints"),
            resume=work / "state",
            description="train arithmetic",
        )
        if not is_first():
            return
        write_npz(out.evaluation, {"tokens": data.evaluation, **labels})
        write_csv(out.training_log, log)
        publish(work / "checkpoints", out.checkpoints)


if __name__ == "__main__":
    run(main, parallel=True)
