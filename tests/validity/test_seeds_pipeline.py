"""The pipeline of the checks: every stage names the code that it runs, and every parameter is some stage's."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from test_repository import code_behind

from polca.machine.files import ROOT

PIPELINE = ROOT / "presets" / "laptop" / "validity" / "dvc.yaml"
STAGES: dict[str, Any] = yaml.safe_load(PIPELINE.read_text(encoding="utf-8"))["stages"]
MINE = ("seeds", "bases", "treebank")
PARAMS = "presets/${preset.name}/params.yaml"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_the_code_that_it_runs(stage: str) -> None:
    words = STAGES[stage]["cmd"].split()
    assert words == ["python", f"pipelines/{stage}.py", "--params", PARAMS]
    declared = [d for d in STAGES[stage]["deps"] if d.endswith(".py")]
    needed = code_behind(ROOT / words[1])
    assert len(declared) == len(set(declared))
    right = "\n".join(f"      - {path}" for path in sorted(needed))
    assert set(declared) == needed, f"the code that {stage} depends on is, as lines for dvc.yaml:\n{right}"


def test_inputs_are_made_by_some_stage() -> None:
    paper = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outs = {o if isinstance(o, str) else next(iter(o)) for s in (*paper.values(), *STAGES.values()) for o in s["outs"]}
    for name, stage in STAGES.items():
        for dep in stage["deps"]:
            made = dep in outs or dep == "${validity.treebank.input}"
            assert made if "${" in dep else (ROOT / dep).is_file(), f"{name}: {dep}"


def test_presets_share_one_file() -> None:
    for preset in ("smoke", "wikipedia"):
        link = ROOT / "presets" / preset / "validity" / "dvc.yaml"
        assert link.readlink() == Path("../../laptop/validity/dvc.yaml")


@pytest.mark.parametrize("preset", ["laptop", "smoke", "wikipedia"])
def test_parameters_exist_and_are_some_stages(preset: str) -> None:
    values = yaml.safe_load((ROOT / "presets" / preset / "params.yaml").read_text(encoding="utf-8"))
    named = {key for stage in STAGES.values() for entry in stage.get("params", []) for key in entry[PARAMS]}
    for key in named:
        at = values
        for part in key.split("."):
            assert part in at, key
            at = at[part]
    assert {f"validity.{name}" for name in MINE} <= named
