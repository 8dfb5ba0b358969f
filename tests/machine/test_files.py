"""Files: whole or not at all, the same bytes every time, and one line for each way to be bad."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from polca.errors import PolcaError
from polca.machine import files


def test_nothing_is_left_of_a_failed_write(tmp_path) -> None:
    target = tmp_path / "a.json"
    files.write_json(target, {"x": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        files.write_json(target, {"x": object()})
    assert files.read_json(target) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_every_format_has_the_user_s_mode(tmp_path, umask) -> None:
    before = os.umask(umask)
    try:
        files.write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(2)})
        files.write_npz(tmp_path / "a.npz", {"x": np.zeros(2)})
        files.write_json(tmp_path / "a.json", {"x": 1})
        files.write_csv(tmp_path / "a.csv", pd.DataFrame({"x": [1]}))
        files.write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o666 & ~umask}


def test_json_has_no_nan(tmp_path) -> None:
    files.write_json(tmp_path / "a.json", {"x": float("nan"), "y": [1.5, (np.inf, -np.inf)], "z": {"w": np.nan}})
    assert files.read_json(tmp_path / "a.json") == {"x": None, "y": [1.5, [None, None]], "z": {"w": None}}


def test_disk_full_is_one_line(tmp_path, monkeypatch) -> None:
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(PolcaError, match=r"cannot write .*a\.npz: the disk is full: free some space and run again"):
        files.write_npz(tmp_path / "a.npz", {"x": np.zeros(3)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.reliability(
    "disk full for real (`/dev/full`)",
    "one line, nothing left",
)
def test_disk_full_for_real(tmp_path, monkeypatch) -> None:
    """The kernel's own ENOSPC, through the same code path."""
    full = files.writing(tmp_path / "a.txt")
    with pytest.raises(PolcaError, match="the disk is full"), full, open("/dev/full", "w") as handle:
        handle.write("x" * 10_000)


def test_same_bytes(tmp_path) -> None:
    table = pd.DataFrame({"a": [1, 2], "b": [0.1, np.float32(1 / 3)]})
    for name in ("one", "two"):
        files.write_npz(tmp_path / name / "x.npz", {"a": np.arange(5.0), "b": np.zeros((2, 2), np.float32)})
        files.write_csv(tmp_path / name / "x.csv", table)
        files.write_json(tmp_path / name / "x.json", {"b": 1.5, "a": [1, 2]})
    for suffix in ("npz", "csv", "json"):
        assert (tmp_path / "one" / f"x.{suffix}").read_bytes() == (tmp_path / "two" / f"x.{suffix}").read_bytes()
    back = files.read_csv(tmp_path / "one" / "x.csv")
    assert np.float32(back["b"][1]) == np.float32(1 / 3)


@pytest.mark.parametrize(
    ("name", "reader"), [("x.npz", files.read_npz), ("x.json", files.read_json), ("x.csv", files.read_csv)]
)
@pytest.mark.parametrize("content", [b"", b"\x00\x01\xff garbage", b"PK\x03\x04 torn archive", b"[1, 2"])
def test_damaged_files(tmp_path, name, reader, content) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PolcaError, match=rf"{name}: (not a? ?readable|the table's last line is cut off)") as error:
        reader(path)
    assert "\n" not in str(error.value)
    with pytest.raises(PolcaError, match="no such file: run the stage"):
        reader(tmp_path / ("no" + name))


@pytest.mark.parametrize("reader", [files.read_text, files.read_json, files.read_csv])
def test_a_folder_in_a_file_s_place(tmp_path, reader) -> None:
    with pytest.raises(PolcaError, match="cannot be read: Is a directory"):
        reader(tmp_path)


def test_arrays_with_objects_are_refused(tmp_path) -> None:
    """Such a file could run code when it is loaded."""
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(PolcaError, match="not a readable"):
        files.read_npz(tmp_path / "x.npz")
