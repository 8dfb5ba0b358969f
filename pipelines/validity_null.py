"""What chance alone would give: nulls for the rows of Tables 8 to 11 and for English's simple labels."""

from polca.machine.files import PresetPaths, write_csv
from polca.machine.parallel import map_processes
from polca.study.settings import read_arithmetic
from polca.study.stage import run
from polca.validity.null_tables import arithmetic_tables, english_tables
from polca.validity.paths import ValidityPaths
from polca.validity.settings import ChanceSettings, read_chance

TABLES = {"arithmetic": arithmetic_tables, "english": english_tables}


def make_tables(shared: tuple[PresetPaths, ChanceSettings], setting: str) -> dict[str, int]:
    """Make the tables of one setting and write them."""
    paths, chance = shared
    made = TABLES[setting](paths, chance)
    for name, table in made.items():
        write_csv(ValidityPaths.of(paths).table("null", name), table)
    return {"tables": len(made)}


def main(paths: PresetPaths) -> None:
    shared = (paths, read_chance(paths.params))
    workers = read_arithmetic(paths.params).workers
    map_processes(make_tables, shared, list(TABLES), workers=workers, description="nulls")


if __name__ == "__main__":
    run(main)
