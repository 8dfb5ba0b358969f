"""Probes for constructions on made-up projections: found along the vectors that see them, over windows."""

from pathlib import Path

import numpy as np
import pytest

from polca.method.projections import Projections
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.tasks.english.task import EnglishTask
from polca.tasks.english.text import BEFORE, EvaluationText
from polca.validity.treebank import CONSTRUCTIONS, Annotated
from polca.validity.treebank_study import PROBE_COLUMNS, TreebankText, construction_probes, no_probes

WINDOWS, LENGTH = 12, 23
TOKENS = WINDOWS * (LENGTH - BEFORE)
NAMES = list(CONSTRUCTIONS)


@pytest.fixture
def text() -> TreebankText:
    """Determiners anywhere, appositions in few windows, agreement in every second window and there everywhere."""
    rng = np.random.default_rng(0)
    windows = np.zeros((WINDOWS, LENGTH), np.int32)
    where = np.repeat(np.arange(WINDOWS), LENGTH - BEFORE)
    labels = np.zeros((TOKENS, len(NAMES)), np.bool_)
    labels[:, NAMES.index("determiner")] = rng.random(TOKENS) < 0.3
    labels[:, NAMES.index("apposition")] = (where < 3) & (rng.random(TOKENS) < 0.5)
    labels[:, NAMES.index("agreement")] = where % 2 == 0
    empty = np.zeros(0, np.int64)
    spans = np.full((WINDOWS, LENGTH), -1)
    return TreebankText(Annotated([], empty, empty, labels[:0]), 0, EvaluationText("", windows, spans, spans), labels)


@pytest.fixture
def task(tmp_path: Path) -> EnglishTask:
    return EnglishTask(Preset.read(PresetPaths.named("smoke")).english().settings, tmp_path)


def projections(text: TreebankText) -> Projections:
    """One vector sees determiners, and one for each window sees its tokens; the loss sees neither."""
    rng = np.random.default_rng(1)
    seen = np.column_stack([text.labels[:, NAMES.index("determiner")], np.eye(WINDOWS)[text.window_of]])
    gradients = 0.1 * rng.normal(size=(4, TOKENS, 1 + WINDOWS)) - seen
    return Projections(
        steps=np.arange(4) * 10,
        losses=rng.random((4, TOKENS)).astype(np.float32),
        gradients=gradients.astype(np.float32),
        movements=np.ones((3, 1 + WINDOWS), np.float32),
        vector_steps=np.zeros(1 + WINDOWS, np.int64),
        eigenvalues=np.ones(1 + WINDOWS, np.float32),
    )


def test_windows_are_those_of_the_tokens(text) -> None:
    assert text.window_of.tolist() == [w for w in range(WINDOWS) for _ in range(LENGTH - BEFORE)]


def test_constructions_are_found_across_windows(task, text) -> None:
    table = construction_probes(task, {"hessian": projections(text)}, text)
    assert list(table.columns) == list(PROBE_COLUMNS)
    assert len(table) == 2 * len(NAMES)
    found = table.set_index(["analysis", "construction"])
    determiner = found.loc[("polca", "determiner")]
    assert determiner["auc"] > 0.99
    assert determiner["best_single"] > 0.99
    assert determiner["windows"] == WINDOWS
    assert determiner["tokens"] == text.labels[:, NAMES.index("determiner")].sum()
    assert 0.3 < found.loc[("loss", "determiner"), "auc"] < 0.7
    assert np.isnan(found.loc[("loss", "determiner"), "best_single"])
    # Vectors that know the window would give this away if folds shared windows.
    assert 0.2 < found.loc[("polca", "agreement"), "auc"] < 0.8
    # In three windows, fewer than there are folds; nowhere.
    assert found.loc[("polca", "apposition"), "windows"] == 3
    assert np.isnan(found.loc[("polca", "apposition"), "auc"])
    assert np.isnan(found.loc[("polca", "comma"), "auc"])
    assert found.loc[("polca", "comma"), "tokens"] == 0


def test_without_a_treebank_the_table_is_empty(task, text) -> None:
    table = construction_probes(task, {"hessian": projections(text)}, text)
    assert len(no_probes()) == 0
    assert (no_probes().dtypes == table.dtypes).all()
