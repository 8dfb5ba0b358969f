"""Text files in the forms in which people have them, each read back as the text that was written."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from polca.errors import PolcaError
from polca.external.texts import read_text_file

DOCUMENTS = ["The cat sat.\nIt slept.", "Ein Dachs „gräbt“\u2028hier.", 'A "quoted" { brace }']
JOINED = "\n\n".join(DOCUMENTS)


def lines(field: str) -> str:
    records = [{"id": i, field: text, "meta": {"n": i}} for i, text in enumerate(DOCUMENTS)]
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in [*records, {"id": 9, field: None}])


@pytest.mark.parametrize(
    ("name", "content", "field", "expected"),
    [
        ("a.txt", JOINED.encode(), None, JOINED),
        ("a.md", JOINED.encode(), None, JOINED),
        ("a.txt", b"\xef\xbb\xbf" + JOINED.encode(), None, JOINED),
        ("a.txt", JOINED.replace("\n", "\r\n").encode(), None, JOINED),
        ("a.txt.gz", gzip.compress(JOINED.encode(), mtime=0), None, JOINED),
        ("a.jsonl", lines("text").encode(), None, JOINED),
        ("a.jsonl", b"\xef\xbb\xbf" + lines("text").replace("\n", "\r\n").encode(), None, JOINED),
        ("a.jsonl.gz", gzip.compress(lines("text").encode(), mtime=0), None, JOINED),
        ("a.jsonl", lines("content").encode(), "content", JOINED),
    ],
    ids=["plain", "other-ending", "bom", "crlf", "gzip", "jsonl", "jsonl-bom-crlf", "jsonl-gzip", "field"],
)
def test_forms(name: str, content: bytes, field: str | None, expected: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read_text_file(path, field) == expected


@pytest.mark.parametrize("field", [None, "content"])
def test_parquet(field: str | None, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"id": [1, 2, 3, 4], field or "text": [*DOCUMENTS, None]})
    table.to_parquet(tmp_path / "a.parquet")
    assert read_text_file(tmp_path / "a.parquet", field) == JOINED


@pytest.mark.parametrize(
    ("name", "content", "field", "message"),
    [
        ("none.txt", None, None, "no such text file"),
        ("a.txt", "é".encode("latin-1"), None, "byte 0 is not UTF-8"),
        ("a.txt", b"plain", "text", "plain text has no field 'text'"),
        ("a.json", b"{}", None, "as .jsonl"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', None, "line 2 is not JSON"),
        ("a.jsonl", b'"text"\n', None, "line 1 is no JSON object"),
        ("a.jsonl", b'{"content": "a", "id": 1}\n', None, r"no text in field 'text' \(fields: content, id\)"),
        ("a.jsonl", b'{"text": 3}\n', None, "no text in field 'text'"),
        ("a.jsonl", b"", None, r"fields: none"),
        ("a.txt.gz", b"plain", None, "not a whole gzip file"),
        ("a.txt.gz", gzip.compress(b"x" * 1000, mtime=0)[:-9], None, "not a whole gzip file"),
        ("a.parquet", b"plain", None, "not a readable Parquet file"),
    ],
)
def test_refusals(name: str, content: bytes | None, field: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PolcaError, match=message) as error:
        read_text_file(path, field)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_parquet_without_the_field(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pd.DataFrame({"id": [1], "content": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(PolcaError, match=r"no text in field 'text' \(fields: content, id\)"):
        read_text_file(tmp_path / "a.parquet")
