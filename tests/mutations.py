"""Ways to spoil a file, by its format. Each gives the new bytes, or None where the format does not know the fault."""

import io
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save

Mutation = Callable[[str, bytes, np.random.Generator], bytes | None]
"""`(suffix, content, draw) → content`; `b""` is an empty file."""

ABSENT = "absent"
"""The one fault that is not a new content."""


def _truncated(suffix: str, content: bytes, draw: np.random.Generator) -> bytes:
    return content[: int(draw.integers(1, len(content)))]


def _one_byte_short(suffix: str, content: bytes, draw: np.random.Generator) -> bytes | None:
    return None if suffix in (".csv", ".json", ".yaml", ".txt") else content[:-1]  # the last line end says nothing


def _noise(suffix: str, content: bytes, draw: np.random.Generator) -> bytes:
    return b"\xff" + draw.bytes(max(len(content) - 1, 1))


def _damaged_head(suffix: str, content: bytes, draw: np.random.Generator) -> bytes:
    return bytes(b ^ 0xFF for b in content[:64]) + content[64:]


def _pickled(suffix: str, content: bytes, draw: np.random.Generator) -> bytes:
    return pickle.dumps({"losses": [1.0, 2.0]})


def _other_format(suffix: str, content: bytes, draw: np.random.Generator) -> bytes:
    archive = io.BytesIO()
    np.savez(archive, losses=np.zeros(3))
    return save({"weight": torch.zeros(3)}) if suffix == ".npz" else archive.getvalue()


def _foreign(suffix: str, content: bytes, draw: np.random.Generator) -> bytes:
    """A sound file of the same format with other things in it."""
    archive = io.BytesIO()
    np.savez(archive, other=np.arange(3))
    known = {
        ".npz": archive.getvalue(),
        ".safetensors": save({"other": torch.zeros(3)}),
        ".csv": b"other,columns\n1,2\n",
        ".json": b'{"other": 1}\n',
        ".yaml": b"other: 1\n",
        ".txt": b"Other text.",
    }
    return known[suffix]


def _rewritten(
    suffix: str,
    content: bytes,
    arrays: Callable[[np.ndarray], np.ndarray],
    tensors: Callable[[torch.Tensor], torch.Tensor],
) -> bytes | None:
    if suffix == ".npz":
        with np.load(io.BytesIO(content)) as archive:
            kept = {name: arrays(archive[name]) for name in archive.files}
        out = io.BytesIO()
        np.savez(out, **kept)
        return out.getvalue()
    if suffix == ".safetensors":
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
        return save({name: tensors(t) for name, t in load(content).items()}, metadata)
    return None


def _not_finite(suffix: str, content: bytes, draw: np.random.Generator) -> bytes | None:
    return _rewritten(
        suffix,
        content,
        lambda a: np.full_like(a, np.nan) if a.dtype.kind == "f" else a,
        lambda t: torch.full_like(t, float("nan")),
    )


def _shorter(suffix: str, content: bytes, draw: np.random.Generator) -> bytes | None:
    """Each array without its last row, as a file of another size of run would be."""
    return _rewritten(suffix, content, lambda a: a[:-1] if a.ndim else a, lambda t: t[:-1].contiguous())


def _text_in_place_of_numbers(suffix: str, content: bytes, draw: np.random.Generator) -> bytes | None:
    return _rewritten(suffix, content, lambda a: a.astype(str), lambda t: t.to(torch.uint8))


def _one_bit(suffix: str, content: bytes, draw: np.random.Generator) -> bytes | None:
    """Only where the format itself notices: a flipped bit in a weight is a weight (DVC's hashes tell)."""
    if suffix != ".npz":
        return None
    at = int(draw.integers(128, len(content) - 512))
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def _no_rows(suffix: str, content: bytes, draw: np.random.Generator) -> bytes | None:
    return content.split(b"\n", 1)[0] + b"\n" if suffix == ".csv" else None


def _list(suffix: str, content: bytes, draw: np.random.Generator) -> bytes | None:
    return b"[1, 2]\n" if suffix in (".json", ".yaml") else None


MUTATIONS: Mapping[str, Mutation] = {
    "empty": lambda suffix, content, draw: b"",
    "truncated": _truncated,
    "one byte short": _one_byte_short,
    "noise": _noise,
    "damaged head": _damaged_head,
    "pickled": _pickled,
    "other format": _other_format,
    "foreign": _foreign,
    "not finite": _not_finite,
    "shorter": _shorter,
    "other type": _text_in_place_of_numbers,
    "one bit": _one_bit,
    "no rows": _no_rows,
    "a list": _list,
}


def mutants(path: Path, seed: int) -> dict[str, bytes | None]:
    """Every fault of a file by its name: the new content, None for the absent file."""
    content, draw = path.read_bytes(), np.random.default_rng(seed)
    made: dict[str, bytes | None] = {ABSENT: None}
    for name, mutation in MUTATIONS.items():
        mutant = mutation(path.suffix, content, draw)
        if mutant is not None and mutant != content:
            made[name] = mutant
    return made
