"""Tags: which word a token belongs to, pipelines that cannot be used, and the committed tagger against its card."""

import gzip
import hashlib
import json
import re
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from polca.errors import PolcaError
from polca.tasks.english import tagging
from polca.tasks.english.tagging import PAD, SPACE, TAGS, align, load_pipeline, word_tags

ROOT = Path(__file__).parents[2]
TAGGER = ROOT / "data" / "tagger"
EWT = ROOT / "data" / "corpora" / "treebank" / "en_ewt-ud-test.conllu.gz"
METRICS = json.loads((TAGGER / "metrics.json").read_text(encoding="utf-8"))

TEXT = "I don't see the naïve café 🙂.\n\nShe left  Rome. "
GIVEN = [
    *[("I", "PRON"), ("do", "AUX"), ("n't", "PART"), ("see", "VERB"), ("the", "DET"), ("naïve", "ADJ")],
    *[("café", "NOUN"), ("🙂", "SYM"), (".", "PUNCT"), ("She", "PRON"), ("left", "VERB"), ("Rome", "PROPN")],
    (".", "PUNCT"),
]


@cache
def tagger() -> Language:
    return load_pipeline("data/tagger/model", ROOT)


def words_of(text: str, given: list[tuple[str, str]]) -> tagging.Words:
    """Words with tags set by hand, found in `text` from left to right."""
    starts, at = [], 0
    for word, _ in given:
        starts.append(text.index(word, at))
        at = starts[-1] + len(word)
    ends = [start + len(word) for start, (word, _) in zip(starts, given, strict=True)]
    return np.array(starts), np.array(ends), np.array([TAGS.index(tag) for _, tag in given], np.int8)


def names(tags: np.ndarray) -> list[str]:
    return [TAGS[tag] for tag in tags]


class TestAlign:
    @pytest.mark.parametrize(
        ("token", "expected"),
        [
            ("I", "PRON"),
            (" see", "VERB"),  # leading space
            (" na", "ADJ"),  # first piece of a word, with the space
            ("ïve", "ADJ"),  # a later piece inherits the word's tag
            ("é", "NOUN"),
            (" don", "AUX"),  # covers "do" and the first letter of "n't"
            ("n't", "PART"),
            ("'t", "PART"),
            ("t see the", "PART"),  # several words: the first one's
            (" the naïve", "DET"),
            (" 🙂", "SYM"),
            ("🙂.", "SYM"),
            ("\n", SPACE),
            ("\n\n", SPACE),
            (" ", SPACE),
            ("  ", SPACE),
            (".\n\n", "PUNCT"),
            ("\nShe", "PRON"),
            ("  Rome", "PROPN"),
            (". ", "PUNCT"),
        ],
    )
    def test_by_hand(self, token: str, expected: str) -> None:
        start = TEXT.index(token)
        tag = align(TEXT, np.array([start]), np.array([start + len(token)]), words_of(TEXT, GIVEN))
        assert names(tag) == [expected]

    def test_last_space(self) -> None:
        n = len(TEXT)
        assert names(align(TEXT, np.array([n - 1]), np.array([n]), words_of(TEXT, GIVEN))) == [SPACE]

    def test_windows(self) -> None:
        """Any shape; −1 is padding even where the text begins with white space."""
        text = " a b"
        words = words_of(text, [("a", "DET"), ("b", "NOUN")])
        starts = np.array([[-1, 0, 2], [0, 1, -1]])
        ends = np.array([[-1, 2, 4], [1, 2, -1]])
        tags = align(text, starts, ends, words)
        assert tags.dtype == np.int8
        assert [names(row) for row in tags] == [[PAD, "DET", "NOUN"], [SPACE, "DET", PAD]]

    def test_no_words(self) -> None:
        nothing = words_of("", [])
        assert names(align(" \n", np.array([0, -1]), np.array([2, -1]), nothing)) == [SPACE, PAD]
        assert names(align("", np.array([-1]), np.array([-1]), nothing)) == [PAD]
        assert align("", np.empty((0, 4), np.int64), np.empty((0, 4), np.int64), nothing).shape == (0, 4)

    def test_bytes_of_one_character(self) -> None:
        """A byte-level tokenizer without merges: every byte is a token, with the offsets of its character."""
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        text = "the café 🙂."
        starts, ends = np.array(tokenizer.encode(text).offsets).T
        words = words_of(text, [("the", "DET"), ("café", "NOUN"), ("🙂", "SYM"), (".", "PUNCT")])
        expected = ["DET"] * 3 + [SPACE] + ["NOUN"] * 5 + [SPACE] + ["SYM"] * 4 + ["PUNCT"]
        assert names(align(text, starts, ends, words)) == expected

    @pytest.mark.parametrize(("start", "end"), [(-1, 3), (-2, -1), (2, 2), (3, 2), (0, 6), (5, 6), (2, -1)])
    def test_offsets_of_another_text(self, start: int, end: int) -> None:
        words = words_of("a bcd", [("a", "DET"), ("bcd", "NOUN")])
        with pytest.raises(PolcaError, match=rf"offsets: {start}:{end} is no part of a text of 5 characters: make"):
            align("a bcd", np.array([0, start]), np.array([1, end]), words)

    def test_shapes_that_differ(self) -> None:
        with pytest.raises(PolcaError, match=r"\(3,\) starts and \(2,\) ends"):
            align("abc", np.arange(3), np.arange(2), words_of("abc", [("abc", "X")]))

    @pytest.mark.parametrize("given", [[("b", "X")], [("a", "X")], []])
    def test_words_of_another_text(self, given: list[tuple[str, str]]) -> None:
        text = "a b"
        with pytest.raises(PolcaError, match="words: they leave characters of the text uncovered"):
            align(text, np.array([0, 1]), np.array([1, 3]), words_of(text, given))


