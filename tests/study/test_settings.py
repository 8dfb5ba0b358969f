"""Presets: those that are shipped are sound; impossible ones are refused by name."""

from pathlib import Path

import pytest
import yaml

from polca.errors import PolcaError
from polca.study.settings import read_arithmetic
from polca.tasks.transformer import parameter_count

PRESETS = Path(__file__).parents[2] / "presets"


@pytest.mark.parametrize("preset", sorted(p.parent.name for p in PRESETS.glob("*/params.yaml")))
def test_shipped_presets_are_sound(preset) -> None:
    settings = read_arithmetic(PRESETS / preset / "params.yaml")
    assert settings.basis_steps()[-1] <= settings.training.steps


def test_paper_preset_is_the_published_one() -> None:
    s = read_arithmetic(PRESETS / "paper" / "params.yaml")
    assert parameter_count(s.model) == 9_475_594
    assert s.training.steps * s.training.batch_size * 4 == 2_560_000
    assert s.evaluation_examples * 4 == 5000
    assert s.basis_steps() == list(range(200, 10_001, 200))


CASES = [
    (["basis", "vectors"], 51, r"basis: 51 vectors × 200 steps"),
    (["basis", "interval"], 30, r"basis\.interval = 30: not a multiple of training\.checkpoint_interval"),
    (["polca", "interval"], 60, r"polca\.interval = 60: does not divide training\.steps = 10000"),
    (["polca", "interval"], 0, r"polca\.interval = 0"),
    (["breakthroughs", "delta"], 90, r"breakthroughs\.delta = 90: not a multiple of polca\.interval"),
    (["training", "learning_rate"], "1e-5", r"training\.learning_rate = '1e-5': expected a number"),
    (["training", "steps"], 10_010, r"checkpoint_interval = 20: does not divide training\.steps"),
    (["training", "speed"], 3, r"training\.speed: unknown parameter"),
    (["polca", "second_order"], "third", r"second_order = 'third': expected one of none, paper, trapezoid, exact"),
    (["model", "heads"], 7, r"model\.width = 512 is not divisible by model\.heads = 7"),
    (["basis", "hessian_examples"], 10**6, r"hessian_examples = 1000000: more than the 640000 training examples"),
    (["clustering", "min_cluster_size"], 1, r"min_cluster_size = 1: must be at least 2"),
    (["basis", "tolerance"], None, r"basis\.tolerance = None: expected a number"),
]


@pytest.mark.parametrize(("where", "value", "message"), CASES)
def test_impossible_parameters(tmp_path, where, value, message) -> None:
    params = yaml.safe_load((PRESETS / "paper" / "params.yaml").read_text())
    params["arithmetic"][where[0]][where[1]] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(PolcaError, match=message) as error:
        read_arithmetic(path)
    assert "\n" not in str(error.value)


def test_missing_parameter(tmp_path) -> None:
    params = yaml.safe_load((PRESETS / "paper" / "params.yaml").read_text())
    del params["arithmetic"]["basis"]["vectors"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(PolcaError, match=r"arithmetic\.basis: missing parameter 'vectors'"):
        read_arithmetic(path)
    del params["arithmetic"]["basis"]
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(PolcaError, match="missing parameter 'basis'"):
        read_arithmetic(path)


def test_damaged_or_absent_file(tmp_path) -> None:
    (tmp_path / "params.yaml").write_text("a: [1,")
    with pytest.raises(PolcaError, match="not valid YAML"):
        read_arithmetic(tmp_path / "params.yaml")
    with pytest.raises(PolcaError, match="no such parameter file"):
        read_arithmetic(PRESETS / "nowhere" / "params.yaml")
