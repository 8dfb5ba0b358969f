"""`python -m polca.study.in_memory.carry`: English text, tokens and parts of speech in one folder, for a borrowed GPU.

Run it where tokenizers and spaCy are; docs/gpu.md says what reads the folder.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from polca.errors import PolcaError
from polca.machine.files import read_json
from polca.machine.pinned import start_pinned
from polca.study.in_memory.__main__ import preset_of
from polca.study.on_device.english import carry


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(prog="python -m polca.study.in_memory.carry", description=__doc__)
    options.add_argument("--preset", default="paper", help="name of a preset, or its params.yaml")
    options.add_argument("--corpus", type=Path, help="directory of text, by default the one that the preset names")
    options.add_argument("--out", type=Path, required=True, help="the folder; it must not be there")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; bad input ends in one line and 1."""
    given = parser().parse_args(arguments)
    try:
        if given.out.exists():
            raise PolcaError(f"{given.out}: is there already: name another folder with --out, or move it away")
        task = preset_of(given.preset).english()
        source = task.settings.data.corpus.source
        if given.corpus is not None and source != "local":
            raise PolcaError(f"--corpus {given.corpus}: english.data.corpus.source is {source}: leave it out")
        carry(replace(task, source=given.corpus or task.source), given.out)
        corpus, files = read_json(given.out / "corpus.json"), sorted(given.out.iterdir())
        for path in files:
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
        print(f"{corpus['training_tokens']:,} training tokens, which training reads {corpus['epochs']:.1f} times")
    except PolcaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    start_pinned()
    sys.exit(main())
