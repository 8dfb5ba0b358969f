"""Labels of clusters of English tokens (§5): tag sets, simple labels, and an automatic name.

The paper labels a cluster by the parts of speech of its target tokens and of the three tokens before them; its authors
then refined the labels by hand. Here a stated rule (`name_cluster`) takes the hand's place.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from polca.errors import PolcaError
from polca.machine.text import NEWLINE, visible
from polca.tasks.english.text import BEFORE, PAD

SPACE = "␣"
"""What stands for a line end, for other white space and for control characters."""

MINIMUM_LIFT = Fraction(3, 2)
"""A name must hold this many times as often in the cluster as among all evaluated tokens."""
NAME_LENGTH = 40
_LONG, _SHORT = 16, 10
"""Strings in names are cut to so many characters; the shorter where a name has two."""
_DIGITS = 9
"""Candidates whose scores agree to so many decimals are equal up to rounding."""

FAMILIES = (
    *("newline", "document_end", "comma", "period", "other_punctuation", "of", "preposition", "determiner"),
    *("noun_in_noun_phrase", "noun", "verb", "adjective", "adverb", "pronoun", "conjunction", "particle", "number"),
    *("word_continuation", "repeated_token", "token_after", "other", "mixed"),
)
"""Kinds of names, see `family`."""

_TAG_FAMILIES = {
    **{"PUNCT": "other_punctuation", "ADP": "preposition", "DET": "determiner", "NOUN": "noun", "PROPN": "noun"},
    **{"VERB": "verb", "AUX": "verb", "ADJ": "adjective", "ADV": "adverb", "PRON": "pronoun", "NUM": "number"},
    **{"CCONJ": "conjunction", "SCONJ": "conjunction", "PART": "particle"},
}
_BEFORE_NOUN = frozenset({"DET", "ADJ", "NOUN", "PROPN", "NUM"})
"""What stands before a noun within its phrase."""

Integers = NDArray[np.int64]


def evaluation_targets(windows: NDArray[np.integer]) -> Integers:
    """Per evaluated token the entries 3, 2, 1 before it and its own, `[S, C + 1]` → `[X, 4]`.

    Tokens are numbered window by window, x = s · (C − 2) + i − 3 for the target at place i = 3 … C of window s.

    Raises:
        PolcaError: windows too short to hold a target.
    """
    if windows.ndim != 2 or windows.shape[1] <= BEFORE:
        raise PolcaError(f"windows {windows.shape}: expected [windows, tokens], each of at least {BEFORE + 1} tokens")
    views = np.lib.stride_tricks.sliding_window_view(windows.astype(np.int64), BEFORE + 1, axis=1)
    return np.ascontiguousarray(views.reshape(-1, BEFORE + 1))


def required(coverage: float, n: int) -> int:
    """The fewest of `n` tokens that are a share of at least `coverage`, read as the decimal number that was written.

    Raises:
        PolcaError: the share is not above 0 and at most 1.
    """
    if not 0 < coverage <= 1:
        raise PolcaError(f"labels.coverage = {coverage}: must be above 0 and at most 1")
    return math.ceil(Fraction(str(coverage)) * n)


def covering_tags(tags: NDArray[np.integer], coverage: float) -> list[int]:
    """The smallest set of tags that makes up `coverage` of `tags` `[n]`, most frequent first, ties by tag order.

    Raises:
        PolcaError: as `required`.
    """
    found, counts = np.unique(tags, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    needed = required(coverage, len(tags))
    size = int(np.searchsorted(np.cumsum(counts[order]), needed)) + 1 if needed else 0
    return [int(tag) for tag in found[order][:size]]


def is_simple(sets: Sequence[Collection[str]], limit: int) -> bool:
    """Whether some position needs at most `limit` tags.

    `<PAD>` inside a set does not count, and a position whose set is `<PAD>` alone makes no label simple.

    Args:
        sets: for each position the tags of `covering_tags`, by name.
    """
    return any(0 < len(set(tags) - {PAD}) <= limit for tags in sets)


def shown(string: str) -> str:
    """A token's text for tables: one leading space stripped unless it is all, then white space made visible."""
    text = string[1:] if string.startswith(" ") and len(string) > 1 else string
    return visible(text, space=SPACE)


