"""A text data set of the Hugging Face Hub, streamed."""

from collections.abc import Iterator
from pathlib import Path

from polca.errors import PolcaError
from polca.tasks.english.corpora.documents import Corpus, cut

TEXT = "text"
"""Column that is read."""
_TIMEOUT = 10.0
"""Seconds for the first answer of the Hub."""
_WAY_OUT = (
    "set english.data.corpus.source: local with a directory of .txt files, or run "
    "`make repro PRESET=wikipedia CORPUS=<dir>`"
)


def _check_reachable(dataset: str) -> None:
    """Ask the Hub once; `datasets` itself would try again for half a minute and more.

    Raises:
        PolcaError: no answer, a failing server, or offline mode (`HF_HUB_OFFLINE`).
    """
    from huggingface_hub import constants, get_session

    try:
        answer = get_session().head(f"{constants.ENDPOINT}/api/datasets/{dataset}", timeout=_TIMEOUT)
    except Exception as error:  # the HTTP library, and so its exceptions, differ between versions of huggingface_hub
        raise PolcaError(
            f"{dataset}: the Hugging Face Hub is unreachable ({type(error).__name__}): {_WAY_OUT}"
        ) from error
    if answer.status_code >= 500:
        raise PolcaError(f"{dataset}: the Hugging Face Hub fails (HTTP {answer.status_code}): {_WAY_OUT}")


def read_hub(
    dataset: str, configuration: str, characters: int, split: str = "train", revision: str | None = None
) -> Corpus:
    """Stream a data set with a column `text`, one document a row, its paragraphs at newlines.

    No code of the data set is run. Nothing is set globally.

    Args:
        dataset: name on the Hub, or a local folder of data files.
        configuration: of the data set.
        characters: at most, and no more is downloaded; 0: all.
        split: of the data set.
        revision: branch, tag or commit; None: the newest.

    Raises:
        PolcaError: the Hub is unreachable, the data set cannot be loaded, or it has no text.
    """
    name = f"{dataset} ({configuration})"
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise PolcaError(f"{name}: the package datasets is not installed: install requirements.lock") from error
    if not Path(dataset).is_dir():
        _check_reachable(dataset)

    def documents() -> Iterator[list[str]]:
        rows = load_dataset(dataset, configuration, split=split, streaming=True, revision=revision)
        for row in rows:
            if not isinstance(row.get(TEXT), str):
                raise PolcaError(f"{name}: no column `{TEXT}` of strings: choose another data set")
            yield [paragraph.strip() for paragraph in row[TEXT].splitlines()]

    try:
        kept = cut(documents(), characters)
    except PolcaError:
        raise
    except Exception as error:  # datasets, huggingface_hub, fsspec and pyarrow each raise their own kinds
        reason = " ".join(str(error).split())
        raise PolcaError(f"{name}: cannot be loaded ({type(error).__name__}: {reason}): {_WAY_OUT}") from error
    if not kept:
        raise PolcaError(
            f"{name}: no text within english.data.corpus.characters = {characters}: raise it, or {_WAY_OUT}"
        )
    return Corpus(
        source="hub",
        title=f"{name}, split {split}" + (f", revision {revision}" if revision else ""),
        licence="see the data set's card",
        attribution=f"https://huggingface.co/datasets/{dataset}",
        documents=kept,
    )
