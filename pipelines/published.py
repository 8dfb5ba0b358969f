"""Put the run that a GPU left in `data/published` where the stages after `trajectories` read it."""

from polca.study.published_run import run_folder
from polca.study.settings import Preset
from polca.study.stage import run
from polca.study.stages.published import import_run


def main(preset: Preset) -> None:
    import_run(preset, run_folder(preset.paths.root), preset.paths.task("arithmetic")).save(preset.paths)


if __name__ == "__main__":
    run(main)
