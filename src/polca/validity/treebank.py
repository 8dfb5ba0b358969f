"""Tokens whose construction is known: a Universal Dependencies treebank as evaluation text.

A treebank's CoNLL-U file gives every word's head, relation and features. Its sentences are put together into
documents, and each token of a language model gets the constructions of the word that it is a piece of.
"""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError

CONSTRUCTIONS: Mapping[str, str] = {
    "apposition": "head of an appositive (appos)",
    "coordinator": "coordinating conjunction (cc)",
    "conjunct": "head of a conjunct after the first (conj)",
    "relative_pronoun": "relative pronoun or adverb (PronType=Rel)",
    "relative_clause": "predicate of a relative clause (acl:relcl)",
    "agreement": "finite present verb or auxiliary after its subject (nsubj), with which it agrees",
    "preposition_after_clause": "preposition of an oblique (case of obl) after the verb that it belongs to",
    "list_comma": "comma before a conjunct (punct of conj)",
    "comma": "any comma (punct); a control that one token decides",
    "determiner": "determiner (det); a control that few tokens decide",
}
"""Names of the constructions, in the order of the label columns, and what has them."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Word:
    """A syntactic word.

    Attributes:
        form, upos, relation: columns 2, 4 and 8.
        features: column 6, as `Name=Value`.
        head: number of the head from 1, 0 for the root.
        start, end: characters in the sentence, half-open; words of one surface token share its characters.
    """

    form: str
    upos: str
    relation: str
    features: frozenset[str]
    head: int
    start: int
    end: int

    @property
    def basic(self) -> str:
        """The relation without its subtype."""
        return self.relation.split(":")[0]


@dataclass
class Sentence:
    """A sentence; `new_document` and `new_paragraph` say whether it opens one."""

    new_document: bool
    new_paragraph: bool
    text: str = ""
    words: list[Word] = field(default_factory=list)


def _sentence(lines: Sequence[tuple[int, str]], name: str, first: bool) -> Sentence:
    """One block of a CoNLL-U file; `lines` with their numbers."""
    comments = [line for _, line in lines if line.startswith("#")]
    sentence = Sentence(
        new_document=first or any(c.startswith("# newdoc") for c in comments),
        new_paragraph=any(c.startswith("# newpar") for c in comments),
    )
    stated = [c.removeprefix("# text = ") for c in comments if c.startswith("# text = ")]
    surface_until, span, text = 0, (0, 0), ""
    for number, line in lines:
        if line.startswith("#"):
            continue
        columns = line.split("\t")
        try:
            if len(columns) != 10:
                raise ValueError(f"{len(columns)} columns")
            identity, form, misc = columns[0], columns[1], columns[9].split("|")
            if "." in identity:
                continue  # an empty node has no characters
            if "-" in identity:
                surface_until = int(identity.split("-")[1])
            elif int(identity) != len(sentence.words) + 1:
                raise ValueError(f"word number {identity}")
            if "-" in identity or int(identity) > surface_until:
                span = (len(text), len(text) + len(form))
                text += form + ("" if "SpaceAfter=No" in misc else " ")
            if "-" not in identity:
                features = frozenset() if columns[5] == "_" else frozenset(columns[5].split("|"))
                sentence.words.append(Word(form, columns[3], columns[7], features, int(columns[6]), *span))
        except ValueError as error:
            raise PolcaError(f"{name}: line {number} is not CoNLL-U ({error}): take the released file") from error
    heads = [w.head for w in sentence.words]
    sentence.text = text.rstrip(" ")
    if not heads or min(heads) < 0 or max(heads) > len(heads):
        raise PolcaError(
            f"{name}: the sentence at line {lines[0][0]} has no words or a head outside it: correct the file"
        )
    if stated and stated[0].rstrip(" ") != sentence.text:
        raise PolcaError(
            f"{name}: the sentence at line {lines[0][0]} is not the text stated above it: correct the file"
        )
    return sentence


def parse_conllu(text: str, name: str) -> list[Sentence]:
    """The sentences of a CoNLL-U file's content; `name` is for errors.

    Raises:
        PolcaError: a line that is not CoNLL-U, or words that are not the sentence's text.
    """
    numbered = groupby(enumerate(text.split("\n"), 1), key=lambda line: bool(line[1].strip()))
    blocks = [list(lines) for filled, lines in numbered if filled]
    if not blocks:
        raise PolcaError(f"{name}: no sentences: take the released CoNLL-U file")
    return [_sentence(block, name, first=not number) for number, block in enumerate(blocks)]


def read_conllu(path: Path) -> list[Sentence]:
    """The sentences of a `.conllu` file, or of one compressed to `.gz`.

    Raises:
        PolcaError: missing, damaged, or not CoNLL-U.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return parse_conllu(content.decode("utf-8"), path.name)
    except FileNotFoundError as error:
        raise PolcaError(f"{path}: no such file: name a file of the treebank in validity.treebank.file") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise PolcaError(f"{path}: not a readable CoNLL-U file: get it again") from error


