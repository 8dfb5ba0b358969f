"""What a page consists of, as a parser other than a browser's reads it."""

from html.parser import HTMLParser


class Elements(HTMLParser):
    """The elements of a page by a parser other than a browser's: tags with attributes, scripts by id or number."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.open = ""

    @classmethod
    def of(cls, html: str) -> "Elements":
        parser = cls()
        parser.feed(html)
        parser.close()
        return parser

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.open = dict(attrs).get("id") or str(len(self.scripts))
            self.scripts[self.open] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open:
            self.scripts[self.open] += data
