"""From `Page` to one HTML file that needs no other file and no network, and runs no script but its own."""

import base64
import hashlib
import html
import json
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from polca.explorer.schema import Page
from polca.machine.files import write_text

PARTS = tuple(f"explorer.{part}.js" for part in ("view", "data", "charts", "overview", "map", "tokens"))
"""The page's script: the body of one function."""

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


def embedded_json(value: Any) -> str:
    """JSON that can stand in a `<script>` element: ASCII, and without `<`, `>` and `&`, which only strings can hold."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _file(name: str) -> str:
    return (resources.files("polca.explorer") / name).read_text(encoding="utf-8")


def page_script() -> str:
    """The script that draws the page."""
    return '"use strict";\n(async () => {\n' + "\n".join(_file(name) for name in PARTS) + "})();\n"


def _hash(script: str) -> str:
    """The script as a content security policy names it."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii") + "'"


def render(page: Page) -> str:
    """The page as HTML; equal pages give equal text.

    Its content security policy lets only the two embedded scripts run, by their hashes, and forbids every request.
    """
    plotly, script = get_plotlyjs().replace("\r\n", "\n"), page_script()
    return Template(_file("explorer.html")).substitute(
        title=html.escape(page.title),
        scripts=f"{_hash(plotly)} {_hash(script)}",
        style=_file("explorer.css"),
        data=embedded_json(page.to_json()),
        plotly=plotly,
        script=script,
    )


def write_page(page: Page, path: Path) -> None:
    """Write the page.

    Raises:
        PolcaError: the folder cannot be written.
    """
    write_text(path, render(page))
