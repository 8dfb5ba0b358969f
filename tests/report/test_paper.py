"""The report: all figures and tables are in it, its numbers are those of result files, its bytes are always the same.

Its text is taken from Typst's HTML, which is made of the same source as the PDF.
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import yaml

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.report.headlines import scalars_path
from polca.report.typeset import SOURCE, STATIC, compile_report, presets_shown, report_inputs
from polca.study.paths import PresetPaths, presets
from polca.study.published_run import RunFacts
from report_words import changed, others_in, report_words, typed_numbers

PRESET = "smoke"


def copied(preset: str, root: Path) -> PresetPaths:
    """A preset in a folder of its own, with everything that its report reads."""
    own = PresetPaths(preset)
    shown = presets_shown(own)
    folders = [f"{part}/{name}" for name in shown for part in ("paper", "figures")] + ["paper/published_scale"]
    params = [PresetPaths(name).params.relative_to(ROOT).as_posix() for name in shown]
    sources = [path.relative_to(ROOT).as_posix() for path in (ROOT / "paper").glob("*.typ")]
    for name in folders:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.png", "*.partial*"))
    for name in ("paper/references.bib", *sources, *params, *STATIC):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    return PresetPaths(preset, root)


@pytest.fixture
def paths(tmp_path: Path) -> PresetPaths:
    return copied(PRESET, tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The words of a preset's report as it is, typeset once."""
    return cache(lambda preset: report_words(copied(preset, tmp_path_factory.mktemp(preset))))


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
    released = root / "CITATION.cff"
    citation = yaml.safe_load(released.read_text(encoding="utf-8"))
    citation.update({"version": "7.8.9", "date-released": date(2031, 2, 3)})
    citation["preferred-citation"]["year"] = 2031
    released.write_text(yaml.safe_dump(citation), encoding="utf-8")
    # The report counts the entries of these: one fewer of each.
    seeds, bases = (root / "paper" / PRESET / "validity" / name for name in ("seeds.json", "bases.csv"))
    told = json.loads(seeds.read_text(encoding="utf-8"))
    seeds.write_text(json.dumps({**told, "seeds": told["seeds"][:-1]}), encoding="utf-8")
    cells = root / "paper" / PRESET / "validity" / "specification.csv"
    table = pd.read_csv(cells)
    table.drop(table.index[table["size"].isna()][0]).to_csv(cells, index=False)
    # The report counts clusters that are eligible, and those that are hidden.
    late = root / "paper" / "published_scale" / "clusters.csv"
    table = pd.read_csv(late)
    pd.concat([table, table]).to_csv(late, index=False)
    # A row for each reading.
    bases.write_text("".join(bases.read_text(encoding="utf-8").splitlines(keepends=True)[:-2]), encoding="utf-8")


def test_the_report_has_no_number_of_its_own(paths: PresetPaths, unchanged: Callable[[str], str]) -> None:
    before = unchanged(PRESET)
    change_everything(paths.root)
    after = report_words(paths, change=lambda told: told.update(constants=changed(told["constants"])))
    assert not (found := typed_numbers(before, after)), "\n".join(found)


def test_the_search_for_typed_numbers_finds_them(paths: PresetPaths) -> None:
    source = paths.root / SOURCE
    text = source.read_text(encoding="utf-8")
    at = text.index('#include "method.typ"')
    source.write_text(text[:at] + "The best has 0.423 of them and 1039 tokens.\n\n" + text[at:], encoding="utf-8")
    before = report_words(paths)
    change_everything(paths.root)
    found = typed_numbers(before, report_words(paths))
    assert any("0.423" in words for words in found)
    assert any("1039" in words for words in found)


def test_numbers_are_those_of_the_files(paths: PresetPaths) -> None:
    metrics = scalars_path(paths)
    values = json.loads(metrics.read_text(encoding="utf-8"))
    values["arithmetic_polca_best_homogeneity"] = 0.98765
    values["english_loss_last"] = 4.32109
    metrics.write_text(json.dumps(values), encoding="utf-8")
    text = report_words(paths)
    assert "best has 0.988, and" in text
    assert "to 4.32 nats" in text


