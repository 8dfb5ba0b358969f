"""Write the paper's tables, published values beside ours, its claims, what `dvc plots` draws, and scalars."""

from polca.machine.files import read_json, write_csv, write_json, writing
from polca.report.claims import check_claims
from polca.report.headlines import headlines, scalars_path
from polca.report.tables import PLOTS, save_metrics, save_tables
from polca.report.tables.formats import tidy
from polca.study.published_run import as_run
from polca.study.readings import COLUMNS, readings
from polca.study.results import PresetResults
from polca.study.settings import Preset
from polca.study.stage import run


def main(preset: Preset) -> None:
    paths, results = preset.paths, PresetResults.of(preset.paths, as_run(preset).params)
    with writing(paths.tables) as folder:
        save_tables(results, folder)
        write_csv(folder / "claims.csv", check_claims(results, paths))
        write_csv(folder / "readings.csv", tidy(readings(results), COLUMNS))
        for task in results.all:
            for name in task.signature_tables():
                write_csv(folder / f"{task.setting}_{name}.csv", task.signature_table(name))
    with writing(paths.paper / "plots") as folder:
        for name, table in PLOTS.items():
            for task in results.all:
                write_csv(folder / name / f"{task.setting}.csv", table(task))
    write_json(paths.metrics, headlines(read_json(save_metrics(results, scalars_path(paths)))))


if __name__ == "__main__":
    run(main)
