"""The English task on a made-up text whose clusters, contexts and counts are known."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import entropy

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.machine.files import read_json, write_csv, write_json, write_npz, write_text
from polca.method.decomposition import decompose
from polca.method.projections import Projections
from polca.study.results import read_table
from polca.study.stages.cluster import Clustered, ExactLosses, cluster_analysis, summary
from polca.study.stages.trajectories import decompose_analysis, known_facts
from polca.tasks.english.patterns import FAMILIES
from polca.tasks.english.scores import TABLES, TaggedText, constructions, score_tables
from polca.tasks.english.task import ANALYSES, EnglishSettings, EnglishTask
from polca.tasks.english.text import BEFORE, EvaluationText
from polca.tasks.settings import parse
from polca.tasks.task import Labels
from polca.typing import Reading, SecondOrder

NAMES = ("ADJ", "ADP", "DET", "NOUN", "PUNCT", "VERB", "X", "SPACE", "<PAD>")
STEPS = np.arange(0, 1001, 100)


class MadeUpTask(EnglishTask):
    """Of the tagged text in its folder; parameters are the smoke preset's where nothing is said."""

    @classmethod
    def write(
        cls, folder: Path, text: TaggedText, size: int = 12, second_order: str = "none", finer: int = 0
    ) -> "MadeUpTask":
        evaluation = text.evaluation
        write_text(folder / "evaluation.txt", evaluation.text)
        write_npz(folder / "evaluation.npz", {n: getattr(evaluation, n) for n in ("tokens", "starts", "ends")})
        windows, length = evaluation.tokens.shape
        write_json(folder / "corpus.json", {**CORPUS, "evaluation_tokens": windows * (length - BEFORE)})
        preset = yaml.safe_load((ROOT / "presets" / "smoke" / "params.yaml").read_text(encoding="utf-8"))["english"]
        settings = parse(EnglishSettings, preset, "english").changed(
            data={"context": length - 1, "evaluation_contexts": windows},
            training={"steps": 1000, "checkpoint_interval": 100},
            polca={"interval": 100, "second_order": second_order},
            clustering={
                "min_cluster_size": size,
                "min_samples_divisor": 15,
                "finer": {"min_cluster_size": finer or size, "min_samples_divisor": 15},
            },
            breakthroughs={"fall": 0.6, "delta": 100, "published": {"flat_step": 200, "delta": 100}},
        )
        return cls(settings, folder)


CORPUS = {"title": "made up", "documents": 5}


def labels_of(text: TaggedText) -> Labels:
    """What the stage `labels` would have written."""
    return {"tags": text.tags, "names": np.array(text.names)}


def clustered(
    task: EnglishTask, name: str, projections: Projections, text: TaggedText, reading: Reading = "standardised"
) -> Clustered:
    """One analysis as the stages make it."""
    found = {"hessian": projections}
    chosen = decompose_analysis(task, name, found)
    return cluster_analysis(task, name, chosen, ExactLosses.of(found), labels_of(text), reading)


def tagged(documents: list[list[tuple[str, str]]], length: int) -> TaggedText:
    """Documents of (token with its leading space, tag) as windows of `length` tokens."""
    tokens: list[tuple[str, str, int]] = []
    text = ""
    for number, document in enumerate(documents):
        if number:
            tokens.append(("<PAD>", "<PAD>", -1))
            text += "\n\n"
        for string, tag in document:
            tokens.append((string, tag, len(text)))
            text += string
    kept = len(tokens) // length * length
    vocabulary = ["<PAD>", *sorted({string for string, *_ in tokens} - {"<PAD>"})]
    ids = np.array([vocabulary.index(string) for string, *_ in tokens[:kept]], np.int32)
    starts = np.array([at for *_, at in tokens[:kept]], np.int64)
    ends = np.array([at + len(string) if at >= 0 else -1 for string, _, at in tokens[:kept]], np.int64)
    tags = np.array([NAMES.index(tag) for _, tag, _ in tokens[:kept]], np.int8)
    ids, starts, ends, tags = (a.reshape(-1, length) for a in (ids, starts, ends, tags))
    return TaggedText(EvaluationText(text, ids, starts, ends), tags, NAMES)


SENTENCE = [(" The", "DET"), (" old", "ADJ"), (" cat", "NOUN"), (" sat", "VERB"), (" of", "ADP"), (" rome", "NOUN")]
SENTENCE += [(",", "PUNCT"), ("\n", "SPACE")]
"""Eight tokens; in windows of eleven every target stands at every place."""


