"""Draw the paper's figures."""

from polca.machine.files import PresetPaths, read_params, writing
from polca.report.figures import save_figures
from polca.study.english_results import EnglishResults
from polca.study.results import Results
from polca.study.stage import run


def main(paths: PresetPaths) -> None:
    params = read_params(paths.params)
    results, english = Results(paths.arithmetic.directory, params), EnglishResults(paths.english.directory, params)
    with writing(paths.figures) as folder:
        save_figures(results, english, folder)


if __name__ == "__main__":
    run(main)
