"""The one exception that bad input raises."""

from collections.abc import Iterable


class PolcaError(ValueError):
    """Bad input or an impossible setting: one line that names the file or parameter and the way out."""


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse an option that does not exist.

    Raises:
        PolcaError: `value` is none of `choices`; the message calls it `name`.
    """
    if value not in (known := list(choices)):
        raise PolcaError(f"{name} = {value!r}: expected one of {', '.join(known)}")
