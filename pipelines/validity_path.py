"""The refined path integral along each basis vector, on evenly spaced intervals; the expensive step of the validity."""

from polca.method.bases import Basis
from polca.method.checkpoints import select_steps
from polca.study.settings import Preset
from polca.study.stage import resumable, run
from polca.study.stages.checkpoints import checkpoint_directory
from polca.validity.path_integral import path_gradients, spread
from polca.validity.paths import ValidityPaths
from polca.validity.settings import CompletenessSettings, read


def main(preset: Preset) -> None:
    validity = read(preset, "completeness", CompletenessSettings)
    task, out = preset.arithmetic(), preset.paths.task("arithmetic")
    checkpoints = checkpoint_directory(task, out.checkpoints)
    steps = select_steps(checkpoints.steps(), task.settings.polca.interval, "arithmetic.polca.interval")
    with resumable(preset, "validity_path", "arithmetic", "validity") as work:
        path_gradients(
            task.evaluated_loss,
            checkpoints,
            Basis.load(out.basis("hessian")),
            task.evaluation_batches(),
            steps=steps,
            intervals=spread(len(steps) - 1, validity.path_intervals),
            count=validity.path_nodes,
            workers=None,
            resume=work / "nodes",
        ).save(ValidityPaths(preset.paths).path)


if __name__ == "__main__":
    run(main)
