"""Tag sets, simple labels and names: by hand, and against a second reading of what each name says."""

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest

from polca.errors import PolcaError
from polca.tasks.english.patterns import (
    FAMILIES,
    NAME_LENGTH,
    ClusterName,
    Targets,
    continues_word,
    covering_tags,
    evaluation_targets,
    family,
    is_simple,
    name_cluster,
    required,
    shown,
)

NAMES = ("ADJ", "ADP", "AUX", "DET", "NOUN", "PRON", "PROPN", "PUNCT", "VERB", "SPACE", "<PAD>")

Row = tuple[str, str, str]
"""Four tags, the text before, the target; a target with a leading `+` goes on with a word, with `=` it is repeated."""


def targets_of(rows: Iterable[Row]) -> Targets:
    """Evaluated tokens; ids are all different but for the repeated targets."""
    rows = list(rows)
    ids = np.arange(4 * len(rows)).reshape(-1, 4)
    repeated = np.array([target.startswith("=") for *_, target in rows], np.bool_)
    places = np.arange(len(rows)) % 3
    ids[repeated, places[repeated]] = ids[repeated, 3]
    return Targets(
        tags=np.array([[NAMES.index(tag) for tag in tags.split()] for tags, *_ in rows], np.int64).reshape(-1, 4),
        ids=ids,
        previous=np.array([before for _, before, _ in rows], np.str_),
        target=np.array([target.lstrip("+=") for *_, target in rows], np.str_),
        continues=np.array([target.startswith("+") for *_, target in rows], np.bool_),
        names=NAMES,
    )


def background(count: int = 600, seed: int = 0) -> list[Row]:
    """Words, all different, with tags drawn evenly."""
    tags = np.random.default_rng(seed).choice(NAMES[:9], (count, 4))
    return [(" ".join(row), f"b{i}", f"t{i}") for i, row in enumerate(tags.tolist())]


def name(cluster: Iterable[Row], others: Iterable[Row] = (), coverage: float = 0.7) -> ClusterName:
    """The name of a cluster that lies in `background`, after `others`."""
    other, members = list(others), list(cluster)
    targets = targets_of([*other, *background(), *members])
    return name_cluster(len(targets) - 1 - np.arange(len(members)), targets, coverage)


def holds(form: str, x: int, t: Targets) -> bool:
    """Whether a name holds for a token, read from the name alone."""
    tags = [t.names[i] for i in t.tags[x].tolist()]
    target, previous, inside = str(t.target[x]), str(t.previous[x]), bool(t.continues[x])

    def said(string: str) -> str:
        return "newline" if string == "⏎" else f"`{string}`"

    match form.split():
        case ["token", "repeated", *_]:
            return t.ids[x, 3] in t.ids[x, :3]
        case ["word", "continuation"]:
            return inside
        case ["word", "continuation", what]:
            return inside and what in (f"`{target}`", f"({tags[3]})")
        case ["token", "after", "or", "inside", *what]:
            return tags[2] in what
        case ["token", "after", *what]:
            return not inside and (tags[2] in what or said(previous) in what)
        case ["token", "two", "after", what]:
            return tags[1] == what
        case ["token", "three", "after", what]:
            return tags[0] == what
        case [what] | [what, "or", _] if "after" not in form:
            strings = "`" in form
            return (not strings or not inside) and (said(target) if strings else tags[3]) in (what, form.split()[-1])
        case [tag, what] if what.startswith("`"):
            return not inside and tags[3] == tag and said(target) == what
    head, tail = (part.split() for part in form.split(" after "))
    before = tail == tags[1:3] if len(tail) == 2 else tags[2] in tail or tail == [said(previous)]
    return not inside and before and (said(target) in head or (tags[3] in head and target != "⏎"))