def continues_word(text: str, start: int, end_before: int) -> bool:
    """Whether a token of `text` goes on with the word of the token before it.

    It does if its first character and the one before are both letters or digits. Of a character that is split between
    tokens, the later ones go on with the word if the character is a letter or digit.

    Args:
        start: where the token begins.
        end_before: where the token before ends.
    """
    before = text[start] if start < end_before else text[start - 1 : start]
    return text[start].isalnum() and before.isalnum()


@dataclass(frozen=True)
class ClusterName:
    """An automatic name, and the share of the cluster's tokens that it holds for (0 for `mixed`)."""

    name: str
    fit: float


@dataclass(frozen=True)
class Targets:
    """The X evaluated tokens as names see them.

    Attributes:
        tags: `[X, 4]` index into `names` at 3, 2, 1 before the target and at the target.
        ids: `[X, 4]` token ids at the same places.
        previous, target: `[X]` text of the token before and of the target, as `shown` gives it; `<PAD>` for itself.
        continues: `[X]` whether the target goes on with the word before (`continues_word`).
        names: the tags' names.

    Raises:
        PolcaError: shapes that do not fit together, or tags without a name.
    """

    tags: Integers
    ids: Integers
    previous: NDArray[np.str_]
    target: NDArray[np.str_]
    continues: NDArray[np.bool_]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        x = len(self.tags)
        shapes = [a.shape for a in (self.tags, self.ids, self.previous, self.target, self.continues)]
        if shapes != [(x, BEFORE + 1)] * 2 + [(x,)] * 3:
            raise PolcaError(f"targets: shapes {shapes} do not fit together: make them of the same windows")
        if x and not 0 <= self.tags.min() <= self.tags.max() < len(self.names):
            raise PolcaError(
                f"targets: tags {self.tags.min()} … {self.tags.max()} but {len(self.names)} names: tag again"
            )

    def __len__(self) -> int:
        return len(self.tags)

    @cached_property
    def templates(self) -> tuple["_Template", ...]:
        """All templates, in the order in which ties between their names are broken."""
        return tuple(_templates(self))


@dataclass(frozen=True)
class _Template:
    """Names of one form. A name holds for the tokens with its code, or with one of its two codes.

    Attributes:
        codes: `[X]` what the name states of each token, as a number; −1 where it can state nothing.
        write: the name, from a token of its code, or from one of each of its two, the more frequent first.
        context: `[X]` what the two codes of a name share; None where names have one code.
        group: of the templates of a group, only the first whose name is good enough is heeded.
    """

    codes: Integers
    write: Callable[..., str]
    context: Integers | None = None
    group: str = ""


def _coded(where: NDArray[np.bool_], *features: NDArray[np.generic]) -> Integers:
    """Number the combinations of `features` `[X]` in their sort order; −1 where not `where`."""
    combined = np.zeros(len(where), np.int64)
    for feature in features:
        values, inverse = np.unique(feature, return_inverse=True)
        combined = combined * len(values) + inverse.reshape(-1)
    return np.where(where, np.unique(combined, return_inverse=True)[1].reshape(-1), -1)


def _quoted(string: str, limit: int) -> str:
    """How a string stands in a name."""
    if string == NEWLINE:
        return "newline"
    if string == PAD:
        return PAD
    return f"`{string if len(string) <= limit else string[: limit - 1] + '…'}`"


