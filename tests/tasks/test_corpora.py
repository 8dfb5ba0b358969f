"""Corpora against hand-written folders, packages and data sets; every bad input against its message."""

import gzip
import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from polca.errors import PolcaError
from polca.tasks.english.corpora import embedded, hub
from polca.tasks.english.corpora.documents import Corpus, cut, split
from polca.tasks.english.corpora.embedded import FILTERS, Novelty, blocks, read_embedded
from polca.tasks.english.corpora.hub import read_hub
from polca.tasks.english.corpora.local import MAX_PARAGRAPH, read_local

WIKIPEDIA = Path(__file__).resolve().parents[2] / "data" / "corpora" / "wikipedia" / "wikipedia-00.txt.gz"


def corpus(documents: list[str]) -> Corpus:
    return Corpus("local", "made up", "none", "", documents)


def one_line(error: pytest.ExceptionInfo[PolcaError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# Documents


def test_corpus_counts() -> None:
    made = corpus(["é one\ntwo", "three"])
    assert made.sha256() == hashlib.sha256("é one\ntwo\n\nthree".encode()).hexdigest()
    assert (made.paragraphs, made.characters) == (3, 16)
    assert corpus(["a\nb"]).sha256() != corpus(["a", "b"]).sha256()


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        (0, ["ab\ncd", "ef", "gh"]),
        (13, ["ab\ncd", "ef", "gh"]),
        (12, ["ab\ncd", "ef"]),
        (9, ["ab\ncd", "ef"]),
        (8, ["ab\ncd"]),
        (4, ["ab"]),
        (1, []),
    ],
)
def test_cut(characters: int, expected: list[str]) -> None:
    assert cut([["ab", "", "cd"], [" "], ["ef"], ["gh"]], characters) == expected


def test_cut_reads_no_further_than_needed() -> None:
    source = iter([["abcd"], ["efgh"], ["ijkl"]])
    assert cut(source, 10) == ["abcd", "efgh"]
    assert list(source) == [["ijkl"]]


def test_split_is_a_partition() -> None:
    documents = [f"document {i}" for i in range(100)]
    training, evaluation = split(corpus(documents), 0.25, seed=1)
    assert (len(training), len(evaluation)) == (75, 25)
    assert sorted(training + evaluation) == sorted(documents)
    assert sorted(training) != training, "training documents are not shuffled"
    assert split(corpus(documents), 0.25, seed=1) == (training, evaluation)
    assert split(corpus(documents), 0.25, seed=2) != (training, evaluation)


def test_split_has_at_least_one_of_each() -> None:
    for fraction in (0.001, 0.999):
        assert [len(part) for part in split(corpus(["a", "b"]), fraction, seed=0)] == [1, 1]


@pytest.mark.parametrize(
    ("documents", "fraction", "message"),
    [
        (["only"], 0.5, r"made up: 1 document\(s\), too few"),
        ([], 0.5, r"made up: 0 document\(s\), too few"),
        (["a", "b"], 0.0, "evaluation_fraction = 0.0"),
        (["a", "b"], 1.0, "evaluation_fraction = 1.0"),
        (["a", "b"], float("nan"), "evaluation_fraction = nan"),
    ],
)
def test_split_errors(documents: list[str], fraction: float, message: str) -> None:
    with pytest.raises(PolcaError, match=message) as error:
        split(corpus(documents), fraction, seed=0)
    one_line(error)


# Embedded

GOOD = (
    "The simplest way to understand what this does is to look at how the values that are given to it"
    " change when the order of the rows is not the same as before."
)

