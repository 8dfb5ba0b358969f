"""The blocks of README and docs follow the result files, and say what those say."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.report.answers import Files
from polca.report.documents import BLOCKS, filled

PUBLISHED = "data/published.yaml"
SEEDS = "paper/laptop/validity/seeds_values.csv"
LARGE = "paper/published_scale"
CLAIMS = "paper/laptop/tables/claims.csv"
RUN = "paper/paper/run.json"
"""What the run at the published scale has; `alter` gives it what it lacks."""
SOURCES = {
    "answer": (PUBLISHED, SEEDS, f"{LARGE}/best.csv"),
    "late": (PUBLISHED, f"{LARGE}/clusters.csv"),
    "verdicts": (
        PUBLISHED,
        SEEDS,
        "paper/laptop/validity/seeds_probes.csv",
        f"{LARGE}/best.csv",
        f"{LARGE}/probes.csv",
        "paper/laptop/metrics_all.json",
        "paper/wikipedia/metrics_all.json",
        CLAIMS,
    ),
    "compared": (
        PUBLISHED,
        f"{LARGE}/best.csv",
        f"{LARGE}/specification.csv",
        RUN,
        "paper/laptop/tables/table_02.csv",
        "paper/laptop/tables/table_03.csv",
    ),
    "measured": ("benchmarks/laptop_run.json",),
    "redrawn": ("benchmarks/paper_run.json",),
    "validated": ("benchmarks/validity_run.json",),
    "analyzed": ("benchmarks/analyze_neox.json",),
    "claims": (CLAIMS,),
    "english": (PUBLISHED, "paper/laptop/metrics_all.json", "paper/wikipedia/metrics_all.json"),
    "scales": (PUBLISHED, *(f"paper/laptop/tables/table_0{n}.csv" for n in range(2, 8))),
    "stages": ("benchmarks/laptop_run.json",),
}


def block(name: str, root: Path = ROOT) -> str:
    return "\n".join(BLOCKS[name](Files(root)))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The small result files of this checkout, to be altered."""
    for path in sorted({ROOT / source for sources in SOURCES.values() for source in sources}):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def tripled(values: Any) -> Any:
    """The same with every number three times as large."""
    if isinstance(values, dict):
        return {key: tripled(value) for key, value in values.items() if key != "exit_code"}
    if isinstance(values, list):
        return [tripled(value) for value in values]
    return 3 * values if isinstance(values, int | float) and not isinstance(values, bool) else values


def alter(path: Path) -> None:
    """Change every number, and every verdict."""
    text = path.read_text(encoding="utf-8")
    if path == path.parents[2] / RUN:
        own = json.loads(text)
        text = json.dumps({**own, "arithmetic": {**own["arithmetic"], "missing": []}})
    elif path.suffix == ".json":
        text = json.dumps(tripled(json.loads(text)))
    elif path.suffix == ".yaml":
        text = yaml.safe_dump(tripled(yaml.safe_load(text)))
    elif path.name.startswith(("claims", "table_")):  # their columns mix numbers and words
        text = re.sub(r"\d+", lambda digits: str(3 * int(digits[0]) + 1), text.replace(",fails,", ",holds,"))
    else:
        table = pd.read_csv(path)
        numbers = [c for c in table.select_dtypes("number") if c not in ("table", "rank", "seed", "vector", "cluster")]
        text = table.assign(**{c: 3 * table[c] for c in numbers}).to_csv(index=False)
    path.write_text(text, encoding="utf-8")


def test_every_block_has_its_sources_here() -> None:
    assert set(SOURCES) == set(BLOCKS)


@pytest.mark.parametrize(
    ("name", "source"), [(name, source) for name, sources in SOURCES.items() for source in sources]
)
def test_block_follows_its_sources(name: str, source: str, checkout: Path) -> None:
    alter_one_table(checkout / source) if name == "scales" and source != PUBLISHED else alter(checkout / source)
    assert block(name, checkout) != block(name)


@pytest.mark.parametrize("name", BLOCKS)
def test_block_follows_nothing_else(name: str, checkout: Path) -> None:
    for source in {source for sources in SOURCES.values() for source in sources} - set(SOURCES[name]):
        alter(checkout / source)
    assert block(name, checkout) == block(name)


