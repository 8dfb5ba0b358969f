"""What the README says of a run is what the run wrote."""

import json
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_measured_sentence() -> None:
    run = json.loads((ROOT / "benchmarks" / "laptop_run.json").read_text(encoding="utf-8"))
    sentence = (
        f"From a fresh clone, installation included: {run['wall_seconds'] / 60:.0f} minutes and "
        f"{run['peak_resident_mib'] / 1024:.1f} GiB of memory on {run['cores']} cores ({run['processor']}), "
        f"{run['disk_mib'] / 1024:.1f} GiB of disk."
    )
    assert sentence in " ".join(README.split())


def test_claims_table() -> None:
    claims = pd.read_csv(ROOT / "paper" / "laptop" / "tables" / "claims.csv")
    for row in claims.itertuples():
        assert f"| {row.sentence} | {row.rule} | {row.statistic} | **{row.verdict}** |" in README


def test_linked_files_exist() -> None:
    import re

    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