@pytest.fixture(scope="module")
def text() -> TaggedText:
    return tagged([SENTENCE * 11] * 5, 11)


def planted(text: TaggedText, seed: int = 0) -> tuple[Projections, np.ndarray]:
    """Commas drop along vector 1 at step 600, nouns at 200; vector 2 rises; along vector 3 nothing is to be told.

    Every trajectory has a shape of its own beside its size, so that both readings have something to cluster. The mean
    loss has made 0.55 of its fall by step 500, 0.64 by 600.

    Returns:
        The projections and a letter for each token: `,`, `n` or blank.
    """
    rng = np.random.default_rng(seed)
    target, x, c = text.targets.target, len(text.targets), len(STEPS)
    kind = np.where(target == ",", ",", np.where(np.isin(target, ("cat", "rome")), "n", " "))
    when = np.select([kind == ",", kind == "n"], [600, 200], 0)
    size = np.select([kind == ",", kind == "n"], [3.0, 1.0], 0.0) * (1 + 0.01 * rng.normal(size=x))
    fall = size[:, None] / (1 + np.exp((STEPS - when[:, None]) / 30))
    gradients, movements = np.zeros((c, x, 3)), np.full((c - 1, 3), 0.5)
    gradients[:-1, :, 0] = np.diff(fall, axis=1).T / 0.5 * (1 + 0.01 * rng.normal(size=(c - 1, x)))
    # The other tokens rise along vector 1, so that they are dropped.
    gradients[:-1, kind == " ", 0] = 1e-3
    gradients[:, :, 1] = 1
    gradients[:, :, 2] = -rng.exponential(size=(1, x)) * (1 + 0.1 * rng.normal(size=(c, x)))
    line = np.linspace(2, 1, c)[:, None]
    losses = np.where(kind == " ", line**2 / 2, 2 * line) + 0.01 * rng.normal(size=(c, x))
    projections = Projections(
        STEPS,
        losses.astype(np.float32),
        gradients.astype(np.float32),
        movements.astype(np.float32),
        np.array([300, 600, 900]),
        np.ones(3, np.float32),
    )
    return projections, kind


@pytest.fixture(scope="module")
def task(text: TaggedText, tmp_path_factory: pytest.TempPathFactory) -> MadeUpTask:
    return MadeUpTask.write(tmp_path_factory.mktemp("english"), text)


@pytest.fixture(scope="module")
def analyses(task: MadeUpTask, text: TaggedText) -> dict[str, Clustered]:
    projections, _ = planted(text)
    return {name: clustered(task, name, projections, text) for name in task.analyses}


def whole(analyses: dict[str, Clustered], table: str) -> pd.DataFrame:
    return pd.concat([a.tables[table] for a in analyses.values()], ignore_index=True)


class TestTaggedText:
    DOCUMENTS = ([(" a", "DET"), (" b", "NOUN"), ("\n", "SPACE"), (" c", "X"), ("d", "X")], [("E\t", "X"), (" f", "X")])

    def test_contexts(self) -> None:
        """Windows `a b ⏎ c d <PAD> E f`: targets c, d, <PAD>, E, f."""
        t = tagged([list(d) for d in self.DOCUMENTS], 8)
        assert [t.context(x) for x in range(5)] == [
            (" a b⏎", " c", "d¶E  f"),
            (" a b⏎ c", "d", "¶E  f"),
            (" a b⏎ cd", "<PAD>", "E  f"),
            (" a b⏎ cd¶", "E ", " f"),
            (" a b⏎ cd¶E ", " f", ""),
        ]

    def test_second_window(self, text: TaggedText) -> None:
        """Token x = s · (C − 2) + i − 3 with C = 10; windows do not look beyond themselves."""
        strings = [string for string, _ in SENTENCE] * 11
        for s, i in ((0, 3), (0, 10), (1, 3), (1, 7), (2, 10)):
            before, target, after = text.context(s * 8 + i - 3)
            first = s * 11
            assert target == strings[first + i].replace("\n", "⏎")
            assert before == "".join(strings[first : first + i]).replace("\n", "⏎")
            assert after == "".join(strings[first + i + 1 : first + 11]).replace("\n", "⏎")

    def test_split_characters(self) -> None:
        """A letter of three bytes, each its own token, and a gap that no token holds."""
        starts = np.array([[0, 1, 2, 2, 2, 4]])
        evaluation = EvaluationText("ab字 c", np.arange(6, dtype=np.int32)[None], starts, starts + 1)
        t = TaggedText(evaluation, np.zeros((1, 6), np.int8), NAMES)
        assert [t.context(x) for x in range(3)] == [("ab", "字", " c"), ("ab", "字", " c"), ("ab字 ", "c", "")]
        assert t.targets.continues.tolist() == [True, True, False]
        assert t.targets.target.tolist() == ["字", "字", "c"]
        assert t.targets.previous.tolist() == ["字", "字", "字"]

    def test_targets(self) -> None:
        t = tagged([list(d) for d in self.DOCUMENTS], 8).targets
        assert t.target.tolist() == ["c", "d", "<PAD>", "E␣", "f"]
        assert t.previous.tolist() == ["⏎", "c", "d", "<PAD>", "E␣"]
        assert t.continues.tolist() == [False, True, False, False, False]
        assert t.tags.tolist()[0] == [NAMES.index(tag) for tag in ("DET", "NOUN", "SPACE", "X")]

    def test_bad_input(self, text: TaggedText) -> None:
        e = text.evaluation
        with pytest.raises(PolcaError, match="do not fit tokens"):
            TaggedText(e, text.tags[:, 1:], NAMES)
        with pytest.raises(PolcaError, match=r"evaluation\.txt"):
            TaggedText(replace(e, text=e.text[:50]), text.tags, NAMES)
        with pytest.raises(PolcaError, match="tag the evaluation text again"):
            TaggedText(e, np.roll(text.tags, 1, axis=1), NAMES)


