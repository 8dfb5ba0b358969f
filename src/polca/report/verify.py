"""What `polca verify` says of a preset: the paper's claims, and published against reproduced values.

It reads only what git holds (`paper/<preset>/`, `data/`), so it needs no run.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from polca.errors import PolcaError
from polca.machine.files import read_params, write_json
from polca.report import names
from polca.report.claims import COLUMNS
from polca.report.comparison import (
    DIFFERS,
    KINDS,
    MISSING,
    Comparison,
    PublishedAgainstReproduced,
    compare,
    required_table,
)
from polca.report.verdicts import FAILS
from polca.study.paths import PresetPaths
from polca.study.published_run import RunFacts


@dataclass(frozen=True)
class CheckedClaim:
    """A row of `claims.csv`; `expected` is the reason why the preset is expected to show it, empty where it is not."""

    claim: str
    sentence: str
    reading: str
    rule: str
    statistic: str
    verdict: str
    why: str
    expected: str

    @property
    def words(self) -> str:
        """What it says; of English it says so."""
        return names.claim(self.claim, self.sentence)


@dataclass(frozen=True)
class Verification:
    """All that is said of a preset; `run` says what its run has, where that came from archives."""

    preset: str
    claims: tuple[CheckedClaim, ...]
    numbers: PublishedAgainstReproduced
    run: str = ""

    @property
    def failures(self) -> tuple[str, ...]:
        """Names of the expected claims that fail."""
        return tuple(c.claim for c in self.claims if c.expected and c.verdict == FAILS)

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "preset": self.preset,
            **({"run": self.run} if self.run else {}),
            "passed": not self.failures,
            "failures": list(self.failures),
            "claims": [asdict(claim) for claim in self.claims],
            "scale_is_the_papers": {name: not others for name, others in self.numbers.other_settings.items()},
            "settings_that_differ": {name: list(others) for name, others in self.numbers.other_settings.items()},
            "tolerances": {name: {"tolerance": k.tolerance, "reason": k.reason} for name, k in KINDS.items()},
            "numbers": [asdict(row) for row in self.numbers.rows],
        }


def counted(verdicts: list[str]) -> str:
    """Verdicts in words, such as "2 holds, 1 fails", in the order in which they first appear."""
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts).items())


def expected_claims(path: Path, preset: str) -> dict[str, str]:
    """Reasons by claim for a preset, from `data/expected.yaml`; empty for a preset that it does not name.

    Raises:
        PolcaError: the file is missing or is no mapping of claims to reasons.
    """
    if not path.is_file():
        raise PolcaError(f"{path}: no such file: restore it from the repository")
    own = read_params(path).get(preset, {})
    if not isinstance(own, Mapping) or not all(isinstance(r, str) and r.strip() for r in own.values()):
        raise PolcaError(f"{path}: {preset}: expected claims, each with a reason")
    return {str(name): reason for name, reason in own.items()}


def verify(paths: PresetPaths) -> Verification:
    """Check a preset's committed results.

    Raises:
        PolcaError: a file of results is missing or damaged, or an expected claim is not among those checked.
    """
    path = paths.tables / "claims.csv"
    table = required_table(path, paths, COLUMNS, as_text=True)
    expectations = paths.root / "data" / "expected.yaml"
    expected, facts = expected_claims(expectations, paths.name), RunFacts.load(paths)
    if facts is not None:  # of a cut, which has not the published settings, nothing is expected
        whole = {name for name, own in facts.tasks.items() if not own.cut}
        expected = {n: reason for n, reason in expected.items() if names.setting(n) in whole}
    rows = [{name: str(row[name]) for name in COLUMNS} for row in table.to_dict("records")]
    # Expected is what the reading that figures show says; its claims come first.
    shown = ("", next((row["reading"] for row in rows if row["reading"]), ""))
    if unknown := sorted(expected.keys() - {row["claim"] for row in rows}):
        raise PolcaError(
            f"{expectations}: {paths.name}.{unknown[0]}: no such claim in {path}: correct it, or run `make repro`"
        )
    claims = tuple(
        CheckedClaim(**row, expected=expected.get(row["claim"], "") if row["reading"] in shown else "") for row in rows
    )
    return Verification(paths.name, claims, compare(paths), names.text(facts.words) if facts else "")


def summary(found: Verification) -> list[str]:
    """Verdicts counted, and what fails, differs or is missing; one string a line."""
    readings: dict[str, list[str]] = defaultdict(list)
    for c in found.claims:
        if c.verdict == FAILS:
            readings[c.words] += [c.reading] if c.reading else []
    failing = [f"- {words} ({', '.join(own)})" if own else f"- {words}" for words, own in readings.items()]
    lines = [f"Claims: {counted([c.verdict for c in found.claims])}."]
    if failing:
        lines += ["Claims that fail:", *failing]
    wanted = sum(bool(c.expected) for c in found.claims)
    lines.append(
        f"Expected of {found.preset}, but failing: {', '.join(found.failures) or 'none'} "
        f"({wanted or 'no'} {'claim is' if wanted == 1 else 'claims are'} expected, data/expected.yaml)."
    )
    rows = found.numbers.rows
    lines.append(f"Numbers: {counted([r.verdict for r in rows])}.")
    for verdict in (DIFFERS, MISSING):
        if own := [f"{_place(r)}, {number_words(r)}" for r in rows if r.verdict == verdict]:
            lines.append(f"Numbers with the verdict “{verdict}”: {'; '.join(own)}.")
    return lines


def _place(row: Comparison) -> str:
    return f"{row.setting}, {row.source}" if row.source == "text" else row.source


def number_words(row: Comparison) -> str:
    """What a number is of, in words."""
    return names.numbers(row.number.removeprefix(f"{row.setting}_"))


def print_verification(found: Verification, numbers: bool = False) -> None:
    """Print the claims, every published number where `numbers` asks for them, the scales, and `summary`."""
    console = Console()
    # Two columns, of which one holds all that is long: they fit a narrow window, and 80 letters where it is a pipe.
    table = Table("verdict", "claim", title="Claims", show_lines=True)
    for c in found.claims:
        about = Text(c.words + (f" ({c.reading})" if c.reading else ""), "bold")
        parts = {
            "rule": names.text(c.rule),
            "numbers": names.numbers(c.statistic),
            "why": c.why,
            "expected": c.expected,
        }
        said = [Text(f"{name}: {words}") for name, words in parts.items() if words]
        table.add_row(c.verdict, Text("\n").join([about, *said]))
    console.print(table)
    if numbers:
        table = Table(title="Published and reproduced")
        for head in ("where", "number", "published", "reproduced", "tolerance", "verdict"):
            table.add_column(head, overflow="fold")
        for r in found.numbers.rows:
            cells = (_place(r), number_words(r), r.published, r.reproduced or "–", KINDS[r.kind].tolerance)
            table.add_row(*map(Text, (*cells, r.verdict)))
        console.print(table)
    if found.run:
        console.print(found.run, markup=False, highlight=False)
    for setting, others in found.numbers.other_settings.items():
        words = (
            f"not the paper's, so no number is judged. Other settings: {', '.join(others)}" if others else "the paper's"
        )
        console.print(f"Scale, {setting}: {words}.", markup=False, highlight=False)
    for line in summary(found):
        console.print(line, markup=False, highlight=False)
    if not numbers:
        console.print("--numbers shows every published number beside ours.", markup=False, highlight=False)


def write_verification(found: Verification, target: Path) -> None:
    """Write `Verification.as_json` to a file, or to standard output where `target` is `-`.

    Raises:
        PolcaError: the file cannot be written.
    """
    if target == Path("-"):
        print(json.dumps(found.as_json(), indent=2, sort_keys=True))
    else:
        write_json(target, found.as_json())
