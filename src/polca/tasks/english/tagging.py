"""§5: part-of-speech tags by spaCy, given to the tokens of a language model by character offsets.

spaCy's own matrix products (BLIS) depend on the CPU and cannot be pinned; a pipeline is therefore loaded with NumPy's,
which `machine.runtime` pins. Scores differ by rounding with the batch all the same: only the best tags are ever kept.
"""

import warnings
from pathlib import Path

import numpy as np
import spacy
from numpy.typing import NDArray
from spacy.about import __version__ as spacy_version
from spacy.language import Language
from spacy.util import is_package
from thinc.api import use_ops

from polca.errors import PolcaError

SPACE, PAD = "SPACE", "<PAD>"
TAGS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ"),
    *("SYM", "VERB", "X", SPACE, PAD),
)
"""Names of the tags, by index: the 17 universal ones, white space, and what separates documents."""
NAMES = np.array(TAGS)
"""The same as an array, for files."""

Integers = NDArray[np.int64]
Words = tuple[Integers, Integers, NDArray[np.int8]]
"""Starts and ends `[W]` (characters, half-open) and tags `[W]` (index into `TAGS`) of the words of a text, in order."""

_INDEX = {name: index for index, name in enumerate(TAGS)}
_UNKNOWN = _INDEX["X"]
_UNNEEDED = ("parser", "senter", "ner", "lemmatizer")
"""Components of spaCy's own pipelines that no tag depends on."""
_BATCH = 64
"""Lines tagged at a time."""
_PROBE = "The cat sat on the mat."


def load_pipeline(name: str, root: Path) -> Language:
    """The spaCy pipeline in the directory `name` (relative to `root`), else the installed package `name`.

    Raises:
        PolcaError: there is none, it is damaged or made for another spaCy, or it does not set parts of speech.
    """
    what = f"english.labels.pipeline {name!r}"
    way_out = "use data/tagger/model, or get a pipeline with `python -m spacy download en_core_web_sm`"
    folder = root / name
    if not folder.is_dir() and not is_package(name):
        raise PolcaError(f"{what}: neither a folder of {root} nor an installed package: {way_out}")
    try:
        with warnings.catch_warnings(), use_ops("numpy", use_blis=False):
            warnings.filterwarnings("error", message=r"\[W095\]", category=UserWarning)
            pipeline = spacy.load(folder if folder.is_dir() else name, exclude=_UNNEEDED)
            untagged = all(not word.pos_ for word in pipeline(_PROBE))
    except UserWarning as error:
        raise PolcaError(f"{what}: not made for the installed spaCy {spacy_version}: {way_out}") from error
    except Exception as error:  # spaCy, thinc, srsly and the package itself each raise their own kinds
        raise PolcaError(f"{what}: not a readable spaCy pipeline ({type(error).__name__}): {way_out}") from error
    if untagged:
        raise PolcaError(f"{what}: sets no parts of speech (components: {pipeline.pipe_names}): {way_out}")
    return pipeline


def word_tags(text: str, pipeline: Language) -> Words:
    """The words that spaCy finds in `text`, with their tags; white space is no word, unknown tags become `X`.

    Each line is tagged by itself, so that no newline reaches the tagger.

    Raises:
        PolcaError: a line is too long for spaCy.
    """
    lines = text.split("\n")
    begins = np.cumsum([0, *(len(line) + 1 for line in lines)])
    filled = [number for number, line in enumerate(lines) if line]
    for number in filled:
        if len(lines[number]) > pipeline.max_length:
            raise PolcaError(
                f"text: line {number + 1} has {len(lines[number])} characters, spaCy reads {pipeline.max_length} at "
                "most: break it into paragraphs"
            )
    docs = pipeline.pipe((lines[number] for number in filled), batch_size=_BATCH)
    found = [
        (int(begins[number]) + word.idx, len(word), _INDEX.get(word.pos_, _UNKNOWN))
        for number, doc in zip(filled, docs, strict=True)
        for word in doc
        if not word.is_space
    ]
    table = np.array(found, np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 0] + table[:, 1], table[:, 2].astype(np.int8)


def align(text: str, starts: Integers, ends: Integers, words: Words) -> NDArray[np.int8]:
    """Tags (index into `TAGS`) of tokens with the character offsets `starts`, `ends` (half-open) in `text`, any shape.

    - Offsets of −1: `<PAD>`.
    - A token of nothing but white space, newlines included: `SPACE`.
    - Any other token: the tag of the spaCy word that covers the token's first character which is not white space. So a
      piece of a word has the word's tag, a token that spans several words the tag of the first of them, and the bytes
      of one character, if tokens of their own, that of the word with the character.

    Raises:
        PolcaError: offsets that are no part of the text, or words of another text.
    """
    if starts.shape != ends.shape:
        raise PolcaError(f"offsets: {starts.shape} starts and {ends.shape} ends: give one of each for every token")
    pad = (starts == -1) & (ends == -1)
    wrong = ~pad & ((starts < 0) | (ends <= starts) | (ends > len(text)))
    if wrong.any():
        at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        raise PolcaError(
            f"offsets: {starts[at]}:{ends[at]} is no part of a text of {len(text)} characters: make them again from it"
        )
    # For each character, the next one from it on that is not white space.
    position = np.arange(len(text) + 1)
    white = np.array([*(character.isspace() for character in text), False])
    following = np.minimum.accumulate(np.where(white, len(text), position)[::-1])[::-1]
    first = following[np.where(pad, 0, starts)]
    space = ~pad & (first >= ends)
    inside = ~pad & ~space
    word_starts, word_ends, tags = words
    word = np.searchsorted(word_starts, first[inside], side="right") - 1
    if (word < 0).any() or (first[inside] >= word_ends[word]).any():
        raise PolcaError("words: they leave characters of the text uncovered: tag the same text that was tokenised")
    result = np.full(starts.shape, _INDEX[PAD], np.int8)
    result[space] = _INDEX[SPACE]
    result[inside] = tags[word]
    return result
