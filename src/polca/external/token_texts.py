"""The evaluation tokens as text, in one file: with it the results of `polca analyze` can be read without the data."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polca.errors import PolcaError
from polca.machine.files import read_json, write_json

BEFORE, AFTER = 12, 3
"""Tokens of context shown before and after a target."""


def bracketed(before: str, target: str, after: str) -> str:
    """A token in its context, a space at its beginning left outside the brackets."""
    space = " " if target.startswith(" ") and target.strip() else ""
    return f"{before}{space}⟦{target.removeprefix(space)}⟧{after}"


def alone(sequence: int, place: int, name: str) -> str:
    """A target that continues no text."""
    return f"sequence {sequence}, target {place} ⟦{name}⟧"


@dataclass(frozen=True)
class TokenTexts:
    """X evaluation tokens in their sequences.

    Attributes:
        names: `[X]` what each token is called in tables; the same token has the same name wherever it stands.
        sequences: strings that, joined, are one text each.
        sequence, place: `[X]` which string of which sequence token x is, from 0.

    Raises:
        PolcaError: values of other types, lists of different lengths, or places that do not exist.
    """

    names: Sequence[str]
    sequences: Sequence[Sequence[str]]
    sequence: Sequence[int]
    place: Sequence[int]

    def __post_init__(self) -> None:
        lists: list[Any] = [self.names, self.sequences, self.sequence, self.place]
        if not all(isinstance(part, list) for part in lists) or not all(isinstance(s, list) for s in self.sequences):
            raise PolcaError("token texts: expected lists of names, sequences, sequence and place: write them again")
        if not all(isinstance(text, str) for part in (self.names, *self.sequences) for text in part):
            raise PolcaError("token texts: a name or a part of a sequence is not a string: write them again")
        if not len(self.names) == len(self.sequence) == len(self.place):
            raise PolcaError(
                f"token texts: {len(self.names)} names, {len(self.sequence)} sequence and {len(self.place)} place: "
                "write them again"
            )
        for token, (row, at) in enumerate(zip(self.sequence, self.place, strict=True)):
            # In Python, true is the integer 1.
            if not (type(row) is int and 0 <= row < len(self.sequences)) or not (
                type(at) is int and 0 <= at < len(self.sequences[row])
            ):
                raise PolcaError(f"token texts: token {token} stands nowhere: write them again")

    def __len__(self) -> int:
        return len(self.names)

    def name(self, token: int) -> str:
        """What a token is called in tables."""
        return self.names[token]

    def context(self, token: int) -> str:
        """A token in brackets `⟦…⟧`, with those before and after; or which sequence and target it is."""
        row, at = self.sequence[token], self.place[token]
        # In running text the first token of a sequence is context alone.
        if self.place[0] == 0:
            return alone(row, at, self.names[token])
        pieces = self.sequences[row]
        return bracketed(
            "".join(pieces[max(0, at - BEFORE) : at]), pieces[at], "".join(pieces[at + 1 : at + 1 + AFTER])
        )

    def save(self, path: Path) -> None:
        """Write as a JSON object with the attributes as its members.

        Raises:
            PolcaError: the folder cannot be written.
        """
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> "TokenTexts":
        """Read what `save` wrote.

        Raises:
            PolcaError: missing, damaged, or not token texts.
        """
        values = read_json(path)
        if set(values) != set(cls.__dataclass_fields__):
            raise PolcaError(f"{path}: not token texts (has {', '.join(sorted(values))}): write them again")
        try:
            return cls(**values)
        except PolcaError as error:
            raise PolcaError(f"{path}: {error}") from error