class TestEvaluationTargets:
    def test_numbering(self) -> None:
        """C = 5: three targets a window, at places 3, 4, 5."""
        windows = np.array([[10, 11, 12, 13, 14, 15], [20, 21, 22, 23, 24, 25]], np.int8)
        assert evaluation_targets(windows).tolist() == [
            [10, 11, 12, 13],
            [11, 12, 13, 14],
            [12, 13, 14, 15],
            [20, 21, 22, 23],
            [21, 22, 23, 24],
            [22, 23, 24, 25],
        ]

    def test_published_number(self) -> None:
        assert evaluation_targets(np.zeros((100, 129), np.int32)).shape == (12600, 4)

    @pytest.mark.parametrize("shape", [(3, 3), (4,), (2, 3, 4)])
    def test_too_short(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(PolcaError, match="windows"):
            evaluation_targets(np.zeros(shape, np.int64))


class TestCoveringTags:
    @pytest.mark.parametrize(
        ("tags", "expected"),
        [
            ([5] * 7 + [2] * 3, [5]),  # exactly 70 %
            ([5] * 69 + [2] * 31, [5, 2]),
            ([3, 3, 3, 3, 9, 9, 9, 1, 1, 1], [3, 1]),  # 4 + 3 of 10, ties by tag
            ([4, 4, 7, 7, 0], [4, 7]),  # 4 of 5 where 3.5 are needed
            ([8], [8]),
            ([2, 1, 0], [0, 1, 2]),  # 2.1 needed, all tied
            ([], []),
        ],
    )
    def test_by_hand(self, tags: list[int], expected: list[int]) -> None:
        assert covering_tags(np.array(tags, np.int8), 0.7) == expected

    def test_is_smallest(self) -> None:
        """No set with fewer tags covers as much, by trying them all; and no tag can be left out."""
        rng = np.random.default_rng(3)
        for _ in range(50):
            tags = rng.choice(6, rng.integers(1, 40), p=rng.dirichlet(np.ones(6)))
            counts, found = Counter(tags.tolist()), covering_tags(tags, 0.7)
            assert 10 * sum(counts[t] for t in found) >= 7 * len(tags)
            for smaller in combinations(counts, len(found) - 1):
                assert 10 * sum(counts[t] for t in smaller) < 7 * len(tags)

    def test_exact(self) -> None:
        """0.7 · 10 and 0.07 · 100 are not 7 in floating point: rounded up they would be 8."""
        assert math.ceil(0.07 * 100) == 8
        assert required(0.07, 100) == required(0.7, 10) == 7
        assert required(1, 13) == 13
        for n in range(1, 200):
            assert required(0.7, n) == -(-7 * n // 10)

    @pytest.mark.parametrize("coverage", [0, -0.1, 1.01, float("nan")])
    def test_impossible(self, coverage: float) -> None:
        with pytest.raises(PolcaError, match=r"labels\.coverage"):
            covering_tags(np.zeros(3, np.int64), coverage)


class TestIsSimple:
    @pytest.mark.parametrize(
        ("sets", "limit", "expected"),
        [
            ([["NOUN", "VERB"], ["A", "B", "C"]], 2, True),
            ([["NOUN", "VERB"], ["A", "B", "C"]], 1, False),
            ([["A", "B", "C"], ["<PAD>", "NOUN", "VERB"]], 2, True),
            ([["A", "B", "C"], ["<PAD>"]], 2, False),
            ([["<PAD>", "X"]], 1, True),
            ([], 2, False),
        ],
    )
    def test_by_hand(self, sets: list[list[str]], limit: int, expected: bool) -> None:
        assert is_simple(sets, limit) is expected


class TestStrings:
    @pytest.mark.parametrize(
        ("string", "expected"),
        [
            (" the", "the"),
            ("the", "the"),
            ("  x", "␣x"),
            (" ", "␣"),
            ("  ", "␣"),
            ("\n", "⏎"),
            (" \n", "⏎"),
            ("a\tb", "a␣b"),
            ("\r\x00", "␣�"),
            (" –", "–"),
            ("`", "`"),
        ],
    )
    def test_shown(self, string: str, expected: str) -> None:
        assert shown(string) == expected

    @pytest.mark.parametrize(
        ("text", "start", "end_before", "expected"),
        [
            ("singing", 4, 4, True),
            ("sing ing", 4, 4, False),  # the token begins with a space
            ("word,", 4, 4, False),
            ("don't", 3, 3, False),
            ("well-known", 5, 5, False),
            ("1998", 2, 2, True),
            ("a\nb", 1, 1, False),
            ("a\nb", 2, 2, False),
            ("né", 1, 1, True),
            ("é", 0, 1, True),  # a second byte of the letter
            ("a—", 1, 2, False),  # a second byte of the dash
            ("ab", 0, 0, False),  # nothing before
        ],
    )
    def test_continues_word(self, text: str, start: int, end_before: int, expected: bool) -> None:
        assert continues_word(text, start, end_before) is expected


def several(tags: str, count: int = 10, before: str = "", target: str = "") -> list[Row]:
    """Rows alike in what is given; text that is not given differs from row to row, and so do tags given as `*`."""
    return [
        (
            " ".join(NAMES[(i + j) % 9] if tag == "*" else tag for j, tag in enumerate(tags.split())),
            before or f"p{i}",
            (target or "q") + ("" if target.strip("+=") else str(i)),
        )
        for i in range(count)
    ]


ODD = several("* * * VERB", 1)
"""One token that most names do not hold for."""


class TestNames:
    @pytest.mark.parametrize(
        ("cluster", "others", "expected", "fit"),
        [
            (several("* * * <PAD>", target="<PAD>"), [], "end of document", 1),
            (several("* * PUNCT SPACE", 9, ".", "⏎") + ODD, [], "newline after `.`", 0.9),
            (several("* * PUNCT SPACE", target="⏎"), [], "newline after PUNCT", 1),
            (several("* * * SPACE", target="⏎"), [], "newline", 1),
            (several("* * * PUNCT", before=")", target=","), [], "`,` after `)`", 1),
            (several("* * NOUN PUNCT", 9, target=",") + ODD, [], "`,` after NOUN", 0.9),
            (several("* * * ADP", target="of"), [], "ADP `of`", 1),
            (several("* * * ADP", 6, target="to") + several("* * * PRON", 6, target="to"), [], "`to`", 1),
            (several("* * * PUNCT", target=","), [], "`,`", 1),
            (several("* * * NOUN", target="+s"), [], "word continuation `s`", 1),
            (several("* * * PROPN", target="+"), [], "word continuation (PROPN)", 1),
            (several("* * * *", target="+"), [], "word continuation", 1),
            (several("* * * *", target="="), [], "token repeated from the three before", 1),
            (several("* * PRON VERB", before="to"), [], "VERB after `to`", 1),
            (several("* DET ADJ NOUN"), [], "NOUN after DET ADJ", 1),
            (several("* * ADJ NOUN"), [], "NOUN after ADJ", 1),
            (several("* * * NOUN"), [], "NOUN", 1),
            (several("* * * *", before="("), [], "token after `(`", 1),
            (several("* * * *", before="⏎"), [], "token after newline", 1),
            (several("* * PUNCT *"), [], "token after PUNCT", 1),
            (several("* * NOUN *", target="+") + several("* * NOUN *"), [], "token after or inside NOUN", 1),
            (several("* PUNCT * *"), [], "token two after PUNCT", 1),
            (several("PUNCT * * *"), [], "token three after PUNCT", 1),
            (
                several("* * NOUN PUNCT", 6, target=".") + several("* * NOUN PUNCT", 5, target=","),
                [],
                "`.` or `,` after NOUN",
                1,
            ),
            (
                several("* * NOUN PUNCT", 5, target=",") + several("* * VERB PUNCT", 6, target=","),
                several("* * * PUNCT", 40, target=","),
                "`,` after VERB or NOUN",
                1,
            ),
            (several("* * * PUNCT", 6, target=".") + several("* * * PUNCT", 5, target=","), [], "`.` or `,`", 1),
            (several("* * ADP PROPN", 6) + several("* * ADP NOUN", 5), [], "PROPN or NOUN after ADP", 1),
            (several("* * DET NOUN", 5) + several("* * ADJ NOUN", 5), [], "NOUN after ADJ or DET", 1),
            (several("* * * PROPN", 6) + several("* * * NOUN", 5), [], "PROPN or NOUN", 1),
            (several("* * DET *", 6) + several("* * ADP *", 5), [], "token after DET or ADP", 1),
            (
                several("* * DET *", 6, target="+") + several("* * ADP *", 5),
                [],
                "token after or inside DET or ADP",
                1,
            ),
            (several("* * * *", 20), [], "mixed", 0),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_every_template(self, cluster: list[Row], others: list[Row], expected: str, fit: float) -> None:
        assert name(cluster, others) == ClusterName(expected, fit)
        assert name(cluster[::-1], others) == ClusterName(expected, fit)

    def test_coverage_edge(self) -> None:
        """Seven of ten are enough, six are not."""
        assert name(several("* * ADJ NOUN", 7) + several("* * * VERB", 3)) == ClusterName("NOUN after ADJ", 0.7)
        assert name(several("* * ADJ NOUN", 6) + several("* * PRON VERB", 4)).name != "NOUN after ADJ"

    def test_frequent_things_are_no_name(self) -> None:
        """Of all tokens, two thirds come after punctuation: a share of 1 is 1.5 times as much, of 0.98 is not."""
        cluster, others = several("* * PUNCT *", 100), several("* * DET *", 50)
        targets = targets_of([*cluster, *others])
        assert name_cluster(np.arange(50), targets, 0.7) == ClusterName("token after PUNCT", 1)
        assert name_cluster(np.arange(51, 102), targets, 0.7).name == "mixed"
        assert name_cluster(np.arange(150), targets, 0.7).name == "mixed"

    def test_specific_only_if_it_tells_more(self) -> None:
        """Commas after nouns are named so where commas elsewhere come after other words, else by the comma."""
        cluster = several("* * NOUN PUNCT", 8, target=",") + several("* * VERB PUNCT", 2, target=",")
        assert name(cluster, several("* * VERB PUNCT", 100, target=",")) == ClusterName("`,` after NOUN", 0.8)
        assert name(cluster, several("* * NOUN PUNCT", 100, target=",")) == ClusterName("`,`", 1)

    def test_order_of_preference(self) -> None:
        """Simpler and more general names hold for all ten, and would tell more, but are not asked."""
        the = several("* * * DET", 9, target="the") + several("* * * PRON", 1, target="the")
        assert name(the) == ClusterName("DET `the`", 0.9)
        after = several("* * NOUN *", 9) + several("* * NOUN *", 1, target="+")
        assert name(after) == ClusterName("token after NOUN", 0.9)
        nouns = several("* * * NOUN", 8) + several("* * * PROPN", 2)
        assert name(nouns) == ClusterName("NOUN", 0.8)

    def test_long_strings_are_cut(self) -> None:
        found = name(several("* * * PUNCT", before="=" * 70, target="-" * 70)).name
        assert found == "`---------…` after `=========…`"
        assert name(several("* * * NOUN", target="internationalisation")).name == "NOUN `internationalis…`"

    def test_empty(self) -> None:
        targets = targets_of(background(5))
        assert name_cluster(np.zeros(0, np.int64), targets, 0.7) == ClusterName("mixed", 0)
        assert len(targets_of([])) == 0
        assert targets_of([]).templates

    @pytest.mark.parametrize("seed", range(6))
    def test_against_a_second_reading(self, seed: int) -> None:
        """On random tokens: names say what they count, none that is good enough tells more, order does not matter."""
        rng = np.random.default_rng(seed)
        tags = ["DET", "ADJ", "NOUN", "VERB", "PUNCT"]
        strings = ["of", "the", ",", "."]
        rows = [
            (" ".join(rng.choice(tags, 4)), str(rng.choice(strings)), rng.choice(["", "", "+", "="]) + target)
            for target in rng.choice(strings, 400).tolist()
        ]
        t = targets_of(rows)
        forms = [
            "token repeated from the three before",
            "word continuation",
            *(f"word continuation ({a})" for a in tags),
            *(f"word continuation `{s}`" for s in strings),
            *tags,
            *(f"`{s}` after `{r}`" for s, r in product(strings, strings)),
            *(f"`{s}` after {a}" for s, a in product(strings, tags)),
            *(f"{a} after `{s}`" for s, a in product(strings, tags)),
            *(f"{a} after {b}" for a, b in product(tags, tags)),
            *(f"{a} after {b} {c}" for a, b, c in product(tags, tags, tags)),
            *(f"token after `{s}`" for s in strings),
            *(f"token {n} after {a}" for n, a in product(("two", "three"), tags)),
        ]
        truth = {form: np.array([holds(form, x, t) for x in range(len(t))]) for form in forms}
        named = 0
        for form in rng.choice(forms, 60, replace=False).tolist():
            inside, outside = np.flatnonzero(truth[form]), np.flatnonzero(~truth[form])
            if len(inside) < 5:
                continue
            members = np.concatenate([inside, rng.choice(outside, len(inside) // 4, replace=False)])
            found = name_cluster(members, t, 0.7)
            assert found == name_cluster(rng.permutation(members), t, 0.7)
            assert len(found.name) <= NAME_LENGTH
            if found.name not in truth and found.name != "mixed":
                truth[found.name] = np.array([holds(found.name, x, t) for x in range(len(t))])
            scores = {}
            for other, right in truth.items():
                fit, share = Fraction(int(right[members].sum()), len(members)), Fraction(int(right.sum()), len(t))
                if fit >= Fraction(7, 10) and fit >= Fraction(3, 2) * share:
                    p, q = float(fit), float(share)
                    scores[other] = p * math.log(p / q) + ((1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0)
                    if other == found.name:
                        assert found.fit == float(fit)
            if found.name == "mixed":
                assert not scores
            else:
                named += 1
                assert scores[found.name] >= max(scores.values()) - 1e-8
        assert named > 25

    def test_targets_are_checked(self) -> None:
        t = targets_of(background(5))
        with pytest.raises(PolcaError, match="do not fit"):
            Targets(t.tags, t.ids[:, 1:], t.previous, t.target, t.continues, t.names)
        with pytest.raises(PolcaError, match="tag again"):
            Targets(t.tags, t.ids, t.previous, t.target, t.continues, NAMES[:2])


class TestFamily:
    @pytest.mark.parametrize(
        ("name", "own", "before", "expected"),
        [
            ("newline after `.`", "SPACE", "PUNCT", "newline"),
            ("end of document", "<PAD>", "PUNCT", "document_end"),
            ("`,`", "PUNCT", "NOUN", "comma"),
            ("`,` after NOUN", "PUNCT", "NOUN", "comma"),
            ("`.` after `)`", "PUNCT", "PUNCT", "period"),
            ("`.` or `,`", "PUNCT", "NOUN", "other_punctuation"),
            ("`(`", "PUNCT", "NOUN", "other_punctuation"),
            ("ADP `of`", "ADP", "NOUN", "of"),
            ("`Of` after PUNCT", "ADP", "PUNCT", "of"),
            ("ADP `in`", "ADP", "NOUN", "preposition"),
            ("`in` after NOUN", "ADP+SCONJ", "NOUN", "preposition"),
            ("DET `the`", "DET", "ADP", "determiner"),
            ("NOUN after DET ADJ", "NOUN", "ADJ", "noun_in_noun_phrase"),
            ("NOUN or PROPN after `the`", "NOUN+PROPN", "DET", "noun_in_noun_phrase"),
            ("NOUN after VERB", "NOUN", "VERB", "noun"),
            ("NOUN", "NOUN", "NOUN", "noun"),
            ("VERB or AUX after PRON", "VERB+AUX", "PRON", "verb"),
            ("NOUN or VERB", "NOUN+VERB", "DET", "other"),
            ("CCONJ after NOUN", "CCONJ", "NOUN", "conjunction"),
            ("X", "X", "NOUN", "other"),
            ("word continuation `s`", "NOUN", "NOUN", "word_continuation"),
            ("token repeated from the three before", "NOUN", "NOUN", "repeated_token"),
            ("token after PUNCT", "NOUN", "PUNCT", "token_after"),
            ("token two after PUNCT", "NOUN", "PUNCT", "token_after"),
            ("mixed", "NOUN", "NOUN", "mixed"),
        ],
    )
    def test_by_hand(self, name: str, own: str, before: str, expected: str) -> None:
        assert family(name, own, before) == expected
        assert expected in FAMILIES