class TestWords:
    def test_an_easy_sentence(self) -> None:
        text = "The old man didn't see three big dogs in Paris, but she quickly called them."
        starts, ends, tags = word_tags(text, tagger())
        assert [text[a:b] for a, b in zip(starts, ends, strict=True)] == [
            *["The", "old", "man", "did", "n't", "see", "three", "big", "dogs", "in", "Paris", ",", "but", "she"],
            *["quickly", "called", "them", "."],
        ]
        assert names(tags) == [
            *["DET", "ADJ", "NOUN", "AUX", "PART", "VERB", "NUM", "ADJ", "NOUN", "ADP", "PROPN", "PUNCT", "CCONJ"],
            *["PRON", "ADV", "VERB", "PRON", "PUNCT"],
        ]

    def test_offsets_are_characters_of_the_whole_text(self) -> None:
        text = "\n  The café 🙂 was open.\n\n\nIt  closed.\r\nNaïve\u00a0people wept.\n"
        starts, ends, _ = word_tags(text, tagger())
        expected = ["The", "café", "🙂", "was", "open", ".", "It", "closed", ".", "Naïve", "people", "wept", "."]
        assert [text[a:b] for a, b in zip(starts, ends, strict=True)] == expected

    def test_no_newline_reaches_the_tagger(self) -> None:
        """Paragraphs are tagged by themselves, whatever stands around them."""
        paragraphs = ["He will run", "Run with the book.", "She saw", "saw dust on the can."]
        alone = [names(word_tags(paragraph, tagger())[2]) for paragraph in paragraphs]
        for joint in ("\n", "\n\n"):
            assert names(word_tags(joint.join(paragraphs), tagger())[2]) == [name for part in alone for name in part]
        seen: list[str] = []

        @Language.component("tests_spy")
        def spy(doc: Doc) -> Doc:
            seen.append(doc.text)
            return doc

        pipeline = spacy.blank("en")
        pipeline.add_pipe("tests_spy")
        word_tags("a b\n\n\nc\n", pipeline)
        assert seen == ["a b", "c"]

    def test_any_batch_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = (ROOT / "README.md").read_text(encoding="utf-8")
        reference = word_tags(lines, tagger())[2]
        assert len(reference) > 500
        for size in (1, 3, 1000):
            monkeypatch.setattr(tagging, "_BATCH", size)
            np.testing.assert_array_equal(word_tags(lines, tagger())[2], reference)

    @pytest.mark.parametrize("text", ["", "\n", " \n\t\n ", "\u2028"])
    def test_no_words(self, text: str) -> None:
        starts, ends, tags = word_tags(text, tagger())
        assert starts.shape == ends.shape == tags.shape == (0,)

    def test_unknown_tags_are_x(self) -> None:
        """A tokenizer alone sets no tag, and CONJ is none of the seventeen."""
        pipeline = spacy.blank("en")
        assert names(word_tags("a b", pipeline)[2]) == ["X", "X"]
        ruler = pipeline.add_pipe("attribute_ruler")
        ruler.add(patterns=[[{"ORTH": "and"}]], attrs={"POS": "CONJ"})
        ruler.add(patterns=[[{"ORTH": "cats"}]], attrs={"POS": "NOUN"})
        assert names(word_tags("and cats", pipeline)[2]) == ["X", "NOUN"]

    def test_a_huge_line(self) -> None:
        text = "short\n" + "word " * 200_001
        with pytest.raises(PolcaError, match=r"line 2 has 1000005 characters, spaCy reads 1000000 at most: break it"):
            word_tags(text, tagger())

    def test_every_token_of_a_text_gets_a_tag(self) -> None:
        """All cuts of a text line up with spaCy's own words: whatever its tokenizer does, nothing is left uncovered."""
        text = 'A well-known "U.S.-based"\tfirm (est. 1990) can\'t…  pay 5%\u2003of £3m;\n• e.g. x_i = f(x).\n'
        words = word_tags(text, tagger())
        at = np.arange(len(text))
        for length in (1, 2, 5):
            starts = at[: len(text) - length + 1]
            tags = align(text, starts, starts + length, words)
            white = [not text[a : a + length].strip() for a in starts]
            assert [name == SPACE for name in names(tags)] == white
            assert PAD not in names(tags)


