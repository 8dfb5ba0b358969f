"""`polca verify` on committed results, and on changed copies of them."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from polca.cli import main
from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.report.answers import ROWS, Files, verdicts
from polca.report.claims import ADDITION, ENGLISH
from polca.report.verify import expected_claims, number_words, summary, verify
from polca.study.paths import PresetPaths, presets
from polca.study.published_run import RunFacts
from polca.study.settings import Preset

ALL = {claim.name for claim in (*ADDITION, *ENGLISH)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with committed files only: nothing in runs/."""
    for name in ("paper/smoke", "presets/smoke", "presets/paper"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pdf", "dvc.*"))
    shutil.copytree(ROOT / "data", tmp_path / "data", ignore=shutil.ignore_patterns("tagger", "corpora"))
    return tmp_path


def run(root: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The command line's exit code."""
    monkeypatch.setattr(sys, "argv", ["polca", "verify", *words, "--root", str(root)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def expect(root: Path, **claims: str) -> None:
    (root / "data" / "expected.yaml").write_text(yaml.safe_dump({"smoke": claims}), encoding="utf-8")


def set_verdict(root: Path, claim: str, verdict: str) -> None:
    path = PresetPaths("smoke", root).tables / "claims.csv"
    table = pd.read_csv(path)
    table.loc[table["claim"] == claim, "verdict"] = verdict
    table.to_csv(path, index=False)


def test_claims_and_numbers_are_printed(root: Path, monkeypatch, capsys) -> None:
    assert run(root, monkeypatch, "smoke", "--json", str(root / "out.json")) == 0
    words = capsys.readouterr().out
    assert "Scale, arithmetic: not the paper's" in words
    told = json.loads((root / "out.json").read_text(encoding="utf-8"))
    assert told["passed"] is True
    assert told["scale_is_the_papers"] == {"arithmetic": False, "english": False}
    table = pd.read_csv(PresetPaths("smoke", root).tables / "claims.csv")
    assert [c["claim"] for c in told["claims"]] == list(table["claim"])
    assert {row["kind"] for row in told["numbers"]} <= told["tolerances"].keys()


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_in_a_narrow_window(root: Path, monkeypatch, capsys, width: int) -> None:
    """Every word of the claims and of the numbers is there, in lines that fit, and no name of the result files."""
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(root, monkeypatch, "smoke", "--numbers") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if "…" in line]
    assert not [line for line in lines if "│" in line and re.search("polca_|loss_change|fraction_", line)]
    claims = " ".join(" ".join(" ".join(line.split("│")[2:]) for line in lines).split())
    for claim in verify(PresetPaths("smoke", root)).claims:
        assert claim.words in claims
        assert claim.why in claims


def test_a_run_cut_short_is_judged_as_in_the_readme() -> None:
    """By the one run at the published scale, whose archives have no seeds; nothing is expected of a cut."""
    found = verify(PresetPaths("paper"))
    rows = list(verdicts(Files(ROOT)))[2:]
    told = {claim.claim: claim for claim in reversed(found.claims) if claim.reading in ("", "standardised")}
    for row, line in zip(ROWS, rows, strict=True):
        if row.claim in told:
            verdict = line.split("|")[3].strip().removeprefix("**").partition("**")[0]
            assert told[row.claim].verdict == verdict
            assert told[row.claim].why.startswith(line.split("Published scale: ")[1].split(". Laptop")[0])
    cut = RunFacts.load(PresetPaths("paper"))
    assert cut is not None
    if cut.tasks["arithmetic"].cut:
        assert found.run.startswith("A cut of a run")
        assert found.failures == ()


def test_numbers_are_shown_on_demand(root: Path, monkeypatch, capsys) -> None:
    assert run(root, monkeypatch, "smoke") == 0
    short = capsys.readouterr().out
    assert "Published and reproduced" not in short
    assert "--numbers shows every published number" in short
    assert run(root, monkeypatch, "smoke", "--numbers") == 0
    long = capsys.readouterr().out
    assert "Published and reproduced" in long
    assert len(long.splitlines()) - len(short.splitlines()) > 100


def test_json_on_standard_output_is_all_of_it(root: Path, monkeypatch, capsys) -> None:
    """The same object as in a file; an expected claim that fails is still said, and the exit code stays."""
    set_verdict(root, "polca_isolates_carries", "fails")
    expect(root, polca_isolates_carries="a reason")
    assert run(root, monkeypatch, "smoke", "--json", "-") == 1
    words = capsys.readouterr()
    assert run(root, monkeypatch, "smoke", "--json", str(root / "out.json")) == 1
    assert json.loads(words.out) == json.loads((root / "out.json").read_text(encoding="utf-8"))
    assert "expected, but fails: polca_isolates_carries" in words.err
    assert not (Path.cwd() / "-").exists()


def test_the_summary_names_what_fails(root: Path) -> None:
    """With the readings in which it does, and expected claims apart."""
    path = PresetPaths("smoke", root).tables / "claims.csv"
    table = pd.read_csv(path)
    table["verdict"] = "holds"
    table.loc[table["claim"] == "random_basis_finds_fewer", "verdict"] = "fails"
    table.to_csv(path, index=False)
    expect(root, polca_isolates_carries="a reason")
    lines = summary(verify(PresetPaths("smoke", root)))
    assert lines[0] == f"Claims: {len(table) - 2} holds, 2 fails."
    sentence = table.loc[table["claim"] == "random_basis_finds_fewer", "sentence"].iloc[0]
    assert lines[1:3] == ["Claims that fail:", f"- {sentence} (standardised, raw)"]
    assert lines[3] == "Expected of smoke, but failing: none (1 claim is expected, data/expected.yaml)."
    expect(root, random_basis_finds_fewer="a reason", polca_isolates_carries="another")
    lines = summary(verify(PresetPaths("smoke", root)))
    assert lines[3].startswith("Expected of smoke, but failing: random_basis_finds_fewer (2 claims are expected")


def test_the_summary_names_numbers_that_differ_or_are_missing(root: Path) -> None:
    found = verify(PresetPaths("smoke", root))
    first, second, *others = found.numbers.rows
    rows = (replace(first, verdict="differs"), replace(second, verdict="missing"), *others)
    lines = summary(replace(found, numbers=replace(found.numbers, rows=rows)))
    for row, verdict in ((first, "differs"), (second, "missing")):
        (line,) = [line for line in lines if f"“{verdict}”" in line]
        assert f"{row.source}, {number_words(row)}" in line


@pytest.mark.parametrize(("verdict", "code"), [("holds", 0), ("fails", 1), ("inconclusive", 0)])
def test_only_an_expected_claim_that_fails_is_a_failure(root, monkeypatch, capsys, verdict, code) -> None:
    set_verdict(root, "polca_isolates_carries", verdict)
    set_verdict(root, "random_basis_finds_fewer", "fails")
    expect(root, polca_isolates_carries="a reason")
    assert run(root, monkeypatch, "smoke") == code
    error = capsys.readouterr().err
    assert ("smoke: expected, but fails: polca_isolates_carries" in error) == bool(code)


def test_missing_results_are_one_line(root: Path, monkeypatch, capsys) -> None:
    assert run(root, monkeypatch, "paper") == 1
    words = capsys.readouterr()
    assert not words.out
    assert words.err.strip().endswith("claims.csv: no such file: run `make repro PRESET=paper`")
    assert len(words.err.splitlines()) == 1


def test_an_unknown_claim_cannot_be_expected(root: Path) -> None:
    expect(root, no_such_claim="a reason")
    with pytest.raises(PolcaError, match=r"smoke\.no_such_claim: no such claim"):
        verify(PresetPaths("smoke", root))


def test_expectations_have_reasons(root: Path) -> None:
    expect(root, polca_isolates_carries="")
    with pytest.raises(PolcaError, match="each with a reason"):
        verify(PresetPaths("smoke", root))


def test_the_repositorys_expectations_name_claims_and_presets() -> None:
    path = ROOT / "data" / "expected.yaml"
    expectations = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert expectations.keys() <= set(presets(ROOT))
    for preset in expectations:
        expected = expected_claims(path, preset).keys()
        assert expected <= ALL
        about = {"english" if name.startswith("english_") else "arithmetic" for name in expected}
        assert about <= Preset.read(PresetPaths.named(preset)).sources.keys(), preset
    assert expected_claims(path, "smoke") == {}
