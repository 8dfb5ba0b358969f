"""What the stage `code` tells stages: a change of code is seen by the scripts that it can change, a comment by none.

On copies of the sources, with the repository's own scripts; `test_code` has the rules on a small made-up package.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from polca.machine.code import code_hash
from tiny_preset import Stage, make_preset, run_stage

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {path.stem for path in (ROOT / "pipelines").glob("*.py")}
HEAVY = {"data", "labels", "train", "basis", "project"}
"""Stages before trajectories, which take nearly all of a run's time."""
CLUSTERING = {
    "cluster",
    "signatures",
    "tables",
    "figures",
    "paper",
    "published",
    "published_cluster",
    "published_english",
} | {
    "published_signatures",
    "published_scale",
    "published_figures",
    *(f"validity_{name}" for name in ("bases", "figures", "null", "seeds", "sensitivity", "specification", "treebank")),
}
"""Scripts that cluster, or read clusters."""

Edit = Callable[[str], str]
Changed = Callable[[str, Edit], set[str]]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of src and pipelines."""
    root = tmp_path_factory.mktemp("sources")
    for name in ("src", "pipelines"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return root


def hashes(root: Path) -> dict[str, str]:
    """By script, as the stage `code` writes them."""
    return {path.stem: code_hash(path, [root / "src"]) for path in sorted((root / "pipelines").glob("*.py"))}


@pytest.fixture(scope="module")
def before(sources: Path) -> dict[str, str]:
    """Hashes of the sources as they are."""
    return hashes(sources)


@pytest.fixture
def changed(sources: Path, before: dict[str, str]) -> Changed:
    """Scripts whose hash an edit of one file changes; the file is put right again."""

    def scripts(name: str, edit: Edit) -> set[str]:
        path = sources / name
        text = path.read_text(encoding="utf-8")
        edited = edit(text)
        assert edited != text
        path.write_text(edited, encoding="utf-8")
        after = hashes(sources)
        path.write_text(text, encoding="utf-8")
        assert before.keys() == after.keys() == SCRIPTS
        return {script for script in SCRIPTS if before[script] != after[script]}

    return scripts


def constant(name: str) -> Edit:
    """Another value of a constant at the top of a module."""
    return lambda text: re.sub(rf"(?m)^({name} = .*)$", r"\1 + 1", text, count=1)


def remarks(text: str) -> str:
    """A comment more, an empty line more, and other docstrings, of the module and of a function."""
    edits = (
        ('"""Every file format, in one place.', '"""All file formats.'),
        ('    """Read all arrays of an `.npz`', '    """Reads all arrays of an `.npz`'),
        ("import contextlib\n", "import contextlib  # a remark\n\n"),
    )
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def test_a_remark_in_a_module_of_all_stages_is_seen_by_none(changed: Changed) -> None:
    assert changed("src/polca/machine/files.py", remarks) == set()


def test_clustering_is_seen_by_those_who_cluster(changed: Changed) -> None:
    """What comes before it, training and projections among it, does not run anew."""
    found = changed("src/polca/method/clustering.py", constant("_BLOCK"))
    assert not found & (HEAVY | {"trajectories", "code"})
    assert found == CLUSTERING


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("src/polca/machine/files.py", SCRIPTS),
        ("src/polca/report/figures/style.py", {"figures", "paper", "published_figures", "validity_figures"}),
        ("pipelines/train.py", {"train"}),
        ("src/polca/__init__.py", set()),
    ],
)
@pytest.mark.thorough
def test_code_is_seen_by_those_who_run_it(name: str, wanted: set[str], changed: Changed) -> None:
    assert changed(name, lambda text: text + "\nANOTHER = 1\n") == wanted


def test_the_stage_writes_the_hash_of_every_script(tmp_path: Path, before: dict[str, str]) -> None:
    """Of the checkout, which are those of its copy: hashes do not say where code lies."""
    params = make_preset(tmp_path)
    assert run_stage(Stage("code"), params).code == 0
    written = {path.stem: path.read_text() for path in (tmp_path / "runs" / "tiny" / "code").iterdir()}
    assert written == {script: f"{found}\n" for script, found in before.items()}


def test_the_stage_looks_at_all_code() -> None:
    """It runs again after any change below these folders, whatever a script imports."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages["code"]["deps"] == ["pipelines", "src/polca"]