def _templates(t: Targets) -> Iterator[_Template]:
    target, names = t.target, t.names
    third, second, first, own = t.tags.T

    def tag(x: int, before: int = 0) -> str:
        return names[int(t.tags[x, BEFORE - before])]

    def own_text(x: int, limit: int = _LONG) -> str:
        return _quoted(str(t.target[x]), limit)

    def text_before(x: int, limit: int = _LONG) -> str:
        return _quoted(str(t.previous[x]), limit)

    everywhere = np.ones(len(t), np.bool_)
    pad = own == (names.index(PAD) if PAD in names else -1)
    newline = np.char.find(target, NEWLINE) >= 0
    plain = ~pad & ~newline
    word = plain & ~t.continues
    lettered = word & np.array([any(c.isalpha() for c in string) for string in target], np.bool_)
    repeated = plain & (t.ids[:, BEFORE:] == t.ids[:, :BEFORE]).any(axis=1)

    yield _Template(_coded(pad), lambda x: "end of document")
    yield _Template(_coded(newline, t.previous), lambda x: f"newline after {text_before(x)}")
    yield _Template(_coded(newline, first), lambda x: f"newline after {tag(x, 1)}")
    yield _Template(_coded(newline), lambda x: "newline")
    yield _Template(_coded(word, target, t.previous), lambda x: f"{own_text(x, _SHORT)} after {text_before(x, _SHORT)}")
    yield _Template(_coded(word, target, first), lambda x: f"{own_text(x)} after {tag(x, 1)}")
    yield _Template(_coded(lettered, target, own), lambda x: f"{tag(x)} {own_text(x)}", group="string")
    yield _Template(_coded(word, target), lambda x: own_text(x), group="string")
    yield _Template(_coded(t.continues, target), lambda x: f"word continuation {own_text(x)}")
    yield _Template(_coded(t.continues, own), lambda x: f"word continuation ({tag(x)})")
    yield _Template(_coded(t.continues), lambda x: "word continuation")
    yield _Template(_coded(repeated), lambda x: "token repeated from the three before")
    yield _Template(_coded(word, own, t.previous), lambda x: f"{tag(x)} after {text_before(x)}")
    yield _Template(_coded(word, own, second, first), lambda x: f"{tag(x)} after {tag(x, 2)} {tag(x, 1)}")
    yield _Template(_coded(word, own, first), lambda x: f"{tag(x)} after {tag(x, 1)}")
    yield _Template(_coded(everywhere, own), lambda x: tag(x))
    yield _Template(_coded(~t.continues, t.previous), lambda x: f"token after {text_before(x)}")
    yield _Template(_coded(~t.continues, first), lambda x: f"token after {tag(x, 1)}", group="after")
    yield _Template(_coded(everywhere, first), lambda x: f"token after or inside {tag(x, 1)}", group="after")
    yield _Template(_coded(everywhere, second), lambda x: f"token two after {tag(x, 2)}")
    yield _Template(_coded(everywhere, third), lambda x: f"token three after {tag(x, 3)}")

    yield _Template(
        _coded(word, target, first),
        lambda x, y: f"{own_text(x, _SHORT)} or {own_text(y, _SHORT)} after {tag(x, 1)}",
        _coded(everywhere, first),
    )
    yield _Template(
        _coded(word, target, first),
        lambda x, y: f"{own_text(x)} after {tag(x, 1)} or {tag(y, 1)}",
        _coded(everywhere, target),
    )
    yield _Template(_coded(word, target), lambda x, y: f"{own_text(x)} or {own_text(y)}", _coded(everywhere))
    yield _Template(
        _coded(word, own, first), lambda x, y: f"{tag(x)} or {tag(y)} after {tag(x, 1)}", _coded(everywhere, first)
    )
    yield _Template(
        _coded(word, own, first), lambda x, y: f"{tag(x)} after {tag(x, 1)} or {tag(y, 1)}", _coded(everywhere, own)
    )
    yield _Template(_coded(everywhere, own), lambda x, y: f"{tag(x)} or {tag(y)}", _coded(everywhere))
    yield _Template(
        _coded(~t.continues, first),
        lambda x, y: f"token after {tag(x, 1)} or {tag(y, 1)}",
        _coded(everywhere),
        "after two",
    )
    yield _Template(
        _coded(everywhere, first),
        lambda x, y: f"token after or inside {tag(x, 1)} or {tag(y, 1)}",
        _coded(everywhere),
        "after two",
    )


def _chosen_codes(template: _Template, members: NDArray[np.integer], needed: int) -> Integers:
    """The one or two codes of the template's name for these members; empty where it has none.

    One code: the most frequent, ties to the smallest. Two codes: the most frequent two of one context, of the context
    where they hold for most members, ties to the smallest; none where one of them is enough.
    """
    codes = template.codes[members]
    found, where, counts = np.unique(codes, return_index=True, return_counts=True)
    where, counts, found = where[found >= 0], counts[found >= 0], found[found >= 0]
    if template.context is None or not len(found):
        return found[np.argsort(-counts, kind="stable")[:1]]
    contexts = template.context[members][where]
    best, most = found[:0], 0
    for context in np.unique(contexts):
        inside = contexts == context
        order = np.argsort(-counts[inside], kind="stable")[:2]
        total = int(counts[inside][order].sum())
        if len(order) == 2 and total > most and counts[inside][order[0]] < needed:
            best, most = found[inside][order], total
    return best


