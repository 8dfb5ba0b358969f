"""The repository's own promises: one set of pins, declared dependencies, documented commands, no executable data."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from polca.machine.code import module_files, modules_behind
from polca.machine.runtime import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("pipelines/**/*.py")])
PRESETS = sorted(path.parent for path in ROOT.glob("presets/*/params.yaml"))
STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
CHECKS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "presets/laptop/validity/dvc.yaml").read_text())["stages"]
"""Stages of `make validity`, which a preset need not have."""
ALL_STAGES = STAGES | CHECKS


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def requirements(path: str) -> dict[str, Requirement]:
    """Requirements of a pip file by canonical name."""
    lines = (line.split("#")[0].strip() for line in text(path).splitlines())
    parsed = [Requirement(line) for line in lines if line]
    return {canonicalize_name(r.name): r for r in parsed}


def project() -> dict[str, Any]:
    return tomllib.loads(text("pyproject.toml"))


class TestEnvironment:
    def test_lock_has_plain_pins_only(self) -> None:
        """No local suffix, index, host, path or CUDA package: the lock is for every machine."""
        for line in text("requirements.lock").splitlines():
            assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line
            assert not re.match(r"nvidia|cuda|triton", line), line

    def test_lock_covers_direct_requirements(self) -> None:
        lock = requirements("requirements.lock")
        for name, wanted in requirements("requirements.in").items():
            assert name in lock, f"{name}: not in requirements.lock: run make lock"
            pin = next(iter(lock[name].specifier)).version
            assert wanted.specifier.contains(pin), f"{name}: {pin} is not {wanted.specifier}: run make lock"

    def test_package_dependencies_are_direct_requirements(self) -> None:
        declared = {canonicalize_name(Requirement(d).name) for d in project()["project"]["dependencies"]}
        assert declared <= requirements("requirements.in").keys()

    def test_conda_environment_takes_the_lock(self) -> None:
        dependencies = yaml.safe_load(text("environment.yml"))["dependencies"]
        assert [d["pip"] for d in dependencies if isinstance(d, dict)] == [["-r requirements.lock"]]
        (python,) = [d.removeprefix("python=") for d in dependencies if isinstance(d, str) and d.startswith("python=")]
        assert f"Python {python}." in text("requirements.lock").splitlines()[0], "the lock names another Python"
        assert project()["project"]["requires-python"] == f">={python}"
        assert project()["tool"]["mypy"]["python_version"] == python
        # No other package that both conda and pip would install.
        conda = {re.split(r"[=<>]", d)[0] for d in dependencies if isinstance(d, str)}
        assert not conda & requirements("requirements.lock").keys()

    def test_makefile_pins_the_environment_of_the_package(self) -> None:
        exported = dict(re.findall(r"^export (\w+) := (\S+)$", text("Makefile"), flags=re.MULTILINE))
        for no_matter_of_bits in (
            "PYTHONPATH",
            "PIP_DISABLE_PIP_VERSION_CHECK",
            "MALLOC_MMAP_MAX_",
            "MALLOC_TRIM_THRESHOLD_",
        ):
            exported.pop(no_matter_of_bits)
        assert exported == ENVIRONMENT


class TestCitation:
    citation: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    def test_required_fields_of_cff(self) -> None:
        """Required by the Citation File Format 1.2.0: version, message, title, authors; of a reference: type too."""
        assert self.citation["cff-version"] == "1.2.0"
        assert self.citation["type"] == "software"
        for entry in (self.citation, self.citation["preferred-citation"]):
            assert entry["title"].strip()
            assert entry["type"]
            for author in entry["authors"]:
                assert ("name" in author) != ({"family-names", "given-names"} <= author.keys()), author
        assert self.citation["message"].strip()
        released = self.citation.get("date-released")
        assert released is None or isinstance(released, date)

    def test_names_the_paper(self) -> None:
        paper = self.citation["preferred-citation"]
        assert paper["title"] == "Hidden Breakthroughs in Language Model Training"
        assert [a["family-names"] for a in paper["authors"]] == ["Kangaslahti", "Rosenfeld", "Saphra"]
        assert "2506.15872" in paper["url"]

    def test_agrees_with_the_package(self) -> None:
        package = project()["project"]
        assert self.citation["version"] == package["version"]
        assert self.citation["license"] == package["license"] == text("LICENSE").split()[0]
        assert self.citation["authors"] == package["authors"]


class TestNothingExecutableIsRead:
    """Files from outside must not be able to run code: no pickle, under any of its names."""

    MODULES = frozenset({"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"})
    CALLS = frozenset(
        {"torch.load", "torch.save", "pd.read_pickle", "pandas.read_pickle", "yaml.load", "yaml.unsafe_load"}
    )

    @pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
    def test_source(self, path: Path) -> None:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not {a.name.split(".")[0] for a in node.names} & self.MODULES, node.lineno
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.module.split(".")[0] not in self.MODULES, node.lineno
            elif isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in self.CALLS, node.lineno
                assert node.attr not in {"to_pickle", "read_pickle"}, node.lineno
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant), node.value.lineno
                assert node.value.value is False, node.value.lineno


class TestPipeline:
    @pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
    def test_imports_name_the_module(self, path: Path) -> None:
        """Names that the package exports lazily would hide the module that a stage depends on."""
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "polca":
                for alias in node.names:
                    assert module_files(f"polca.{alias.name}"), (
                        f"line {node.lineno}: import {alias.name} from its own module"
                    )

    @pytest.mark.parametrize("stage", ALL_STAGES)
    def test_stage_depends_on_the_code_that_it_runs(self, stage: str) -> None:
        """A stage whose shared modules are not its dependencies would keep results of older code."""
        words = ALL_STAGES[stage]["cmd"].split()
        assert words[0] == "python"
        assert words[2:] == ["--params", "presets/${preset.name}/params.yaml"]
        assert (ROOT / words[1]).is_file(), f"{words[1]}: no such script"
        declared = [d for d in ALL_STAGES[stage]["deps"] if d.endswith(".py")]
        behind = modules_behind(ROOT / words[1])
        needed = {path.relative_to(ROOT).as_posix() for path in behind if path.suffix == ".py"}
        assert len(declared) == len(set(declared)), "a dependency is listed twice"
        right = "\n".join(f"      - {path}" for path in sorted(needed))
        assert set(declared) == needed, f"the code that {stage} depends on is, as lines for dvc.yaml:\n{right}"

    def test_inputs_exist_or_are_made_by_another_stage(self) -> None:
        outputs: list[str] = []
        for stage in ALL_STAGES.values():
            for out in [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]:
                outputs.append(out if isinstance(out, str) else next(iter(out)))
        assert len(outputs) == len(set(outputs))
        for name, stage in ALL_STAGES.items():
            for dep in stage["deps"]:
                if dep == "${english.corpus.input}":
                    for preset in PRESETS:
                        source = yaml.safe_load((preset / "params.yaml").read_text())["english"]["corpus"]["input"]
                        # A link to the user's own text, where it is not the repository's.
                        assert source == f"data/corpora/{preset.name}" or (ROOT / source).is_file(), preset.name
                elif dep == "${validity.treebank.input}":
                    pass  # a link to the user's own treebank; the stage says that it skips where it is empty
                elif dep == "paper/${preset.name}/validity":
                    # No stage's: `make validity` fills it, and it must be there where it has not been run.
                    assert all((ROOT / "paper" / preset.name / "validity").is_dir() for preset in PRESETS)
                else:
                    assert dep in outputs if "${" in dep else (ROOT / dep).exists(), f"{name}: {dep}"

    def test_preset_files(self) -> None:
        """Links and variables through which one dvc.yaml serves all presets."""
        assert {"smoke", "laptop", "wikipedia", "paper"} <= {preset.name for preset in PRESETS}
        assert (ROOT / "params.yaml").readlink() == Path("presets/laptop/params.yaml")
        for preset in PRESETS:
            values = yaml.safe_load((preset / "params.yaml").read_text())["preset"]
            assert values["name"] == preset.name
            if preset.name == "laptop":
                assert values["root"] == "."
                assert not (preset / "dvc.yaml").is_symlink(), "laptop's is the root's dvc.yaml: remove the link"
            else:
                assert values["root"] == "../.."
                assert (preset / "dvc.yaml").readlink() == Path("../../dvc.yaml")
            checks = preset / "validity" / "dvc.yaml"
            if preset.name != "laptop" and checks.is_symlink():
                assert checks.readlink() == Path("../../laptop/validity/dvc.yaml")

    @pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.name)
    def test_every_parameter_is_some_stages(self, preset: Path) -> None:
        """A parameter that no stage names could change without anything being run again."""
        names: set[str] = set()
        for stage in (ALL_STAGES if (preset / "validity" / "dvc.yaml").exists() else STAGES).values():
            for entry in stage.get("params", []):
                ((file, keys),) = entry.items()
                assert file == "presets/${preset.name}/params.yaml"
                names |= set(keys)

        def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
            for key, value in values.items():
                yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]

        def below(leaf: str, name: str) -> bool:
            return f"{leaf}.".startswith(f"{name}.")

        given = list(leaves(yaml.safe_load((preset / "params.yaml").read_text())))
        # What is a matter of the machine: `workers`, which must not change results, and where it is given, `device`.
        unwatched = [leaf for leaf in given if not any(below(leaf, name) for name in names)]
        assert [leaf for leaf in unwatched if leaf != "device"] == ["workers"]
        assert not [name for name in names if not any(below(leaf, name) for leaf in given)], "missing in params.yaml"

    def test_dvc_reads_it(self) -> None:
        """DVC itself resolves every preset's stages."""
        from dvc.repo import Repo

        with Repo(str(ROOT)) as repo:
            addresses = {stage.addressing for stage in repo.index.stages}
        for preset in PRESETS:
            prefix = "" if preset.name == "laptop" else f"presets/{preset.name}/dvc.yaml:"
            assert {f"{prefix}{name}" for name in STAGES} <= addresses
            checks = f"presets/{preset.name}/validity/dvc.yaml"
            assert not (ROOT / checks).exists() or {f"{checks}:{name}" for name in CHECKS} <= addresses