BAD: dict[str, list[str]] = {
    "is_long_enough": ["The rows of the table are given back in the order in which they were read.", "Too short."],
    "is_sentences": [GOOD[0].lower() + GOOD[1:], GOOD[:-1], GOOD[:-1] + ":"],
    "has_no_markup": [
        GOOD.replace("values", "`values`"),
        GOOD.replace("values", "*values*"),
        GOOD.replace("values", "%(name)s"),
        GOOD.replace("values", "values = rows"),
        GOOD.replace("values", "values_"),
        GOOD.replace("values", "values [1]"),
    ],
    "is_no_entry": [
        "axis : int, the one of " + GOOD,
        "Note: " + GOOD,
        "If True, " + GOOD,
        "Defaults to the last one. " + GOOD,
    ],
    "has_no_url": [GOOD + " See www.example.org for this.", GOOD + " Write to me@example.org."],
    "has_no_legal_wording": [GOOD + " It is licensed to you.", GOOD + " Copyright by the authors."],
    "is_timeless": [GOOD + " It is deprecated.", GOOD + " It was added in version two.", GOOD + " TODO."],
    "is_no_reference": [GOOD + " See pp. three to five.", GOOD + " This is from Knuth et al."],
    "is_balanced": [GOOD + " (So it is.", GOOD + " So) it is (not).", GOOD + ' So "it is.'],
    "has_letters": [GOOD + " 1, 22, 333, 4444, 55555, 666666.", GOOD + " (a), (b), (c), (d), (e), (f)."],
    "has_few_identifiers": [GOOD + " So is np.dot of axis_0 and getItem or f().", GOOD + " So is x of y for z in u."],
    "has_function_words": [
        "Compute weighted sparse matrix products using blocked parallel kernels, cached factorizations, adaptive"
        " preconditioning strategies, automatic memory management."
    ],
}


def test_good_paragraphs_pass() -> None:
    natural = (
        'In general (see "above"), one name such as NumPy is fine; it isn\'t code, e.g. when the well-known method of'
        " Newton is described in words that a reader would use. Two numbers such as 2 and 3 do no"
        " harm to what is otherwise a sentence!"
    )
    for text in (GOOD, natural):
        assert [f.__name__ for f in FILTERS if not f(text)] == []


@pytest.mark.parametrize("accepts", FILTERS, ids=lambda f: f.__name__)
def test_each_filter_drops(accepts: Callable[[str], bool]) -> None:
    for text in BAD[accepts.__name__]:
        assert not accepts(text), text


def test_thresholds() -> None:
    """Counted by hand at the borders: 14 words and 80 characters, 28 %, 93 %, 8 %."""
    words = ["abcdefghij"] * 14
    assert embedded.is_long_enough(" ".join(words))
    assert not embedded.is_long_enough(" ".join(words[:13]))
    assert not embedded.is_long_enough(" ".join(["abcd"] * 16))
    assert embedded.has_function_words(" ".join(["the"] * 28 + ["noun"] * 72))
    assert not embedded.has_function_words(" ".join(["the"] * 27 + ["noun"] * 73))
    assert embedded.has_letters("é " * 46 + "a" + "1" * 7)
    assert not embedded.has_letters("é " * 46 + "1" * 8)
    assert embedded.has_few_identifiers(" ".join(["a_b"] * 8 + ["noun"] * 92))
    assert not embedded.has_few_identifiers(" ".join(["a_b"] * 9 + ["noun"] * 91))


def test_novelty() -> None:
    first = "one two three four five six seven eight nine ten eleven"  # four shingles
    novelty = Novelty()
    assert novelty.accepts(first)
    assert not novelty.accepts(first.upper() + "!")
    # Two of four shingles seen is half; one of four is less.
    assert not novelty.accepts("one two three four five six seven eight nine other words")
    assert novelty.accepts("one two three four five six seven eight or other words")


def test_blocks() -> None:
    docstring = """First line
        joined  with the second.

        Before a head.
        Args:
            x: an input.
            y: another.

        After a Google section.

        - an item

        1. a number
        :param z: a field

        >>> code
        output

        Intro of code::

            code

        Hanging
          indentation.

        Parameters
        ----------
        x : int

        Under parameters.

        Notes
        -----
        Under notes.

        References
        ----------
        Under references.

        =====
        Title
        =====

        Under a title.
        """
    assert list(blocks(docstring)) == [
        "First line joined with the second.",
        "Before a head.",
        "After a Google section.",
        "Intro of code::",
        "Under notes.",
        "Under a title.",
    ]


ALPHA = (
    "Alpha is the first of the letters that we use here, and it is followed by all of the other ones in their order."
)
WRAPPED = ALPHA.replace(" here, ", " here,\n")
BETA = "Beta comes after it, which is why those who read the list from the top will see it before they get to the end."
GAMMA = "Gamma is what you find when the other two have been taken away and there is nothing else that could be left."
DELTA = "Delta was put into a folder below this one so that we can see in which order the files of both are read."
EPSILON = (
    "Epsilon is said when the first part of the choice was not taken, so it has to be found after what is in there."
)
OMEGA = "Omega has no place in what is kept, since the text of tests is about inputs and not about what is done."

