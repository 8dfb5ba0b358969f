"""Sets of arrays that one `.npz` holds."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from numpy.typing import NDArray

from polca.machine.files import read_npz, write_npz


@dataclass(frozen=True)
class Arrays:
    """Base of frozen dataclasses whose fields are arrays, or None where they may be missing.

    Attributes:
        form: what a file of them holds, as `read_npz` checks it.
    """

    form: ClassVar[Mapping[str, str]]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, as the file holds them."""
        return {f.name: array for f in fields(self) if (array := getattr(self, f.name)) is not None}

    def save(self, path: Path) -> None:
        """Write all arrays to an `.npz`."""
        write_npz(path, self.arrays())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            PolcaError: missing, damaged, of another kind, or with values that are not finite where they must be.
        """
        return cls(**read_npz(path, cls.form))