class TestDocuments:
    def test_commands_of_the_readme_exist(self) -> None:
        targets = set(re.findall(r"^([a-z]+):", text("Makefile"), flags=re.MULTILINE))
        commands = re.findall(r"(?:`|^|&& )make ([a-z]+)", text("README.md"), flags=re.MULTILINE)
        assert {"repro", "test"} <= set(commands) <= targets

    def test_presets_of_the_readme_exist(self) -> None:
        named = set(re.findall(r"PRESET=(\w+)", text("README.md")))
        assert named <= {preset.name for preset in PRESETS}

    def test_links_of_the_documents_lead_somewhere(self) -> None:
        for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("data/*.md")]:
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
                assert "://" in target or (document.parent / target).exists(), f"{document.name}: {target}"

    def test_data_files_are_described(self) -> None:
        described = text("data/README.md")
        for path in (ROOT / "data").iterdir():
            assert path.name == "README.md" or f"`{path.name}`" in described, path.name

    def test_no_path_of_one_machine(self) -> None:
        """Whatever git holds, or would, names no home or temporary folder of the machine that it was made on."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
        )
        if listed.returncode:
            pytest.skip("not a git checkout")
        for name in listed.stdout.decode().split("\0"):
            path = ROOT / name
            if not name or name.startswith("tests/") or not path.is_file() or path.is_symlink():
                continue
            found = re.search(rb"(?<![\w.$}/])/(?:home|root|Users|tmp|mnt)/\w[\w./-]*", path.read_bytes())
            assert found is None, f"{name}: {found.group().decode()}"
