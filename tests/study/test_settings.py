"""Presets: those that are shipped are sound, the paper's is the published one; what is no preset is refused by name."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.study.paths import PresetPaths, presets
from polca.study.settings import TASKS, Preset
from polca.tasks.transformer import parameter_count


def read(name: str) -> Preset:
    return Preset.read(PresetPaths.named(name))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Two presets in a root of their own; a path with a space and an accent."""
    root = tmp_path / "a päth"
    for source, target in (("params.yaml", "params.yaml"), ("presets/smoke/params.yaml",) * 2):
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        (root / target).write_bytes((ROOT / source).read_bytes())
    return root


def rewritten(path: Path, **changes: Any) -> Path:
    """A parameter file with top-level sections replaced; None leaves one out."""
    params = yaml.safe_load(path.read_text(encoding="utf-8")) | changes
    path.write_text(yaml.safe_dump({k: v for k, v in params.items() if v is not None}), encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(PolcaError) as caught:
        Preset.read(PresetPaths.of(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestShipped:
    def test_known(self) -> None:
        assert presets(ROOT)[0] == "laptop"
        assert {"paper", "smoke", "wikipedia"} <= set(presets(ROOT))

    @pytest.mark.parametrize("name", presets(ROOT))
    def test_sound(self, name: str) -> None:
        preset = read(name)
        assert preset.names.name == name
        assert (preset.paths.params.parent / preset.names.root).resolve() == ROOT
        assert ROOT / preset.names.params == preset.paths.params
        for task_name in preset.sources:
            task = preset.task(task_name)
            assert task.name == task_name
            steps, training = task.settings.basis_steps(), task.settings.training
            assert len(steps) == task.settings.basis.vectors
            assert steps[-1] <= training.steps
            assert all(step % training.checkpoint_interval == 0 for step in steps)
            assert task.settings.plots.analysis in task.analyses

    def test_paper_is_the_published_one(self) -> None:
        arithmetic, english = read("paper").arithmetic(), read("paper").english()
        assert parameter_count(arithmetic.model()) == 9_475_594
        assert parameter_count(english.model()) == 40_274_737
        a, e = arithmetic.settings, english.settings
        assert a.training.steps * a.training.batch_size * 4 == 2_560_000
        assert a.data.evaluation_examples * 4 == 5000
        assert a.basis_steps() == list(range(200, 10_001, 200))
        assert e.training.steps * e.training.batch_size * e.data.context == 114_688_000
        assert e.data.evaluation_contexts * english.model(evaluated=True).targets == 12_600
        assert (e.basis.vectors, e.basis_steps()[-1]) == (30, 14_000)

    def test_laptop_and_wikipedia_differ_in_text_alone(self) -> None:
        """So that their results can be compared; addition would be the same figure for figure."""
        laptop, wikipedia = (dict(read(name).params["english"]) for name in ("laptop", "wikipedia"))
        assert list(read("wikipedia").sources) == ["english"]
        for values in (laptop, wikipedia):
            data = dict(values["data"])
            del data["corpus"], data["max_epochs"]
            values["data"] = data
        assert laptop == wikipedia


class TestTasks:
    def test_each_below_its_own_folder(self, checkout: Path) -> None:
        preset = Preset.read(PresetPaths.of(checkout / "presets" / "smoke" / "params.yaml"))
        run = checkout / "runs" / "smoke"
        assert list(preset.sources) == list(TASKS)
        assert preset.arithmetic().folder == run / "arithmetic" / "data"
        english = preset.english()
        assert english.folder == run / "english" / "data"
        assert (english.root, english.source) == (checkout, checkout / "requirements.lock")
        assert preset.task("english") == english
        assert preset.task("arithmetic").name == "arithmetic"

    def test_a_task_that_the_preset_has_not(self, checkout: Path) -> None:
        path = checkout / "params.yaml"
        tasks = yaml.safe_load(path.read_text(encoding="utf-8"))["tasks"]
        preset = Preset.read(PresetPaths.of(rewritten(path, tasks={"english": tasks["english"]})))
        with pytest.raises(PolcaError, match=r"params\.yaml: task 'arithmetic': the preset has english"):
            preset.task("arithmetic")
        with pytest.raises(PolcaError, match=r"task 'chess': the preset has english"):
            preset.task("chess")

    def test_impossible_parameter_of_a_task(self, checkout: Path) -> None:
        path = checkout / "params.yaml"
        arithmetic = yaml.safe_load(path.read_text(encoding="utf-8"))["arithmetic"] | {"seed": "0"}
        preset = Preset.read(PresetPaths.of(rewritten(path, arithmetic=arithmetic)))
        with pytest.raises(PolcaError, match=r"^arithmetic\.seed = '0': input should be a valid integer$"):
            preset.task("arithmetic")
        assert preset.task("english").name == "english"

    @pytest.mark.parametrize("name", TASKS)
    def test_missing_section(self, checkout: Path, name: str) -> None:
        preset = Preset.read(PresetPaths.of(rewritten(checkout / "params.yaml", **{name: None})))
        with pytest.raises(PolcaError, match=rf"params\.yaml: missing parameter {name}: compare with"):
            preset.task(name)


class TestRefused:
    @pytest.mark.parametrize("tasks", [None, {}, ["english"], "english", {"chess": {}}, {"chess": {}, "english": {}}])
    def test_tasks(self, checkout: Path, tasks: Any) -> None:
        message = refusal(rewritten(checkout / "params.yaml", tasks=tasks))
        assert f"params.yaml: tasks = {tasks!r}: expected a mapping of some of arithmetic, english" in message

    @pytest.mark.parametrize(
        ("section", "value", "message"),
        [
            ("preset", None, "preset = None: "),
            ("preset", {"name": "x", "root": ".", "params": "params.yaml"}, "missing parameter .*preset.description: "),
            ("preset", {"name": 1, "description": "", "root": ".", "params": ""}, "preset.name = 1: "),
            ("tasks", {"english": {"data": "x"}}, "missing parameter .*tasks.english.labels: "),
            ("tasks", {"english": {"data": "x", "labels": "y", "more": "z"}}, "tasks.english.more: unknown parameter"),
            ("tasks", {"english": None}, "tasks.english = None: "),
        ],
    )
    def test_sections(self, checkout: Path, section: str, value: Any, message: str) -> None:
        path = rewritten(checkout / "params.yaml", **{section: value})
        with pytest.raises(PolcaError, match=message) as caught:
            Preset.read(PresetPaths.of(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_damaged_files(self, checkout: Path) -> None:
        path = checkout / "params.yaml"
        path.write_text("a: [1,")
        assert "not valid YAML" in refusal(path)
        path.write_text("- 1")
        assert "expected a mapping of parameters" in refusal(path)

    def test_no_such_file(self, checkout: Path) -> None:
        """Other presets are named where there are some."""
        absent = checkout / "presets" / "nowhere" / "params.yaml"
        assert refusal(absent) == f"{absent}: no such parameter file (presets here: smoke): name an existing preset"
        absent = checkout / "other.yaml"
        assert refusal(absent) == f"{absent}: no such parameter file: name an existing preset"

    def test_no_such_name(self, checkout: Path) -> None:
        with pytest.raises(PolcaError, match=r"preset 'large': no such preset \(known: laptop, smoke\)"):
            PresetPaths.named("large", checkout)


class TestPaths:
    def test_laptop_is_the_checkout_s_own(self, checkout: Path) -> None:
        laptop, smoke = (PresetPaths.named(name, checkout) for name in ("laptop", "smoke"))
        assert vars(laptop) == vars(PresetPaths.of(checkout / "params.yaml"))
        assert vars(smoke) == vars(PresetPaths.of(checkout / "presets" / "smoke" / "params.yaml"))
        assert laptop.params == checkout / "params.yaml"
        assert laptop.pipeline == checkout / "dvc.yaml"
        assert smoke.pipeline == checkout / "presets" / "smoke" / "dvc.yaml"
        assert (laptop.run, smoke.run) == (checkout / "runs" / "laptop", checkout / "runs" / "smoke")

    def test_relative(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(checkout)
        assert vars(PresetPaths.of(Path("params.yaml"))) == vars(PresetPaths.named("laptop", checkout))
        assert vars(PresetPaths.of(Path("presets/smoke/params.yaml"))) == vars(PresetPaths.named("smoke", checkout))


def test_section_by_its_dotted_name(checkout: Path) -> None:
    preset = Preset.read(PresetPaths.of(checkout / "params.yaml"))
    assert preset.section("arithmetic.polca.interval") == 20
    for name in ("validity.dreams", "arithmetic.seed.more", "nothing"):
        with pytest.raises(PolcaError, match=rf"missing parameter {name}: compare with the checkout"):
            preset.section(name)
