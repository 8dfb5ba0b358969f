"""An archive that is shared out over several files, since a borrowed machine gives back small ones."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from polca.study.archive import Archive, Factors


def joined(archives: Sequence[Archive]) -> Archive:
    """Archives of some vectors each as one of all."""
    first, values = archives[0], [archive.values for archive in archives]
    if isinstance(first.values, Factors):
        columns = {f.name: [getattr(value, f.name) for value in values] for f in fields(Factors)}
        together: Any = Factors(**{name: np.concatenate(parts) for name, parts in columns.items()})
    else:
        together = np.concatenate(values)  # type: ignore[arg-type]
    return replace(
        first,
        vector_steps=np.concatenate([archive.vector_steps for archive in archives]),
        relative_error=np.concatenate([archive.relative_error for archive in archives]),
        guarded=sum(archive.guarded for archive in archives),
        values=together,
    )


def part_paths(path: Path, count: int) -> list[Path]:
    """The files of an archive in `count` parts: `path` itself, or `<name>_1_of_<count>.npz` and so on."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}_{number + 1}_of_{count}{path.suffix}") for number in range(count)]


def paths_there(path: Path) -> list[Path]:
    """The files in which an archive lies, of which some may be missing; `path` itself where there are no parts."""
    parts = sorted(path.parent.glob(f"{path.stem}_[0-9]_of_[0-9]{path.suffix}"))
    # The name of each part says how many there are.
    return part_paths(path, int(parts[0].stem.rpartition("_")[2]) if parts else 1)
