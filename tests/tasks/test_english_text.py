"""Tokenizer, packing, windows: every token of the text is where the docstrings say."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from polca.errors import PolcaError
from polca.tasks.english.text import (
    BETWEEN_DOCUMENTS,
    PAD,
    PAD_ID,
    TrainingWindows,
    evaluated,
    evaluation_batch,
    evaluation_text,
    load_tokenizer,
    model_config,
    pack,
    save_tokenizer,
    train_tokenizer,
    training_batch,
)
from polca.tasks.transformer import parameter_count

DOCUMENTS = [
    "The river runs to the sea.\nThe sea gives the river back as rain.",
    "Façade, naïve: “curly” 🙂 and don't — all of it must come back.",
    "The rain runs to the river, and the river runs to the sea.\nSo it goes on.",
] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(DOCUMENTS, 300)


def test_vocabulary_and_special_token(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() == 300
    assert tokenizer.token_to_id(PAD) == PAD_ID == 0


def test_text_comes_back(tokenizer: Tokenizer) -> None:
    for document in DOCUMENTS:
        assert tokenizer.decode(tokenizer.encode(document).ids) == document


def test_pad_in_the_text_is_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    for each in (tokenizer, load_tokenizer(tmp_path / "tokenizer.json")):
        ids = each.encode(f"It says {PAD} here.").ids
        assert PAD_ID not in ids
        assert each.decode(ids) == f"It says {PAD} here."


def test_newline_is_a_token_of_its_own(tokenizer: Tokenizer) -> None:
    """The paper's clusters need newlines as targets."""
    encoding = tokenizer.encode(DOCUMENTS[0])
    assert [DOCUMENTS[0][a:b] for a, b in encoding.offsets].count("\n") == 1


def test_training_is_deterministic() -> None:
    assert train_tokenizer(DOCUMENTS, 300).to_str() == train_tokenizer(DOCUMENTS, 300).to_str()


def test_saving_keeps_it(tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert again.encode(DOCUMENTS[1]).ids == tokenizer.encode(DOCUMENTS[1]).ids
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PolcaError, match="not a readable tokenizer"):
        load_tokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(("vocabulary", "words"), [(256, "must exceed"), (5000, "gives only")])
def test_impossible_vocabulary(vocabulary: int, words: str) -> None:
    with pytest.raises(PolcaError, match=words):
        train_tokenizer(DOCUMENTS, vocabulary)


def test_packed_stream(tokenizer: Tokenizer) -> None:
    """The documents' tokens in order, with one `<PAD>` between two and none at the ends."""
    stream = pack(tokenizer, DOCUMENTS[:3])
    parts = np.split(stream, np.flatnonzero(stream == PAD_ID))
    decoded = [tokenizer.decode(part[part != PAD_ID].tolist()) for part in parts]
    assert decoded == DOCUMENTS[:3]
    assert len(pack(tokenizer, [])) == 0


def test_offsets_point_at_the_text(tokenizer: Tokenizer) -> None:
    """Of every token of plain text, its offsets cut out just what it decodes to, across documents."""
    context = 7
    found = evaluation_text(tokenizer, DOCUMENTS, 4, context, seed=1)
    assert found.text == BETWEEN_DOCUMENTS.join(DOCUMENTS)
    assert found.tokens.shape == found.starts.shape == found.ends.shape == (4, context + 1)
    checked = 0
    for token, start, end in zip(found.tokens.flat, found.starts.flat, found.ends.flat, strict=True):
        if token == PAD_ID:
            assert (start, end) == (-1, -1)
        elif found.text[start:end].isascii():
            assert tokenizer.decode([int(token)]) == found.text[start:end]
            checked += 1
    assert checked > 20


def test_evaluation_windows_are_disjoint_and_reproducible(tokenizer: Tokenizer) -> None:
    one, again = (evaluation_text(tokenizer, DOCUMENTS, 5, 7, seed=1) for _ in range(2))
    assert np.array_equal(one.starts, again.starts)
    real = one.starts[one.ends > one.starts]
    assert (np.diff(one.starts.max(axis=1)) > 0).all(), "not in text order"
    ascii_starts = [s for s in real.tolist() if one.text[s].isascii()]
    assert len(set(ascii_starts)) == len(ascii_starts)


def test_too_little_evaluation_text(tokenizer: Tokenizer) -> None:
    with pytest.raises(PolcaError, match=r"hold only \d+ windows"):
        evaluation_text(tokenizer, DOCUMENTS, 10_000, 7, seed=1)


class TestTrainingWindows:
    stream = np.arange(1000, dtype=np.int32)

    def test_a_pass_reads_every_token_once(self) -> None:
        windows = TrainingWindows(self.stream, 9, seed=3)
        assert windows.windows == 111
        rows = windows.take(0, windows.windows)
        assert (np.diff(rows, axis=1) == 1).all()
        assert sorted(rows[:, 1:].ravel().tolist()) == list(range(1, 1000))

    def test_passes_differ_and_do_not_depend_on_how_they_are_cut(self) -> None:
        windows = TrainingWindows(self.stream, 9, seed=3)
        whole = TrainingWindows(self.stream, 9, seed=3).take(0, 300)
        pieces = np.concatenate([windows.take(i, 50) for i in range(0, 300, 50)])
        assert np.array_equal(whole, pieces)
        assert not np.array_equal(whole[:111], whole[111:222])
        assert sorted(whole[:111, 0].tolist()) == sorted(whole[111:222, 0].tolist())
        assert np.array_equal(windows.take(250, 50), whole[250:])

    def test_too_little_text(self) -> None:
        with pytest.raises(PolcaError, match="max_epochs = 2"):
            TrainingWindows(self.stream, 9, seed=3, needed=223, max_epochs=2)
        TrainingWindows(self.stream, 9, seed=3, needed=222, max_epochs=2)
        with pytest.raises(PolcaError, match="no window"):
            TrainingWindows(self.stream[:9], 9, seed=3)


def test_batches_and_evaluated_places() -> None:
    """Window places 3 … C are evaluated: C − 2 a window, the number behind the published 12,600 = 100 · 126."""
    windows = np.arange(2 * 9, dtype=np.int32).reshape(2, 9)
    inputs, targets = training_batch(windows)
    assert inputs.shape == targets.shape == (2, 8)
    assert bool((targets == inputs + 1).all())
    inputs, targets = evaluation_batch(windows)
    assert inputs.tolist() == windows[:, :8].tolist()
    assert targets.tolist() == windows[:, 3:].tolist()
    assert np.array_equal(evaluated(windows), targets.numpy().ravel())
    assert 100 * model_config(30_001, 128, 3, 512, 4, 2048, evaluated=True).targets == 12_600


def test_published_size() -> None:
    assert parameter_count(model_config(30_001, 128, 3, 512, 4, 2048)) == 40_274_737
