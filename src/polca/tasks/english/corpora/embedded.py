"""Prose from the docstrings of installed packages, read with `ast`; no package is imported.

Half of the text of docstrings is no prose (parameters, code, lists, formulas), so a paragraph has to pass every filter
below. Thresholds were set by reading random samples of what they kept and dropped.
"""

import ast
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import Distribution
from pathlib import Path

from polca.errors import PolcaError
from polca.tasks.english.corpora.documents import Corpus, cut

MIN_WORDS = 14
"""Shorter paragraphs are mostly one-line summaries ("Return the number of rows.")."""
MIN_CHARACTERS = 80
"""As `MIN_WORDS`, where many words are short."""
MIN_FUNCTION_WORDS = 0.28
"""Share of words; English prose has 40–55 %, lists of names and noun phrases less than 25 %."""
MIN_LETTERS = 0.93
"""Share of characters that are letters or spaces; prose has 95–98 %, formulas and signatures less."""
MAX_IDENTIFIERS = 0.08
"""Share of words; one name in a sentence is still prose, more is a gloss on code."""
SHINGLE = 8
"""Words; two texts seldom share eight in a row by chance."""
MAX_SEEN = 0.5
"""Share of a paragraph's shingles that earlier paragraphs have; templates and copied docstrings reach it."""


_TOP_LEVEL = re.compile(r"[^/]+/__init__\.py\b")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SKIPPED_DIRECTORIES = _names(
    "tests test testing _testing _test conftest __pycache__ vendor _vendor vendored _vendored extern externals "
    "_externals third_party thirdparty _extern array_api_compat array_api_extra"
)
"""Test code (its docstrings describe inputs) and copies of other projects."""

FUNCTION_WORDS = _names(
    """
    a about above after again against all also although always among an and another any are as at be because been before
    being below between both but by can cannot could did do does doing done down during each either else enough even
    every few for from further had has have having he her here him his how however i if in instead into is it its itself
    just least less many may me might more most much must my neither no nor not now of off often on once one only or
    other our out over own per perhaps rather same several shall she should since so some such than that the their them
    themselves then there therefore these they this those though through thus to together too toward towards under
    unless until up upon us very via was we were what when whenever where whereas whether which while who whole whom
    whose why will with within without would yet you your
    """
)
"""Articles, pronouns, prepositions, conjunctions, auxiliaries and the adverbs that behave like them."""

SECTIONS = _names(
    """
    arg args argument arguments attribute attributes author authors example examples exception exceptions input inputs
    keyword-arguments keywords kwargs link links method methods model-inputs other-parameters output outputs param
    parameter parameters params property properties raise raises receives reference references require requires return
    returns see-also todo usage variables warns yield yields
    """
)
"""Heads of numpydoc and Google sections that hold entries or code, in lower case. "Notes" and its like hold prose."""

_DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_QUOTES = re.compile(rb'"""|' + b"'''")
_UNDERLINE = re.compile(r"([=\-~^\"'`+*#.:_])\1{2,}\s*$")
_ITEM = re.compile(
    r"(?:[-*+•·–—]|\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})[.)]|\[[^\]]{1,12}\]|step \d+)(?:\s|$)", re.IGNORECASE
)
_CODE = re.compile(
    r">>>|\.\.\.|\.\. |:[a-z][\w ]*:|[@$|#%!>]|In \[|Out\[|from \w+ import|import \w+|def |class \w+[(:]"
)
_DEFINED = re.compile(r"\S{1,40}(?: \([^)]{0,60}\))? ?: |[A-Z][\w ]{0,30}: ")
_ENTRY = re.compile(
    r"(?:Defaults?|Optional|Must be|Ignored|Either|One of|Passed|Valid (?:values|options)|Currently (?:ignored|unused)"
    r"|Only (?:used|relevant|valid|supported|applies)|If (?:given|specified|provided|omitted|set|None|True|False))\b"
)
_QUOTED = re.compile(r"(?<![\w:`\\])(``?)([A-Za-z][\w.]*)\1(?![\w`])")
_MARKUP = re.compile(r"[`*\\|{}<>$^~@#=\[\]•…]|__|::|(?<!\w)_|_(?!\w)|%[sdrif(]|--|''")
_URL = re.compile(
    r"https?:|ftp:|www\.|\S@\S+\.|\bdoi\b|\barXiv\b|\bISBN\b|\w\.(?:com|org|net|io|edu|html?)\b", re.IGNORECASE
)
_LEGAL = re.compile(
    r"copyright|licen[cs]|warrant(?:y|ies)|liabilit|redistribut|all rights|\bSPDX\b|\bBSD\b|\bMIT\b|\bGPL\b|permission",
    re.IGNORECASE,
)
_AGEING = re.compile(
    r"deprecat|versionadded|versionchanged|backwards?[- ]compat|will be removed|in a future|future (?:version|release)"
    r"|(?:since|as of|until|prior to|before|in|added in|changed in|from) (?:version|release|v?\d+\.\d)"
    r"|\bTODO\b|\bFIXME\b|\bXXX\b",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"\bpp\.|\bvol\.|\bet al\b|\bProc\.|\bJ\. |\bIEEE\b|\bJournal of\b|\bPress\b|\beds?\.|\([12]\d{3}[a-z]?\)",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"\w_\w|\w\.\w\w|[a-z][A-Z]|\w\(|\d[A-Za-z]|[A-Za-z]\d|\w/\w|[A-Z]{2,}[a-z]{2,}")
