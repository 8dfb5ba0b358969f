"""Settings of the checks, and the mistakes that they name."""

import shutil

import pytest
import yaml

from polca.errors import PolcaError
from polca.machine.files import ROOT
from polca.validity.settings import of_seed, read_bases, read_seeds, read_treebank_settings


@pytest.mark.parametrize("preset", ["smoke", "laptop", "wikipedia"])
def test_presets_are_read(preset: str) -> None:
    path = ROOT / "presets" / preset / "params.yaml"
    seeds, settings = read_seeds(path)
    assert settings.polca.interval == seeds.interval
    assert settings.seed not in seeds.others
    another = of_seed(settings, seeds.others[0])
    assert another.seed == seeds.others[0]
    assert another.training.checkpoint_interval == seeds.interval
    # The same data would make seeds agree by construction.
    assert (another.data().evaluation != settings.data().evaluation).any()
    assert read_bases(path)[0].window >= 1
    assert read_treebank_settings(path).windows >= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": {"interval": 15}}, r"validity\.seeds\.interval = 15: not a multiple"),
        ({"seeds": {"interval": 30}}, r"validity\.seeds\.interval = 30: does not divide"),
        ({"seeds": {"delta": 30}}, r"validity\.seeds\.delta = 30: not a multiple"),
        ({"seeds": {"others": [0, 1]}}, r"validity\.seeds\.others"),
        ({"seeds": {"others": []}}, r"validity\.seeds\.others"),
        ({"seeds": {"others": ["1"]}}, r"validity\.seeds\.others"),
        ({"seeds": {"permutations": 0}}, r"validity\.seeds\.permutations = 0"),
        ({"seeds": None}, r"missing parameter validity\.seeds"),
        ({"bases": {"window": 0}}, r"validity\.bases\.window = 0"),
        ({"bases": {"windows": 1}}, r"validity\.bases\.windows: unknown"),
        ({"treebank": {"windows": 0}}, r"validity\.treebank\.windows = 0"),
    ],
)
def test_mistakes_are_named(change, message, tmp_path) -> None:
    path = tmp_path / "params.yaml"
    shutil.copy(ROOT / "presets" / "smoke" / "params.yaml", path)
    params = yaml.safe_load(path.read_text())
    for name, values in change.items():
        if values is None:
            del params["validity"][name]
        else:
            params["validity"][name].update(values)
    path.write_text(yaml.safe_dump(params))
    read = {"seeds": read_seeds, "bases": read_bases, "treebank": read_treebank_settings}[next(iter(change))]
    with pytest.raises(PolcaError, match=message):
        read(path)
