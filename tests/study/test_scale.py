"""The table of docs/scale.md is what benchmarks/scale.py prints; its arithmetic against numbers worked out by hand."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from polca.tasks.arithmetic.data import model_config
from polca.tasks.transformer import parameter_count

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
assert spec is not None
assert spec.loader is not None
scale = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scale)


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert page.split("<!-- table -->\n")[1].split("\n<!-- end -->")[0] == scale.table()


def test_the_paper_s_numbers_are_the_preset_s() -> None:
    a = yaml.safe_load((ROOT / "presets" / "paper" / "params.yaml").read_text())["arithmetic"]
    run = scale.RUNS[0]
    assert run.parameters == parameter_count(model_config(**a["model"]))
    assert run.vectors == a["basis"]["vectors"]
    assert run.checkpoints == a["training"]["steps"] // a["training"]["checkpoint_interval"] + 1


def test_by_hand() -> None:
    """10⁹ parameters, 10 vectors, 1000 tokens each way, 100 checkpoints."""
    row = scale.Run("x", 1e9, 10, 1000, 1000, 100).row()
    assert float(row["k vectors, float32 (GB)"]) == pytest.approx(40)
    assert float(row["checkpoints (GB)"]) == pytest.approx(400)
    assert float(row["basis (EFLOP)"]) == pytest.approx(2e9 * 1000 * 10 * 90 / 1e18, rel=5e-3)
    assert float(row["projections (EFLOP)"]) == pytest.approx(2e9 * 1000 * 21 * 100 / 1e18, rel=5e-3)
