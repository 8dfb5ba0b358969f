"""English presets: the paper's is the published one; impossible parameters are refused by name."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from polca.study.english_settings import read_english

from polca.errors import PolcaError
from polca.tasks.transformer import parameter_count

PRESETS = Path(__file__).parents[2] / "presets"


@pytest.mark.parametrize("preset", sorted(p.parent.name for p in PRESETS.glob("*/params.yaml")))
def test_shipped_presets_are_sound(preset: str) -> None:
    settings = read_english(PRESETS / preset / "params.yaml")
    steps = settings.basis_steps()
    assert len(steps) == settings.basis.vectors
    assert steps[-1] == settings.training.steps
    assert all(step % settings.training.checkpoint_interval == 0 for step in steps)


def test_paper_preset_is_the_published_one() -> None:
    s = read_english(PRESETS / "paper" / "params.yaml")
    assert parameter_count(s.model()) == 40_274_737
    assert s.training.steps * s.training.batch_size * s.sizes.context == 114_688_000
    assert s.data.evaluation_contexts * s.model(evaluated=True).targets == 12_600
    # 30 vectors evenly over 14,000 steps, each at the kept checkpoint next to its share.
    exact = [14_000 * i / 30 for i in range(1, 31)]
    assert all(abs(step - share) <= 100 for step, share in zip(s.basis_steps(), exact, strict=True))


def test_laptop_and_wikipedia_differ_in_text_alone() -> None:
    """So that their results can be compared."""
    laptop, wikipedia = (yaml.safe_load((PRESETS / n / "params.yaml").read_text()) for n in ("laptop", "wikipedia"))
    assert laptop["arithmetic"] == wikipedia["arithmetic"]
    for values in (laptop, wikipedia):
        del values["english"]["corpus"], values["english"]["data"]["max_epochs"]
    assert laptop["english"] == wikipedia["english"]


CASES: list[tuple[list[str], Any, str]] = [
    (["corpus", "source"], "web", r"english\.corpus\.source = 'web': expected one of embedded, local, hub"),
    (["corpus", "packages"], "numpy", r"packages = 'numpy': expected a list"),
    (["corpus", "evaluation_fraction"], 1.0, r"evaluation_fraction = 1\.0: must lie between 0 and 1"),
    (["corpus", "characters"], -1, r"corpus\.characters = -1: must be at least 0"),
    (["tokenizer", "vocabulary"], "many", r"a section of english is malformed"),
    (["model", "context"], 2, r"model\.context = 2: must be at least 3"),
    (["model", "heads"], 7, r"model\.width = 512 is not divisible by model\.heads = 7"),
    (["data", "max_epochs"], 0, r"data\.max_epochs = 0: must be at least 1"),
    (["training", "learning_rate"], "1e-5", r"training\.learning_rate = '1e-5': expected a number"),
    (["basis", "vectors"], 71, r"basis\.vectors = 71: more than the 70 checkpoints"),
    (["basis", "interval"], 750, r"english\.basis\.interval: unknown parameter"),
    (["polca", "interval"], 300, r"polca\.interval = 300: not a multiple of training\.checkpoint_interval = 200"),
    (["polca", "second_order"], "exact", r"needs the curvature along basis hessian: add it to english\.polca"),
    (["polca", "curvature_of"], ["random"], r"curvature_of = \['random'\]: expected a list of hessian"),
    (["labels", "coverage"], 0, r"labels\.coverage = 0: must be above 0"),
    (["labels", "simple_tags"], 0, r"labels\.simple_tags = 0: must be at least 1"),
    (["breakthroughs", "delta"], 100, r"breakthroughs\.delta = 100: not a multiple of polca\.interval"),
]


@pytest.mark.parametrize(("place", "value", "message"), CASES, ids=lambda v: ".".join(v) if isinstance(v, list) else "")
def test_impossible_parameter(place: list[str], value: Any, message: str, tmp_path: Path) -> None:
    params = yaml.safe_load((PRESETS / "paper" / "params.yaml").read_text())
    section = params["english"]
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(PolcaError, match=message) as caught:
        read_english(path)
    assert "\n" not in str(caught.value)


def test_missing_section(tmp_path: Path) -> None:
    params = yaml.safe_load((PRESETS / "paper" / "params.yaml").read_text())
    del params["english"]["labels"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(PolcaError, match="missing parameter 'labels'"):
        read_english(path)
