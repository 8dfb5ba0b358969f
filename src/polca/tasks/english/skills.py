"""Labels of evaluated tokens by which all vectors together are judged: which token it is, and its part of speech."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polca.tasks.english.text import PAD_ID
from polca.tasks.task import Skill

KINDS = 16
"""Most frequent tokens that are asked about: enough of each to have neighbours, few enough to be told apart by eye."""


def skills(
    tokens: NDArray[np.integer],
    tags: NDArray[np.integer],
    names: NDArray[np.str_],
    spell: Callable[[Sequence[int]], str],
) -> Mapping[str, Skill]:
    """`token`, of the `KINDS` most frequent ones by its spelling, and `part_of_speech`, of all but `<PAD>`.

    Args:
        tokens: `[X]` ids of the tokens to be written.
        tags: `[X]` index into `names` of the part of speech of each token's word.
        spell: what a token is called, from ids.
    """
    text = tokens != PAD_ID
    ids, counts = np.unique(tokens[text], return_counts=True)
    frequent = np.sort(ids[np.argsort(-counts, kind="stable")[:KINDS]])
    spelt = np.array([spell([int(i)]) for i in frequent] or [""])
    # Two ids that are spelt alike stay two kinds.
    known = np.array([f"{s} ({i})" if (spelt == s).sum() > 1 else s for s, i in zip(spelt, frequent, strict=False)])
    among = np.isin(tokens, frequent) & text
    values = np.full(len(tokens), "", dtype=known.dtype if len(known) else "U1")
    values[among] = known[np.searchsorted(frequent, tokens[among])]
    return {"token": Skill(values, among), "part_of_speech": Skill(names[tags], text)}
