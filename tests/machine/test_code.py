"""The code behind a result: what is followed, and what changes its hash."""

from collections.abc import Callable
from pathlib import Path

import pytest

from polca.errors import PolcaError
from polca.machine.code import code_hash, modules_behind

FILES = {
    "pipelines/stage.py": "import helper\nfrom polca import a\ndef f():\n    import polca.late as l\na.called(f)",
    "pipelines/helper.py": "import os, late",
    "pipelines/other.py": "",
    "src/late.py": "",
    "src/polca/__init__.py": "from . import unused",
    "src/polca/py.typed": "",
    "src/polca/a.py": (
        "import numpy\nfrom polca.sub.c import d\nfrom .sub import e\n"
        "class A:\n    def called(self):\n        from polca import inner\n        inner.start()\n"
        "    def score(self):\n        from polca import judge\n        self.called()"
    ),
    "src/polca/inner.py": "def start():\n    import polca.deeper",
    "src/polca/deeper.py": "",
    "src/polca/judge.py": "",
    "src/polca/late.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from polca import unused",
    "src/polca/unused.py": "x = 1",
    "src/polca/sub/__init__.py": "",
    "src/polca/sub/c.py": "d = 1",
    "src/polca/sub/e.py": "from ..f import x",
    "src/polca/sub/style.txt": "red",
    "src/polca/sub/.hidden": "",
    "src/polca/f.py": "from .deep import g",
    "src/polca/deep/__init__.py": "from . import g",
    "src/polca/deep/g.py": '"""g."""\ndef h(x: int = 1) -> str:\n    """What."""\n    return f"{x:>{3}} ü"',
    "src/polca/elsewhere/__init__.py": "",
    "src/polca/elsewhere/data.txt": "",
}
NOT_BEHIND = {
    "pipelines/other.py",
    "src/late.py",
    "src/polca/__init__.py",
    "src/polca/judge.py",
    "src/polca/unused.py",
    "src/polca/sub/.hidden",
    "src/polca/elsewhere/__init__.py",
    "src/polca/elsewhere/data.txt",
}


@pytest.fixture
def change(tmp_path: Path) -> Callable[[str, str], str]:
    """Gives the hash of the stage with one file replaced."""

    def hashed(name: str, content: str) -> str:
        write(tmp_path, FILES | {name: content})
        return code_hash(tmp_path / "pipelines/stage.py", [tmp_path / "src"])

    return hashed


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")


def test_what_is_behind_a_script(tmp_path: Path) -> None:
    """Relative, nested, renamed and lazy imports, packages on the way, helpers beside it, data beside modules."""
    write(tmp_path, FILES)
    found = modules_behind(tmp_path / "pipelines/stage.py", [tmp_path / "src"])
    assert found == sorted(found)
    assert FILES.keys() - {path.relative_to(tmp_path).as_posix() for path in found} == NOT_BEHIND


def test_what_is_behind_a_module(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    found = modules_behind("polca.sub.e", [tmp_path / "src"])
    names = {path.relative_to(tmp_path / "src/polca").as_posix() for path in found}
    assert names == {
        "f.py",
        "py.typed",
        "sub/__init__.py",
        "sub/e.py",
        "sub/style.txt",
        "deep/__init__.py",
        "deep/g.py",
    }


@pytest.mark.parametrize("entry", ["polca.nothing", Path("nothing.py"), "numpy"])
def test_no_such_entry(entry: Path | str) -> None:
    with pytest.raises(PolcaError, match="no such script or module"):
        code_hash(entry)


def test_code_that_is_none(change: Callable[[str, str], str]) -> None:
    with pytest.raises(PolcaError, match=r"c\.py: not valid Python"):
        change("src/polca/sub/c.py", "d = ")


G = "src/polca/deep/g.py"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (G, '"""Another."""\n\n\ndef h(\n    x: int = 1,  # one\n) -> str:\n    return (f"{x:>{3}} \\u00fc")\n'),
        (G, FILES[G].replace("What", "Which") + '\n\n"""A string alone."""\n'),
        ("src/polca/unused.py", "x = 2"),
        ("src/polca/judge.py", "x = 2"),
        ("src/polca/__init__.py", ""),
        ("src/polca/elsewhere/data.txt", "x"),
        ("pipelines/other.py", "x = 2"),
    ],
)
def test_what_keeps_the_hash(name: str, content: str, change: Callable[[str, str], str]) -> None:
    """Comments, docstrings and formatting of what is behind the stage, and anything in what is not."""
    assert change(name, FILES[name]) == change(name, content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (G, FILES[G].replace("= 1", "= 2")),
        (G, FILES[G].replace("= 1", "= True")),
        (G, FILES[G].replace("= 1", "= 1.0")),
        (G, FILES[G].replace("{3}", "{4}")),
        (G, FILES[G].replace("ü", "u")),
        (G, FILES[G].replace("-> str", "-> None")),
        (G, FILES[G].replace("x", "y")),
        ("src/polca/sub/style.txt", "blue"),
        ("pipelines/stage.py", FILES["pipelines/stage.py"] + "\nf()"),
        ("pipelines/stage.py", FILES["pipelines/stage.py"].replace("a.called", "a.called, a.score")),
        ("src/polca/deeper.py", "x = 1"),
        ("pipelines/helper.py", "import os"),
        ("src/polca/late.py", FILES["src/polca/late.py"].replace("if TYPE_CHECKING", "if True")),
    ],
)
def test_what_changes_the_hash(name: str, content: str, change: Callable[[str, str], str]) -> None:
    assert change(name, FILES[name]) != change(name, content)


def test_hash_is_the_same_in_every_folder_and_on_every_python(tmp_path: Path) -> None:
    """It says nothing of where the code lies, and takes from the syntax tree what Pythons agree on."""
    for folder in ("one", "two"):
        write(tmp_path / folder, FILES)
    one, two = (code_hash(tmp_path / name / "pipelines/stage.py", [tmp_path / name / "src"]) for name in ("one", "two"))
    assert one == two == "aa5dc7694985ca311f9be09579ad057fc693c2c2dc92d28174d35e96e3dc40bd"


def test_a_changed_data_file_of_the_package_is_seen() -> None:
    """Kernels and threads are pinned in a file that is no code."""
    assert "pinned.env" in {path.name for path in modules_behind("polca.machine.runtime")}