def alter_one_table(path: Path) -> None:
    """A table of settings, whose first column names them: its values alone."""
    pd.read_csv(path, dtype=str).assign(value="17").to_csv(path, index=False)


def test_answer_is_what_the_summary_of_seeds_says() -> None:
    """That table is made by another stage, with pandas' own mean and deviation."""
    summary = pd.read_csv(ROOT / "paper/laptop/validity/seeds_summary.csv")
    keys = {"table": 8, "row": "polca", "reading": "standardised", "rank": 1, "measure": "homogeneity"}
    row = summary[(summary[list(keys)] == pd.Series(keys)).all(axis=1)].iloc[0]
    found = [int(n) for n in re.findall(r"(\d+)(?: %| to| seeds)", block("answer"))]
    shares = [round(100 * row[c]) for c in ("published", "mean", "sd", "least", "largest")]
    assert found[:6] == [*shares, row["seeds"]]


class TestVerdicts:
    def cells(self, root: Path = ROOT) -> list[list[str]]:
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in block("verdicts", root).splitlines()[2:]]

    def test_at_most_seven_rows(self) -> None:
        assert 1 <= len(self.cells()) <= 7

    def test_laptop_s_are_those_of_the_report(self) -> None:
        claims = pd.read_csv(ROOT / CLAIMS)
        known = set(zip(claims["verdict"], claims["why"], strict=True))
        for cells in self.cells():
            assert any(cells[3].startswith(f"**{v}**") and cells[4].endswith(f"{why}.") for v, why in known), cells

    @pytest.mark.parametrize(
        ("homogeneity", "verdict"), [(0.95, "inconclusive"), (0.9, "inconclusive"), (0.89, "fails"), (0.3, "fails")]
    )
    def test_one_run_refutes_but_does_not_establish(self, homogeneity: float, verdict: str, checkout: Path) -> None:
        """The rule of the claim asks for 0.9, with recall of 0.5."""
        path = checkout / LARGE / "best.csv"
        best = pd.read_csv(path)
        own = (best["reading"] == "standardised") & (best["analysis"] == "polca")
        best.loc[own, ["homogeneity_1", "recall_1"]] = homogeneity, 0.7
        best.to_csv(path, index=False)
        assert self.cells(checkout)[0][2] == f"**{verdict}**: {homogeneity:.2f}"

    def test_without_an_eligible_cluster(self, checkout: Path) -> None:
        path = checkout / LARGE / "best.csv"
        best = pd.read_csv(path)
        best.loc[best["analysis"] == "polca", "homogeneity_1"] = None
        best.to_csv(path, index=False)
        assert self.cells(checkout)[0][2] == "**fails**: none"


class TestFilled:
    def test_line_and_paragraph(self) -> None:
        sentence = block("measured")
        assert filled("A. <!-- made: measured -->old<!-- end --> B.") == (
            f"A. <!-- made: measured -->{sentence}<!-- end --> B."
        )
        made = filled("<!-- made: measured -->\nold\nold\n<!-- end -->\n")
        assert made.startswith("<!-- made: measured -->\n")
        assert made.endswith("\n<!-- end -->\n")
        assert " ".join(made.splitlines()[1:-1]) == sentence
        assert max(map(len, made.splitlines())) <= 120

    def test_again_changes_nothing(self) -> None:
        once = filled("<!-- made: verdicts -->\n<!-- end -->\n")
        assert filled(once) == once
        assert len(once.splitlines()) > 5

    def test_unknown_block(self) -> None:
        with pytest.raises(PolcaError, match=r"page\.md: unknown block 'verdict': known are answer, late"):
            filled("<!-- made: verdict -->\n<!-- end -->", name="page.md")

    def test_missing_result_file(self, tmp_path: Path) -> None:
        with pytest.raises(PolcaError, match=r"laptop_run\.json"):
            filled("<!-- made: measured --><!-- end -->", tmp_path)

    def test_failed_run(self, checkout: Path) -> None:
        path = checkout / "benchmarks" / "laptop_run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "exit_code": 1}))
        with pytest.raises(PolcaError, match=r"laptop_run\.json: the run failed \(exit code 1\): time it again"):
            block("measured", checkout)
