"""Text as people have it: plain or packed with gzip, JSON lines, Parquet."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from polca.errors import PolcaError
from polca.machine.extras import needs

DEFAULT_FIELD = "text"
DOCUMENT_BREAK = "\n\n"
"""Between the records of a file that holds one document each."""
_TABLE = (".jsonl", ".ndjson", ".parquet")


def _kind(path: Path) -> str:
    """The ending of a file's name, without that of gzip."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _bytes(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise PolcaError(f"{path}: not a whole gzip file: compress the text again, or give it unpacked") from error
    except OSError as error:
        raise PolcaError(f"{path}: cannot be read ({error.strerror or error}): make the file readable") from error


def _text(path: Path) -> str:
    """UTF-8 with line ends as `\\n`, and without the byte-order mark that some editors write."""
    try:
        text = _bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolcaError(f"{path}: byte {error.start} is not UTF-8: convert the file to UTF-8") from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _records(path: Path) -> list[dict[str, Any]]:
    records = []
    # Not `splitlines`, which would also cut at characters that JSON leaves as they are.
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise PolcaError(f"{path}: line {number} is not JSON ({error.msg}): correct the line") from error
            if not isinstance(record, dict):
                raise PolcaError(f"{path}: line {number} is no JSON object: give one with a field of text")
            records.append(record)
    return records


def _columns(path: Path, field: str) -> list[dict[str, Any]]:
    with needs("repro"):
        import pyarrow
        from pyarrow import parquet
    try:
        known = parquet.read_schema(path).names
        values = parquet.read_table(path, columns=[field] if field in known else []).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise PolcaError(f"{path}: not a readable Parquet file ({type(error).__name__}): write it again") from error
    return values if field in known else [dict.fromkeys(known)]


def read_text_file(path: Path, field: str | None = None) -> str:
    """A file's text: as it is (`.txt` and others), or of one field of its records (`.jsonl`, `.parquet`).

    Files whose names end in `.gz` are unpacked. Records are joined by an empty line, those without text left out.

    Args:
        field: of the records, `text` by default.

    Raises:
        PolcaError: no such file, damaged, not UTF-8, or without such a field; a field given for plain text.
    """
    if not path.is_file():
        raise PolcaError(f"{path}: no such text file: correct the path")
    kind = _kind(path)
    if kind not in _TABLE:
        if field is not None:
            raise PolcaError(
                f"{path}: plain text has no field {field!r}: leave --field out, or give .jsonl or .parquet"
            )
        if kind == ".json":
            raise PolcaError(f"{path}: JSON would be read as language: give one object a line, as .jsonl")
        return _text(path)
    name = DEFAULT_FIELD if field is None else field
    records = _columns(path, name) if kind == ".parquet" else _records(path)
    texts = [record.get(name) for record in records]
    if not any(isinstance(text, str) and text for text in texts):
        known = ", ".join(sorted(records[0])) if records else "none"
        raise PolcaError(f"{path}: no text in field {name!r} (fields: {known}): name another with --field")
    return DOCUMENT_BREAK.join(t for t in texts if isinstance(t, str) and t)