MAIN = f'''"""{WRAPPED}

Copyright by everyone who has ever written to this file and by all of those who will have done so at some time.
"""

raise RuntimeError("imported")


if True:
    class Thing:
        r"""Short summary.

        {BETA}

        Parameters
        ----------
        x : int
            The one that is given to the function when it is called by the code that is above it.

        Examples
        --------
        >>> 1 + 1
        2

        {OMEGA}
        """

        async def method(self):
            """
            - {OMEGA}

            {GAMMA}

            {ALPHA}
            """
            "Not a docstring: {OMEGA}"
else:
    def choice():
        """{EPSILON}"""
'''


def make_packages(root: Path) -> Path:
    files = {
        "zoo/__init__.py": MAIN,
        "zoo/below/deep.py": f'"""{DELTA}"""',
        "zoo/broken.py": f'"""{OMEGA}"""\nthis is no Python',
        "zoo/latin.py": f'"""{OMEGA} \xff"""',
        "zoo/tests/test_it.py": f'"""{OMEGA}"""',
        "zoo/test_other.py": f'"""{OMEGA}"""',
        "zoo/_vendor/copy.py": f'"""{OMEGA}"""',
        "zoo/notes.txt": OMEGA,
        "ant/__init__.py": "",
        "ant/b.py": f"'''{BETA}'''",
        "Zoo_kit-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: Zoo-kit\nVersion: 1.2+cpu\n",
        "Zoo_kit-1.2.dist-info/RECORD": "zoo/__init__.py,,\nzoo/below/deep.py,,\n",
        "ant-3.dist-info/METADATA": "Metadata-Version: 2.1\nName: ant\nVersion: 3\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode("latin-1"))
    return root


def test_embedded_exact(tmp_path: Path) -> None:
    root = make_packages(tmp_path / "tests")  # the folders above a package do not matter
    modules = set(sys.modules)
    made = read_embedded(["zoo", "ant"], root=root)
    # Beta is in both packages; Alpha is twice in one. Documents: ant/b.py, zoo/__init__.py, zoo/below/deep.py.
    assert made.documents == [BETA, f"{ALPHA}\n{GAMMA}\n{EPSILON}", DELTA]
    assert made.title == "docstrings of 2 Python packages"
    assert made.attribution == "The authors of ant 3, Zoo-kit 1.2"
    assert made.source == "embedded"
    assert not {"zoo", "ant"} & (set(sys.modules) - modules)


def test_embedded_is_the_same_elsewhere(tmp_path: Path) -> None:
    made = read_embedded(["zoo", "ant"], root=make_packages(tmp_path / "a"))
    moved = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "a", moved)
    assert read_embedded(["ant", "zoo", "ant"], root=moved) == made
    limit = len(BETA) + 2 + len(ALPHA)
    assert read_embedded(["ant", "zoo"], limit, moved).documents == [BETA, ALPHA]


def test_embedded_default_root_finds_installed_packages() -> None:
    made = read_embedded(["seaborn"], characters=2000)
    assert made.attribution.startswith("The authors of seaborn 0.")
    assert 500 < made.characters <= 2000


def test_embedded_errors(tmp_path: Path) -> None:
    root = make_packages(tmp_path)
    with pytest.raises(
        PolcaError, match=r"english\.data\.corpus\.packages: scikit-learn is not installed: install"
    ) as error:
        read_embedded(["zoo", "scikit-learn"], root=root)
    one_line(error)
    (root / "mute").mkdir()
    (root / "mute" / "__init__.py").write_text("")
    with pytest.raises(PolcaError, match=r"no prose in the docstrings of mute: name more packages") as error:
        read_embedded(["mute"], root=root)
    one_line(error)
    with pytest.raises(PolcaError, match=r"no prose in the docstrings of no package"):
        read_embedded([], root=root)
    with pytest.raises(PolcaError, match=r"english\.data\.corpus\.characters = -1"):
        read_embedded(["zoo"], -1, root)


# Local


