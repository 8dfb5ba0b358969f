"""Write the paper's tables, published values beside ours, its claims, and every scalar that its text quotes."""

from polca.artifacts import PresetPaths, read_params, write_csv, writing
from polca.claims import check_claims
from polca.results import Results
from polca.stage import run
from polca.tables import save_metrics, save_tables


def main(paths: PresetPaths) -> None:
    results = Results(paths.arithmetic.directory, read_params(paths.params))
    with writing(paths.tables) as folder:
        save_tables(results, folder)
        write_csv(folder / "claims.csv", check_claims(results))
    save_metrics(results, paths.metrics)


if __name__ == "__main__":
    run(main)
