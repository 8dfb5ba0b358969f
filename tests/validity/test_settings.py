"""Settings of the checks, and the mistakes that they name."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.study.paths import PresetPaths, presets
from polca.study.settings import Preset
from polca.tasks.settings import Section
from polca.validity.settings import (
    BasesSettings,
    ChanceSettings,
    CompletenessSettings,
    CurvatureSettings,
    SeedsSettings,
    SensitivitySettings,
    SpecificationSettings,
    TreebankSettings,
    of_seed,
    on_grid,
    other_seeds,
    read,
)

KINDS: dict[str, type[Section]] = {
    "completeness": CompletenessSettings,
    "curvature": CurvatureSettings,
    "chance": ChanceSettings,
    "sensitivity": SensitivitySettings,
    "specification": SpecificationSettings,
    "seeds": SeedsSettings,
    "bases": BasesSettings,
    "treebank": TreebankSettings,
}
CHECKED = [name for name in presets(ROOT) if "validity" in Preset.read(PresetPaths.named(name)).params]
"""Presets whose claims are checked."""


def smoke(folder: Path, section: str, **changes: Any) -> Preset:
    """The smoke preset with parameters of one section replaced; None leaves one out."""
    params = yaml.safe_load((ROOT / "presets" / "smoke" / "params.yaml").read_text(encoding="utf-8"))
    values = params
    for key in section.split("."):
        values = values[key]
    values |= changes
    for name in [name for name, value in values.items() if value is None]:
        del values[name]
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    return Preset.read(PresetPaths.of(path))


def seeds_of(preset: Preset) -> None:
    """What the stage of the seeds does with its settings before it computes anything."""
    seeds, task = read(preset, "seeds", SeedsSettings), preset.arithmetic()
    others, coarse = other_seeds(task, seeds), on_grid(task, seeds)
    of_seed(coarse, others[0])


class TestShipped:
    def test_some_are_checked(self) -> None:
        assert {"laptop", "smoke"} <= set(CHECKED)

    @pytest.mark.parametrize("name", CHECKED)
    def test_sound(self, name: str) -> None:
        preset = Preset.read(PresetPaths.named(name))
        settings = {section: read(preset, section, kind) for section, kind in KINDS.items()}
        assert set(preset.section("validity")) == set(settings)
        assert read(preset, "chance", ChanceSettings).permutations >= 200
        assert read(preset, "completeness", CompletenessSettings).path_nodes == 9
        assert read(preset, "sensitivity", SensitivitySettings).thinning[0] == 1
        specification = read(preset, "specification", SpecificationSettings)
        assert specification.length == (1.0, 0.4)
        own = preset.arithmetic().settings.polca.interval
        # Otherwise the specification curve could not use it.
        assert read(preset, "curvature", CurvatureSettings).interval == specification.thinning[-1] * own
        seeds, task = read(preset, "seeds", SeedsSettings), preset.arithmetic()
        assert task.settings.seed not in other_seeds(task, seeds)
        coarse = on_grid(task, seeds)
        assert coarse.settings.polca.interval == seeds.interval
        assert coarse.settings.polca.curvature_of == ()
        assert coarse.settings.breakthroughs.delta == seeds.delta
        assert coarse.settings.stability.analyses == ()
        assert coarse.settings.training == task.settings.training
        another = of_seed(coarse, seeds.others[0])
        assert another.settings.seed == seeds.others[0]
        assert another.settings.training.checkpoint_interval == seeds.interval
        assert another.settings.basis_steps() == task.settings.basis_steps()
        # The same data would make seeds agree by construction.
        assert (another.data.evaluation != task.data.evaluation).any()
        bases = read(preset, "bases", BasesSettings)
        assert on_grid(task, bases).settings.polca.interval == bases.interval


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("seeds", {"interval": 15}, r"validity\.seeds\.interval = 15: not a multiple of arithmetic\.polca\.interval = 10"),
    ("seeds", {"interval": 30}, r"validity\.seeds\.interval = 30: does not divide arithmetic\.training\.steps = 200"),
    ("seeds", {"interval": 50}, r"validity\.seeds\.interval = 50: does not divide arithmetic\.basis\.interval = 40"),
    ("seeds", {"delta": 30}, r"validity\.seeds\.delta = 30: not a multiple of validity\.seeds\.interval = 20"),
    ("seeds", {"others": [0, 1]}, r"validity\.seeds\.others = \[0, 1\]: .*without the preset's own, 0"),
    ("seeds", {"others": [1, 1]}, r"validity\.seeds\.others = \[1, 1\]: expected seeds, each once"),
    ("seeds", {"others": []}, r"validity\.seeds\.others = \[\]: "),
    ("seeds", {"others": ["1"]}, r"validity\.seeds\.others\.0 = '1': input should be a valid integer"),
    ("seeds", {"others": [-1]}, r"validity\.seeds\.others\.0 = -1: input should be greater"),
    ("seeds", {"permutations": 0}, r"validity\.seeds\.permutations = 0: input should be greater than or equal to 1"),
    ("seeds", {"permutations": None}, r"missing parameter validity\.seeds\.permutations: "),
    ("bases", {"window": 0}, r"validity\.bases\.window = 0: "),
    ("bases", {"window": True}, r"validity\.bases\.window = True: input should be a valid integer"),
    ("bases", {"windows": 1}, r"validity\.bases\.windows: unknown parameter"),
    ("specification", {"thinning": [0]}, r"validity\.specification\.thinning\.0 = 0: "),
    ("specification", {"thinning": [1, 1]}, r"validity\.specification\.thinning = \[1, 1\]: expected each value once"),
    ("specification", {"length": [1.5]}, r"validity\.specification\.length\.0 = 1\.5: "),
    ("specification", {"permutations": 0}, r"validity\.specification\.permutations = 0: "),
    ("treebank", {"windows": 0}, r"validity\.treebank\.windows = 0: "),
    ("treebank", {"permutations": 0}, r"validity\.treebank\.permutations = 0: "),
    ("completeness", {"path_nodes": 8}, r"validity\.completeness\.path_nodes = 8: must be a power of two and one"),
    ("completeness", {"path_nodes": 3}, r"validity\.completeness\.path_nodes = 3: input should be greater than or eq"),
    ("completeness", {"path_intervals": 0}, r"validity\.completeness\.path_intervals = 0: "),
    ("completeness", {"path_tolerance": 0}, r"validity\.completeness\.path_tolerance = 0: input should be greater"),
    ("completeness", {"path_tolerance": "1e-2"}, r"validity\.completeness\.path_tolerance = '1e-2': .*valid number"),
    ("chance", {"permutations": 0}, r"validity\.chance\.permutations = 0: "),
    ("sensitivity", {"delta": [5, 1]}, r"validity\.sensitivity\.delta = \[5, 1\]: expected a rising list"),
    ("sensitivity", {"delta": [5, 5]}, r"validity\.sensitivity\.delta = \[5, 5\]: expected a rising list"),
    ("sensitivity", {"thinning": []}, r"validity\.sensitivity\.thinning = \[\]: "),
    ("sensitivity", {"min_cluster_size": [1]}, r"validity\.sensitivity\.min_cluster_size\.0 = 1: "),
]


@pytest.mark.parametrize(("section", "changes", "message"), MISTAKES)
def test_mistakes_are_named(section: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    preset = smoke(tmp_path, f"validity.{section}", **changes)
    check = seeds_of if section == "seeds" else partial(read, name=section, kind=KINDS[section])
    with pytest.raises(PolcaError, match=message) as caught:
        check(preset)
    assert "\n" not in str(caught.value)


def test_the_grid_of_the_bases_is_checked_like_that_of_the_seeds(tmp_path: Path) -> None:
    preset = smoke(tmp_path, "validity.bases", interval=15)
    with pytest.raises(PolcaError, match=r"validity\.bases\.interval = 15: not a multiple"):
        on_grid(preset.arithmetic(), read(preset, "bases", BasesSettings))


@pytest.mark.parametrize(("delta", "kept"), [(20, True), (40, True), (30, False)])
def test_published_breakthroughs_on_the_grid(delta: int, kept: bool, tmp_path: Path) -> None:
    """The paper's Δ cannot be counted on a grid of 20 steps where it is no multiple of them."""
    preset = smoke(tmp_path, "arithmetic.breakthroughs", published={"flat_step": 100, "delta": delta})
    task = preset.arithmetic()
    assert task.settings.breakthroughs.published is not None
    published = on_grid(task, read(preset, "seeds", SeedsSettings)).settings.breakthroughs.published
    assert published == (task.settings.breakthroughs.published if kept else None)


def test_forms_that_need_curvature(tmp_path: Path) -> None:
    every = ["hessian", "shuffled_hessian", "random"]
    preset = smoke(tmp_path, "arithmetic.polca", second_order="exact", curvature_of=every)
    with pytest.raises(
        PolcaError, match=r"arithmetic\.polca\.second_order = 'exact': .* no curvature: use 'trapezoid'"
    ):
        seeds_of(preset)
    seeds_of(smoke(tmp_path, "arithmetic.polca", second_order="none"))


@pytest.mark.parametrize("section", KINDS)
def test_missing_section(section: str, tmp_path: Path) -> None:
    message = rf"missing parameter validity\.{section}: compare with the checkout's own params.yaml"
    with pytest.raises(PolcaError, match=message):
        read(smoke(tmp_path, "validity", **{section: None}), section, KINDS[section])
    params = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    del params["validity"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    with pytest.raises(PolcaError, match=message):
        read(Preset.read(PresetPaths.of(tmp_path / "params.yaml")), section, KINDS[section])