_EDGES = "()[]{}\"'.,;:!?"


def words(paragraph: str) -> list[str]:
    """Split at whitespace, without punctuation at either end; what is punctuation only is left out."""
    return [word for token in paragraph.split() if (word := token.strip(_EDGES))]


def is_long_enough(paragraph: str) -> bool:
    return len(paragraph) >= MIN_CHARACTERS and len(words(paragraph)) >= MIN_WORDS


def is_sentences(paragraph: str) -> bool:
    """Begins with a capital and ends with sentence punctuation."""
    return paragraph[:1].isupper() and paragraph.rstrip("\")'")[-1:] in {".", "?", "!"}


def has_no_markup(paragraph: str) -> bool:
    """No reStructuredText, TeX, templates, operators."""
    return not _MARKUP.search(paragraph)


def is_no_entry(paragraph: str) -> bool:
    """Neither a definition ("x : float, ...") nor the description of a parameter without its name."""
    return not (_DEFINED.match(paragraph) or _ENTRY.match(paragraph))


def has_no_url(paragraph: str) -> bool:
    return not _URL.search(paragraph)


def has_no_legal_wording(paragraph: str) -> bool:
    return not _LEGAL.search(paragraph)


def is_timeless(paragraph: str) -> bool:
    """No deprecations, versions, to-dos."""
    return not _AGEING.search(paragraph)


def is_no_reference(paragraph: str) -> bool:
    """No entry of a bibliography."""
    return not _REFERENCE.search(paragraph)


def is_balanced(paragraph: str) -> bool:
    """Parentheses nest and close; double quotes come in pairs."""
    depth = 0
    for c in paragraph:
        depth += (c == "(") - (c == ")")
        if depth < 0:
            return False
    return depth == 0 and paragraph.count('"') % 2 == 0


def _share(found: Sequence[bool]) -> float:
    return sum(found) / max(1, len(found))


def has_letters(paragraph: str) -> bool:
    return _share([c.isalpha() or c == " " for c in paragraph]) >= MIN_LETTERS


def has_function_words(paragraph: str) -> bool:
    return _share([word.lower() in FUNCTION_WORDS for word in words(paragraph)]) >= MIN_FUNCTION_WORDS


def _is_identifier(word: str) -> bool:
    single = len(word) == 1 and word.isalpha() and word not in "aAI"
    return single or bool(_IDENTIFIER.search(word))


def has_few_identifiers(paragraph: str) -> bool:
    """Few names of code and formula letters (`axis_0`, `np.dot`, `getItem`, `x`)."""
    return _share([_is_identifier(word) for word in words(paragraph)]) <= MAX_IDENTIFIERS


FILTERS: tuple[Callable[[str], bool], ...] = (
    is_long_enough,
    is_sentences,
    has_no_markup,
    is_no_entry,
    has_no_url,
    has_no_legal_wording,
    is_timeless,
    is_no_reference,
    is_balanced,
    has_letters,
    has_few_identifiers,
    has_function_words,
)
"""What a paragraph has to pass, cheap ones first."""


def _is_section(line: str) -> bool:
    return line.strip().rstrip(":").strip().lower().replace(" ", "-") in SECTIONS


def blocks(docstring: str) -> Iterator[str]:
    """Text blocks at the docstring's base indentation and outside `SECTIONS`, hard-wrapped lines joined.

    A numpydoc section (its head is underlined) lasts until the next underlined head, a Google section (its head ends
    with a colon) until the next block at base indentation. A block that holds an indented line, a list item, code, a
    directive or a field is left out as a whole. Backticks around single words are taken off.
    """
    inside = False
    lines: list[str] = []

    def flush() -> Iterator[str]:
        if lines and not inside and not any(x[0].isspace() or _ITEM.match(x) or _CODE.match(x) for x in lines):
            yield _QUOTED.sub(r"\2", " ".join(" ".join(lines).split()))
        lines.clear()

    skipping = False
    for line in inspect.cleandoc(docstring).splitlines():
        if not line.strip():
            yield from flush()
            skipping = False
        elif _UNDERLINE.fullmatch(line):
            head = lines.pop() if lines else ""
            yield from flush()
            skipping = False
            if head:
                inside = _is_section(head)
        elif skipping:
            continue
        elif not line[0].isspace() and line.rstrip().endswith(":") and _is_section(line):
            yield from flush()
            skipping = True
        else:
            lines.append(line)
    yield from flush()


