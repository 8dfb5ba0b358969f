"""A page of the explorer of made-up results, with these results."""

from dataclasses import dataclass
from pathlib import Path

from polca.explorer import Page, preset_page, write_page
from synthetic_explorer import SyntheticRun


@dataclass(frozen=True)
class WrittenPage:
    """A made-up run, what its page shows, and the page's file."""

    run: SyntheticRun
    page: Page
    path: Path


def written_page(root: Path, vectors: int = 5) -> WrittenPage:
    run = SyntheticRun(root, vectors).write()
    made = WrittenPage(run, preset_page(run.paths), root / "page.html")
    write_page(made.page, made.path)
    return made
