"""The report: all figures and tables are in it, its numbers are those of result files, its bytes are always the same.

Its text is taken from Typst's HTML, which is made of the same source as the PDF.
"""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from polca.errors import PolcaError
from polca.machine.files import ROOT
from polca.report.typeset import SOURCE, STATIC, compile_report, presets_shown
from polca.study.paths import PresetPaths, presets
from report_words import changed, others_in, report_words, typed_numbers

PRESET = "smoke"


@pytest.fixture
def paths(tmp_path: Path) -> PresetPaths:
    """The smoke preset in a folder of its own, with everything that its report reads."""
    folders = ["paper/smoke", "figures/smoke", "paper/published_scale"]
    files = [
        "paper/paper.typ",
        "paper/validity.typ",
        "paper/validity_seeds.typ",
        "paper/readings.typ",
        "paper/speed.typ",
        "paper/lib.typ",
        "paper/references.bib",
        f"presets/{PRESET}/params.yaml",
        *STATIC,
    ]
    for name in folders:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.png", "*.partial*"))
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return PresetPaths(PRESET, tmp_path)


# --- Another run's numbers --------------------------------------------------------------------------------------------


def change_table(path: Path) -> None:
    """Other numbers in all columns that are not names, another verdict, and a row less where rows are counted."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names = {"setting", "parameter", "claim", "sentence", "strategy", "basis", "reading", "quantity", "second_order"}
    names |= {"analysis", "null", "form", "where", "factor", "default", "observable", "place", "label"}
    head = lines[0].split(",")
    if path.name in ("arithmetic_clusters.csv", "specification.csv"):
        del lines[1]
    for at, line in enumerate(lines[1:], start=1):
        cells = re.findall(r'(?:^|,)("(?:[^"]|"")*"|[^,]*)', line)
        new = [cell if name in names else others_in(cell) for name, cell in zip(head, cells, strict=True)]
        # The report counts verdicts: one claim less and one more of each.
        turned = {"holds": "not run", "fails": "inconclusive", "inconclusive": "holds", "not run": "fails"}
        lines[at] = ",".join(turned.get(cell, cell) for cell in new)
    if path.name == "claims.csv":
        del lines[1]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def change_everything(root: Path) -> None:
    """Other numbers in every file that the report reads."""
    for path in sorted(root.rglob("*")):
        if path.suffix == ".json":
            path.write_text(json.dumps(changed(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
        elif path.suffix == ".yaml":
            path.write_text(yaml.safe_dump(changed(yaml.safe_load(path.read_text(encoding="utf-8")))), encoding="utf-8")
        elif path.suffix == ".csv":
            change_table(path)
    # The report counts the entries of these: one fewer of each.
    seeds, bases = (root / "paper" / PRESET / "validity" / name for name in ("seeds.json", "bases.csv"))
    told = json.loads(seeds.read_text(encoding="utf-8"))
    seeds.write_text(json.dumps({**told, "seeds": told["seeds"][:-1]}), encoding="utf-8")
    # A row for each reading.
    bases.write_text("".join(bases.read_text(encoding="utf-8").splitlines(keepends=True)[:-2]), encoding="utf-8")


def test_the_report_has_no_number_of_its_own(paths: PresetPaths) -> None:
    before = report_words(paths)
    change_everything(paths.root)
    after = report_words(paths, change=lambda told: told.update(constants=changed(told["constants"])))
    assert not (found := typed_numbers(before, after)), "\n".join(found)


def test_the_search_for_typed_numbers_finds_them(paths: PresetPaths) -> None:
    source = paths.root / SOURCE
    text = source.read_text(encoding="utf-8")
    at = text.index("= Method <method>")
    source.write_text(text[:at] + "The best has 0.423 of them and 1039 tokens.\n\n" + text[at:], encoding="utf-8")
    before = report_words(paths)
    change_everything(paths.root)
    found = typed_numbers(before, report_words(paths))
    assert any("0.423" in words for words in found)
    assert any("1039" in words for words in found)


def test_numbers_are_those_of_the_files(paths: PresetPaths) -> None:
    metrics = paths.metrics
    values = json.loads(metrics.read_text(encoding="utf-8"))
    values["arithmetic_polca_best_homogeneity"] = 0.98765
    values["english_loss_last"] = 4.32109
    metrics.write_text(json.dumps(values), encoding="utf-8")
    text = report_words(paths)
    assert "carry homogeneity of 0.988, published 0.973" in text
    assert "to 4.32 nats" in text


def test_the_abstract_says_what_the_checks_make_of_the_claims(paths: PresetPaths) -> None:
    best = paths.metrics.parent / "validity" / "null_best.csv"
    table = pd.read_csv(best)
    row = (table["analysis"] == "polca") & (table["null"] == "labels_within_place")
    claim = "POLCA's best cluster of carries is purer than chance"
    for p_value, words in ((0.9, "They do not bear out that"), (0.001, "does not have ( Section 10 ) bear out that")):
        table.loc[row, "p_value"] = p_value
        table.to_csv(best, index=False)
        assert f"{words} {claim}" in report_words(paths).replace("’", "'")
    shutil.rmtree(best.parent)
    assert "Checks that the original does not have ( Section 10 ) are missing here." in report_words(paths)


# --- All of it --------------------------------------------------------------------------------------------------------


def test_every_figure_and_table_of_the_original_is_there(paths: PresetPaths) -> None:
    text = report_words(paths)
    for number in range(1, 12):
        assert text.count(f"Figure {number}. ") == 1, number
    published = yaml.safe_load((ROOT / "data/published.yaml").read_text(encoding="utf-8"))
    for number in range(1, 13):
        assert text.count(f"Table {number}. ") == 1, number
        assert f"table_{number:02d}" in published
    for number in ("I", "II", "III", "IV", "V", "VI", "VII"):
        assert text.count(f"Table {number}. ") == 1, number


def test_results_that_do_not_exist_are_shown_as_missing(paths: PresetPaths) -> None:
    shutil.rmtree(paths.figures)
    shutil.rmtree(paths.metrics.parent)
    text = report_words(paths)
    for number in range(1, 12):
        assert f"missing: figures/{PRESET}/figure_{number:02d}.pdf has not been made" in text
    for number in range(1, 13):
        assert f"missing: paper/{PRESET}/tables/table_{number:02d}.csv has not been made" in text
    assert f"missing: paper/{PRESET}/tables/claims.csv has not been made" in text
    assert "carry homogeneity of missing, published 0.973" in text


def test_one_missing_value_is_shown_as_missing(paths: PresetPaths) -> None:
    values = json.loads(paths.metrics.read_text(encoding="utf-8"))
    del values["arithmetic_completeness_trapezoid_fraction"]
    paths.metrics.write_text(json.dumps(values), encoding="utf-8")
    (paths.figures / "figure_04.pdf").unlink(missing_ok=True)
    text = report_words(paths)
    assert "account for at all: missing of it" in text
    assert text.count("has not been made") == len([n for n in range(1, 12) if not has_figure(paths, n)])


def has_figure(paths: PresetPaths, number: int) -> bool:
    return (paths.figures / f"figure_{number:02d}.pdf").is_file()


def test_the_same_results_give_the_same_bytes(paths: PresetPaths) -> None:
    (first,), (second,) = compile_report(paths), compile_report(paths)
    assert first.startswith(b"%PDF")
    assert first == second
    # Nor does it matter where the checkout lies.
    assert first == compile_report(PresetPaths(PRESET))[0]


@pytest.mark.parametrize("preset", presets(ROOT))
def test_the_report_compiles_for_every_preset(preset: str) -> None:
    assert compile_report(PresetPaths(preset))[0].startswith(b"%PDF")


def test_presets_beside_are_those_with_english_results(paths: PresetPaths) -> None:
    laptop = PresetPaths("laptop", paths.root)
    assert presets_shown(laptop) == ["laptop"]
    beside = PresetPaths("wikipedia", paths.root).metrics
    beside.parent.mkdir(parents=True)
    beside.write_text("{}", encoding="utf-8")
    assert presets_shown(laptop) == ["laptop"]
    beside.write_text('{"english_tokens": 3}', encoding="utf-8")
    assert presets_shown(laptop) == ["laptop", "wikipedia"]
    assert presets_shown(paths) == [PRESET]


def test_a_damaged_result_is_one_line(paths: PresetPaths) -> None:
    paths.metrics.write_text("{", encoding="utf-8")
    with pytest.raises(PolcaError, match=r"paper\.typ: does not compile"):
        compile_report(paths)


# --- What it says of the repository -----------------------------------------------------------------------------------


def commands() -> dict[str, str]:
    """The command of every stage; of those that run once a task, the one command of all."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage)["cmd"] for name, stage in pipeline.items()}


def test_every_stage_is_in_the_report_and_no_other() -> None:
    source = (ROOT / SOURCE).read_text(encoding="utf-8")
    start = source.index("#let stages = (")
    named = re.findall(r'\], "(\w+)"\),', source[start : source.index("\n)", start)])
    known = commands()
    # The stage `code` makes no result: it only says which of the others are out of date.
    assert sorted([*named, "code"]) == sorted(known)
    for stage in named:
        assert f"python pipelines/{stage}.py" in known[stage]
    library = (ROOT / "paper/lib.typ").read_text(encoding="utf-8")
    for stage, script in re.findall(r'made-by\("(\w+)", "([\w/.]+)"\)', source + library):
        assert script in known[stage]


def test_scripts_that_the_page_on_the_pipeline_names_are_stages() -> None:
    page = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    named = set(re.findall(r"pipelines/(\w+)\.py", page)) - {"run"}
    assert named
    for name in named:
        assert f"pipelines/{name}.py" in " ".join(commands().values())
