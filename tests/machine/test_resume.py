"""A folder that a stopped run leaves, the same run takes up, and nothing else does."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from polca.errors import PolcaError
from polca.machine import resume
from polca.machine.files import write_text
from polca.machine.resume import fingerprint, resumable


class Stopped(BaseException):
    """As a kill would, it passes everything that catches errors."""


@pytest.fixture(autouse=True)
def code(monkeypatch: pytest.MonkeyPatch) -> dict[Any, str]:
    """Hashes of code by entry, to change."""
    hashes: dict[Any, str] = {None: "0", "entry": "1"}
    monkeypatch.setattr(resume, "code_hash", hashes.__getitem__)
    return hashes


def fail(folder: Path, name: str, facts: tuple[bytes, ...], part: str, error: BaseException) -> None:
    """A run that has written a file, and fails."""
    with resumable(folder, name, facts) as mine:
        (mine / part).parent.mkdir()
        (mine / part).touch()
        raise error


def stopped(folder: Path, name: str = "work", facts: tuple[bytes, ...] = (b"a",)) -> Path:
    """What a run leaves that was stopped after it had kept a file."""
    with pytest.raises(Stopped):
        fail(folder, name, facts, "deep/part.txt", Stopped())
    (mine,) = (path for path in folder.iterdir() if (path / "deep").is_dir())
    return mine


def test_success_leaves_nothing(tmp_path: Path) -> None:
    with resumable(tmp_path, "work", []) as mine:
        assert mine.is_dir()
        assert {p.name for p in tmp_path.iterdir()} == {mine.name, "work.lock"}
        write_text(mine / "part.txt", "done")
    assert not list(tmp_path.iterdir())


def test_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = stopped(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]
    assert capsys.readouterr().err == ""
    with resumable(tmp_path, "work", [b"a"]) as again:
        assert again == mine
        assert (again / "deep" / "part.txt").is_file()
    assert capsys.readouterr().err == "work: resuming an unfinished run\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", ["facts", "order", "code", "entry", "device", "processes"])
def test_other_work_is_removed(change: str, tmp_path: Path, code: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old = stopped(tmp_path, facts=(b"a", b"bc"))
    facts = {"facts": [b"ab", b"c"], "order": [b"bc", b"a"]}.get(change, [b"a", b"bc"])
    if change == "code":
        code[None] = "2"
    monkeypatch.setattr("polca.machine.runtime._device", "meta" if change == "device" else "cpu")
    monkeypatch.setattr(resume.distributed, "world_size", lambda: 2 if change == "processes" else 1)
    with resumable(tmp_path, "work", facts, entry="entry" if change == "entry" else None) as mine:
        assert mine != old
        assert not old.exists()
        assert not list(mine.iterdir())


def test_what_is_not_of_this_work_stays(tmp_path: Path) -> None:
    """Folders of other work, and the user's own, even if their names begin alike."""
    other, own = stopped(tmp_path, "work-two"), tmp_path / "work-notes"
    own.mkdir()
    (tmp_path / "work-done").mkdir()
    with resumable(tmp_path, "work", []) as mine:
        assert {p.name for p in tmp_path.iterdir()} == {mine.name, "work.lock", other.name, own.name}
    assert {p.name for p in tmp_path.iterdir()} == {other.name, own.name}


def test_failure_before_any_work_leaves_nothing(tmp_path: Path) -> None:
    """Not even the folders made for it; half a file is no work."""
    with pytest.raises(PolcaError, match="bad input"):
        fail(tmp_path / "a" / "b", "work", (), "deep/.part.123.partial.txt", PolcaError("bad input"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(PolcaError, match="bad input"):
        fail(tmp_path / "a" / "b", "work", (), "deep/part.txt", PolcaError("bad input"))
    assert len(list((tmp_path / "a" / "b").iterdir())) == 1


def test_one_at_a_time(tmp_path: Path) -> None:
    with resumable(tmp_path, "work", []) as mine:
        with pytest.raises(PolcaError, match="work is running already"), resumable(tmp_path, "work", [b"other"]):
            pass
        with resumable(tmp_path, "other", []):
            assert mine.is_dir()
        assert {p.name for p in tmp_path.iterdir()} == {mine.name, "work.lock"}


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PolcaError, match="cannot write"), resumable(tmp_path / "file" / "x", "work", []):
        pass

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(PolcaError, match="the disk is full: free some space"), resumable(tmp_path / "y", "work", []):
        pass


def test_an_error_of_the_work_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="theirs"), resumable(tmp_path, "work", []):
        raise OSError("theirs")


def test_fingerprint_is_of_the_entry(code: Any) -> None:
    assert fingerprint(None, []) != fingerprint("entry", [])
    assert fingerprint("entry", []) == fingerprint("entry", iter([]))
