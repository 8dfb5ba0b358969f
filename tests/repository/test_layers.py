"""The package's rooms lie one above the other, and no import runs back up; files stay short enough to be read."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = ("machine", "method", "tasks", "study", "validity", "report", "external", "explorer", "cli", "__init__")
"""From the bottom to the top, the public names last."""
BELOW_ALL = ("errors", "typing", "version")
MOST_MODULES, MOST_LINES = 6, 450


def level(room: str) -> int:
    return -1 if room in BELOW_ALL else ORDER.index(room)


def room(path: Path, package: Path) -> str:
    """The room that a file lies in: a folder of the package, or a module of its own."""
    return path.relative_to(package).with_suffix("").parts[0]


def imported_rooms(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and room of every import of the package, inside functions and for type checkers as well."""
    inside = path.relative_to(package.parent).parts[:-1]
    rooms = {room(file, package) for file in package.rglob("*.py")}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            anchor = inside[: len(inside) + 1 - node.level] if node.level else ()
            names = [".".join([*anchor, *filter(None, [node.module]), alias.name]) for alias in node.names]
        for first, *rest in (name.split(".") for name in names):
            if first == package.name:
                # What is no room is a public name, or the package itself.
                yield node.lineno, rest[0] if rest and rest[0] in rooms else "__init__"


def upward(package: Path) -> list[str]:
    """Imports that run back up."""
    return [
        f"{path.relative_to(package).as_posix()}, line {line}: {room(path, package)} imports {other}"
        for path in sorted(package.rglob("*.py"))
        for line, other in imported_rooms(path, package)
        if level(other) > level(room(path, package))
    ]


def too_long(*folders: Path) -> list[str]:
    """Files of too many lines."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    assert paths
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    return [f"{path.name}: {number} lines" for path, number in lines.items() if number > MOST_LINES]


def modules_outside_rooms(package: Path) -> list[str]:
    return sorted(path.name for path in package.glob("*.py"))


def test_no_import_runs_back_up() -> None:
    package = ROOT / "src" / "polca"
    assert {room(path, package) for path in package.rglob("*.py")} == {*ORDER, *BELOW_ALL}
    assert not (found := upward(package)), "\n".join(found)


def test_few_modules_lie_outside_the_rooms() -> None:
    assert len(found := modules_outside_rooms(ROOT / "src" / "polca")) <= MOST_MODULES, found


def test_no_file_is_long() -> None:
    assert not (found := too_long(ROOT / "src", ROOT / "pipelines")), found


# --- The tests themselves, on a made-up tree -------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A module a room, each with imports of the rooms below it in every form."""
    package = tmp_path / "polca"
    package.mkdir()
    for name in (*BELOW_ALL, "cli"):
        (package / f"{name}.py").write_text("import os\n")
    for name in ORDER[:-2]:
        (package / name).mkdir()
        (package / name / "__init__.py").write_text("")
        (package / name / "a.py").write_text("from polca.errors import PolcaError\nfrom polca import typing\n")
    (package / "study" / "b.py").write_text(
        "import numpy.method\nimport polca.tasks.a as t\nfrom ..method import a\nfrom . import a as mine\n"
        "def f():\n    from polca.machine.a import x\n"
    )
    (package / "__init__.py").write_text("from polca.cli import app\nfrom .explorer.a import x\n")
    return package


def test_a_tree_in_order_passes(package: Path) -> None:
    assert upward(package) == []


@pytest.mark.parametrize(
    ("file", "code", "other"),
    [
        ("method/c.py", "from polca.tasks.a import x", "tasks"),
        ("method/c.py", "import polca.tasks.a", "tasks"),
        ("method/c.py", "from polca import tasks", "tasks"),
        ("method/c.py", "from ..tasks import a", "tasks"),
        ("method/c.py", "from .. import tasks", "tasks"),
        ("method/c.py", "def f():\n    from polca.tasks import a", "tasks"),
        ("method/c.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from polca.tasks import a", "tasks"),
        ("machine/deep/c.py", "from ...method.a import x", "method"),
        ("errors.py", "from polca.machine.a import x", "machine"),
        ("report/__init__.py", "from polca.external import a", "external"),
        ("explorer/c.py", "from polca.cli import app", "cli"),
        ("explorer/c.py", "import polca", "__init__"),
        ("cli.py", "from polca import Basis", "__init__"),
    ],
)
def test_an_arrow_that_runs_back_up_is_found(file: str, code: str, other: str, package: Path) -> None:
    (package / file).parent.mkdir(exist_ok=True)
    (package / file).write_text(code + "\n")
    lines = code.count("\n") + 1
    mine = file.split("/")[0].removesuffix(".py")
    assert upward(package) == [f"{file}, line {lines}: {mine} imports {other}"]


def test_a_room_without_a_level_is_refused(package: Path) -> None:
    (package / "cellar.py").write_text("from polca.method import a\n")
    with pytest.raises(ValueError, match="not in tuple"):
        upward(package)


def test_long_files_and_heaps_are_found(package: Path) -> None:
    assert too_long(package) == []
    (package / "study" / "long.py").write_text("x = 1\n" * (MOST_LINES + 1))
    (package / "study" / "enough.py").write_text("x = 1\n" * MOST_LINES)
    assert too_long(package) == [f"long.py: {MOST_LINES + 1} lines"]
    assert len(modules_outside_rooms(package)) == 5
    for name in "yz":
        (package / f"{name}.py").touch()
    assert len(modules_outside_rooms(package)) > MOST_MODULES