def constructions(sentence: Sentence) -> NDArray[np.bool_]:
    """Which words have which of `CONSTRUCTIONS`, `[W, 10]`."""
    words = sentence.words
    subject_at = {w.head: i + 1 for i, w in reversed(list(enumerate(words))) if w.basic == "nsubj"}

    def agrees(number: int, w: Word) -> bool:
        if w.upos not in ("VERB", "AUX") or not {"VerbForm=Fin", "Tense=Pres"} <= w.features:
            return False
        governor = w.head if w.basic in ("aux", "cop") else number
        return subject_at.get(governor, number) < number

    def after_verb(number: int, w: Word) -> bool:
        if w.upos != "ADP" or w.basic != "case" or not w.head:
            return False
        phrase = words[w.head - 1]
        return phrase.basic == "obl" and 0 < phrase.head < number and words[phrase.head - 1].upos == "VERB"

    rows = [
        (
            w.basic == "appos",
            w.basic == "cc",
            w.basic == "conj",
            "PronType=Rel" in w.features,
            w.relation == "acl:relcl",
            agrees(number, w),
            after_verb(number, w),
            w.form == "," and w.basic == "punct" and w.head > 0 and words[w.head - 1].basic == "conj",
            w.form == "," and w.basic == "punct",
            w.basic == "det",
        )
        for number, w in enumerate(words, 1)
    ]
    return np.array(rows, np.bool_).reshape(-1, len(CONSTRUCTIONS))


@dataclass(frozen=True)
class Annotated:
    """Documents with their words.

    Attributes:
        documents: sentences joined by spaces, paragraphs by newlines.
        starts, ends: `[W]` characters of each word in the joined documents (half-open), in order.
        labels: `[W, 10]` constructions of each.
    """

    documents: list[str]
    starts: Integers
    ends: Integers
    labels: NDArray[np.bool_]


def annotate(sentences: Sequence[Sentence], between: str) -> Annotated:
    """Put sentences together into documents; `between` is what will stand between two documents."""
    documents: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    labels: list[NDArray[np.bool_]] = []
    begin = 0
    for sentence in sentences:
        if sentence.new_document or not documents:
            begin += len(documents[-1]) + len(between) if documents else 0
            documents.append("")
        else:
            documents[-1] += "\n" if sentence.new_paragraph else " "
        at = begin + len(documents[-1])
        documents[-1] += sentence.text
        starts += [at + w.start for w in sentence.words]
        ends += [at + w.end for w in sentence.words]
        labels.append(constructions(sentence))
    return Annotated(documents, np.array(starts, np.int64), np.array(ends, np.int64), np.concatenate(labels))


def token_labels(text: str, starts: Integers, ends: Integers, annotated: Annotated) -> NDArray[np.bool_]:
    """Constructions of tokens with the offsets `starts`, `ends` (half-open, −1 for none) in `text`: `[..., 10]`.

    As parts of speech are given (`tagging.align`): a token has the constructions of the word that covers its first
    character which is not white space, of all words where several share it; white space and `<PAD>` have none.
    """
    covering = np.full((len(text) + 1, annotated.labels.shape[1]), False)
    for start, end, label in zip(annotated.starts, annotated.ends, annotated.labels, strict=True):
        if label.any():
            covering[start:end] |= label
    position = np.arange(len(text) + 1)
    white = np.array([*(character.isspace() for character in text), False])
    following = np.minimum.accumulate(np.where(white, len(text), position)[::-1])[::-1]
    first = following[np.maximum(starts, 0)]
    return np.asarray(covering[first] & ((starts >= 0) & (first < ends))[..., None])
