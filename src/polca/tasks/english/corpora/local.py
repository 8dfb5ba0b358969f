"""A folder of text files: one paragraph a line, a blank line between documents."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from polca.errors import PolcaError
from polca.tasks.english.corpora.documents import Corpus, cut

MAX_PARAGRAPH = 1_000_000
"""Characters; a longer line is a file without line breaks, not a paragraph."""
_BYTES_PER_CHARACTER = 4


def _lines(path: Path) -> Iterator[str]:
    """Lines of a text file, plain or gzip, streamed, without their ends (`\\n` or `\\r\\n`)."""
    # A line that is too long must not be read to its end first, and it could be the whole file.
    limit = _BYTES_PER_CHARACTER * MAX_PARAGRAPH + 2
    offset = 0
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(limit):
                number += 1
                try:
                    # A cut line may end within a character; it is too long anyway.
                    text = line.decode("utf-8", "ignore" if len(line) == limit else "strict").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    unpacked = " (unpacked)" if path.suffix == ".gz" else ""
                    raise PolcaError(
                        f"{path}: not UTF-8 at byte {offset + error.start}{unpacked}: convert the file with"
                        " `iconv -f <its encoding> -t UTF-8`"
                    ) from error
                if len(text) > MAX_PARAGRAPH:
                    raise PolcaError(
                        f"{path}: line {number} is longer than {MAX_PARAGRAPH} characters: put one paragraph on a line"
                    )
                offset += len(line)
                # The byte-order mark that some editors write is no text.
                yield text.removeprefix("\ufeff") if number == 1 else text
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise PolcaError(
            f"{path}: not a whole gzip file ({' '.join(str(error).split())}): compress the text again with `gzip`, or"
            " give it as .txt"
        ) from error
    except OSError as error:
        raise PolcaError(f"{path}: cannot be read ({error.strerror or error}): make the file readable") from error


def _documents(paths: list[Path]) -> Iterator[list[str]]:
    """Paragraphs of each document; a file's end ends a document."""
    for path in paths:
        document: list[str] = []
        for line in _lines(path):
            if paragraph := line.strip():
                document.append(paragraph)
            elif document:
                yield document
                document = []
        if document:
            yield document


def read_local(directory: Path, characters: int = 0) -> Corpus:
    """Read the `.txt` and `.txt.gz` files of a folder (not of those below it) in the order of their names.

    Args:
        characters: at most, and no file is read beyond them; 0: all.

    Raises:
        PolcaError: no such folder, no text in it, or a file that is damaged, not UTF-8 or without line breaks.
    """
    if not directory.is_dir():
        raise PolcaError(f"{directory}: no such directory: give one with .txt or .txt.gz files as the corpus")
    paths = sorted(
        (p for p in directory.iterdir() if p.name.endswith((".txt", ".txt.gz")) and p.is_file()), key=lambda p: p.name
    )
    if not paths:
        raise PolcaError(f"{directory}: no .txt or .txt.gz file: put the corpus there, or give another directory")
    kept = cut(_documents(paths), characters)
    if not kept:
        if next(_documents(paths), None):
            raise PolcaError(
                f"{directory}: the first paragraph is longer than english.data.corpus.characters = {characters}: "
                "raise it"
            )
        raise PolcaError(f"{directory}: its text files are blank: give files with one paragraph a line")
    return Corpus(
        source="local",
        title=directory.resolve().name,
        licence="see the corpus's own README",
        attribution="",
        documents=kept,
    )