def test_local_exact(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfthird\r\n\r\n  fourth \r\n")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("\n\nfirst é\nmore\n\n\n\nsecond".encode()))
    (tmp_path / "titles.tsv.gz").write_bytes(b"not gzip")
    (tmp_path / "README.md").write_text("not text")
    (tmp_path / "c.txt").mkdir()
    made = read_local(tmp_path)
    assert made.documents == ["first é\nmore", "second", "third", "fourth"]
    assert (made.source, made.title, made.attribution) == ("local", tmp_path.name, "")
    assert read_local(tmp_path, 12).documents == ["first é\nmore"]


def test_local_stops_before_later_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first\n\nsecond\n\nthird\n")
    (tmp_path / "b.txt.gz").write_bytes(b"not gzip")
    assert read_local(tmp_path, 13).documents == ["first", "second"]


def test_local_longest_paragraph(tmp_path: Path) -> None:
    """A paragraph at the limit is read, of one-byte and of four-byte characters."""
    text = ["a" * MAX_PARAGRAPH, "𝒜" * MAX_PARAGRAPH]
    (tmp_path / "a.txt").write_bytes("\n\n".join(text).encode())
    assert read_local(tmp_path).documents == text


LATIN = b"fine\n\nfa\xe7ade\n"
PACKED = gzip.compress(b"some text\n" * 100, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", LATIN, r"a\.txt: not UTF-8 at byte 8: convert the file with `iconv"),
        ("a.txt.gz", gzip.compress(LATIN, mtime=0), r"a\.txt\.gz: not UTF-8 at byte 8 \(unpacked\): convert"),
        ("a.txt.gz", b"plain text", r"a\.txt\.gz: not a whole gzip file"),
        ("a.txt.gz", PACKED[:-12], r"a\.txt\.gz: not a whole gzip file"),
        ("a.txt.gz", PACKED[:12] + b"\xff" * 20 + PACKED[32:], r"a\.txt\.gz: not a whole gzip file"),
        ("a.txt", b"x\n" + b"a" * (MAX_PARAGRAPH + 1), r"a\.txt: line 2 is longer than 1000000 characters: put one"),
        ("a.txt", "x𝒜".encode() * MAX_PARAGRAPH, r"a\.txt: line 1 is longer than 1000000 characters"),
        ("a.txt", b" \n\n\n", "its text files are blank: give"),
        ("a.csv", b"text", r"no \.txt or \.txt\.gz file: put"),
    ],
    ids=["latin", "latin-gz", "no-gzip", "cut-gzip", "damaged-gzip", "long", "long-cut-character", "blank", "no-txt"],
)
@pytest.mark.reliability(
    "corpus not UTF-8, damaged gzip, one huge line, empty",
    "one line that names file and place",
)
def test_local_errors(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PolcaError, match=message) as error:
        read_local(tmp_path)
    assert str(tmp_path) in one_line(error)


def test_local_no_directory(tmp_path: Path) -> None:
    with pytest.raises(PolcaError, match=r"absent: no such directory: give one"):
        read_local(tmp_path / "absent")
    with pytest.raises(PolcaError, match=r"no \.txt or \.txt\.gz file"):
        read_local(tmp_path)
    (tmp_path / "a.txt").write_text("some words")
    with pytest.raises(
        PolcaError, match=r"the first paragraph is longer than english\.data\.corpus\.characters = 3: raise it"
    ):
        read_local(tmp_path, 3)


@pytest.mark.skipif(
    not WIKIPEDIA.is_file(), reason="needs the Wikipedia sample: make corpus PRESET=wikipedia CORPUS=dir"
)
def test_local_wikipedia(tmp_path: Path) -> None:
    """Against the numbers and the hash in the sample's README, for its first file."""
    (tmp_path / "00.txt.gz").symlink_to(WIKIPEDIA)
    made = read_local(tmp_path)
    assert (len(made.documents), made.paragraphs, made.characters) == (1168, 28996, 14979675 - len("\n"))
    digest = hashlib.sha256(("\n\n".join(made.documents) + "\n").encode())
    assert digest.hexdigest() == "161aaaff546a538090e250de650f306895560db9c0d7f5015b46729cff84c30e"


# Hub


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the form of the Hub's Wikipedia: configurations in the card, Parquet files of four columns."""
    for name in ("HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    folder = tmp_path / "wikipedia"
    (folder / "20220301.en").mkdir(parents=True)
    texts = ["Anarchism is old.\n\nIt is a movement.\nEnd.", " \n", "Autism is not.\n\n\n"]
    rows = {"id": list("123"), "url": ["u"] * 3, "title": list("ABC"), "text": texts}
    pd.DataFrame(rows).to_parquet(folder / "20220301.en" / "train-00000-of-00001.parquet", index=False)
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: 20220301.en\n  data_files:\n"
        "  - split: train\n    path: 20220301.en/train-*\n---\n"
    )
    return folder


def test_hub_exact(dataset: Path) -> None:
    made = read_hub(str(dataset), "20220301.en", 0)
    assert made.documents == ["Anarchism is old.\nIt is a movement.\nEnd.", "Autism is not."]
    assert made.source == "hub"
    assert made.title == f"{dataset} (20220301.en), split train"
    assert read_hub(str(dataset), "20220301.en", 40).documents == ["Anarchism is old.\nIt is a movement.\nEnd."]
    assert read_hub(str(dataset), "20220301.en", 39).documents == ["Anarchism is old.\nIt is a movement."]


def test_hub_errors(dataset: Path) -> None:
    with pytest.raises(
        PolcaError, match=r"\(20990101\.xx\): cannot be loaded \(ValueError: .*english\.data\.corpus\.source"
    ) as e:
        read_hub(str(dataset), "20990101.xx", 0)
    one_line(e)
    with pytest.raises(PolcaError, match="cannot be loaded") as e:
        read_hub(str(dataset), "20220301.en", 0, split="absent")
    one_line(e)
    with pytest.raises(PolcaError, match=r"no text within english\.data\.corpus\.characters = 5: raise it") as e:
        read_hub(str(dataset), "20220301.en", 5)
    one_line(e)
    pd.DataFrame({"id": ["1"], "body": ["words"]}).to_parquet(dataset / "20220301.en" / "train-00000-of-00001.parquet")
    with pytest.raises(PolcaError, match="no column `text` of strings") as e:
        read_hub(str(dataset), "20220301.en", 0)
    one_line(e)


@pytest.mark.reliability(
    "data set of the hub with a loading script",
    "not run",
)
def test_hub_runs_no_code(dataset: Path) -> None:
    """A data set with a loading script, as the Hub's old Wikipedia has."""
    trace = dataset / "trace"
    (dataset / "wikipedia.py").write_text(f"open({str(trace)!r}, 'w')")
    with pytest.raises(PolcaError, match=r"scripts are no longer supported.*english\.data\.corpus\.source") as e:
        read_hub(str(dataset), "20220301.en", 0)
    one_line(e)
    assert not trace.exists()


class Session:
    """In place of the Hub's HTTP session."""

    def __init__(self, status: int | None) -> None:
        self.status_code = status

    def head(self, url: str, timeout: float) -> "Session":
        assert url.endswith("/api/datasets/wikipedia")
        assert timeout <= 10
        if self.status_code is None:
            raise ConnectionError("[Errno -2] Name or service\nnot known")
        return self


@pytest.mark.parametrize(
    ("status", "reason"), [(None, r"is unreachable \(ConnectionError\)"), (503, r"fails \(HTTP 503\)")]
)
def test_hub_unreachable(monkeypatch: pytest.MonkeyPatch, status: int | None, reason: str) -> None:
    """Fails before `datasets` starts its retries."""
    monkeypatch.setattr("huggingface_hub.get_session", lambda: Session(status))
    monkeypatch.setattr("datasets.load_dataset", lambda *a, **k: pytest.fail("datasets was asked"))
    with pytest.raises(PolcaError, match=f"^wikipedia: the Hugging Face Hub {reason}: ") as error:
        read_hub("wikipedia", "20220301.en", 1000)
    assert "source: local" in one_line(error)
    assert "make repro PRESET=wikipedia CORPUS=<dir>" in one_line(error)


def test_hub_offline_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub's own offline switch is recognised, without a connection."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PolcaError, match=r"is unreachable \(OfflineModeIsEnabled\)"):
        read_hub("wikipedia", "20220301.en", 1000)


def test_hub_without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PolcaError, match=r"wikipedia \(en\): the package datasets is not installed: install"):
        hub.read_hub("wikipedia", "en", 0)


def test_backticks_around_single_words_are_taken_off() -> None:
    """Roles, formulas, and quoted expressions keep theirs, and are then dropped as markup."""
    docstring = "The ``axis`` and `numpy.ndarray` are read, not :func:`dot`, `a + b` or ``x``_."
    assert list(blocks(docstring)) == ["The axis and numpy.ndarray are read, not :func:`dot`, `a + b` or ``x``_."]
