"""What a page consists of, as a parser other than a browser's reads it, and its packed arrays."""

import base64
import zlib
from html.parser import HTMLParser
from typing import Any

import numpy as np

from polca.explorer.packing import LEVELS


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


def unpack(packed: dict[str, Any]) -> Any:
    """The array that the page holds, as its script unpacks it."""
    content = zlib.decompress(base64.b64decode(packed["data"]))
    array = np.frombuffer(content, f"<{packed['type']}").reshape(packed["shape"])
    return np.cumsum(array, axis=-1, dtype=array.dtype) if packed["delta"] else array


def trajectories(stored: dict[str, Any]) -> Any:
    """Token trajectories `[K, X, Q]` as the page shows them."""
    low, span, levels = (unpack(stored[key]) for key in ("low", "span", "levels"))
    return low[..., None] + span[..., None] * (levels / LEVELS)