def test_the_checks_are_told_in_short(paths: PresetPaths) -> None:
    best = paths.paper / "validity" / "null_best.csv"
    table = pd.read_csv(best)
    row = (table["analysis"] == "polca") & (table["null"] == "labels_within_place")
    table.loc[row, "vectors_eligible"] = 1
    claim = "POLCA's best cluster of carries is purer than chance"
    for p_value, words in ((0.9, "no"), (0.001, "yes")):
        table.loc[row, "p_value"] = p_value
        table.to_csv(best, index=False)
        assert f"{claim} {words} Section" in report_words(paths).replace("’", "'")
    shutil.rmtree(best.parent)
    assert f"{claim} not tested Section" in report_words(paths).replace("’", "'")


def test_the_conclusion_follows_the_verdicts(paths: PresetPaths) -> None:
    claims = paths.paper / "tables" / "claims.csv"
    table = pd.read_csv(claims)
    purer = table["claim"] == "polca_is_purer_than_the_loss"
    for verdict, words in (("fails", "this is not established."), ("holds", "purer than those of the exact loss too.")):
        table.loc[purer, "verdict"] = verdict
        table.to_csv(claims, index=False)
        assert words in abstract(paths).replace("’", "'")
    claims.unlink()
    assert "Conclusion: the verdicts are missing." in abstract(paths)


# --- Its form ---------------------------------------------------------------------------------------------------------


def abstract(paths: PresetPaths) -> str:
    text = report_words(paths, left_out="<style")
    return text[text.index("Abstract") + len("Abstract") : text.index("1 Introduction A language")]


def test_the_abstract_is_short_and_ends_in_a_conclusion(tmp_path: Path) -> None:
    words = abstract(copied("laptop", tmp_path))
    assert len(re.findall(r"\w[\w.,'’-]*", words)) <= 180
    assert re.search(r"\. In conclusion, [^.]+\. *$", words)


@pytest.mark.parametrize("preset", ["smoke", "laptop"])
def test_sentences_are_plain(preset: str, unchanged: Callable[[str], str]) -> None:
    text = unchanged(preset)
    assert not re.findall(r"[\w)\]%][.:!?] (?:That|What|Of) .{0,40}|\bmend\w*|SHA-256", text)


