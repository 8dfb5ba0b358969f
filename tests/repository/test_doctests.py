"""Examples in docstrings, of every module of the package that has some."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"


def modules() -> list[str]:
    """Names of the modules with examples, as their text shows."""
    paths = sorted(path for path in SOURCE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))
    return [".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def test_examples_are_found() -> None:
    assert {f"polca.method.{name}" for name in ("decomposition", "clustering", "breakthrough")} <= set(modules())


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    result = doctest.testmod(import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
