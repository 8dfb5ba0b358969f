"""README and docs show the results that are there, and what they point to exists."""

import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from polca.machine.code import modules_behind
from polca.report.documents import SHOWN, documents, filled
from polca.report.figures import ENGLISH_FIGURES, FIGURES, FURTHER, FURTHER_ENGLISH
from polca.report.tables import ENGLISH_TABLES, TABLES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "CONTRIBUTING.md", *documents(ROOT)]
LONGEST = 130


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor of every link that stays in the checkout."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            yield (path.parent / file).resolve() if file else path, anchor


def anchors(path: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", documents(ROOT), ids=name)
def test_blocks_are_fresh(path: Path) -> None:
    """`make docs` makes them anew."""
    text = path.read_text(encoding="utf-8")
    assert filled(text, name=path.name) == text
    assert text.count("<!-- made: ") == len(
        re.findall(r"<!-- made: \w+ -->(?:(?!<!-- made: ).)*?<!-- end -->", text, re.S)
    )


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= LONGEST


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for file, anchor in links(path):
        assert file.exists(), file
        assert not anchor or anchor in anchors(file), f"{file.name}#{anchor}"


def test_readme_leads_to_every_page() -> None:
    assert {file for file, _ in links(ROOT / "README.md")} >= set(PAGES) - {ROOT / "README.md"}


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.func if isinstance(function, partial) else function


def test_stage_table_has_every_figure_and_table_of_stages_and_modules_that_exist() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    numbers = {kind: {n for w, _, _, ns in SHOWN for n in ns if w.startswith(kind)} for kind in ("Fig", "Tab")}
    ours = {**FURTHER, **FURTHER_ENGLISH}
    assert numbers == {"Fig": {*range(1, 12), *ours}, "Tab": {*range(1, 13)}}
    made: dict[str, dict[Any, Any]] = {
        "figures": {**FIGURES, **ENGLISH_FIGURES, **ours},
        "tables": {**TABLES, **ENGLISH_TABLES},
    }
    for _, stage, modules, own in SHOWN:
        assert stage in stages
        files = {ROOT / "src" / "polca" / "report" / stage / name for name in modules}
        assert files == {Path(inspect.getfile(unwrapped(made[stage][number]))) for number in own}
        assert files <= set(modules_behind(ROOT / "pipelines" / f"{stage}.py"))
