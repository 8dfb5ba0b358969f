"""What the README says of a run is what the run wrote."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PRESETS = ("laptop", "wikipedia")


def measured() -> str:
    run = json.loads((ROOT / "benchmarks" / "laptop_run.json").read_text(encoding="utf-8"))
    return (
        f"From a fresh clone, installation included: {run['wall_seconds'] / 60:.0f} minutes and "
        f"{run['peak_memory_mib'] / 1024:.1f} GiB of memory on {run['cores']} cores ({run['processor']}), "
        f"{run['disk_mib'] / 1024:.1f} GiB of disk."
    )


def english_rows() -> list[str]:
    """The README's table of the English setting, from `metrics.json` and the published values."""
    published: dict[str, Any] = yaml.safe_load((ROOT / "data" / "published.yaml").read_text(encoding="utf-8"))[
        "scalars"
    ]
    columns = [json.loads((ROOT / "paper" / p / "metrics.json").read_text(encoding="utf-8")) for p in PRESETS]

    def row(name: str, paper: str, *values: str) -> str:
        return f"| {name} | {paper} | {' | '.join(values)} |"

    def number(value: float | None, form: str = ".3g") -> str:
        return "none" if value is None else f"{value:{form}}"

    def each(key: str, form: str = ".3g") -> list[str]:
        return [number(m[f"english_{key}"], form) for m in columns]

    def of(part: str, whole: str) -> list[str]:
        return [f"{m[f'english_{part}']} of {m[f'english_{whole}']}" for m in columns]

    def kept(m: dict[str, Any]) -> int:
        return int(m["english_vectors"] - m["english_dropped_vectors"])

    shares = [m["english_mean_dropped_tokens"] / m["english_tokens"] for m in (published, *columns)]
    return [
        row("loss of the evaluation tokens, last checkpoint (nats)", "", *each("loss_last", ".2f")),
        row("the same of a model that knows only their frequencies", "", *each("target_unigram_entropy", ".2f")),
        row("passes over the training text", "1", *each("corpus_epochs")),
        row(
            "vectors dropped as rising",
            f"{published['english_dropped_vectors']} of {published['english_vectors']}",
            *of("dropped_vectors", "vectors"),
        ),
        row(
            "kept vectors with a simply labelled cluster",
            f"{published['english_vectors_with_simple_label']} of {kept(published)}",
            *(f"{m['english_vectors_with_simple_label']} of {kept(m)}" for m in columns),
        ),
        row(
            "the same with finer clusters (not the paper's)",
            "",
            *(f"{m['english_polca_fine_vectors_with_simple_label']} of {kept(m)}" for m in columns),
        ),
        row("tokens dropped as rising, per kept vector", *(f"{100 * share:.0f} %" for share in shares)),
        row(
            "of the rest, left out by HDBSCAN",
            "",
            *(f"{100 * m['english_polca_outlier_fraction']:.0f} %" for m in columns),
        ),
        row("POLCA clusters, with a simple label", "", *of("polca_clusters_simple", "polca_clusters")),
        row("finer POLCA clusters, with a simple label", "", *of("polca_fine_clusters_simple", "polca_fine_clusters")),
        row("exact-loss clusters, with a simple label", "", *of("loss_clusters_simple", "loss_clusters")),
        row("finer POLCA clusters, share with a hidden breakthrough", "", *each("polca_fine_hidden_fraction", ".2f")),
        row("share of the loss change that the basis sees", "", *each("completeness_trapezoid_fraction")),
    ]


def test_measured_sentence() -> None:
    assert measured() in " ".join(README.split())


def test_claims_table() -> None:
    claims = pd.read_csv(ROOT / "paper" / "laptop" / "tables" / "claims.csv")
    for row in claims.itertuples():
        assert f"| {row.sentence} | {row.rule} | {row.statistic} | **{row.verdict}** |" in README


def test_english_table() -> None:
    for row in english_rows():
        assert row in README.splitlines(), row


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_linked_files_exist(target: str) -> None:
    assert target.startswith("http") or (ROOT / target).exists(), target
