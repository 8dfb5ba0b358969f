"""The evaluation tokens as text: what the file holds comes back, and joined it is the text that was evaluated."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_analysis
from polca.errors import PolcaError
from polca.external.sequences import BEFORE, from_batches, next_token
from polca.external.token_texts import TokenTexts
from polca.machine.text import UNPRINTABLE

TEXTS = TokenTexts(["b", "a"], [["a", " b"], ["</script><b>", "\ud800\n\x00 é"]], [0, 1], [1, 0])


class TestFile:
    def test_comes_back(self, tmp_path: Path) -> None:
        """Also half a surrogate pair, control characters and what is markup elsewhere."""
        TEXTS.save(tmp_path / "tokens.json")
        assert TokenTexts.load(tmp_path / "tokens.json") == TEXTS
        assert [path.name for path in tmp_path.iterdir()] == ["tokens.json"]

    @pytest.mark.parametrize(
        ("part", "value", "message"),
        [
            ("names", ["b"], "1 names, 2 sequence and 2 place"),
            ("names", ["b", 3], "not a string"),
            ("names", "ba", "expected lists"),
            ("sequences", [["a", " b"], "ab"], "expected lists"),
            ("sequences", [["a", " b"], [None]], "not a string"),
            ("sequences", 7, "expected lists"),
            ("sequence", [0, 2], "token 1 stands nowhere"),
            ("sequence", [0, -1], "token 1 stands nowhere"),
            ("sequence", [0, True], "token 1 stands nowhere"),
            ("place", [1.0, 0], "token 0 stands nowhere"),
            ("place", [2, 0], "token 0 stands nowhere"),
            ("place", None, "expected lists"),
            ("more", [], "not token texts"),
        ],
    )
    def test_others_are_refused(self, tmp_path: Path, part: str, value: Any, message: str) -> None:
        path = tmp_path / "tokens.json"
        TEXTS.save(path)
        path.write_text(json.dumps({**json.loads(path.read_text()), part: value}))
        with pytest.raises(PolcaError, match=message) as refused:
            TokenTexts.load(path)
        assert str(refused.value).startswith(f"{path}: ")
        assert "\n" not in str(refused.value)


class TestOfSequences:
    def test_running_text(self) -> None:
        """The first input is context; every target stands after it, under the name that it has alone."""
        windows, data = tiny_analysis.windows()[tiny_analysis.HESSIAN :], tiny_analysis.evaluation()
        texts = data.texts()
        assert len(texts) == data.targets.numel()
        for window, pieces in zip(windows.tolist(), texts.sequences, strict=True):
            assert "".join(pieces) == tiny_analysis.decode(window)
        words = [tiny_analysis.WORDS[i] for i in data.targets.flatten().tolist()]
        assert texts.names == words
        found = [texts.sequences[n][at] for n, at in zip(texts.sequence, texts.place, strict=True)]
        assert found == [f" {word}" for word in words]

    def test_images(self) -> None:
        """Classes of images are a sequence each, named by their numbers; floats never are their text."""
        for inputs in (torch.zeros(4, 2, 2), torch.zeros(4, 1)):
            texts = from_batches([(inputs, torch.tensor([3, 1, 3, 0]))], "images").texts()
            assert texts == TokenTexts(["3", "1", "3", "0"], [["3"], ["1"], ["3"], ["0"]], [0, 1, 2, 3], [0, 0, 0, 0])

    def test_several_targets_that_continue_nothing(self) -> None:
        texts = from_batches([(torch.zeros(2, 5), torch.tensor([[4, 5], [6, 7]]))], "labels").texts()
        assert texts == TokenTexts(["4", "5", "6", "7"], [["4", " 5"], ["6", " 7"]], [0, 0, 1, 1], [0, 1, 0, 1])

    def test_bytes_of_one_character(self) -> None:
        """Tokens of single bytes: of each character the bytes together, and none is empty."""
        text = "aé\n€b"
        ids = torch.tensor([list(text.encode())])
        texts = next_token(ids, lambda ids: bytes(ids).decode(errors="replace")).texts()
        (pieces,) = texts.sequences
        assert len(pieces) == ids.numel()
        assert all(pieces)
        assert (pieces[0], pieces[3], pieces[-1]) == ("a", "⏎", "b")
        assert {pieces[i] for i in (1, 4, 5)} == {UNPRINTABLE}

    def test_long_sequences(self) -> None:
        """Beyond the window in which tokens are decoded together."""
        ids = torch.arange(3 * BEFORE).unsqueeze(0)
        assert "".join(next_token(ids).texts().sequences[0]) == " ".join(map(str, range(3 * BEFORE)))
