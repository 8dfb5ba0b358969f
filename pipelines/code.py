"""Hash the code behind every stage, comments and docstrings left out: a stage runs anew where its own hash changes.

Stages depend on these small files instead of lists of modules.
"""

from pathlib import Path

from polca.machine.code import code_hash
from polca.machine.files import write_text, writing
from polca.study.settings import Preset
from polca.study.stage import run

SCRIPTS = Path(__file__).parent


def main(preset: Preset) -> None:
    with writing(preset.paths.run / "code") as folder:
        for script in sorted(SCRIPTS.glob("*.py")):
            write_text(folder / f"{script.stem}.txt", f"{code_hash(script)}\n")


if __name__ == "__main__":
    run(main)
