"""Cluster the trajectories that a run at the published scale left, and add the scores of those that it did not keep."""

from typing import get_args

import cluster
from polca.machine.files import write_csv
from polca.study.published_run import RunFacts, arithmetic_task, as_run
from polca.study.results import read_table
from polca.study.settings import Preset
from polca.study.stage import run
from polca.study.stages.published import scored_tables
from polca.typing import Reading


def main(preset: Preset) -> None:
    out, runs = preset.paths.task("arithmetic"), RunFacts.load(preset.paths)
    facts = runs.tasks["arithmetic"] if runs else None
    cluster.main(as_run(preset), arithmetic_task(preset), out)
    for reading in get_args(Reading):
        tables = scored_tables(preset.paths.root / facts.folder, reading) if facts and facts.scored else {}
        for name, rows in tables.items():
            path = out.of_reading(reading).table(name)
            write_csv(path, read_table(path), rows[rows["analysis"].isin(facts.scored)])


if __name__ == "__main__":
    run(main)