class TestPipelines:
    def one_line(self, name: str, root: Path, reason: str) -> None:
        with pytest.raises(PolcaError) as error:
            load_pipeline(name, root)
        message = str(error.value)
        assert message.startswith(f"english.labels.pipeline {name!r}: ")
        assert reason in message
        assert message.endswith(
            "use data/tagger/model, or get a pipeline with `python -m spacy download en_core_web_sm`"
        )
        assert "\n" not in message

    def test_missing(self, tmp_path: Path) -> None:
        self.one_line("no_such_pipeline", tmp_path, f"neither a folder of {tmp_path} nor an installed package")

    def test_a_package_that_is_no_pipeline(self, tmp_path: Path) -> None:
        self.one_line("numpy", tmp_path, "not a readable spaCy pipeline")

    def test_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        self.one_line("model", tmp_path, "not a readable spaCy pipeline (OSError)")

    @pytest.mark.parametrize("file", ["config.cfg", "meta.json", "tokenizer", "morphologizer/model"])
    @pytest.mark.parametrize("content", [b"", b"torn \xff\x00 {"])
    def test_damaged(self, tmp_path: Path, file: str, content: bytes) -> None:
        shutil.copytree(TAGGER / "model", tmp_path / "model")
        (tmp_path / "model" / file).write_bytes(content)
        self.one_line("model", tmp_path, "not a readable spaCy pipeline")

    @pytest.mark.parametrize("required", [">=2.3.0,<2.4.0", ">=99.0.0"])
    def test_made_for_another_spacy(self, tmp_path: Path, required: str) -> None:
        shutil.copytree(TAGGER / "model", tmp_path / "model")
        meta = json.loads((tmp_path / "model" / "meta.json").read_text(encoding="utf-8"))
        (tmp_path / "model" / "meta.json").write_text(json.dumps(meta | {"spacy_version": required}), encoding="utf-8")
        self.one_line("model", tmp_path, f"not made for the installed spaCy {spacy.__version__}")

    def test_without_parts_of_speech(self, tmp_path: Path) -> None:
        spacy.blank("en").to_disk(tmp_path / "blank")
        self.one_line("blank", tmp_path, "sets no parts of speech (components: [])")

    def test_absolute_path(self, tmp_path: Path) -> None:
        assert load_pipeline(str(TAGGER / "model"), tmp_path).pipe_names == ["morphologizer"]

    def test_products_that_can_be_pinned(self) -> None:
        """BLIS chooses its kernels by the CPU."""
        model = tagger().get_pipe("morphologizer").model
        assert [node.name for node in model.walk() if getattr(node.ops, "use_blis", False)] == []


