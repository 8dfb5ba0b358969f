"""What the README says of a run is what the run wrote."""

import inspect
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from polca.machine.code import modules_behind
from polca.machine.files import read_csv
from polca.report.figures import ENGLISH_FIGURES, FIGURES
from polca.report.tables import ENGLISH_TABLES, TABLES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PRESETS = ("laptop", "wikipedia")


def measured() -> str:
    run = json.loads((ROOT / "benchmarks" / "laptop_run.json").read_text(encoding="utf-8"))
    return (
        f"From a fresh clone, installation included: {run['wall_seconds'] / 60:.0f} minutes and "
        f"{run['peak_memory_mib'] / 1024:.1f} GiB of memory on {run['cores']} cores ({run['processor']}), "
        f"{run['disk_mib'] / 1024:.1f} GiB of disk."
    )


def validated() -> str:
    run = json.loads((ROOT / "benchmarks" / "validity_run.json").read_text(encoding="utf-8"))
    assert run["exit_code"] == 0
    seeds, bases = (run["stages"][f"validity_{name}"] / 60 for name in ("seeds", "bases"))
    return (
        f"After `make repro` it takes {run['wall_seconds'] / 60:.0f} minutes more, {seeds:.0f} of them for the seeds "
        f"and {bases:.0f} for the bases (`benchmarks/validity_run.json`)."
    )


def analyzed() -> str:
    run = json.loads((ROOT / "benchmarks" / "analyze_neox.json").read_text(encoding="utf-8"))
    return (
        f"A GPT-NeoX of {run['parameters'] / 1e6:.0f} million parameters, {run['checkpoints']} checkpoints, "
        f"{run['tokens']:,} tokens and {run['vectors']} vectors take {run['wall_seconds'] / 60:.0f} minutes and "
        f"{run['peak_memory_mib'] / 1024:.1f} GiB on one core (`benchmarks/analyze_neox.json`)."
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


SHOWN = (
    ("Figures 1, 2", "figures", ("schematic.py", "addition.py"), (1, 2)),
    ("Figures 3, 6, 7", "figures", ("losses.py",), (3, 6, 7)),
    ("Figures 4, 8", "figures", ("vectors.py",), (4, 8)),
    ("Figures 5, 9–11", "figures", ("english.py",), (5, 9, 10, 11)),
    ("Tables 2–7", "tables", ("parameters.py",), (2, 3, 4, 5, 6, 7)),
    ("Tables 1, 8–12", "tables", ("clusters.py",), (1, 8, 9, 10, 11, 12)),
)
"""Rows of the README's table: what is shown, its stage and modules, and the numbers."""
STAGE_HEAD = "| figure or table | stage | module | seconds (laptop) |"


def stage_rows(run: dict[str, Any]) -> list[str]:
    """The README's table of figures and tables; seconds are empty where `run` has no `stages`."""
    seconds = run.get("stages", {})
    rows = []
    for what, stage, modules, _ in SHOWN:
        paths = ", ".join(f"`{name}`" for name in (f"src/polca/report/{stage}/{modules[0]}", *modules[1:]))
        rows.append(f"| {what} | `{stage}` | {paths} | {f'{seconds[stage]:.0f}' if stage in seconds else ''} |")
    return rows


def claim_rows() -> list[str]:
    """One line a claim: its numbers in the reading that figures show, the verdict there and in the other one."""
    claims = read_csv(ROOT / "paper" / "laptop" / "tables" / "claims.csv", ["reading"])
    shown = claims[claims["reading"].isin(["", "standardised"])]
    raw = claims[claims["reading"] == "raw"].set_index("claim")
    rows = []
    for r in shown.itertuples():
        of = "English: " if r.claim.startswith("english_") else ""
        other = "no cluster" if r.reading else "the same"
        if r.claim in raw.index:
            other = f"**{raw.verdict[r.claim]}**: {raw.why[r.claim]}"
        rows.append(f"| {of}{r.sentence} | {r.statistic} | **{r.verdict}**: {r.why} | {other} |")
    return rows


def laptop_run() -> dict[str, Any]:
    run: dict[str, Any] = json.loads((ROOT / "benchmarks" / "laptop_run.json").read_text(encoding="utf-8"))
    return run


def filled(text: str) -> str:
    """The README with its generated rows and its measured sentence made anew."""
    text = re.sub(r"From a fresh clone, installation included: .*?GiB of disk\.", measured(), text, flags=re.DOTALL)
    text = re.sub(r"A GPT-NeoX of .*?\(`benchmarks/analyze_neox\.json`\)\.", analyzed(), text, flags=re.DOTALL)
    text = re.sub(
        r"After `make repro` it takes .*?\(`benchmarks/validity_run\.json`\)\.", validated(), text, flags=re.DOTALL
    )
    tables = (
        ("| claim | numbers | standardised | raw |", claim_rows()),
        ("| | paper | `laptop` | `wikipedia` |", english_rows()),
        (STAGE_HEAD, stage_rows(laptop_run())),
    )
    for head, rows in tables:
        assert text.count(head) == 1, head
        pattern = re.escape(head) + r"\n(\|[-|]+\|)\n(?:\|.*\n)*"
        text = re.sub(pattern, lambda m, h=head, r=rows: "\n".join([h, m[1], *r, ""]), text)
    return text


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.func if isinstance(function, partial) else function


def test_stage_table() -> None:
    for row in stage_rows(laptop_run()):
        assert row in README.splitlines(), row


def test_stage_table_has_the_seconds_of_the_run() -> None:
    assert stage_rows({"stages": {"figures": 41.2, "tables": 7.8}})[0].endswith("| 41 |")
    assert all(row.endswith("|  |") for row in stage_rows({}))


def test_stage_table_has_every_figure_and_table_of_stages_and_modules_that_exist() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    numbers = {kind: sorted(n for w, _, _, ns in SHOWN for n in ns if w.startswith(kind)) for kind in ("Fig", "Tab")}
    assert numbers == {"Fig": list(range(1, 12)), "Tab": list(range(1, 13))}
    made = {"figures": {**FIGURES, **ENGLISH_FIGURES}, "tables": {**TABLES, **ENGLISH_TABLES}}
    for _, stage, modules, own in SHOWN:
        assert stage in stages
        files = {ROOT / "src" / "polca" / "report" / stage / name for name in modules}
        assert files == {Path(inspect.getfile(unwrapped(made[stage][number]))) for number in own}
        assert files <= set(modules_behind(ROOT / "pipelines" / f"{stage}.py"))


def test_measured_sentences() -> None:
    for sentence in (measured(), validated(), analyzed()):
        assert sentence in " ".join(README.split())


def test_claims_table() -> None:
    for row in claim_rows():
        assert row in README.splitlines(), row


def test_english_table() -> None:
    for row in english_rows():
        assert row in README.splitlines(), row


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_linked_files_exist(target: str) -> None:
    assert target.startswith("http") or (ROOT / target).exists(), target


if __name__ == "__main__":  # python tests/repository/test_readme.py: make the README's generated rows anew
    (ROOT / "README.md").write_text(filled(README), encoding="utf-8")
