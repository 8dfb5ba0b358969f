"""English tokens, their parts of speech and the colours of these, as the page shows them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from polca.explorer.schema import Facet, Tokens
from polca.machine.text import UNPRINTABLE, visible
from polca.report.figures.roles import ROLES
from polca.tasks.english.scores import BETWEEN, TaggedText
from polca.tasks.english.text import BEFORE, PAD

ROLE_OF_TAG: Mapping[str, str] = {
    **dict.fromkeys(("NOUN", "PROPN"), "noun"),
    **dict.fromkeys(("VERB", "AUX"), "verb"),
    **dict.fromkeys(("ADJ", "ADV", "NUM"), "modifier"),
    "ADP": "preposition",
    **dict.fromkeys(("DET", "PRON", "CCONJ", "SCONJ", "PART"), "function word"),
    "PUNCT": "punctuation",
    **dict.fromkeys(("SPACE", PAD), "line end"),
}
"""Role whose colour a part of speech has; grey for the others."""
OTHER = "#B8B8B8"


def _pieces(text: TaggedText, window: int) -> list[str]:
    """A window's text, cut at the ends of its tokens; each piece begins where the one before ended."""
    e, pieces, at = text.evaluation, [], -1
    for start, end in zip(e.starts[window].tolist(), e.ends[window].tolist(), strict=True):
        if start < 0:
            pieces.append(BETWEEN)
            at = -1
            continue
        # The bytes of one character can be tokens of their own: only the first of them has text.
        pieces.append(visible(e.text[start if at < 0 else at : end], space=" ") or UNPRINTABLE)
        at = end
    return pieces


def tokens(text: TaggedText) -> Tokens:
    """The evaluated tokens of every window."""
    windows, length = text.evaluation.tokens.shape
    sequences = [_pieces(text, window) for window in range(windows)]
    places = np.tile(np.arange(BEFORE, length), windows)
    return Tokens(sequences, np.repeat(np.arange(windows), length - BEFORE), places)


def _facet(title: str, tags: NDArray[np.integer], names: tuple[str, ...]) -> Facet:
    """Categories role by role, so that like colours stand together."""
    order = list(ROLES)
    roles = [ROLE_OF_TAG.get(name, "") for name in names]
    ranked = sorted(range(len(names)), key=lambda i: (order.index(roles[i]) if roles[i] else len(order), names[i]))
    rank = np.empty(len(names), np.int64)
    rank[ranked] = np.arange(len(names))
    categories = [(names[i], ROLES[roles[i]].color if roles[i] else OTHER) for i in ranked]
    return Facet(title, categories, rank[tags])


def facets(text: TaggedText) -> list[Facet]:
    """Part of speech of the token, and of the one before it."""
    tags = text.targets.tags
    return [
        _facet("part of speech", tags[:, BEFORE], text.names),
        _facet("of the token before", tags[:, BEFORE - 1], text.names),
    ]
