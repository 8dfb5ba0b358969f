"""Projections of every evaluation token's gradient onto the basis, and its exact loss, at every interval."""

from polca.machine.distributed import is_first
from polca.machine.files import PresetPaths, read_npz, write_npz
from polca.method.bases import Basis
from polca.method.checkpoints import CheckpointDirectory, select_steps
from polca.method.projections import project_bases
from polca.study.english_settings import read_english
from polca.study.stage import resumable, run
from polca.tasks.english.text import evaluation_batch, evaluation_form
from polca.tasks.transformer import TokenLoss, initialize


def main(paths: PresetPaths) -> None:
    settings, out = read_english(paths.params), paths.english
    shapes = {name: p.shape for name, p in initialize(settings.model(), settings.seed).items()}
    checkpoints = CheckpointDirectory(out.checkpoints, shapes)
    form = evaluation_form(settings.data.evaluation_contexts, settings.sizes.context)
    windows, size = read_npz(out.evaluation, form)["tokens"], settings.polca.batch_sequences
    with resumable(paths, "english_project", "english") as work:
        projections = project_bases(
            TokenLoss(settings.model(evaluated=True)),
            checkpoints,
            {"hessian": Basis.load(out.basis, shapes)},
            [evaluation_batch(windows[i : i + size]) for i in range(0, len(windows), size)],
            steps=select_steps(checkpoints.steps(), settings.polca.interval, "english.polca.interval"),
            curvature_of=settings.polca.curvature_of,
            # Every place of a sequence is a target, so that a backward pass for each would not pay.
            method="forward",
            workers=settings.workers,
            resume=work / "checkpoints",
        )["hessian"]
        if not is_first():
            return
        projections.save(out.projections)
        write_npz(out.losses, {"steps": projections.steps, "losses": projections.losses})


if __name__ == "__main__":
    run(main, parallel=True)
