"""What chance alone would give: nulls for the rows of Tables 8 to 11 and for English's simple labels."""

from polca.machine.files import write_csv
from polca.machine.parallel import map_processes
from polca.study.settings import Preset
from polca.study.stage import run
from polca.validity.null_tables import arithmetic_tables, english_tables
from polca.validity.paths import ValidityPaths
from polca.validity.settings import ChanceSettings, read

TABLES = {"arithmetic": arithmetic_tables, "english": english_tables}


def make_tables(shared: tuple[Preset, ChanceSettings], setting: str) -> dict[str, int]:
    """Make the tables of one setting and write them."""
    preset, chance = shared
    made = TABLES[setting](preset, chance)
    for name, table in made.items():
        write_csv(ValidityPaths(preset.paths).table("null", name), table)
    return {"tables": len(made)}


def main(preset: Preset) -> None:
    map_processes(make_tables, (preset, read(preset, "chance", ChanceSettings)), list(TABLES), description="nulls")


if __name__ == "__main__":
    run(main)
