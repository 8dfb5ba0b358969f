"""Draw the paper's figures."""

from polca.machine.files import writing
from polca.report.figures import save_figures
from polca.study.published_run import as_run
from polca.study.results import PresetResults
from polca.study.settings import Preset
from polca.study.stage import run


def main(preset: Preset) -> None:
    with writing(preset.paths.figures) as folder:
        save_figures(PresetResults.of(preset.paths, as_run(preset).params), folder, preset.paths.paper / "validity")


if __name__ == "__main__":
    run(main)