class TestClusters:
    def test_planted_clusters(self, text: TaggedText, analyses: dict[str, Clustered]) -> None:
        """Nouns outnumber commas; both are clusters of vector 1, and vector 2 is dropped."""
        _, kind = planted(text)
        clusters = analyses["polca"].clusters
        table = analyses["polca"].tables["clusters"]
        first = table[table["vector"] == 1].reset_index(drop=True)
        assert len(first) == 2
        for row, what in enumerate("n,"):
            members = np.flatnonzero(clusters.labels[0] == row)
            assert set(kind[members]) == {what}
            assert len(members) == first.loc[row, "size"] > 0.8 * (kind == what).sum()
        # Here every comma comes after `rome`: that tells as much as the comma alone, and is more specific.
        assert first["name"].tolist() == ["NOUN", "`,` after `rome`"]
        assert first["fit"].tolist() == [1, 1]
        assert first["simple"].tolist() == [True, True]
        assert first["tags_0"].tolist() == ["NOUN", "PUNCT"]
        assert first.loc[1, ["tags_3", "tags_2", "tags_1"]].tolist() == ["VERB", "ADP", "NOUN"]
        assert set(first.loc[0, "tags_1"].split("+")) == {"ADJ", "ADP"}
        assert first["top_target"].tolist()[1] == ","
        assert first["top_target_share"].tolist()[1] == 1
        share = (text.targets.target[clusters.labels[0] == 0] == first.loc[0, "top_target"]).mean()
        assert first.loc[0, "top_target_share"] == share >= 0.5
        # Drops at steps 200 and 600 end at 300 and 700 at the earliest; τ = 600. The second begins before it.
        assert first["hidden"].tolist() == [False, True]
        assert first["hidden_onset"].tolist() == [False, False]
        assert (first["break_step"] > first["onset_step"]).all()
        # By the published constants of this task, τ = 200, both are hidden.
        assert first["hidden_published"].tolist() == [True, True]

    @pytest.mark.parametrize("form", ["none", "trapezoid"])
    def test_form_of_the_second_order_term(self, tmp_path: Path, text: TaggedText, form: SecondOrder) -> None:
        projections, _ = planted(text)
        task = MadeUpTask.write(tmp_path, text, second_order=form)
        clusters = clustered(task, "polca", projections, text).clusters
        values = decompose(projections, "polca", form).values
        assert len(clusters) > 0
        np.testing.assert_array_equal(clusters.projected_medoid, values[clusters.cluster_vector, clusters.medoid])

    def test_vectors(self, text: TaggedText, analyses: dict[str, Clustered]) -> None:
        _, kind = planted(text)
        table = analyses["polca"].tables["vectors"].set_index("vector")
        assert table["kept"].tolist() == [True, False, True]
        assert table["vector_step"].tolist() == [300, 600, 900]
        first = table.loc[1]
        assert first["n_dropped"] == (kind == " ").sum()
        assert first["n_dropped"] + first["n_clustered"] + first["n_outliers"] == len(kind)
        assert first[["n_clusters", "n_simple", "n_hidden"]].tolist() == [2, 2, 1]
        assert table.loc[2, ["n_dropped", "n_clustered", "n_outliers", "n_clusters", "n_simple"]].tolist() == [0] * 5
        assert table.loc[3, "n_dropped"] == 0
        loss = analyses["loss"].tables["vectors"]
        assert loss[["vector", "vector_step", "kept", "n_dropped"]].to_numpy().tolist() == [[1, -1, True, 0]]

    def test_contexts(self, text: TaggedText, analyses: dict[str, Clustered]) -> None:
        for analysis in analyses.values():
            table, clusters = analysis.tables["contexts"], analysis.clusters
            assert len(table) == 10 * len(clusters)
            assert table["token"].tolist() == clusters.nearest.reshape(-1).tolist()
            assert table["rank"].tolist() == list(range(1, 11)) * len(clusters)
            assert table[table["rank"] == 1]["token"].tolist() == clusters.medoid.tolist()
            for row in table.to_dict("records"):
                assert (row["before"], row["target"], row["after"]) == text.context(row["token"])
                labels = clusters.labels[row["vector"] - 1]
                assert labels[row["token"]] == row["cluster"]

    def test_columns(self, analyses: dict[str, Clustered]) -> None:
        wanted = {
            "clusters": "analysis vector cluster size break_step onset_step hidden hidden_onset hidden_published "
            "simple name fit tags_3 tags_2 tags_1 tags_0 top_target top_target_share",
            "vectors": "analysis vector vector_step kept n_dropped n_clustered n_outliers n_clusters n_simple n_hidden "
            "ari_bootstrap ari_perturbed",
            "contexts": "analysis vector cluster rank token before target after",
        }
        for which, analysis in analyses.items():
            for name, columns in wanted.items():
                assert " ".join(analysis.tables[name].columns) == columns
                # Stability is asked for of POLCA alone, and defined where there are clusters.
                empty = {"ari_bootstrap", "ari_perturbed"} if name == "vectors" else set()
                assert not analysis.tables[name].drop(columns=empty).isna().any(axis=None)
                for column in empty:
                    defined = (analysis.tables[name]["n_clusters"] > 0) & (which == "polca")
                    assert analysis.tables[name][column].notna().tolist() == defined.tolist()
        first = analyses["polca"].tables["vectors"].iloc[0]
        assert first["ari_perturbed"] > 0.9

    def test_finer_clusters_have_settings_of_their_own(self, tmp_path: Path, text: TaggedText) -> None:
        projections, _ = planted(text)
        coarse = MadeUpTask.write(tmp_path, text, 10**6, finer=12)
        assert len(clustered(coarse, "polca", projections, text).clusters) == 0
        fine = clustered(coarse, "polca_fine", projections, text)
        like_it = clustered(MadeUpTask.write(tmp_path, text, 12), "polca", projections, text)
        assert len(fine.clusters) == len(like_it.clusters) > 0
        assert set(fine.tables["clusters"]["analysis"]) == {"polca_fine"}
        sizes = coarse.settings.clustering
        assert {name: coarse.clustering(name) is sizes.finer for name in coarse.analyses} == {
            **{"loss": False, "polca": False, "polca_fine": True, "loss_fine": True}
        }

    @pytest.mark.parametrize("name", list(ANALYSES))
    def test_nothing_clustered(self, tmp_path: Path, text: TaggedText, name: str) -> None:
        """Tables without rows have the columns and types of those with rows, on disk as well."""
        projections, _ = planted(text)
        tasks = [MadeUpTask.write(tmp_path / str(size), text, size) for size in (12, 10**6)]
        full, empty = (clustered(task, name, projections, text) for task in tasks)
        assert len(empty.clusters) == 0
        for table in TABLES:
            assert empty.tables[table].dtypes.to_dict() == full.tables[table].dtypes.to_dict()
        assert len(empty.tables["clusters"]) == len(empty.tables["contexts"]) == 0
        write_csv(tmp_path / "empty.csv", empty.tables["clusters"])
        assert list(read_table(tmp_path / "empty.csv").columns) == list(full.tables["clusters"].columns)
        write_csv(tmp_path / "both.csv", empty.tables["clusters"], full.tables["clusters"])
        assert len(read_table(tmp_path / "both.csv")) == len(full.tables["clusters"]) > 0
        vectors = empty.tables["vectors"]
        assert (vectors["n_clustered"] == 0).all()
        # A table of all analyses has no rows of the others.
        counts = tasks[1].cluster_counts(empty.tables)["analyses"][name]
        assert (counts["clusters"], counts["vectors_with_simple_label"]) == (0, 0)
        assert np.isnan(counts["hidden_fraction"])
        assert set(counts["constructions"].values()) == {0}
        assert counts["outlier_fraction"] == 1

    def test_bad_input(self, tmp_path: Path, text: TaggedText) -> None:
        projections, _ = planted(text)
        task = MadeUpTask.write(tmp_path, text)
        with pytest.raises(PolcaError, match="analysis 'fisher': expected one of loss, polca, polca_fine, loss_fine"):
            clustered(task, "fisher", projections, text)
        other, made = tagged([SENTENCE * 11], 11), clustered(task, "loss", projections, text).clusters
        breaks = pd.DataFrame({"vector": [], "cluster": []})
        with pytest.raises(PolcaError, match="project again"):
            score_tables("loss", made, breaks, other, task.settings.labels)


