"""English settings and scalars stand beside the published ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import synthetic
from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.machine.files import read_params, write_json
from polca.report.tables import ENGLISH_TABLES, TABLES, english_metrics, make_table
from polca.study.paths import TaskPaths
from polca.study.results import EnglishResults, Results
from polca.tasks.english.task import EnglishSettings, EnglishTask
from polca.tasks.settings import parse
from polca.tasks.transformer import parameter_count
from synthetic import READINGS
from synthetic_english import CORPUS, SUMMARY, SyntheticEnglish, params
from synthetic_signatures import write_signatures

PUBLISHED = read_params(ROOT / "data" / "published.yaml")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> EnglishResults:
    return EnglishResults(SyntheticEnglish(tmp_path_factory.mktemp("english")).write().paths, params())


def parameters(preset: dict[str, Any]) -> int:
    """Of the model of a preset."""
    settings = parse(EnglishSettings, preset["english"], "english")
    return parameter_count(EnglishTask(settings, Path("nowhere")).model())


def unfinished(run: Path, preset: dict[str, Any], **summary: Any) -> EnglishResults:
    """Results of which the summaries alone are there, the same for both readings."""
    results = EnglishResults(TaskPaths(run, "english"), preset)
    for reading in READINGS:
        write_json(results.paths.of_reading(reading).summary, summary)
    write_signatures(results.paths, ["polca"], {"token": np.array(["a", "b"])}, np.ones(2, np.bool_))
    return results


def settings(number: int, results: EnglishResults) -> dict[str, dict[str, Any]]:
    table = make_table(number, results)
    assert list(table) == ["setting", "parameter", "value", "published", "note"]
    assert table["setting"].is_unique
    return {row["setting"]: {str(k): v for k, v in row.items()} for row in table.to_dict("records")}


def test_every_table_is_made_once() -> None:
    assert sorted([*TABLES, *ENGLISH_TABLES]) == list(range(1, 13))


def test_settings_of_the_paper_preset_are_the_published_ones(tmp_path: Path) -> None:
    preset = read_params(ROOT / "presets" / "paper" / "params.yaml")
    paper = unfinished(tmp_path, preset, corpus={**CORPUS, "epochs": 1}, parameters=parameters(preset), flat_step=9)
    for number in (5, 6, 7):
        for name, row in settings(number, paper).items():
            if name in ("corpus", "basis checkpoint every"):
                continue  # read from the corpus; contradicts itself in the paper
            if row["published"]:
                assert row["value"] == row["published"], name
                assert row["note"].startswith("as published"), name
            else:
                assert row["note"].startswith("not given in the paper"), name
    assert settings(5, paper)["parameters"]["value"] == "40274737"
    assert settings(6, paper)["basis checkpoint every"]["value"] == "466.667"


def test_published_settings_are_all_shown(results: EnglishResults) -> None:
    """Every value that the paper's three tables print, but for those that the repository has as text."""
    shown = {row["published"] for number in (5, 6, 7) for row in settings(number, results).values()}
    for number in (5, 6, 7):
        for key, value in PUBLISHED[f"table_{number:02d}"].items():
            expected = {"betas": "0.9, 0.95", "vocabulary": "30001", "min_samples_divisor": "n/15"}.get(key, str(value))
            assert expected in shown, key


