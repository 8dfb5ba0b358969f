"""The page of results: valid HTML that needs no network and no script, whose links lead to files that are there."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlparse

import pytest

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.report import names
from polca.report.answers import Files, answer
from polca.report.figures import ENGLISH_FIGURES, FIGURES, FURTHER, FURTHER_ENGLISH
from polca.report.headlines import scalars_path
from polca.report.page import CAPTIONS, SOURCE, results_page
from polca.report.verify import verify
from polca.study.paths import PresetPaths

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Tags in order, those that stay open or close another, links, identities and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, name: str) -> list[str]:
        return [str(attributes[name]) for _, attributes in self.tags if name in attributes]


@pytest.fixture
def paths(tmp_path: Path) -> PresetPaths:
    """The laptop preset's committed results, to be changed."""
    own = PresetPaths("laptop")
    for name in ("data/published.yaml", "data/expected.yaml", "params.yaml", SOURCE.as_posix()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for folder in (own.paper, own.figures):
        shutil.copytree(folder, tmp_path / folder.relative_to(ROOT))
    return PresetPaths("laptop", tmp_path)


def test_tags_are_closed_and_identities_named_once(paths: PresetPaths) -> None:
    text = results_page(paths)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    assert (page.open, page.wrong) == ([], [])
    assert len(set(page.values("id"))) == len(page.values("id"))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images
    assert all(attributes["alt"] for attributes in images)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [a for _, a in page.tags]


def test_links_lead_to_files_and_to_no_network(paths: PresetPaths) -> None:
    page = Page(results_page(paths))
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "link", "object"}
    identities = set(page.values("id"))
    for link in [*page.values("href"), *page.values("src")]:
        parts = urlparse(link)
        assert (parts.scheme, parts.netloc) == ("", ""), link
        if link.startswith("#"):
            assert link[1:] in identities
        else:
            assert (paths.paper / link).is_file(), link
    assert "url(" not in results_page(paths)


def test_every_picture_verdict_and_number_is_there(paths: PresetPaths) -> None:
    page, found = Page(results_page(paths)), verify(paths)
    pictures = [*paths.figures.glob("*.png"), *(paths.paper / "validity").glob("*.png")]
    known = {path.stem for path in pictures if path.stem in CAPTIONS}
    assert {Path(link).stem for link in page.values("src")} == known >= {f"figure_{n:02d}" for n in range(1, 12)}
    words = " ".join(page.words)
    for claim in found.claims:
        assert claim.words in words
        assert names.numbers(claim.statistic) in words
    rows = [tag for tag, _ in page.tags if tag == "tr"]
    assert len(rows) == 2 + len(found.claims) + len(found.numbers.rows)
    for row in found.numbers.rows:
        assert row.published in page.words
        assert (row.reproduced or "–") in page.words


def test_english_of_another_preset_is_shown_and_named() -> None:
    paths = PresetPaths("paper")
    page = Page(results_page(paths))
    shown = {Path(link).stem for link in page.values("src")}
    assert {f"figure_{n:02d}" for n in range(1, 12)} <= shown
    own = {path.stem for path in paths.figures.glob("*.png")}
    for name in shown & {f"figure_{n:02d}" for n in ENGLISH_FIGURES} - own:
        assert f"{CAPTIONS[name]}, of the smaller preset wikipedia" in page.words
        assert f"../../figures/wikipedia/{name}.png" in page.values("src")


def test_it_begins_with_the_answer_in_plain_words(paths: PresetPaths) -> None:
    """The README's, made from the same numbers; English claims say so, and no name of the result files is shown."""
    page = Page(results_page(paths))
    words = " ".join(page.words)
    (said,) = answer(Files(paths.root), "laptop", "this preset's model")
    assert words.index(said) < words.index("Verdicts on the paper's claims")
    (readme,) = answer(Files(paths.root))
    assert said == readme.replace("our small `laptop` model", "this preset's model")
    assert "English: Most kept directions have a cluster" in words
    assert not re.search(r"polca_\w+|loss_change|shuffled_hessian|fraction_hidden", words)
    assert "polca explore laptop" in words


def test_every_figure_has_a_caption() -> None:
    numbered = {f"figure_{number:02d}" for number in (*FIGURES, *ENGLISH_FIGURES)}
    assert numbered | {f"figure_{name}" for name in (*FURTHER, *FURTHER_ENGLISH)} <= CAPTIONS.keys()


def test_the_same_text_every_time_and_another_number_another_one(paths: PresetPaths) -> None:
    first = results_page(paths)
    assert results_page(paths) == first
    path = scalars_path(paths)
    text, found = re.subn(r'("arithmetic_parameters": )\d+', r"\g<1>4711", path.read_text(encoding="utf-8"))
    assert found == 1
    path.write_text(text, encoding="utf-8")
    assert "4711" not in first
    assert "4711" in results_page(paths)


def test_results_are_text_and_never_tags(paths: PresetPaths) -> None:
    claims = paths.tables / "claims.csv"
    text = claims.read_text(encoding="utf-8")
    claims.write_text(text.replace("POLCA clusters isolate carries", "<script>x</script>"), encoding="utf-8")
    assert "&lt;script&gt;" in results_page(paths)


def test_missing_results_are_named(paths: PresetPaths) -> None:
    scalars_path(paths).unlink()
    with pytest.raises(PolcaError, match=r"metrics_all\.json: no such file"):
        results_page(paths)