def test_figures_and_tables_have_one_numbering(unchanged: Callable[[str], str]) -> None:
    text = unchanged(PRESET)
    for kind in ("Figure", "Table"):
        numbers = [int(n) for n in re.findall(rf"{kind} S(\d+)\. ", text)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert numbers


# --- All of it --------------------------------------------------------------------------------------------------------


def test_every_figure_and_table_of_the_original_is_there(unchanged: Callable[[str], str]) -> None:
    text = unchanged(PRESET)
    for number in range(1, 12):
        assert text.count(f"Figure {number} (paper). ") == 1, number
    published = yaml.safe_load((ROOT / "data/published.yaml").read_text(encoding="utf-8"))
    for number in range(1, 13):
        assert text.count(f"Table {number} (paper). ") == 1, number
        assert f"table_{number:02d}" in published


def test_results_that_do_not_exist_are_shown_as_missing(paths: PresetPaths) -> None:
    shutil.rmtree(paths.figures)
    shutil.rmtree(paths.paper)
    text = report_words(paths)
    for number in range(1, 12):
        assert f"missing: figures/{PRESET}/figure_{number:02d}.pdf has not been made" in text
    for number in range(1, 13):
        assert f"missing: paper/{PRESET}/tables/table_{number:02d}.csv has not been made" in text
    assert f"missing: paper/{PRESET}/tables/claims.csv has not been made" in text
    assert "best has missing, and" in text


def test_one_missing_value_is_shown_as_missing(paths: PresetPaths) -> None:
    values = json.loads(scalars_path(paths).read_text(encoding="utf-8"))
    del values["arithmetic_best_auc_100s"]
    scalars_path(paths).write_text(json.dumps(values), encoding="utf-8")
    (paths.figures / "figure_04.pdf").unlink(missing_ok=True)
    text = report_words(paths)
    assert "missing into the hundreds" in text
    for number in range(1, 12):
        said = f"missing: figures/{PRESET}/figure_{number:02d}.pdf has not been made" in text
        assert said != has_figure(paths, number), number


def test_forms_come_from_metrics_or_the_specification(paths: PresetPaths) -> None:
    """Analyses that a preset has not are read from its specification; without that their rows are left out."""
    values = json.loads(scalars_path(paths).read_text(encoding="utf-8"))
    forms = ("polca_exact_", "polca_paper_current_")
    kept = {name: value for name, value in values.items() if not any(form in name for form in forms)}
    scalars_path(paths).write_text(json.dumps(kept), encoding="utf-8")
    cells = paths.paper / "validity" / "specification.csv"
    table = pd.read_csv(cells)
    own = (table["form"] == "exact") & (table["reading"] == "standardised") & (table["length"] == 1)
    table.loc[own, ["homogeneity", "recall", "size", "clusters", "hidden"]] = (0.4321, 0.5, 20, 8, 0.25)
    table.to_csv(cells, index=False)
    assert re.search(r"exact curvature, every \d+ steps 0\.432 0\.500 2 of 8", report_words(paths))
    cells.unlink()
    text = report_words(paths)
    start = text.index("POLCA by form of the second-order term")
    assert "exact curvature" not in text[start : start + 600]
    assert "eigenvalue of the basis step" in text[start : start + 600]


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


def test_the_report_of_a_run_from_archives_says_what_it_lacks(tmp_path: Path) -> None:
    text = report_words(paths := copied("paper", tmp_path))
    runs = RunFacts.load(paths)
    assert runs is not None
    facts = runs.tasks["arithmetic"]
    cut = f"cut to {facts.steps:,} of {facts.of_steps:,} steps and {facts.vectors} of {facts.of_vectors} directions"
    assert text.count(cut) >= 2 * facts.cut  # below the title and in the abstract
    assert text.count("English was not run at this scale.") == 1
    assert "missing" not in text
    assert ("LCA not in this run" in text) == ("lca" in facts.missing)
    assert "What follows is the preset wikipedia , at a smaller scale" in text
    for number in range(1, 12):
        assert text.count(f"Figure {number} (paper). ") == 1
    for number in (5, 9, 10, 11):
        assert f"Figure {number} (paper). English ( wikipedia )" in text
    for number in range(1, 13):
        assert text.count(f"Table {number} (paper). ") == 1


def with_english(paths: PresetPaths) -> None:
    """Let the preset have a run of English, whose results are those of `wikipedia`."""
    beside, runs = PresetPaths("wikipedia", paths.root), RunFacts.load(paths)
    assert runs is not None
    for number in (5, 6, 7):
        shutil.copy(beside.tables / f"table_{number:02d}.csv", paths.tables)
    for name in ("05", "09", "10", "11", "D3"):
        shutil.copy(beside.figures / f"figure_{name}.pdf", paths.figures)
    told, theirs = (json.loads(scalars_path(own).read_text(encoding="utf-8")) for own in (paths, beside))
    scalars_path(paths).write_text(json.dumps(told | theirs), encoding="utf-8")
    addition = runs.tasks["arithmetic"]
    sizes = {"steps": 14000, "of_steps": 14000, "vectors": 29, "of_vectors": 30}
    sample = {"hessian_examples": 100, "of_hessian_examples": 1000, "changed": {"english.basis.hessian_examples": 100}}
    english = replace(addition, folder="data/published/english", missing=(), **sizes, **sample)
    RunFacts({**runs.tasks, "english": english}).save(paths)


def test_the_report_of_two_runs_from_archives_says_what_each_has(tmp_path: Path) -> None:
    with_english(paths := copied("paper", tmp_path))
    text = report_words(paths)
    runs = RunFacts.load(paths)
    assert runs is not None
    facts = runs.tasks["arithmetic"]
    assert "English was not run" not in text
    words = f"addition cut to {facts.steps:,} of {facts.of_steps:,} steps and {facts.vectors} of {facts.of_vectors}"
    assert words + " directions, English cut to 14,000 of 14,000 steps and 29 of 30 directions" in text
    assert text.count("The Hessian sample has 100 windows, where the preset asks for 1,000.") == 1
    for number in (5, 9, 10, 11):
        assert text.count(f"Figure {number} (paper). English ( paper )") == 1
    assert "wikipedia" in text, "it stands beside, as in the report of laptop"


def test_without_results_of_english_the_report_of_a_run_from_archives_has_none(tmp_path: Path) -> None:
    paths = copied("paper", tmp_path)
    shutil.rmtree(tmp_path / "paper" / "wikipedia")
    text = report_words(paths)
    assert text.count("English was not run at this scale.") == 1
    assert "wikipedia" not in text
    for number in (5, 9, 10, 11):
        assert f"Figure {number} (paper). " not in text
    for number in (1, 2, 3, 4, 6, 7, 8):
        assert text.count(f"Figure {number} (paper). ") == 1


def test_presets_beside_are_those_with_english_results(paths: PresetPaths) -> None:
    laptop = PresetPaths("laptop", paths.root)
    assert presets_shown(laptop) == ["laptop"]
    beside = scalars_path(PresetPaths("wikipedia", paths.root))
    beside.parent.mkdir(parents=True)
    beside.write_text("{}", encoding="utf-8")
    assert presets_shown(laptop) == ["laptop"]
    beside.write_text('{"english_tokens": 3}', encoding="utf-8")
    assert presets_shown(laptop) == ["laptop", "wikipedia"]
    assert presets_shown(paths) == [PRESET]


def test_a_damaged_result_is_one_line(paths: PresetPaths) -> None:
    scalars_path(paths).write_text("{", encoding="utf-8")
    with pytest.raises(PolcaError, match=r"paper\.typ: does not compile"):
        compile_report(paths)


# --- What it says of the repository -----------------------------------------------------------------------------------


def commands() -> dict[str, str]:
    """The command of every stage; of those that run once a task, the one command of all."""
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage)["cmd"] for name, stage in pipeline.items()}