def test_settings_that_follow_from_others(results: EnglishResults) -> None:
    training, polca, clustering = (settings(number, results) for number in (5, 6, 7))
    # 3000 steps of 32 contexts of 64 tokens.
    assert training["training tokens"]["value"] == "6144000"
    assert training["training tokens"]["note"].startswith("0.0536 × the published value")
    assert training["epochs"]["value"] == "2.5915"
    assert training["tokens of the training text"]["value"] == "98765"
    assert training["corpus"]["value"] == "An invented passage"
    assert training["corpus"]["note"] == "differs from the published value"
    assert training["context"]["published"] == "128"
    # By hand: two embeddings of 1001 × 32, positions 64 × 32, two blocks, a last norm and the unembedding's bias.
    block = 4 * (32 * 32 + 32) + (32 * 128 + 128) + (128 * 32 + 32) + 4 * 32
    assert int(training["parameters"]["value"]) == parameters(params())
    assert training["parameters"]["value"] == str(2 * 1001 * 32 + 64 * 32 + 2 * block + 2 * 32 + 1001)
    # 20 windows of 64 + 1 tokens, of which three have no target.
    assert polca["evaluation tokens"]["value"] == "1240"
    assert (polca["evaluation set"]["value"], polca["evaluation set"]["published"]) == ("20", "100")
    assert clustering["min_samples"]["value"] == clustering["min_samples"]["published"] == "n/15"
    assert clustering["tagger"]["parameter"] == "english.labels.pipeline"
    assert clustering["tags cover"]["published"] == "0.7"
    # τ is of this run's losses, and no parameter; the share of the fall that gives it is one.
    assert (clustering["τ"]["value"], clustering["τ"]["parameter"]) == ("1500", "")
    assert clustering["fall of the mean loss by τ"]["value"] == "0.87"


def test_the_papers_contradiction_is_recorded(results: EnglishResults) -> None:
    row = settings(6, results)["basis checkpoint every"]
    assert row["value"] == f"{3000 / 7:.6g}"
    assert row["published"] == "750"
    assert "30 × 750 = 22,500 steps exceed the 14,000 of training" in row["note"]


def test_metrics(results: EnglishResults) -> None:
    found = english_metrics(results)
    assert list(found) == sorted(found)
    assert all(name.startswith("english_") for name in found)
    quoted = {name for name in PUBLISHED["scalars"] if name.startswith("english_")}
    assert len(quoted) == 7
    assert quoted <= found.keys(), "the paper quotes numbers that the metrics lack"
    assert found["english_training_tokens"] == 3000 * 32 * 64
    assert found["english_corpus_training_tokens"] == CORPUS["training_tokens"]
    assert found["english_corpus_epochs"] == 2.5915
    assert found["english_loss_first"] == 7.12346
    assert found["english_mean_dropped_tokens"] == found["english_polca_mean_dropped_tokens"] == 345.679
    assert found["english_polca_constructions_of"] == 0
    assert found["english_loss_hidden_fraction"] is None
    assert found["english_completeness_none_correlation"] is None
    assert found["english_published_flat_step_fall"] is None, "the paper gives no τ for English"
    assert not any(isinstance(value, str) for value in found.values())


def test_metrics_of_a_run_without_kept_vectors(tmp_path: Path) -> None:
    polca = {**SUMMARY["analyses"]["polca"], "dropped_vectors": 7, "mean_dropped_tokens": None}
    found = english_metrics(unfinished(tmp_path, params(), **{**SUMMARY, "analyses": {"polca": polca}}))
    assert found["english_mean_dropped_tokens"] is None
    assert found["english_dropped_vectors"] == 7


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    results = EnglishResults(TaskPaths(tmp_path, "english"), params())
    for make in (lambda: make_table(5, results), lambda: english_metrics(results)):
        with pytest.raises(PolcaError, match=r"summary\.json: no such file: run stage cluster@english"):
            make()
    without_polca = unfinished(tmp_path, params(), **{**SUMMARY, "analyses": {}})
    with pytest.raises(PolcaError, match=r"lacks 'analyses\.polca\.dropped_vectors': run stage cluster@english again"):
        english_metrics(without_polca)
    short = unfinished(tmp_path, params(), **{**SUMMARY, "corpus": {"title": "t", "sha256": "0"}})
    with pytest.raises(PolcaError, match=r"summary\.json: lacks 'corpus\.training_tokens'"):
        make_table(5, short)
    with pytest.raises(PolcaError, match=r"english\.labels\.pipeline is missing"):
        make_table(7, unfinished(tmp_path, params(labels={}), **SUMMARY))


def test_tables_of_the_other_setting(results: EnglishResults) -> None:
    with pytest.raises(PolcaError, match="table 2: not of the english setting"):
        make_table(2, results)
    with pytest.raises(PolcaError, match="table 6: not of the arithmetic setting"):
        make_table(6, Results(results.paths, synthetic.params()))
