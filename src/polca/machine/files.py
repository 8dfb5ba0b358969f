"""Every file format, in one place.

A file is written under a temporary name beside its target and renamed when it is whole, so that nothing half-written
is ever found under the real name. Nothing is pickled.
"""

import contextlib
import errno
import json
import math
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.text import one_line

PARTIAL = ".*.partial*"
"""Names of what a killed process left of a file that it was writing."""


def _remove_leftovers(target: Path) -> None:
    """Remove what killed processes left of `target` under temporary names."""
    name = re.compile(rf"\.{re.escape(target.stem)}\.(\d+)\.partial{re.escape(target.suffix)}")
    for path in target.parent.iterdir():
        if (found := name.fullmatch(path.name)) and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def unwritable(target: Path, error: Exception) -> PolcaError:
    """What to say where `target` cannot be written: the disk is full, or the system's own reason."""
    number = getattr(error, "errno", None)
    full = number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    way_out = "free some space and run again" if full else "make the folder writable and run again"
    reason = "the disk is full" if full else (os.strerror(number) if number else str(error))
    return PolcaError(f"cannot write {target}: {reason}: {way_out}")


@contextlib.contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it to `target` on success, remove it otherwise.

    Raises:
        PolcaError: the disk is full or the folder cannot be written.
    """
    # The suffix is kept because writers choose formats by it.
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        yield temporary
        if temporary.is_file():
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
        if temporary.is_dir() and target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    except (OSError, SafetensorError) as error:
        raise unwritable(target, error) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def reading(path: Path, kind: str, *damage: type[Exception]) -> Iterator[None]:
    """Say in one line that a file is missing, cannot be read, or is not `kind`, which `damage` shows.

    Raises:
        PolcaError: for each of them.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise PolcaError(f"{path}: no such file: run the stage that writes it (`make repro`)") from error
    except PolcaError:
        raise
    except damage as error:
        raise PolcaError(f"{path}: not {kind} ({type(error).__name__}): delete it and run again") from error
    except OSError as error:
        raise PolcaError(
            f"{path}: cannot be read: {error.strerror or error}: remove the cause and run again"
        ) from error


def read_params(path: Path) -> dict[str, Any]:
    """The parameters of a preset from its `params.yaml`."""
    if not path.is_file():
        names = sorted(p.parent.name for p in path.parents[1].glob("*/params.yaml")) if len(path.parents) > 1 else []
        known = f" (presets here: {', '.join(names)})" if names else ""
        raise PolcaError(f"{path}: no such parameter file{known}: name an existing preset")
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolcaError(f"{path}: not valid YAML ({one_line(error)}): correct the file") from error
    if not isinstance(params, dict):
        raise PolcaError(f"{path}: expected a mapping of parameters at the top level")
    return params


