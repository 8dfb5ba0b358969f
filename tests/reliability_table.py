"""Make the table of docs/reliability.md from the JUnit report of the tests marked `reliability`.

python tests/reliability_table.py report.xml
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- made by tests/reliability_table.py -->\n", "<!-- end -->"


@dataclass
class Row:
    """One kind of fault: what happens, how often it was tried, and the tests that try it."""

    outcome: str
    tried: int = 0
    passed: int = 0
    cases: int = 0
    skipped: int = 0
    tests: list[str] = field(default_factory=list)


def file_of(classname: str) -> str:
    """The file of a test below `tests`, from `tests.study.test_stage` or, of a class, `tests.study.test_stage.Test`."""
    parts = classname.split(".")
    last = next(i for i, part in enumerate(parts) if part.startswith("test_"))
    return "/".join(parts[1 : last + 1]) + ".py"


def rows(report: Path) -> dict[str, Row]:
    """Rows by what was tried, in the order of the tests."""
    found: dict[str, Row] = {}
    for case in sorted(ElementTree.parse(report).iter("testcase"), key=lambda c: (c.get("classname"), c.get("name"))):
        told = {p.get("name"): p.get("value") for p in case.iter("property")}
        if "row" not in told:
            continue
        row = found.setdefault(str(told["row"]), Row(str(told["outcome"])))
        failed = any(case.find(kind) is not None for kind in ("failure", "error"))
        skipped = case.find("skipped") is not None
        row.cases += 1
        row.skipped += skipped
        row.passed += not (failed or skipped)
        row.tried += 0 if skipped else int(told.get("tried") or 1)
        name = re.sub(r"\[.*", "", str(case.get("name")))
        if (test := f"`{file_of(str(case.get('classname')))}::{name}`") not in row.tests:
            row.tests.append(test)
    return found


def lines(found: dict[str, Row]) -> Iterable[str]:
    """The table in Markdown."""
    yield "| what was tried | times | what happens | result | test |"
    yield "|---|--:|---|---|---|"
    for tried, row in found.items():
        state = "green" if row.passed == row.cases else f"**{row.cases - row.passed - row.skipped} red**"
        if row.skipped:
            state = f"{row.skipped} of {row.cases} skipped on this machine"
        yield f"| {tried} | {row.tried:,} | {row.outcome} | {state} | {', '.join(row.tests)} |"


def main() -> None:
    found = rows(Path(sys.argv[1]))
    if not found:
        sys.exit(f"error: {sys.argv[1]}: no test marked reliability: run make reliability")
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    table = "\n".join(lines(found))
    PAGE.write_text(f"{head}{BEGIN}{table}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
