"""What the paper numbers, its tables and its figures: each is made from the results of the setting that it shows."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from polca.errors import PolcaError
from polca.study.results import EnglishResults, PresetResults, Results

T = TypeVar("T")


@dataclass(frozen=True)
class Numbered(Generic[T]):
    """All things of one noun by number.

    Attributes:
        noun: `table` or `figure`.
        verb: how one comes about, such as `drawn`.
        arithmetic, english: what makes each from its setting's results.
    """

    noun: str
    verb: str
    arithmetic: Mapping[int, Callable[[Results], T]]
    english: Mapping[int, Callable[[EnglishResults], T]]

    def make(self, number: int, results: Results | EnglishResults) -> T:
        """The thing of this number.

        Raises:
            PolcaError: an unknown number, one of the other setting, or a result file is missing or damaged.
        """
        if isinstance(results, EnglishResults) and number in self.english:
            return self.english[number](results)
        if isinstance(results, Results) and number in self.arithmetic:
            return self.arithmetic[number](results)
        known = sorted([*self.arithmetic, *self.english])
        if number in known:
            raise PolcaError(
                f"{self.noun} {number}: not of the {results.setting} setting: give the other setting's results"
            )
        raise PolcaError(f"{self.noun} {number}: not {self.verb} here (known: {', '.join(map(str, known))})")

    def sources(self, results: PresetResults) -> Iterator[tuple[int, Results | EnglishResults]]:
        """Every number of the settings that the preset has, in order, with the results of its setting."""
        for number in sorted([*self.arithmetic, *self.english]):
            own = results.english if number in self.english else results.arithmetic
            if own is not None:
                yield number, own
