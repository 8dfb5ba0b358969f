"""What all vectors of a run at the published scale tell apart; without gradients of single checkpoints, not kept."""

import signatures
from polca.study.published_run import arithmetic_task, as_run
from polca.study.settings import Preset
from polca.study.stage import run


def main(preset: Preset) -> None:
    signatures.main(as_run(preset), arithmetic_task(preset), preset.paths.task("arithmetic"))


if __name__ == "__main__":
    run(main)
