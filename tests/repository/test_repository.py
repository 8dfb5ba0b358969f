"""The repository's own promises: one set of pins, declared dependencies, documented commands, no executable data."""

import ast
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from polca.machine.code import module_files
from polca.machine.files import dotted
from polca.machine.pinned import ENVIRONMENT
from polca.study.paths import DEFAULT, PresetPaths, presets
from polca.study.published_run import FROM_ARCHIVES
from polca.study.settings import Preset

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("pipelines/**/*.py")])
PRESETS = presets(ROOT)
STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PUBLISHED: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "presets/paper/dvc.yaml").read_text())["stages"]
"""Stages of the preset whose run a GPU makes."""
CHECKS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "presets/laptop/validity/dvc.yaml").read_text())["stages"]
"""Stages of `make validity`, which a preset need not have."""
ALL_STAGES = {name: stage.get("do", stage) for name, stage in (PUBLISHED | STAGES | CHECKS).items()}
IS_EACH_TASKS = {name: stage.get("foreach") == "${tasks}" for name, stage in (PUBLISHED | STAGES | CHECKS).items()}


def parameters(preset: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(PresetPaths.named(preset).params.read_text(encoding="utf-8"))
    return values


def there(values: Any, name: str) -> bool:
    """Whether a parameter is given, by its dotted name."""
    for key in name.split("."):
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def filled(value: Any, given: Any) -> Any:
    """A part of dvc.yaml with the `${…}` in it put in."""
    if isinstance(value, dict):
        return {filled(key, given): filled(item, given) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, given) for item in value]
    return re.sub(r"\$\{([\w.]+)\}", lambda m: str(dotted(given, m[1])), value) if isinstance(value, str) else value


def resolved(preset: str) -> dict[str, dict[str, Any]]:
    """The stages of a preset as DVC makes them of dvc.yaml and params.yaml, all outputs of a stage in one list."""
    given = parameters(preset)
    checks = CHECKS if (ROOT / "presets" / preset / "validity" / "dvc.yaml").exists() else {}
    stages: dict[str, dict[str, Any]] = {}
    own = deepcopy(PUBLISHED if preset == FROM_ARCHIVES else STAGES)
    for name, stage in (own | checks).items():
        if "foreach" not in stage:
            stages[name] = filled(stage, given)
            continue
        each = dotted(given, stage["foreach"].strip("${}"))
        for key in each:
            item = each[key] if isinstance(each, dict) else key
            stages[f"{name}@{key}"] = filled(stage["do"], {**given, "key": key, "item": item})
    for stage in stages.values():
        outs = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        stage["outs"] = [out if isinstance(out, str) else next(iter(out)) for out in outs]
        stage.setdefault("params", [])
    return stages


def vars_apart(pipeline: str) -> tuple[list[str], str]:
    """The parameter files that a dvc.yaml names, and the rest of it."""
    line = r"(?m)^  - (\S*params\.yaml)$"
    return re.findall(line, pipeline), re.sub(line, "", pipeline)


