"""Measured commands without folders; the plot of speeds, in which what failed or was stopped is left out."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from polca.report.figures import style

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plot() -> Any:
    return script("plot_speed")


def test_measured_commands_name_no_folder_of_their_machine() -> None:
    shown = script("measure_run").shown
    assert shown(["make", "validity", "TREEBANK=/data/own/ewt"]) == "make validity TREEBANK=ewt"
    assert shown(["make", "repro", "PRESET=paper"]) == "make repro PRESET=paper"
    for path in FOLDER.glob("*_run.json"):
        assert "=/" not in path.read_text(encoding="utf-8")


def with_errors(path: Path, failed: Callable[[dict[str, Any]], bool]) -> Path:
    """A copy of the measurements in which some rows are errors, as `speed.py` writes them."""
    measured = json.loads((FOLDER / "speed.json").read_text(encoding="utf-8"))
    names = ("case", "method", "setting", "sequences", "vectors", "width", "context", "repeats")
    measured["rows"] = [
        {**{n: row[n] for n in names}, "error": "stopped after 300 seconds"} if failed(row) else row
        for row in measured["rows"]
    ]
    path.write_text(json.dumps(measured), encoding="utf-8")
    return path


def drawn(plot: Any, path: Path) -> pd.DataFrame:
    table, peak = plot.load(path)
    with style.styled():
        assert style.encode(plot.draw(table[table["case"] == "growth"]))["png"].startswith(b"\x89PNG")
    return plot.ratios(table, peak)


def test_the_committed_table(plot: Any, tmp_path: Path) -> None:
    plot.write_csv(tmp_path / "speed.csv", drawn(plot, FOLDER / "speed.json"))
    assert (tmp_path / "speed.csv").read_bytes() == (FOLDER / "speed.csv").read_bytes()


@pytest.mark.parametrize(
    "failed",
    [
        lambda row: row["method"] in ("vmap_grad", "cola", "curvlinops", "vmap_hvp"),
        lambda row: row["case"] == "growth" and row["width"] == 1024,
        lambda row: row["case"] == "growth" and (row["sequences"], row["width"], row["vectors"]) == (4, 128, 8),
        lambda row: row["case"] in ("growth", "memory"),
        lambda row: row["case"] == "peak",
        lambda row: row["method"] == "ours",
        lambda row: True,
    ],
    ids=["rivals", "largest", "first", "growth", "peak", "ours", "all"],
)
def test_errors_are_left_out(plot: Any, tmp_path: Path, failed: Callable[[dict[str, Any]], bool]) -> None:
    """What is still there has the value of the whole table."""
    found = drawn(plot, with_errors(tmp_path / "speed.json", failed)).set_index("what")
    whole = drawn(plot, FOLDER / "speed.json").set_index("what")
    assert set(found.index) <= set(whole.index)
    assert not found.equals(whole)
    for name in found.index[[not name.startswith("growth") for name in found.index]]:
        own = found.loc[name].dropna()
        pd.testing.assert_series_equal(own, whole.loc[name, own.index])
