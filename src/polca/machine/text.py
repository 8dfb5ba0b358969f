"""Text on one line: characters that would not be seen or would break it, and messages of others."""

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


def one_line(error: BaseException) -> str:
    """Somebody else's message, without its line breaks."""
    return " ".join(str(error).split())
