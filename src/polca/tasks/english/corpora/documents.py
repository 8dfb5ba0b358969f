"""The one form of a corpus, whatever its source, and its split by document."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from math import floor

import numpy as np

from polca.errors import PolcaError

PARAGRAPH_BREAK, DOCUMENT_BREAK = "\n", "\n\n"


@dataclass(frozen=True)
class Corpus:
    """Documents in a fixed order.

    Attributes:
        source: `embedded`, `local` or `hub`.
        title: what a reader would call it, with versions.
        licence: of the text.
        attribution: whom it is by and where from.
        documents: paragraphs joined by `\\n`; no empty document, no empty paragraph.
    """

    source: str
    title: str
    licence: str
    attribution: str
    documents: list[str]

    def sha256(self) -> str:
        """Hash of the canonical form: the documents joined by `\\n\\n`, in UTF-8, nothing before or after."""
        digest = hashlib.sha256()
        for i, document in enumerate(self.documents):
            digest.update((DOCUMENT_BREAK * (i > 0) + document).encode())
        return digest.hexdigest()

    @property
    def paragraphs(self) -> int:
        return sum(document.count(PARAGRAPH_BREAK) + 1 for document in self.documents)

    @property
    def characters(self) -> int:
        """Unicode characters of the canonical form."""
        return sum(map(len, self.documents)) + len(DOCUMENT_BREAK) * max(0, len(self.documents) - 1)


def cut(documents: Iterable[list[str]], characters: int) -> list[str]:
    """Join each document's paragraphs; stop before the paragraph that would make the corpus too long.

    Nothing is read from `documents` beyond that paragraph's document. Blank paragraphs, and documents of nothing else,
    are left out.

    Args:
        documents: of each, its paragraphs.
        characters: of the canonical form, at most; 0: no limit.

    Raises:
        PolcaError: a negative limit.
    """
    if characters < 0:
        raise PolcaError(
            f"english.data.corpus.characters = {characters}: must be at least 0: set 0 to read the whole corpus"
        )
    kept: list[str] = []
    length = 0
    for document in documents:
        paragraphs: list[str] = []
        for paragraph in filter(str.strip, document):
            gap = PARAGRAPH_BREAK if paragraphs else DOCUMENT_BREAK if kept else ""
            length += len(gap) + len(paragraph)
            if characters and length > characters:
                break
            paragraphs.append(paragraph)
        if paragraphs:
            kept.append(PARAGRAPH_BREAK.join(paragraphs))
        if characters and length >= characters:
            break
    return kept


def split(corpus: Corpus, evaluation_fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Draw ⌊fraction · documents⌋ documents for evaluation (at least one); the rest is for training.

    Returns:
        (training, evaluation), each in the seed's random order.

    Raises:
        PolcaError: a fraction outside (0, 1), or either part would be empty.
    """
    if not 0 < evaluation_fraction < 1:
        raise PolcaError(
            f"english.data.corpus.evaluation_fraction = {evaluation_fraction}: must lie between 0 and 1: correct it"
        )
    count = len(corpus.documents)
    if count < 2:
        raise PolcaError(
            f"{corpus.title}: {count} document(s), too few for training and evaluation: give a corpus of at least two"
        )
    order = np.random.default_rng(seed).permutation(count)
    # At least one for evaluation; the fraction is below 1, so at least one is left for training.
    evaluation = max(1, floor(evaluation_fraction * count))
    shuffled = [corpus.documents[i] for i in order]
    return shuffled[evaluation:], shuffled[:evaluation]