class TestFiles:
    def test_strings_survive(self, tmp_path: Path) -> None:
        """Tokens that CSV or pandas could take for something else, each the target of a cluster of its own."""
        odd = ["NA", " null", '"', "''", "1", "0.5", ",", "`", "\r", "NaN", "a\\n", "True", "-", " "]
        documents = [[*[(f" w{i}", "X") for i in range(3)], (string, "X")] for string in odd for _ in range(20)]
        text = tagged([[token for document in documents for token in document]], 4)
        x = len(text.targets)
        assert x == 20 * len(odd)
        level = np.repeat(np.arange(len(odd)), 20) + 1.0
        losses = (level[:, None] * np.linspace(3, 2, len(STEPS)) + 0.001 * np.arange(x)[:, None] % 0.02).T
        zeros = np.zeros((len(STEPS), x, 1), np.float32)
        moved, one = np.ones((len(STEPS) - 1, 1), np.float32), np.ones(1)
        projections = Projections(STEPS, losses.astype(np.float32), zeros, moved, one.astype(np.int64), one)
        # Raw: the losses differ in size alone.
        analysis = clustered(MadeUpTask.write(tmp_path / "task", text, 15), "loss", projections, text, "raw")
        shown = {"null", "␣", *odd} - {" null", "\r", " "}
        assert set(analysis.tables["clusters"]["top_target"]) == shown
        assert set(analysis.tables["contexts"]["target"]) == {*odd} - {"\r"}
        assert set(analysis.tables["contexts"]["after"]) == {""}
        for name, table in analysis.tables.items():
            write_csv(tmp_path / f"{name}.csv", table)
            found = read_table(tmp_path / f"{name}.csv")
            for column in table:
                if not pd.api.types.is_float_dtype(table[column]):
                    assert found[column].tolist() == table[column].tolist(), column

    def test_round_trip(self, tmp_path: Path, analyses: dict[str, Clustered]) -> None:
        for name in TABLES:
            table = whole(analyses, name)
            write_csv(tmp_path / f"{name}.csv", *(a.tables[name] for a in analyses.values()))
            found = read_table(tmp_path / f"{name}.csv")
            pd.testing.assert_frame_equal(found, table, rtol=1e-8, check_dtype=False)
            assert found.drop(columns={"ari_bootstrap", "ari_perturbed"} & set(found)).notna().all(axis=None)


