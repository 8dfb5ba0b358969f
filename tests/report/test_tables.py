"""Tables hold what the result files hold, beside the published values, in the columns that others rely on."""

import json
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

import synthetic_english
from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.machine.files import read_csv, read_params, write_csv, write_json
from polca.report.headlines import HEADLINES, headlines
from polca.report.tables import PLOTS, english_metrics, make_table, metrics, save_metrics, save_table, save_tables
from polca.report.tables.formats import finite, rounded, text
from polca.study.paths import PresetPaths, TaskPaths
from polca.study.results import EnglishResults, PresetResults, Results
from polca.typing import Reading
from synthetic import READINGS, STABLE_ANALYSES, SUMMARY, Synthetic, params
from synthetic_english import RAW_COUNTS, SyntheticEnglish

PUBLISHED = read_params(ROOT / "data" / "published.yaml")
SCORES = ("homogeneity", "recall", "f1")
STABLE = ("ari_bootstrap", "ari_perturbed")
BEST = ["reading", "rank", "vector", *SCORES, "size", *STABLE, *(f"published_{score}" for score in SCORES)]
HIDDEN = [
    *("reading", "fraction_hidden", "n_clusters", "published_fraction_hidden", "fraction_hidden_onset"),
    "fraction_hidden_published_constants",
]
BASES = {"random": "polca_random", "shuffled_hessian": "polca_shuffled_hessian", "hessian": "polca"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(Synthetic(tmp_path_factory.mktemp("run"), sequences=100).write().paths, params())


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> EnglishResults:
    made = SyntheticEnglish(tmp_path_factory.mktemp("english")).write()
    return EnglishResults(made.paths, synthetic_english.params())


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Nothing was clustered by any analysis, and every vector was dropped."""
    made = Synthetic(tmp_path_factory.mktemp("empty"), sequences=20, empty=everything(), dropped=range(1, 6)).write()
    return Results(made.paths, params())


def everything() -> tuple[str, ...]:
    from polca.tasks.arithmetic.scores import ANALYSES

    return tuple(ANALYSES)


class TestPublishedValues:
    """Slips of copying by hand show where the paper's numbers hang together."""

    @pytest.mark.parametrize("table", ["table_08", "table_10"])
    def test_f1_is_the_harmonic_mean(self, table: str) -> None:
        for rows in PUBLISHED[table].values():
            assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
            for homogeneity, recall, f1 in rows:
                # Three printed digits each.
                assert f1 == pytest.approx(2 * homogeneity * recall / (homogeneity + recall), abs=0.0011)

    def test_table_1_is_the_first_column_of_table_8_with_table_9(self) -> None:
        for name, row in PUBLISHED["table_01"].items():
            assert [row[score] for score in SCORES] == PUBLISHED["table_08"][name][0]
            assert row["fraction_hidden"] == PUBLISHED["table_09"][name]

    def test_polca_is_the_same_in_all_tables(self) -> None:
        assert PUBLISHED["table_10"]["hessian"] == PUBLISHED["table_08"]["polca"]
        assert PUBLISHED["table_11"]["hessian"] == PUBLISHED["table_09"]["polca"]

    def test_counts_of_tokens(self) -> None:
        for table, targets, setting in (("table_02", 4, "arithmetic"), ("table_05", 128, "english")):
            values = PUBLISHED[table]
            assert values["training_tokens"] == values["steps"] * values["batch_size"] * targets
            assert values["training_tokens"] == PUBLISHED["scalars"][f"{setting}_training_tokens"]
            assert values["parameters"] == PUBLISHED["scalars"][f"{setting}_parameters"]


# --- Results ----------------------------------------------------------------------------------------------------------


def listed(results: Results, reading: Reading, name: str) -> list[dict[str, Any]]:
    """The rows of a table of clusters, from its file."""
    path = results.paths.run / "results" / "arithmetic" / reading / "tables" / f"{name}.csv"
    return [{str(k): v for k, v in row.items()} for row in pd.read_csv(path).to_dict("records")]


def best_by_hand(results: Results, analysis: str, reading: Reading = "standardised") -> list[dict[str, Any]]:
    """The best eligible cluster per vector, then the three best vectors, by loops."""
    best: dict[int, dict[str, Any]] = {}
    for row in listed(results, reading, "clusters"):
        if row["analysis"] == analysis and row["eligible"]:
            known = best.get(row["vector"])
            if known is None or row["homogeneity"] > known["homogeneity"]:
                best[row["vector"]] = row
    return sorted(best.values(), key=lambda row: -row["homogeneity"])[:3]


@pytest.mark.parametrize("number", [8, 10])
def test_tables_of_the_best_clusters(number: int, results: Results) -> None:
    head, analyses = ("basis", BASES) if number == 10 else ("strategy", {n: n for n in PUBLISHED["table_08"]})
    table = make_table(number, results)
    assert list(table) == [head, *BEST]
    assert list(table[head].unique()) == list(PUBLISHED[f"table_{number:02d}"])
    found: dict[tuple[str, str], list[Any]] = {}
    for (name, analysis), reading in product(analyses.items(), READINGS):
        rows = table[(table[head] == name) & (table["reading"] == reading)].to_dict("records")
        published = PUBLISHED[f"table_{number:02d}"][name]
        expected = best_by_hand(results, analysis, reading)
        stable = {v["vector"]: v for v in listed(results, reading, "vectors") if v["analysis"] == analysis}
        assert [row["rank"] for row in rows] == list(range(1, len(published) + 1))
        for index, row in enumerate(rows):
            assert [row[f"published_{score}"] for score in SCORES] == published[index]
            if index < len(expected):
                assert [row[k] for k in SCORES] == pytest.approx([expected[index][k] for k in SCORES], rel=1e-5)
                assert [row[k] for k in ("vector", "size")] == [expected[index][k] for k in ("vector", "size")]
                # Stability is the vector's; not every analysis is clustered again.
                right = [stable[row["vector"]][k] for k in STABLE]
                assert [row[k] for k in STABLE] == pytest.approx(right, rel=1e-5, nan_ok=True)
                assert pd.notna(row["ari_bootstrap"]) == (analysis in STABLE_ANALYSES)
            else:
                assert all(pd.isna(row[k]) for k in (*SCORES, "vector", "size", *STABLE))
        found[name, reading] = [(row["size"], row["ari_bootstrap"]) for row in rows]
    # The made-up readings differ, so that one taken for the other is seen.
    last = list(analyses)[-1]
    assert found[last, "standardised"] != found[last, "raw"]


@pytest.mark.parametrize("number", [9, 11])
def test_tables_of_hidden_breakthroughs(number: int, results: Results) -> None:
    head, analyses = ("basis", BASES) if number == 11 else ("strategy", {n: n for n in PUBLISHED["table_09"]})
    table = make_table(number, results)
    assert list(table) == [head, *HIDDEN]
    rows = list(product(PUBLISHED[f"table_{number:02d}"], READINGS))
    assert list(table[[head, "reading"]].itertuples(index=False, name=None)) == rows
    for row in table.to_dict("records"):
        own = [c for c in listed(results, row["reading"], "clusters") if c["analysis"] == analyses[row[head]]]
        assert row["n_clusters"] == len(own)
        assert row["fraction_hidden"] == pytest.approx(sum(c["hidden"] for c in own) / len(own), rel=1e-5)
        assert row["fraction_hidden_onset"] == pytest.approx(sum(c["hidden_onset"] for c in own) / len(own), rel=1e-5)
        constants = sum(c["hidden_published"] for c in own) / len(own)
        assert row["fraction_hidden_published_constants"] == pytest.approx(constants, rel=1e-5)
        assert row["published_fraction_hidden"] == PUBLISHED[f"table_{number:02d}"][row[head]]
    for column in ("n_clusters", "fraction_hidden"):
        one, other = (table.loc[table["reading"] == reading, column].tolist() for reading in READINGS)
        assert one != other, "the made-up readings differ, so that one taken for the other is seen"


def test_presets_without_published_constants_leave_the_column_empty(tmp_path: Path) -> None:
    made = Synthetic(tmp_path, sequences=20).write()
    for reading in READINGS:
        path = made.paths.of_reading(reading).table("clusters")
        pd.read_csv(path).assign(hidden_published=None).to_csv(path, index=False)
    table = make_table(9, Results(made.paths, params()))
    assert table["fraction_hidden_published_constants"].isna().all()
    assert table["fraction_hidden"].notna().all()
    assert (table["n_clusters"] > 0).all()


def test_table_1_takes_from_tables_8_and_9(results: Results) -> None:
    first, hidden = make_table(8, results).query("rank == 1"), make_table(9, results)
    table, keys = make_table(1, results), ["strategy", "reading"]
    rows = list(product(("loss", "loss_change", "lca", "polca"), READINGS))
    assert list(table[keys].itertuples(index=False, name=None)) == rows
    joined = table[keys].merge(first, on=keys).merge(hidden, on=keys)
    pd.testing.assert_frame_equal(table, joined[list(table)])


def test_table_12_under_both_readings(results: Results) -> None:
    table = make_table(12, results).set_index(["reading", "quantity"])
    cosine, norm = SUMMARY["table_12"]["cosine_similarity"], SUMMARY["table_12"]["l2_norm"]
    assert table.loc[("as_printed", "cosine_similarity")].tolist() == [cosine, 5.4891e-4]
    assert table.loc[("as_printed", "l2_norm")].tolist() == [norm, 0.99987]
    assert table.loc[("heads_swapped", "cosine_similarity")].tolist() == [cosine, 0.99987]
    assert table.loc[("heads_swapped", "l2_norm")].tolist() == [norm, 5.4891e-4]


def test_where_nothing_is_clustered_rows_stay(empty: Results) -> None:
    best = make_table(8, empty)
    assert len(best) == 2 * sum(len(rows) for rows in PUBLISHED["table_08"].values())
    assert best[["vector", *SCORES, "size", *STABLE]].isna().all(axis=None)
    assert best["published_f1"].notna().all()
    assert make_table(9, empty)["n_clusters"].tolist() == [0] * 12
    assert make_table(9, empty)["fraction_hidden"].isna().all()
    assert len(make_table(1, empty)) == 8
    found = metrics(empty)
    assert found["arithmetic_polca_best_homogeneity"] is None
    assert found["arithmetic_mean_dropped_tokens"] is None
    assert found["arithmetic_dropped_vectors"] == 5


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_settings_of_the_paper_preset_are_the_published_ones(results: Results, tmp_path: Path) -> None:
    paper = Results(TaskPaths(tmp_path, "arithmetic"), read_params(ROOT / "presets" / "paper" / "params.yaml"))
    write_json(paper.paths.summary, {"parameters": 9475594, "flat_step": 1000})
    for number in (2, 3, 4):
        table = make_table(number, paper)
        assert list(table) == ["setting", "parameter", "value", "published", "note"]
        for row in table.to_dict("records"):
            if row["setting"] == "POLCA interval":
                assert (row["value"], row["published"]) == ("20", "5"), "the text's 20, not Table 3's 5"
            elif row["published"]:
                assert row["value"] == row["published"], row["setting"]
                assert row["note"].startswith("as published")


def test_notes_say_how_settings_are_scaled(results: Results) -> None:
    rows = make_table(2, results).set_index("setting")
    assert rows.loc["steps", ["parameter", "value", "published", "note"]].tolist() == [
        "arithmetic.training.steps",
        "5000",
        "10000",
        "0.5 × the published value",
    ]
    assert rows.loc["learning rate", "value"] == rows.loc["learning rate", "published"] == "1e-05"
    assert rows.loc["betas", "value"] == "0.9, 0.95"
    assert make_table(3, results).set_index("setting").loc["top eigenvectors by", "note"] == "not given in the paper"


# --- Files ------------------------------------------------------------------------------------------------------------


def test_formats() -> None:
    assert rounded(0.123456789) == 0.123457
    assert rounded(123456789.0) == 123457000
    assert [text(v) for v in (10000, 1e-5, 1 / 3, None, [1, 0.5], "n/15")] == [
        "10000",
        "1e-05",
        "0.333333",
        "",
        "1, 0.5",
        "n/15",
    ]
    assert [finite(v) for v in (12345678, float("nan"), float("inf"), 2 / 3)] == [12345678, None, None, 0.666667]


def test_files_are_the_same_bytes_every_time(results: Results, english: EnglishResults, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "other"):
        fresh = PresetResults(Results(results.paths, results.params), EnglishResults(english.paths, english.params))
        paths = save_tables(fresh, tmp_path / name)
        assert [p.name for p in paths] == [f"table_{n:02d}.csv" for n in range(1, 13)]
        paths.append(save_metrics(fresh, tmp_path / name / "metrics.json"))
        contents.append([p.read_bytes() for p in paths])
    assert contents[0] == contents[1]
    assert not any(b"\r" in content for content in contents[0])


def test_floats_have_at_most_six_digits_and_whole_numbers_no_point(results: Results, tmp_path: Path) -> None:
    for row in pd.read_csv(save_table(8, results, tmp_path), dtype=str, keep_default_na=False).to_dict("records"):
        assert all(value == "" or value.isdigit() for value in (row["rank"], row["vector"], row["size"]))
        assert all(len(str(float(row[score])).lstrip("0.")) <= 6 for score in SCORES if row[score])


def test_metrics(results: Results, english: EnglishResults, tmp_path: Path) -> None:
    found = metrics(results)
    assert list(found) == sorted(found)
    written = json.loads(save_metrics(PresetResults(results, english), tmp_path / "metrics.json").read_text())
    assert written == {**found, **english_metrics(english)}
    quoted = {name for name in PUBLISHED["scalars"] if name.startswith("arithmetic_")}
    assert quoted <= found.keys(), "the paper quotes numbers that the metrics lack"
    assert found["arithmetic_loss_first"] == 2.71828
    assert found["arithmetic_table_12_l2_norm"] == SUMMARY["table_12"]["l2_norm"]
    assert found["arithmetic_completeness_none_correlation"] is None
    vectors = pd.read_csv(results.paths.table("vectors")).query("analysis == 'polca' and kept")
    assert found["arithmetic_mean_dropped_tokens"] == pytest.approx(sum(vectors["n_dropped"]) / len(vectors), rel=1e-5)
    best = best_by_hand(results, "polca")[0]
    assert found["arithmetic_polca_best_homogeneity"] == pytest.approx(best["homogeneity"], rel=1e-5)
    assert found["arithmetic_training_tokens"] == 5000 * 64 * 4
    polca = pd.DataFrame(listed(results, "standardised", "clusters")).query("analysis == 'polca'")
    assert found["arithmetic_polca_fraction_hidden_published_constants"] == pytest.approx(
        polca["hidden_published"].mean(), rel=1e-5
    )


def test_metrics_of_the_analyses_that_were_run(tmp_path: Path) -> None:
    """None of one that the preset does not have, rather than no cluster of it."""
    made = Synthetic(tmp_path, sequences=20).write()
    for reading in get_args(Reading):
        own = made.paths.of_reading(reading)
        for name in ("clusters", "vectors"):
            table = read_csv(own.table(name))
            write_csv(own.table(name), table[~table["analysis"].isin(["polca_exact", "polca_paper_current"])])
    found = metrics(Results(made.paths, params()))
    assert "arithmetic_polca_paper_clusters" in found
    assert not [name for name in found if "polca_exact" in name or "polca_paper_current" in name]


@pytest.mark.parametrize("shown", READINGS)
def test_metrics_of_both_readings(shown: Reading, results: Results, english: EnglishResults) -> None:
    """Without a reading stands the one that is shown, beside it the other with its name; nothing stands twice."""
    other = next(reading for reading in READINGS if reading != shown)
    addition, words = metrics(results.of_reading(shown)), english_metrics(english.of_reading(shown))
    for found, setting in ((addition, "arithmetic"), (words, "english")):
        assert not [name for name in found if name.startswith(f"{setting}_{shown}_")]
        beside = [name for name in found if name.startswith(f"{setting}_{other}_")]
        assert len(beside) > 3
        assert {name.replace(f"_{other}_", "_", 1) for name in beside} <= set(found)
    for analysis in ("polca", "loss"):
        counts = {r: sum(row["analysis"] == analysis for row in listed(results, r, "clusters")) for r in READINGS}
        assert addition[f"arithmetic_{analysis}_clusters"] == counts[shown] != counts[other]
        assert addition[f"arithmetic_{other}_{analysis}_clusters"] == counts[other]
    standardised = {name: synthetic_english.SUMMARY["analyses"]["polca"][name] for name in RAW_COUNTS}
    of_reading = {"standardised": standardised, "raw": RAW_COUNTS}
    for name in RAW_COUNTS:
        assert words[f"english_polca_{name}"] == of_reading[shown][name] != of_reading[other][name]
        assert words[f"english_{other}_polca_{name}"] == of_reading[other][name]


@pytest.mark.parametrize("setting", ["arithmetic", "english"])
def test_a_preset_of_one_task_has_its_tables_and_metrics_alone(
    setting: str, results: Results, english: EnglishResults, tmp_path: Path
) -> None:
    """The same bytes as beside the other task."""
    both = PresetResults(results, english)
    one = PresetResults(results, None) if setting == "arithmetic" else PresetResults(None, english)
    whole = {path.name: path.read_bytes() for path in save_tables(both, tmp_path / "both")}
    found = save_tables(one, tmp_path / "one")
    numbers = [5, 6, 7] if setting == "english" else [1, 2, 3, 4, 8, 9, 10, 11, 12]
    assert [path.name for path in found] == [f"table_{n:02d}.csv" for n in numbers]
    assert sorted((tmp_path / "one").iterdir()) == found
    assert all(path.read_bytes() == whole[path.name] for path in found)
    scalars = json.loads(save_metrics(one, tmp_path / "metrics.json").read_text())
    assert scalars == (english_metrics(english) if setting == "english" else metrics(results))


def test_a_preset_has_the_results_of_the_tasks_that_it_names(tmp_path: Path) -> None:
    paths = PresetPaths("mine", tmp_path)
    for tasks in (("english",), ("arithmetic",), ("english", "arithmetic")):
        found = PresetResults.of(paths, {**params(), "tasks": {task: {} for task in tasks}})
        assert {own.setting for own in found.all} == set(tasks)
        for own in found.all:
            assert vars(own.paths) == vars(paths.task(own.setting))


def test_results_are_of_the_reading_that_figures_show(tmp_path: Path) -> None:
    """`plots.reading`, standardised where it is not given; each task has its own."""
    paths = PresetPaths("mine", tmp_path)
    given = {**params(), **synthetic_english.params(plots={"last_step": 9, "reading": "raw"})}
    found = PresetResults.of(paths, {**given, "tasks": {"arithmetic": {}, "english": {}}})
    assert [own.reading for own in found.all] == ["standardised", "raw"]
    assert [own.paths.tables.parent.name for own in found.all] == ["standardised", "raw"]
    assert [own.reading for own in found.of_reading("raw").all] == ["raw", "raw"]
    alone = PresetResults(found.arithmetic, None).of_reading("raw")
    assert (alone.english, [own.reading for own in alone.all]) == (None, ["raw"])
    # What does not depend on clusters is the same file.
    for one, other in zip(found.all, found.of_reading("raw").all, strict=True):
        assert (one.paths.labels, one.paths.losses) == (other.paths.labels, other.paths.losses)


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_unknown_table(results: Results) -> None:
    with pytest.raises(PolcaError, match="table 13: not made here"):
        make_table(13, results)
    with pytest.raises(PolcaError, match="table 5: not of the arithmetic setting"):
        make_table(5, results)


def test_missing_and_damaged_files(results: Results, tmp_path: Path) -> None:
    nothing = Results(TaskPaths(tmp_path, "arithmetic"), params())
    with pytest.raises(PolcaError, match=r"vectors\.csv: no such file: run stage cluster@arithmetic"):
        make_table(8, nothing)
    with pytest.raises(PolcaError, match=r"clusters\.csv: no such file: run stage cluster@arithmetic"):
        _ = nothing.clusters
    with pytest.raises(PolcaError, match=r"summary\.json: no such file: run stage cluster@arithmetic"):
        make_table(12, nothing)
    with pytest.raises(PolcaError, match=r"training_log\.csv: no such file: run stage train@arithmetic"):
        _ = nothing.training_log
    write_json(nothing.paths.summary, {})
    with pytest.raises(PolcaError, match=r"lacks 'table_12\.cosine_similarity'"):
        make_table(12, nothing)
    nothing.paths.tables.mkdir()
    nothing.paths.table("vectors").write_text("analysis,vector\n")
    with pytest.raises(PolcaError, match="lacks the column 'basis'"):
        make_table(8, nothing)
    # Of both readings: a run from before there were two has one, or lacks the columns that came with them.
    made = Synthetic(tmp_path / "whole", sequences=20).write()
    for name, column in (("vectors", "ari_bootstrap"), ("clusters", "hidden_published")):
        path = made.paths.of_reading("raw").table(name)
        whole = path.read_text()
        pd.read_csv(path).drop(columns=column).to_csv(path, index=False)
        with pytest.raises(PolcaError, match=rf"raw/tables/{name}\.csv: lacks the column '{column}': run stage clus"):
            make_table(8, Results(made.paths, params()))
        path.write_text(whole)
    made.paths.of_reading("raw").table("vectors").unlink()
    for number in (1, 8, 9, 10, 11):
        with pytest.raises(PolcaError, match=r"raw/tables/vectors\.csv: no such file: run stage cluster@arithmetic"):
            make_table(number, Results(made.paths, params()))
    elsewhere = Results(results.paths, params(), tmp_path / "published.yaml")
    with pytest.raises(PolcaError, match=r"published\.yaml: no such file"):
        make_table(8, elsewhere)
    (tmp_path / "published.yaml").write_text("table_09: {}")
    with pytest.raises(PolcaError, match="lacks 'table_08'"):
        make_table(8, elsewhere)


def test_missing_parameter(results: Results) -> None:
    with pytest.raises(PolcaError, match=r"arithmetic\.model\.layers is missing"):
        make_table(2, Results(results.paths, params(model={})))


# --- What DVC shows ---------------------------------------------------------------------------------------------------


def test_headlines_are_a_dozen_scalars_under_short_names(results: Results, english: EnglishResults) -> None:
    completeness = {"english_completeness_trapezoid_fraction": 0.25}  # the made-up summary of English has none
    everything = {**metrics(results), **english_metrics(english), **completeness}
    found = headlines(everything)
    assert found.keys() == HEADLINES.keys()
    assert len(found) == 12
    assert all(found[short] == everything[name] for short, name in HEADLINES.items())
    # Side by side in one screen, each as wide as its name or eight digits.
    assert sum(max(len(name), 8) + 2 for name in found) <= 150
    assert headlines(metrics(results)).keys() == {name for name in HEADLINES if not name.startswith("en_")}


def test_plots_draw_losses_and_homogeneity(results: Results, english: EnglishResults) -> None:
    for own in (results, english):
        curves = own.curves("polca")
        sizes = [
            (curves.labels[k] == c).sum() for k, c in zip(curves.cluster_vector, curves.cluster_index, strict=True)
        ]
        drawn = PLOTS["projected_loss"](own)
        expected = sum(n * mean for n, mean in zip(sizes, curves.projected_mean, strict=True)) / sum(sizes)
        np.testing.assert_allclose(drawn["loss"], expected, rtol=1e-5, atol=1e-9)
        assert drawn["step"].tolist() == curves.steps.tolist()
        assert list(PLOTS["training_loss"](own)) == ["step", "loss"]
    rows = [row for row in listed(results, "standardised", "clusters") if row["analysis"] == "polca"]
    best = {v: max(float(r["homogeneity"]) for r in rows if r["vector"] == v) for v in {r["vector"] for r in rows}}
    for row in PLOTS["homogeneity"](results).to_dict("records"):
        assert row["homogeneity"] == pytest.approx(best.get(row["vector"], 0.0))
    assert PLOTS["homogeneity"](english)["homogeneity"].between(0, 1).all()
