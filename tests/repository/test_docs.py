"""The Python blocks of README and docs run as they stand, in order, in an empty folder."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run_blocks(text: str, name: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert blocks, f"{name}: no Python block"
    for number, block in enumerate(blocks):
        exec(compile(block, f"{name}, block {number + 1}", "exec"), namespace)
    return namespace


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("## Your own checkpoints")[1].split("\n## ")[0]
    found = run_blocks(text, "README.md")
    assert "break_step" in capsys.readouterr().out
    assert found["projections"].losses.shape == (21, 897)


@pytest.mark.thorough
def test_your_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run_blocks((ROOT / "docs" / "your-own-model.md").read_text(encoding="utf-8"), "your-own-model.md")
    assert all(path.is_file() for path in found["paths"])
    assert (tmp_path / "digits.png").stat().st_size > 5000
    assert len(found["labels"]) > 0
    assert (tmp_path / "results" / "explorer.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_reliability_table_names_every_marked_test() -> None:
    """The page's table is of the tests as they are: made by `make reliability`, and made again when they change."""
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([\w/]*test_\w+\.py)::(\w+)`", page))
    marked: set[tuple[str, str]] = set()
    tests = ROOT / "tests"
    for path in tests.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.reliability":
                        marked.add((path.relative_to(tests).as_posix(), node.name))
                        assert all(ast.literal_eval(text) in page for text in mark.args), (path.name, node.name)
    assert marked
    assert listed == marked
    assert " red**" not in page
