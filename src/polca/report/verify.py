"""What `polca verify` says of a preset: the paper's claims, and published against reproduced values.

It reads only what git holds (`paper/<preset>/`, `data/`), so it needs no run.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polca.errors import PolcaError
from polca.machine.files import read_params
from polca.report.claims import COLUMNS
from polca.report.comparison import KINDS, PublishedAgainstReproduced, compare, required_table
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
    if facts is not None:  # of addition alone
        expected = {name: reason for name, reason in expected.items() if not name.startswith("english_")}
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
    return Verification(paths.name, claims, compare(paths), facts.words if facts else "")
