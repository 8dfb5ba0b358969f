"""The package as others get it: a wheel in a folder of its own, without a checkout, and without the extras."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from polca.machine.pinned import ENVIRONMENT
from tiny_images import train_on_images

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = {"mpl_toolkits": "matplotlib", "sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Modules whose distribution has another name."""
OF_OTHERS = {"huggingface_hub": "transformers"}
"""Modules that come with another package, as a dependency that it cannot do without."""

COMES_ALONG = {"pydantic"}
"""What an extra asks for and a package of the base, typer, needs as well."""


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


BASE = names(PROJECT["dependencies"])
EXTRAS = {extra: names(lines) for extra, lines in PROJECT["optional-dependencies"].items()}
EVERYTHING = BASE.union(*EXTRAS.values())


class TestRequirements:
    def test_every_dependency_is_pinned_and_has_its_reason(self) -> None:
        """The other way round, requirements.in has beside them only what the development needs."""
        kinds = (ROOT / "requirements.in").read_text(encoding="utf-8").split("# Development")
        listed = [names([part for line in kind.splitlines() if (part := line.split("#")[0])]) for kind in kinds]
        assert listed[0] == EVERYTHING

    def test_every_import_is_a_dependency(self) -> None:
        for path in (ROOT / "src").rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                found: list[str] = []
                if isinstance(node, ast.Import):
                    found = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found = [node.module or ""]
                for name in {module.split(".")[0] for module in found} - sys.stdlib_module_names - {"polca"}:
                    package = canonicalize_name(OF_OTHERS.get(name, MODULES.get(name, name)))
                    assert package in EVERYTHING, f"{path}: {name}"


OWN_MODEL = """
import torch

def make():
    n = torch.nn
    return n.Sequential(n.Flatten(), n.Linear(16, 8), n.Tanh(), n.Linear(8, 3))

def batches():
    generator = torch.Generator().manual_seed(5)
    y = torch.arange(60) % 3
    return [(torch.randn(60, 4, 4, generator=generator) + 0.5 * y[:, None, None], y)]
"""
SESSION = """
import json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

missing = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Missing())

import polca, polca.cli
from typer.testing import CliRunner

def say(*arguments):
    result = CliRunner().invoke(polca.cli.app, arguments)
    assert result.exception is None or isinstance(result.exception, (polca.PolcaError, SystemExit)), result.exception
    said[" ".join(arguments)] = result.output if result.exception is None else f"error: {result.exception}"

said = {"file": polca.__file__, "version": polca.__version__}
settings = "--vectors 2 --tokens 30 --hessian-sequences 30 --min-cluster-size 5".split()
own = "--factory own_model:make --data own_model:batches".split()
said["analyze"] = CliRunner().invoke(polca.cli.app, ["analyze", "run", *own, "--out", "out", *settings]).output
say("analyze", ".", "--data", "text.txt", "--out", "other")
say("explore", "out")
said["no plotly"] = said["explore out"]
missing.clear()
say("explore", "out")
for command in ("verify", "plan", "metrics", "explore"):
    say(command, "laptop")
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built and installed package; offline, and away from what an earlier build left."""
    tree, site = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("site")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", tree, tree], check=True)
    (wheel,) = tree.glob("*.whl")
    subprocess.run([*pip, "install", "--no-index", "--no-deps", "--no-compile", "--target", site, wheel], check=True)
    return site


def run(site: Path, folder: Path, *arguments: str) -> str:
    """Run Python in `folder` with the installed package alone."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(site), "COLUMNS": "200"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.thorough
def test_every_file_is_in_the_wheel(site: Path) -> None:
    """Code, and the data that it reads."""

    def files(package: Path) -> set[str]:
        found = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
        return {path.as_posix() for path in found if "__pycache__" not in path.parts}

    assert files(site / "polca") == files(ROOT / "src" / "polca")
    page = {f"explorer/explorer.{part}" for part in ("view.js", "charts.js", "data.js", "tokens.js", "css", "html")}
    assert {"py.typed", "machine/pinned.env", *page} <= files(site / "polca")


@pytest.mark.thorough
def test_without_checkout_and_extras(site: Path, tmp_path: Path) -> None:
    """The method and `polca analyze` work; what lacks a package or a checkout says so in one line."""
    import torch

    (tmp_path / "own_model.py").write_text(OWN_MODEL)
    (tmp_path / "text.txt").write_text("the cat sat")
    n = torch.nn
    train_on_images(n.Sequential(n.Flatten(), n.Linear(16, 8), n.Tanh(), n.Linear(8, 3)), tmp_path / "run")
    said = json.loads(run(site, tmp_path, "-c", SESSION, ",".join([*(EVERYTHING - BASE - COMES_ALONG), *OF_OTHERS])))
    assert Path(said["file"]).is_relative_to(site)
    assert said["version"] == PROJECT["version"]
    assert "results in out" in said["analyze"], said["analyze"]
    assert "pip install 'polca[models]'" in said["analyze . --data text.txt --out other"]
    assert (tmp_path / "out" / "summary.json").is_file()
    assert said["no plotly"] == "error: the package plotly is not installed: pip install 'polca[explore]'"
    assert "open it in a browser" in said["explore out"]
    assert (tmp_path / "out" / "explorer.html").is_file()
    for command in ("verify", "plan", "metrics"):
        assert said[f"{command} laptop"] == (
            f"error: {tmp_path}: no checkout of polca (it has no presets): name one with --root"
        )
    assert said["explore laptop"].startswith("error: laptop: neither a preset (known: none, without a checkout)")


@pytest.mark.thorough
def test_command_line(site: Path, tmp_path: Path) -> None:
    assert "analyze" in run(site, tmp_path, "-m", "polca.cli", "--help")
