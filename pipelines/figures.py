"""Draw the paper's figures."""

from polca.artifacts import PresetPaths, read_params, writing
from polca.figures import save_figures
from polca.results import Results
from polca.stage import run


def main(paths: PresetPaths) -> None:
    results = Results(paths.arithmetic.directory, read_params(paths.params))
    with writing(paths.figures) as folder:
        save_figures(results, folder)


if __name__ == "__main__":
    run(main)
