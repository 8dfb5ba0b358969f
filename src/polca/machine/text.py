"""How characters are shown that would not be seen, or would break a line of a table."""

NEWLINE, UNPRINTABLE = "⏎", "�"


def visible(text: str, space: str | None = None) -> str:
    """`text` on one line: line ends as ⏎, what cannot be printed as �, white space as `space`.

    Args:
        space: for white space of any kind; None keeps the plain blank, and other kinds count as not printable.
    """

    def shown(c: str) -> str:
        if c == "\n":
            return NEWLINE
        if space is not None and c.isspace():
            return space
        return c if c.isprintable() else UNPRINTABLE

    return "".join(map(shown, text))