class TestSummary:
    @staticmethod
    def summary(task: MadeUpTask, analyses: dict[str, Clustered], projections: Projections) -> dict[str, Any]:
        tables = {name: whole(analyses, name) for name in TABLES}
        return summary(task, known_facts(task, {"hessian": projections}), {"loss": 0, "polca": 3}, tables)

    def test_counts(self, tmp_path: Path, task: MadeUpTask, text: TaggedText, analyses: dict[str, Clustered]) -> None:
        projections, kind = planted(text)
        summary = self.summary(task, analyses, projections)
        write_json(tmp_path / "summary.json", summary)
        assert read_json(tmp_path / "summary.json") == summary
        assert (summary["tokens"], summary["checkpoints"], summary["vectors"]) == (len(kind), 11, 3)
        assert (summary["flat_step"], summary["delta"], summary["second_order"]) == (600, 100, "none")
        assert summary["corpus"] == {**CORPUS, "evaluation_tokens": len(kind)}
        assert summary["guarded"] == {"loss": 0, "polca": 3}
        assert summary["parameters"] == sum(p.numel() for p in task.initial().values())
        assert set(summary["analyses"]) == set(ANALYSES)
        assert math.isclose(summary["loss_first"], projections.losses[0].astype(float).mean(), rel_tol=1e-12)
        assert math.isclose(summary["perplexity_last"], math.exp(summary["loss_last"]), rel_tol=1e-12)
        assert summary["perplexity_last"] < summary["perplexity_first"]
        polca, labels = summary["analyses"]["polca"], analyses["polca"].clusters.labels
        assert (polca["vectors"], polca["dropped_vectors"]) == (3, 1)
        # Vector 1 drops the unmarked tokens, vector 3 none; of the dropped vector nothing counts.
        assert polca["mean_dropped_tokens"] == (kind == " ").sum() / 2
        kept = labels[[0, 2]]
        assert polca["outlier_fraction"] == (kept == -1).sum() / ((kept == -1).sum() + (kept >= 0).sum())
        table = analyses["polca"].tables["clusters"]
        assert polca["clusters"] == len(table)
        assert polca["clusters_simple"] == table["simple"].sum()
        assert polca["vectors_with_simple_label"] == table[table["simple"]]["vector"].nunique()
        assert polca["hidden_fraction"] == table["hidden"].mean()
        assert polca["hidden_onset_fraction"] == table["hidden_onset"].mean()
        assert summary["analyses"]["loss"]["vectors"] == 1
        assert summary["analyses"]["loss"]["mean_dropped_tokens"] == 0

    def test_constructions(self, analyses: dict[str, Clustered]) -> None:
        table = analyses["polca"].tables["clusters"]
        found = constructions(table[table["vector"] == 1])
        assert tuple(found) == FAMILIES
        assert {kind: count for kind, count in found.items() if count} == {"noun": 1, "comma": 1}

    def test_unigram_entropy(self, task: MadeUpTask, text: TaggedText, analyses: dict[str, Clustered]) -> None:
        """Against SciPy; and a model that knows the frequencies has this loss on the evaluated tokens."""
        summary = self.summary(task, analyses, planted(text)[0])
        ids = text.evaluation.tokens[:, 3:].ravel()
        counts = np.bincount(ids)
        assert math.isclose(summary["target_unigram_entropy"], entropy(counts[counts > 0]), rel_tol=1e-12)
        assert math.isclose(summary["target_unigram_entropy"], -np.log(counts[ids] / len(ids)).mean(), rel_tol=1e-12)

    def test_completeness(self, task: MadeUpTask, text: TaggedText, analyses: dict[str, Clustered]) -> None:
        """Along one vector that holds the whole of a loss 2 − t², the trapezoid rule adds up."""
        projections, _ = planted(text)
        t = np.linspace(0, 1, len(STEPS))
        x = projections.losses.shape[1]
        quadratic = replace(
            projections,
            losses=np.repeat((2 - t**2)[:, None], x, axis=1).astype(np.float32),
            gradients=np.repeat((-2 * t)[:, None], x, axis=1)[:, :, None].astype(np.float32),
            movements=np.full((len(STEPS) - 1, 1), t[1], np.float32),
            vector_steps=np.array([100]),
            eigenvalues=np.array([-2], np.float32),
        )
        found = self.summary(task, analyses, quadratic)["completeness"]
        assert set(found) == {"none", "trapezoid", "paper"}
        assert math.isclose(found["trapezoid"]["fraction"], 1, abs_tol=1e-5)
        assert math.isclose(found["paper"]["fraction"], 1, abs_tol=1e-5)
        # A left Riemann sum of 2 t in steps of 0.1.
        assert math.isclose(found["none"]["fraction"], 0.9, abs_tol=1e-5)
        curved = replace(quadratic, token_curvatures=np.full_like(quadratic.gradients, -2))
        assert math.isclose(self.summary(task, analyses, curved)["completeness"]["exact"]["fraction"], 1, abs_tol=1e-5)

    def test_huge_loss(
        self, tmp_path: Path, task: MadeUpTask, text: TaggedText, analyses: dict[str, Clustered]
    ) -> None:
        projections, _ = planted(text)
        summary = self.summary(task, analyses, replace(projections, losses=projections.losses + 1000))
        write_json(tmp_path / "summary.json", summary)
        assert read_json(tmp_path / "summary.json")["perplexity_first"] is None
