"""Train the English language model: checkpoints and the loss curve."""

from polca.artifacts import PresetPaths, read_npz, write_csv
from polca.checkpoints import CheckpointDirectory
from polca.distributed import is_first
from polca.english_settings import read_english
from polca.model import TokenLoss, initialize
from polca.stage import publish, resumable, run
from polca.tasks.english import training_batch
from polca.training import train


def main(paths: PresetPaths) -> None:
    settings, out = read_english(paths.params), paths.english
    stream, size = read_npz(out.training, {"tokens": "int N"})["tokens"], settings.training.batch_size
    windows = settings.windows(stream)
    with resumable(paths, "english_train", "english") as work:
        log = train(
            TokenLoss(settings.model()),
            initialize(settings.model(), settings.seed),
            lambda step: training_batch(windows.take(step * size, size)),
            settings.training,
            CheckpointDirectory(work / "checkpoints"),
            resume=work / "state",
            description="train English",
        )
        if not is_first():
            return
        write_csv(out.training_log, log)
        publish(work / "checkpoints", out.checkpoints)


if __name__ == "__main__":
    run(main, parallel=True)