def is_params(dep: Any) -> bool:
    from dvc.dependency.param import ParamsDependency

    return isinstance(dep, ParamsDependency)


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

    def test_makefile_exports_the_environment_of_the_package(self) -> None:
        """As make itself understands the Makefile: what a recipe finds is what `pinned.env` says."""
        pinned = dict(line.split("=", 1) for line in text("src/polca/machine/pinned.env").splitlines())
        assert pinned == ENVIRONMENT
        assert "\ninclude src/polca/machine/pinned.env\n" in text("Makefile")
        bare = {name: value for name, value in os.environ.items() if name not in pinned and name != "MAKEFLAGS"}
        done = subprocess.run(
            ["make", "--no-print-directory", "--eval", "show-environment:; @env", "show-environment"],
            cwd=ROOT,
            env=bare,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        exported = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        assert {name: exported.get(name) for name in pinned} == pinned


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
        assert isinstance(self.citation["date-released"], date)

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
        assert self.citation["keywords"] == package["keywords"]
        assert package["urls"]["Paper"] == self.citation["preferred-citation"]["url"]

    def test_changelog_begins_with_this_version(self) -> None:
        first = re.search(r"^## \[(\S+)\] - (\S+)", text("CHANGELOG.md"), flags=re.MULTILINE)
        assert first is not None
        assert self.citation["version"].removesuffix(".dev0") == first[1]
        assert self.citation["version"].endswith(".dev0") == (first[2] == "Unreleased")


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

    def test_dvc_yaml_is_short_and_lists_no_modules(self) -> None:
        for path in ("dvc.yaml", "presets/laptop/validity/dvc.yaml"):
            assert len(text(path).splitlines()) <= 400
        for name, stage in ALL_STAGES.items():
            inside = [dep for dep in stage["deps"] if dep.startswith("src/polca")]
            assert inside == (["src/polca"] if name == "code" else []), f"{name}: depends on code by its hash"

    @pytest.mark.parametrize("stage", ALL_STAGES)
    def test_stage_depends_on_the_code_that_it_runs(self, stage: str) -> None:
        """By the hash that the stage `code` makes of its script; only `code` itself looks at all code."""
        words = ALL_STAGES[stage]["cmd"].split()
        assert words[0] == "python"
        script = Path(words[1])
        assert (ROOT / script).is_file(), f"{script}: no such script"
        task = ["--task", "${key}"] if IS_EACH_TASKS[stage] else []
        assert words[2:] == ["--params", "${preset.params}", *task]
        hashes = [dep for dep in ALL_STAGES[stage]["deps"] if "/code/" in dep]
        assert hashes == ([] if stage == "code" else [f"runs/${{preset.name}}/code/{script.stem}.txt"])
        assert script.stem == stage

    @pytest.mark.parametrize("preset", PRESETS)
    def test_inputs_exist_or_are_made_by_another_stage(self, preset: str) -> None:
        """With what the preset says put in, so that an input that only one preset lacks is seen."""
        stages = resolved(preset)
        made: dict[str, str] = {}
        for name, stage in stages.items():
            for out in stage["outs"]:
                assert out not in made, f"{out}: of {made[out]} and of {name}"
                made[out] = name
        # No stage's: `make` fills them, and makes them where they are not; links lead to text that is the user's.
        by_make = {f"paper/{preset}/validity", f"data/corpora/{preset}", "data/corpora/treebank"}
        for name, stage in stages.items():
            for dep in stage["deps"]:
                makers = [maker for out, maker in made.items() if f"{dep}/".startswith(f"{out}/")]
                makers += [maker for out, maker in made.items() if out.startswith(f"{dep}/")]
                assert name not in makers, f"{name}: reads its own {dep}"
                assert makers or dep in by_make or (ROOT / dep).exists(), f"{name}: {dep}"

    def test_preset_files(self) -> None:
        """Every preset has plain copies of one pipeline, since DVC follows no links between commits."""
        assert {"smoke", "laptop", "wikipedia", "paper"} <= set(PRESETS)
        for preset in PRESETS:
            paths = PresetPaths.named(preset)
            names = parameters(preset)["preset"]
            folder = paths.params.parent
            assert (folder / names["root"]).resolve() == ROOT
            assert names["params"] == paths.params.relative_to(ROOT).as_posix()
            assert names["name"] == preset
            checks = ROOT / "presets" / preset / "validity" / "dvc.yaml"
            for path in (paths.params, paths.pipeline, checks):
                assert not path.is_symlink(), path
            if preset == FROM_ARCHIVES:
                repeated = {name: stage for name, stage in PUBLISHED.items() if name in STAGES}
                assert list(repeated) == ["code", "tables", "figures", "paper"]
                for name, stage in repeated.items():
                    own, other = (s.get("do", s) for s in (deepcopy(stage), STAGES[name]))
                    # Further ones are what the run has, and the English of the preset that stands for its own.
                    own["deps"] = [dep for dep in own["deps"] if not re.search(r"/run\.json$|/wikipedia\b", dep)]
                    assert own == other, f"{preset}: {name} differs from that of dvc.yaml"
            else:
                assert paths.pipeline.read_bytes() == (ROOT / "dvc.yaml").read_bytes(), f"{preset}: run make pipelines"
            if checks.exists():
                ((named,), copy) = vars_apart(checks.read_text())
                assert copy == vars_apart(text("presets/laptop/validity/dvc.yaml"))[1], f"{preset}: run make pipelines"
                assert (checks.parent / named).resolve() == paths.params
        assert not (ROOT / "presets" / "laptop" / "params.yaml").exists(), "laptop's are the root's: remove the copy"

    @pytest.mark.parametrize("preset", PRESETS)
    def test_every_parameter_is_some_stages(self, preset: str) -> None:
        """A parameter that no stage names could change without anything being run again; and those named are there."""
        given = parameters(preset)
        names: set[str] = set()
        for name, stage in resolved(preset).items():
            for file, keys in (entry for params in stage["params"] for entry in params.items()):
                # The grid of specifications is the same at every scale.
                values = given if file == given["preset"]["params"] else parameters(DEFAULT)
                assert file in (given["preset"]["params"], "params.yaml")
                for key in keys or []:  # none: tables, figures and report depend on the whole file
                    assert there(values, key), f"{name}: {key} is missing in {file}"
                    names.add(key)

        def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
            for key, value in values.items():
                yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"]

        def below(leaf: str, name: str) -> bool:
            return f"{leaf}.".startswith(f"{name}.")

        if not (ROOT / "presets" / preset / "validity" / "dvc.yaml").exists():
            names.add("validity")
        if preset == FROM_ARCHIVES:
            names.add("english")  # of which no run is read
        # What is no number of a run: names and files of the preset, where it computes, and what is only drawn.
        drawn = {f"{task}.plots" for task in given["tasks"]} | {"preset", "tasks", "reports", "device"}
        unwatched = [leaf for leaf in leaves(given) if not any(below(leaf, name) for name in names | drawn)]
        assert not unwatched

    @pytest.mark.parametrize("preset", PRESETS)
    def test_tasks_of_a_preset_can_be_read(self, preset: str) -> None:
        read = Preset.read(PresetPaths.named(preset))
        assert list(read.sources) == list(parameters(preset)["tasks"])
        for name in read.sources:
            task = read.task(name)
            assert task.name == name
            assert task.settings.plots.analysis in task.analyses
            assert task.initial()

    def test_dvc_reads_it(self) -> None:
        """DVC itself resolves every preset's stages, to what this file takes them for."""
        from dvc.repo import Repo

        with Repo(str(ROOT)) as repo:
            found = {
                stage.addressing: (
                    {Path(os.path.relpath(dep.fs_path, ROOT)).as_posix() for dep in stage.deps if not is_params(dep)},
                    {Path(os.path.relpath(out.fs_path, ROOT)).as_posix() for out in stage.outs},
                )
                for stage in repo.index.stages
            }
        for preset in PRESETS:
            paths = PresetPaths.named(preset)
            prefix = "" if preset == DEFAULT else f"{paths.pipeline.relative_to(ROOT)}:"
            for name, stage in resolved(preset).items():
                at = f"presets/{preset}/validity/dvc.yaml:" if name in CHECKS else prefix
                assert found.pop(f"{at}{name}") == (set(stage["deps"]), set(stage["outs"])), name
        assert not found, "stages of no preset"


class TestDocuments:
    PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")))

    @pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
    def test_commands_and_presets_exist(self, path: Path) -> None:
        page = path.read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z]+):", text("Makefile"), flags=re.MULTILINE))
        assert set(re.findall(r"(?:`|^|&& )make ([a-z]+)", page, flags=re.MULTILINE)) <= targets
        assert set(re.findall(r"PRESET=(\w+)", page)) <= set(PRESETS)

    def test_readme_names_both_commands(self) -> None:
        assert {"repro", "test"} <= set(re.findall(r"^make ([a-z]+)", text("README.md"), flags=re.MULTILINE))

    def test_links_of_the_data_s_page_lead_somewhere(self) -> None:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text("data/README.md")):
            assert "://" in target or (ROOT / "data" / target).exists(), target

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
