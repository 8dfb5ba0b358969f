"""Train the English language model: checkpoints and the loss curve."""

from polca.machine.distributed import is_first
from polca.machine.files import PresetPaths, read_npz, write_csv
from polca.method.checkpoints import CheckpointDirectory
from polca.study.english_settings import read_english
from polca.study.stage import publish, resumable, run
from polca.tasks.english.text import training_batch
from polca.tasks.training import train
from polca.tasks.transformer import TokenLoss, initialize


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
