"""Write the paper's tables, published values beside ours, its claims, and every scalar that its text quotes."""

from polca.machine.files import PresetPaths, read_params, write_csv, writing
from polca.report.claims import check_claims
from polca.report.tables import save_metrics, save_tables
from polca.study.english_results import EnglishResults
from polca.study.results import Results
from polca.study.stage import run


def main(paths: PresetPaths) -> None:
    params = read_params(paths.params)
    results, english = Results(paths.arithmetic.directory, params), EnglishResults(paths.english.directory, params)
    with writing(paths.tables) as folder:
        save_tables(results, english, folder)
        write_csv(folder / "claims.csv", check_claims(results, english))
    save_metrics(results, english, paths.metrics)


if __name__ == "__main__":
    run(main)
