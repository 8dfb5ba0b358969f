"""A typeset report as a reader finds it: its words by Typst's HTML, and the numbers that no result file explains."""

import html
import json
import re
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Any

import typst

from polca.report.typeset import report_inputs
from polca.study.paths import PresetPaths

PLAIN = """\
#show align: it => it.body
#show place: it => it.body
#show grid: it => for cell in it.children { cell.body + [ ] }
#show box: it => it.body
#show block: it => it.body
#show image: none
#include "paper/paper.typ"
"""
"""What HTML would leave out, without its layout."""

POINTERS = r"Figures?|Tables?|Section|Appendix|Algorithm|[Ee]quation|\(?eq\.|\[|,|\d{1,2},"
"""Words after which a number is one of a figure, table, section, equation or reference."""


def report_words(
    paths: PresetPaths,
    plain: str = PLAIN,
    left_out: str = r"<math\b.*?</math>",
    change: Callable[[dict[str, Any]], None] = lambda told: None,
) -> str:
    """The words of a report without its references and what is `left_out`; `change` what it is told."""
    main = paths.root / "main.typ"
    main.write_text(plain, encoding="utf-8")
    told = json.loads(report_inputs(paths)["report"])
    change(told)
    made, _ = typst.compile_with_warnings(
        str(main),
        root=str(paths.root),
        ignore_system_fonts=True,
        format="html",
        sys_inputs={"report": json.dumps(told)},
    )
    assert isinstance(made, bytes)
    body = made.decode()
    body = body[body.index("<body") :]
    body = re.sub(rf"{left_out}|<section role=\"doc-bibliography\">.*?</section>", " ", body, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def other(number: str) -> str:
    """Another number of the same kind."""
    if re.fullmatch(r"\d[\d,]*", number):
        return str(3 * int(number.replace(",", "")) + 7)
    return f"{1.43 * float(number) + 0.123:.6g}"


def others_in(words: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", words):
        return words[::-1]
    return re.sub(r"\d[\d,]*\d(?![\d.e])|\d+\.\d+(?:e[-+]?\d+)?|\d+(?:e[-+]?\d+)?", lambda m: other(m.group()), words)


def changed(value: Any) -> Any:
    """The same tree with other numbers."""
    if isinstance(value, dict):
        return {key: changed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [changed(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return others_in(value)
    return 3 * value + 7 if isinstance(value, int) else 1.43 * value + 0.123


def typed_numbers(before: str, after: str) -> list[str]:
    """Numbers that stand in both texts beside the same word."""
    a, b = before.split(), after.split()
    found = []
    for start, _, size in SequenceMatcher(a=a, b=b, autojunk=False).get_matching_blocks():
        for i in range(start, start + size):
            word, previous = a[i], a[i - 1] if i else ""
            beside = [a[k] for k in (i - 1, i + 1) if start <= k < start + size]
            if re.search(r"\d", word) and any(not re.search(r"\d", w) for w in beside) and not named(a[i:], previous):
                found.append(" ".join([*a[max(0, i - 4) : i], f"[{word}]", *a[i + 1 : i + 4]]))
    return found


def named(words: list[str], previous: str) -> bool:
    """Whether the first word's number is no quantity: of a place, figure, equation, reference, heading or file."""
    word = words[0]
    place = re.fullmatch(r"\(?10{0,3}s[),.]*", word)
    name = re.fullmatch(r"F1,?|S[12],?", word) or re.search(r"\.(?:pdf|csv|json|yaml|py|md)", word)
    follows = re.fullmatch(POINTERS, previous)
    pointer = follows and re.fullmatch(r"S?\d{1,2}(?:\.\d|–\d{1,2})?[,.;:)]*", word)
    equation = re.fullmatch(r"\((?:\d|1[03])\)[,.;:]?(?:–\(7\),)?", word)
    heading = re.fullmatch(r"\d{1,2}(?:\.\d)?", word) and words[1:2] and words[1][:1].isupper()
    return bool(place or name or pointer or equation or heading)