def _divergence(fit: float, share: float) -> float:
    """Kullback–Leibler divergence of a coin with probability `fit` from one with `share`, in nats, for share < 1."""
    rest = (1 - fit) * math.log((1 - fit) / (1 - share)) if fit < 1 else 0.0
    return fit * math.log(fit / share) + rest


def name_cluster(members: NDArray[np.integer], targets: Targets, coverage: float) -> ClusterName:
    """A short English name for a cluster of tokens, with the share of the cluster that it holds for.

    Every template proposes the name of its form that holds for most members, ties by tag order and code point:

    - `end of document`; `newline` [after `s` | T];
    - `s` [after `s` | after T], T `s`: the target is this string (and has this tag). Strings with a letter are given
      with their tag where that name is good enough, and alone otherwise;
    - `word continuation` [`s` | (T)]: the target goes on with the word before;
    - `token repeated from the three before`: one of the three tokens before is the same token;
    - T [after `s` | after T T | after T]; `token after` [`s` | T]; `token after or inside` T; `token two after` T;
      `token three after` T;
    - with two tags or strings, joined by "or", where neither alone would do: `s` or `s` [after T], `s` after T or T,
      T or T [after T], T after T or T, token after [or inside] T or T; the more frequent first.

    T is a tag, `s` a string. Names with "after" hold only where the target does not go on with a word, so that "after"
    does not point into the same word; where that leaves "token after" T too few, "token after or inside" T is
    considered. It and bare T, "T or T", "two after" and "three after" hold for pieces of words as well.

    Of the names that hold for at least `coverage` of the members, and for at least `MINIMUM_LIFT` times the share that
    they hold for among all evaluated tokens, the one is taken that tells most: whose share in the cluster has the
    largest Kullback–Leibler divergence from its share among all. So a more specific name wins if it is rarer
    elsewhere by more than it loses here; equals go to the template listed first. Without any, the name is `mixed`.

    Args:
        members: `[n]` tokens of the cluster, in any order.

    Raises:
        PolcaError: as `required`.
    """
    needed = required(coverage, len(members))
    best, best_score = ClusterName("mixed", 0.0), -math.inf
    done: set[str] = set()
    for template in targets.templates:
        if template.group in done:
            continue
        codes = _chosen_codes(template, members, needed)
        inside, everywhere = (int(np.isin(c, codes).sum()) for c in (template.codes[members], template.codes))
        if not inside or inside < needed or inside * len(targets) < MINIMUM_LIFT * everywhere * len(members):
            continue
        done |= {template.group} - {""}
        fit = inside / len(members)
        score = round(_divergence(fit, everywhere / len(targets)), _DIGITS)
        name = template.write(*(int(np.argmax(template.codes == code)) for code in codes))
        if score > best_score and len(name) <= NAME_LENGTH:
            best, best_score = ClusterName(name, fit), score
    return best


def family(name: str, own: str, before: str) -> str:
    """Kind of a name of `name_cluster`, one of `FAMILIES`.

    Names of single commas, full stops and `of` are their own kinds; other strings go by the commonest target tag, tags
    by themselves, and two tags of different kinds are `other`. A noun "after" something is in a noun phrase if all tags
    that cover the place before it are DET, ADJ, NOUN, PROPN or NUM.

    Args:
        own, before: `tags_0` and `tags_1` of `clusters.csv`, joined by `+`.
    """
    head, *after = name.split(" after ")
    for start, kind in (
        *(("newline", "newline"), ("end of document", "document_end"), ("word continuation", "word_continuation")),
        *(("token repeated", "repeated_token"), ("token", "token_after"), ("mixed", "mixed")),
    ):
        if head.startswith(start):
            return kind
    parts = head.split()
    strings = [part[1:-1] for part in parts if part.startswith("`")]
    if len(strings) == 1 and (kind := {",": "comma", ".": "period", "of": "of"}.get(strings[0].lower(), "")):
        return kind
    tags = own.split("+")[:1] if strings else [part for part in parts if part != "or"]
    kinds = {_TAG_FAMILIES.get(tag, "other") for tag in tags}
    if after and kinds == {"noun"} and set(before.split("+")) <= _BEFORE_NOUN:
        return "noun_in_noun_phrase"
    return kinds.pop() if len(kinds) == 1 else "other"