def test_every_stage_is_in_the_report_and_no_other() -> None:
    source = (ROOT / "paper/speed.typ").read_text(encoding="utf-8")
    start = source.index("#let stages = (")
    named = re.findall(r'\], "(\w+)"\),', source[start : source.index("\n)", start)])
    known = commands()
    # The stage `code` makes no result: it only says which of the others are out of date.
    assert sorted([*named, "code"]) == sorted(known)
    for stage in named:
        assert f"python pipelines/{stage}.py" in known[stage]


def test_scripts_that_captions_name_are_there() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "paper").glob("*.typ"))
    named = re.findall(r'made-by\("\w+", "([\w/.]+)"\)', source)
    assert "pipelines/tables.py" in named
    assert all((ROOT / script).is_file() for script in named)


def test_the_report_is_typeset_again_when_its_source_changes() -> None:
    """The stage depends on every file of its source and on every file that is no preset's."""
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["paper"]["do"]["deps"]
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "paper").glob("*.typ")}
    assert sources | {name for name in STATIC if (ROOT / name).is_file()} <= set(deps)


def test_the_report_of_a_run_from_archives_depends_on_every_file_that_it_shows() -> None:
    paths = PresetPaths("paper")
    found = yaml.safe_load(paths.pipeline.read_text(encoding="utf-8"))["stages"]["paper"]["do"]["deps"]
    deps = [dep.replace("${preset.name}", paths.name) for dep in found]
    told = json.loads(report_inputs(paths)["report"])["files"]
    params = paths.params.relative_to(ROOT).as_posix()
    assert [name for name in told if name != params and not any(f"{name}/".startswith(f"{dep}/") for dep in deps)] == []


def test_scripts_that_the_page_on_the_pipeline_names_are_stages() -> None:
    page = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    named = set(re.findall(r"pipelines/(\w+)\.py", page)) - {"run"}
    assert named
    published = yaml.safe_load((ROOT / "presets/paper/dvc.yaml").read_text(encoding="utf-8"))["stages"]
    known = [*commands().values(), *(stage.get("do", stage)["cmd"] for stage in published.values())]
    for name in named:
        assert f"pipelines/{name}.py" in " ".join(known)