class TestCommittedTagger:
    CARD = (TAGGER / "README.md").read_text(encoding="utf-8")

    def test_files_are_those_measured(self) -> None:
        found = {
            path.relative_to(TAGGER / "model").as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in (TAGGER / "model").rglob("*")
            if path.is_file()
        }
        assert found == METRICS["files"]

    def test_nothing_is_pickled(self) -> None:
        for path in (TAGGER / "model").rglob("*"):
            # Protocols 2 and later begin with 0x80 and the protocol; NumPy's object arrays name the module.
            assert path.is_dir() or not re.match(rb"\x80[\x02-\x05]", content := path.read_bytes()), path
            assert path.is_dir() or b"numpy.core.multiarray" not in content, path

    def test_good_enough(self) -> None:
        """On the words of the treebank, and on those of them that spaCy delimits alike."""
        assert METRICS["accuracy"]["test"]["gold_tokens"] >= 0.94
        assert METRICS["accuracy"]["test"]["shared_tokens"] >= 0.94
        assert METRICS["versions"]["spacy"] == spacy.__version__

    def test_card(self) -> None:
        training = METRICS["training"]
        columns = ("gold_tokens", "spacy_tokens", "shared", "shared_tokens")
        for part, row in METRICS["accuracy"].items():
            shares = " | ".join(f"{100 * row[column]:.2f} %" for column in columns)
            assert f"| {part} | {row['words']:,} | {shares} |" in self.CARD
        assert f"`{METRICS['files']['morphologizer/model']['sha256']}`" in self.CARD
        assert METRICS["treebank"]["commit"] in self.CARD
        settings = METRICS["config"]["training"]
        assert f"{training['paragraphs']:,} paragraphs, {training['words']:,} words" in self.CARD
        assert f"seed {settings['seed']}" in self.CARD
        assert f"{settings['max_epochs']} epochs" in self.CARD
        assert f"epoch {training['best_epoch']}" in self.CARD
        for value in METRICS["treebank"]["sha256"].values():
            assert value in self.CARD

    @pytest.mark.skipif(not EWT.is_file(), reason="needs UD English EWT: make treebank TREEBANK=dir")
    def test_accuracy(self) -> None:
        """The whole test part, read another way: from its sentences' text, and with the rule for model tokens.

        Sentences are joined by spaces here, by the treebank's own spacing where the number was measured: the two may
        differ by 0.002.
        """
        with gzip.open(EWT, "rt", encoding="utf-8") as handle:
            sentences = handle.read().strip().split("\n\n")
        text, starts, ends, tags = "", [], [], []
        for sentence in sentences:
            lines = sentence.split("\n")
            text += "\n" if any(line.startswith("# newpar") for line in lines) else " "
            at = len(text)
            text += next(line for line in lines if line.startswith("# text = ")).removeprefix("# text = ")
            for number, form, _, tag, *_ in (line.split("\t") for line in lines if not line.startswith("#")):
                if number.isdigit():
                    at = text.index(form, at)
                    starts.append(at)
                    at += len(form)
                    ends.append(at)
                    tags.append(TAGS.index(tag))
        assert len(tags) == METRICS["accuracy"]["test"]["words"]
        found = align(text, np.array(starts), np.array(ends), word_tags(text, tagger()))
        measured = float(np.mean(found == np.array(tags)))
        assert measured == pytest.approx(METRICS["accuracy"]["test"]["spacy_tokens"], abs=0.002)
