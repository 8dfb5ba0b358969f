"""The treebank reader on sentences of our own, labelled by hand."""

import gzip

import numpy as np
import pytest

from polca.errors import PolcaError
from polca.validity.treebank import CONSTRUCTIONS, annotate, constructions, parse_conllu, read_conllu, token_labels

FIRST = [
    ("1", "Ann", "PROPN", "Number=Sing", "9", "nsubj", "SpaceAfter=No"),
    ("2", ",", "PUNCT", "_", "4", "punct", "_"),
    ("3", "a", "DET", "_", "4", "det", "_"),
    ("4", "baker", "NOUN", "Number=Sing", "1", "appos", "_"),
    ("5", "who", "PRON", "PronType=Rel", "7", "nsubj", "_"),
    ("6-7", "can't", "_", "_", "_", "_", "SpaceAfter=No"),
    ("6", "ca", "AUX", "VerbForm=Fin", "7", "aux", "_"),
    ("7", "n't", "PART", "_", "4", "acl:relcl", "_"),
    ("8", ",", "PUNCT", "_", "4", "punct", "_"),
    ("9", "lives", "VERB", "Mood=Ind|Number=Sing|Person=3|Tense=Pres|VerbForm=Fin", "0", "root", "_"),
    ("9.1", "lives", "VERB", "_", "_", "_", "_"),
    ("10", "in", "ADP", "_", "11", "case", "_"),
    ("11", "Rome", "PROPN", "_", "9", "obl", "SpaceAfter=No"),
    ("12", ",", "PUNCT", "_", "13", "punct", "_"),
    ("13", "Pisa", "PROPN", "_", "11", "conj", "_"),
    ("14", "and", "CCONJ", "_", "15", "cc", "_"),
    ("15", "Bari", "PROPN", "_", "11", "conj", "SpaceAfter=No"),
    ("16", ".", "PUNCT", "_", "9", "punct", "_"),
]
SECOND = [
    ("1", "In", "ADP", "_", "2", "case", "_"),
    ("2", "winter", "NOUN", "_", "5", "obl", "_"),
    ("3", "is", "AUX", "Mood=Ind|Tense=Pres|VerbForm=Fin", "5", "cop", "_"),
    ("4", "it", "PRON", "_", "5", "nsubj", "_"),
    ("5", "cold", "ADJ", "_", "0", "root", "_"),
]
TEXTS = ["Ann, a baker who can't, lives in Rome, Pisa and Bari.", "In winter is it cold"]
BY_HAND = {
    "apposition": ["baker"],
    "coordinator": ["and"],
    "conjunct": ["Pisa", "Bari"],
    "relative_pronoun": ["who"],
    "relative_clause": ["n't"],
    "agreement": ["lives"],
    "preposition_after_clause": ["in"],
    "list_comma": [","],
    "comma": [",", ",", ","],
    "determiner": ["a"],
}


def conllu(rows, text: str, *comments: str) -> str:
    lines = [*comments, f"# text = {text}"]
    lines += ["\t".join((i, form, "_", upos, "_", features, head, relation, "_", misc))
              for i, form, upos, features, head, relation, misc in rows]  # fmt: skip
    return "\n".join(lines) + "\n\n"


@pytest.fixture
def sample() -> str:
    return conllu(FIRST, TEXTS[0], "# newdoc id = x", "# newpar") + conllu(SECOND, TEXTS[1], "# newpar")


def test_constructions_are_those_found_by_hand(sample) -> None:
    first, second = parse_conllu(sample, "sample")
    assert [first.text, second.text] == TEXTS
    found = constructions(first)
    for column, name in enumerate(CONSTRUCTIONS):
        assert [first.words[i].form for i in np.flatnonzero(found[:, column])] == BY_HAND[name], name
    # The list comma is the one before Pisa; a preposition and a verb before what they belong to do not count.
    assert np.flatnonzero(found[:, list(CONSTRUCTIONS).index("list_comma")]).tolist() == [11]
    assert not constructions(second).any()


def test_words_stand_where_the_documents_have_them(sample) -> None:
    other = conllu(SECOND, TEXTS[1], "# newdoc id = y")
    annotated = annotate(parse_conllu(sample + other, "sample"), "\n\n")
    assert annotated.documents == ["\n".join(TEXTS), TEXTS[1]]
    whole = "\n\n".join(annotated.documents)
    forms = [r[1] for r in [*FIRST, *SECOND, *SECOND] if "-" not in r[0] and "." not in r[0]]
    shown = [whole[s:e] for s, e in zip(annotated.starts, annotated.ends, strict=True)]
    assert [x for x, form in zip(shown, forms, strict=True) if x != form] == ["can't", "can't"]


def test_tokens_take_the_label_of_their_first_letter(sample) -> None:
    annotated = annotate(parse_conllu(sample, "sample"), "\n\n")
    text = annotated.documents[0]
    pieces = [" bak", "er", " can", "'t", ",", " ", "\n"]
    starts = [text.index(p) for p in pieces[:4]] + [text.index(", Pisa"), text.index(" a"), text.index("\n")]
    ends = [s + len(p) for s, p in zip(starts, pieces, strict=True)]
    labels = token_labels(text, np.array([[*starts, -1]]), np.array([[*ends, -1]]), annotated)
    names = list(CONSTRUCTIONS)
    found = [[names[c] for c in np.flatnonzero(row)] for row in labels[0]]
    assert found == [
        ["apposition"], ["apposition"], ["relative_clause"], ["relative_clause"], ["list_comma", "comma"], [], [], [],
    ]  # fmt: skip


def test_files_plain_and_compressed(sample, tmp_path) -> None:
    (tmp_path / "a.conllu").write_text(sample)
    (tmp_path / "a.conllu.gz").write_bytes(gzip.compress(sample.encode()))
    assert read_conllu(tmp_path / "a.conllu") == read_conllu(tmp_path / "a.conllu.gz")


def test_bad_files_are_named(sample, tmp_path) -> None:
    for content, message in (
        ("", "no sentences"),
        ("1\tAnn\n\n", "line 1 is not CoNLL-U"),
        (sample.replace("text = Ann", "text = Bob"), "not the text stated"),
        (sample.replace("\t11\tconj", "\t99\tconj"), "head outside"),
        (sample.replace("\n2\t,", "\n3\t,"), "word number 3"),
    ):
        with pytest.raises(PolcaError, match=message):
            parse_conllu(content, "sample")
    with pytest.raises(PolcaError, match="no such file"):
        read_conllu(tmp_path / "none.conllu")
    (tmp_path / "bad.gz").write_bytes(b"bad")
    with pytest.raises(PolcaError, match="not a readable"):
        read_conllu(tmp_path / "bad.gz")