def dotted(values: Any, name: str) -> Any:
    """A value of nested mappings by its dotted name, such as `training.steps`.

    Raises:
        KeyError: it is not there.
    """
    for key in name.split("."):
        if not isinstance(values, Mapping) or key not in values:
            raise KeyError(name)
        values = values[key]
    return values


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to an uncompressed `.npz` (bit-stable)."""
    with writing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def read_npz(path: Path, form: Mapping[str, str] | None = None) -> dict[str, NDArray[Any]]:
    """Read all arrays of an `.npz`, without pickle.

    Args:
        form: what the file must hold: for every array its kind (`int`, `bool`, `text`, `float`, or `finite` for floats
            without NaN and infinity) and its dimensions, a number or a letter that stands for the same number
            throughout, as in `{"losses": "finite C X", "moves": "finite C-1", "labels?": "int 4X"}`. A `?` marks an
            array that may be missing.

    Raises:
        PolcaError: missing, damaged, or of another form.
    """
    # zipfile, NumPy and the OS each raise their own kinds on a damaged file.
    with reading(path, "a readable .npz file", Exception), np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if form is not None:
        _check_form(path, arrays, form)
    return arrays


_KINDS = {"int": "iu", "bool": "b", "text": "U", "float": "f", "finite": "f"}
_DIMENSION = re.compile(r"(\d*)([A-Z]?)(-\d+)?")


def _check_form(path: Path, arrays: Mapping[str, NDArray[Any]], form: Mapping[str, str]) -> None:
    wanted = {name.removesuffix("?"): kind for name, kind in form.items()}
    if not {name for name in form if not name.endswith("?")} <= set(arrays) <= set(wanted):
        raise PolcaError(
            f"{path}: has arrays {', '.join(sorted(arrays))}, not {', '.join(wanted)}: run the stage that writes it "
            "again"
        )
    numbers: dict[str, int] = {}
    for name, array in arrays.items():
        kind, *dimensions = wanted[name].split()
        fits = array.dtype.kind in _KINDS[kind] and array.ndim == len(dimensions)
        for size, dimension in zip(array.shape, dimensions, strict=False):
            found = _DIMENSION.fullmatch(dimension)
            assert found is not None, f"{dimension}: no dimension"
            factor, letter, less = found.groups()
            if letter:
                number, rest = divmod(size - int(less or 0), int(factor or 1))
                fits = fits and rest == 0 and numbers.setdefault(letter, number) == number
            else:
                fits = fits and size == int(factor)
        if not fits:
            shape = " ".join(map(str, array.shape))
            raise PolcaError(
                f"{path}: array {name!r} is {array.dtype} {shape}, not {wanted[name]} (beside the file's other arrays "
                "and the preset): run the stage that writes it again"
            )
        if kind == "finite" and not np.isfinite(array).all():
            raise PolcaError(f"{path}: array {name!r} has NaN or infinite values: run the stage that writes it again")


def stacked(*tables: pd.DataFrame) -> pd.DataFrame:
    """Tables one below the other, each column with the type that it has in those with rows."""
    # Empty tables have columns of no type, which would turn those of the others into text or floats.
    return pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)


def write_csv(path: Path, *tables: pd.DataFrame) -> None:
    """Write tables one below the other; floats with nine significant digits, which keeps every float32 apart."""
    with writing(path) as temporary:
        stacked(*tables).to_csv(temporary, index=False, float_format="%.9g", lineterminator="\n")


def read_csv(path: Path, text: Collection[str] = ()) -> pd.DataFrame:
    """Read a table that `write_csv` wrote.

    Args:
        text: columns to keep as they stand, where `NA`, `null` and `1` are text like others; with any such column,
            only an empty field is missing in the others.

    Raises:
        PolcaError: missing, damaged or cut off.
    """
    damage = (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError)
    with reading(path, "a readable CSV table", *damage):
        with path.open("rb") as handle:
            handle.seek(0, os.SEEK_END)
            if size := handle.tell():
                handle.seek(size - 1)
                if handle.read() != b"\n":
                    raise PolcaError(f"{path}: the table's last line is cut off: delete it and run again")
        if not text:
            return pd.read_csv(path)
        others = [str(name) for name in pd.read_csv(path, nrows=0) if name not in text]
        return pd.read_csv(
            path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=dict.fromkeys(others, "")
        )


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with its line ends as they are, so that character offsets into it stay right."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def read_text(path: Path) -> str:
    """Read what `write_text` wrote."""
    with reading(path, "UTF-8 text", UnicodeDecodeError):
        return path.read_bytes().decode("utf-8")


def _without_nan(value: Any) -> Any:
    """The same with None for NaN and infinities, for which JSON has no word."""
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON object with sorted keys; NaN and infinities become null."""
    with writing(path) as temporary:
        text = json.dumps(_without_nan(values), indent=2, sort_keys=True, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    with reading(path, "readable JSON", json.JSONDecodeError, UnicodeDecodeError):
        value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise PolcaError(f"{path}: expected a JSON object")
    return value


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors as safetensors."""
    with writing(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # the user's umask, where safetensors lets nobody else read
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, dict(metadata or {}))
        temporary.chmod(mode)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a safetensors file (memory-mapped, on the CPU)."""
    if not path.is_file():
        raise PolcaError(f"{path}: no such checkpoint file: run the stage that writes it, or correct the path")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise PolcaError(
            f"{path}: not a readable safetensors file ({one_line(error)}): delete it and write it again"
        ) from error