def prose(docstring: str) -> list[str]:
    """The paragraphs of a docstring that pass every filter."""
    return [block for block in blocks(docstring) if all(accepts(block) for accepts in FILTERS)]


def docstrings(source: bytes) -> Iterator[str]:
    """Docstrings of the module and of every class and function in it, in source order; none of what does not parse."""
    if not _QUOTES.search(source):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's invalid escapes
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            return
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, _DEFINITIONS):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield docstring
        # Statements only: walking expressions too would take most of the time.
        inner = [x for field in ("body", "handlers", "orelse", "finalbody") for x in getattr(node, field, ())]
        stack.extend(x for x in reversed(inner) if isinstance(x, (ast.stmt, ast.excepthandler)))


class Novelty:
    """Remembers the shingles of the paragraphs it accepted."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def accepts(self, paragraph: str) -> bool:
        """Whether less than half of the paragraph's shingles have been accepted before."""
        text = [word.lower() for word in words(paragraph)]
        shingles = {" ".join(text[i : i + SHINGLE]) for i in range(max(1, len(text) - SHINGLE + 1))}
        if len(shingles & self._seen) >= MAX_SEEN * len(shingles):
            return False
        self._seen |= shingles
        return True


def _sources(directory: Path) -> list[Path]:
    """Python files below a package, without tests and vendored code, in the order of their relative paths."""
    found = {}
    for path in directory.rglob("*.py"):
        relative = path.relative_to(directory)
        tested = path.name.startswith("test_") or path.stem.endswith("_test") or path.name == "conftest.py"
        if not tested and SKIPPED_DIRECTORIES.isdisjoint(relative.parts):
            found[relative.as_posix()] = path
    return [found[name] for name in sorted(found)]


def _locate(package: str, root: Path | None) -> Path:
    spec = PathFinder.find_spec(package, None if root is None else [str(root)])
    if spec is None or not spec.submodule_search_locations:
        raise PolcaError(
            f"english.data.corpus.packages: {package} is not installed: install requirements.lock, or correct the list"
            " (import names: sklearn, not scikit-learn)"
        )
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def _installed(folder: Path) -> list[tuple[str, str, frozenset[str]]]:
    """Of each distribution in a folder: name as packages write it, name and version, and its top-level packages."""
    found = []
    for distribution in Distribution.discover(path=[str(folder)]):
        record = (distribution.read_text("RECORD") or "").splitlines()
        packages = frozenset(line.partition("/")[0] for line in record if _TOP_LEVEL.match(line))
        name = str(distribution.name)
        # Builds of one version (`+cpu`, `+cu130`) have the same docstrings.
        release = f"{name} {distribution.version.partition('+')[0]}"
        found.append((name.lower().replace("-", "_"), release, packages))
    return found


def _release(package: str, directory: Path) -> str:
    """Name and version of the distribution that a package belongs to; the package's name where there is none."""
    for name, release, packages in _installed(directory.parent):
        if name == package.lower() or package in packages:
            return release
    return package


def read_embedded(packages: Sequence[str], characters: int = 0, root: Path | None = None) -> Corpus:
    """Harvest the docstrings of installed packages; the order of `packages` does not matter.

    One document is one source file: its kept paragraphs in order. Documents are sorted by package, then by path within
    it. A paragraph of which half is found in earlier ones is left out.

    Args:
        packages: import names.
        characters: at most; 0: all.
        root: folder to look in; None: the folders on `sys.path`.

    Raises:
        PolcaError: a package is not installed, or nothing is left of them.
    """
    directories = {name: _locate(name, root) for name in sorted(set(packages))}
    novelty = Novelty()

    def documents() -> Iterator[list[str]]:
        for directory in directories.values():
            for path in _sources(directory):
                yield [p for text in docstrings(path.read_bytes()) for p in prose(text) if novelty.accepts(p)]

    kept = cut(documents(), characters)
    if not kept:
        raise PolcaError(
            f"english.data.corpus.packages: no prose in the docstrings of {', '.join(directories) or 'no package'}:"
            " name more packages, or raise english.data.corpus.characters"
        )
    # A distribution may hold several packages.
    releases = list(dict.fromkeys(_release(name, directory) for name, directory in directories.items()))
    return Corpus(
        source="embedded",
        title=f"docstrings of {len(releases)} Python package{'' if len(releases) == 1 else 's'}",
        licence="the packages' own (BSD, MIT, Apache)",
        attribution=f"The authors of {', '.join(releases)}",
        documents=kept,
    )
