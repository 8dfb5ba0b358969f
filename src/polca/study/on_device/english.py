"""English on a machine that has neither tokenizers nor spaCy: text, windows and parts of speech travel in a folder."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from polca.errors import PolcaError
from polca.machine.files import read_json, read_npz, write_npz
from polca.machine.runtime import device
from polca.study.on_device.results import write_packed_arrays
from polca.study.published import TEXT_FILES
from polca.study.results import LABELS
from polca.tasks.english import text
from polca.tasks.english.task import EnglishTask
from polca.tasks.task import Labels

FILES = ("training.npz", "labels.npz", *TEXT_FILES)
"""What a run reads; the tokenizer it only hands on to the results."""
CARRY = "python -m polca.study.in_memory.carry"
KEPT_GRAPHS_BYTES = 4 * 2**30
"""Logits of the Hessian sample up to which a GPU of 80 GB keeps its graphs, which take about ten times as much: 40 GB
beside 11 GB of checkpoints and 10 GB of vectors at the paper's size. A product is then a second backward pass alone."""


@dataclass(frozen=True)
class CarriedEnglish(EnglishTask):
    """The task on the files of a folder that `carry` wrote, `labels.npz` among them.

    Raises:
        PolcaError: see `check`.
    """

    @property
    def keep_graphs(self) -> bool:
        """Whether the graphs of the Hessian sample fit: of more logits on a GPU than elsewhere."""
        s = self.settings
        logits = 4 * s.basis.hessian_examples * s.data.context * s.data.vocabulary
        return super().keep_graphs or (device().type == "cuda" and logits <= KEPT_GRAPHS_BYTES)

    @cached_property
    def windows(self) -> text.TrainingWindows:
        """The training windows."""
        stream = read_npz(self.file("training.npz"), {"tokens": "int N"})["tokens"]
        self._check_ids("training.npz", stream)
        return self._windows(stream)

    def token_labels(self) -> Labels:
        """The parts of speech that spaCy gave at home."""
        return read_npz(self.file("labels.npz"), LABELS[self.name][0])

    def text_members(self) -> dict[str, bytes]:
        """The files by which a laptop names clusters, for `text.zip` beside the results."""
        return {name: self.file(name).read_bytes() for name in TEXT_FILES}

    def _check_ids(self, name: str, ids: text.Ids) -> None:
        largest, vocabulary = int(ids.max(initial=0)), self.settings.data.vocabulary
        if largest >= vocabulary:  # which a GPU would answer with an error that names nothing
            raise PolcaError(
                f"{self.file(name)}: token {largest}, where english.data.vocabulary is {vocabulary}: make the folder "
                f"with this preset, by `{CARRY}`"
            )

    def check(self) -> None:
        """Read everything once.

        Raises:
            PolcaError: a file that is missing, damaged, of another preset, or does not fit the others.
        """
        for name in FILES:
            if not self.file(name).is_file():
                raise PolcaError(
                    f"{self.file(name)}: no such file: make the folder with `{CARRY}` where spaCy is, and copy all of "
                    "it"
                )
        _ = self.windows
        self._check_ids("evaluation.npz", self.evaluation.tokens)
        try:
            tokens = len(self.tagged_text(self.token_labels()).targets)
        except PolcaError as error:
            if str(self.folder) in str(error):
                raise
            raise PolcaError(f"{self.file('labels.npz')}: {error}: make the folder again, by `{CARRY}`") from error
        if read_json(self.file("corpus.json")).get("evaluation_tokens") != tokens:
            raise PolcaError(
                f"{self.file('corpus.json')}: not about the {tokens} evaluated tokens beside it: make the folder "
                f"again, by `{CARRY}`"
            )


def carry(task: EnglishTask, folder: Path) -> None:
    """Write what `CarriedEnglish` reads: what the stages `data` and `labels` write, the training text packed.

    Raises:
        PolcaError: as those stages.
    """
    own = replace(task, folder=folder)
    own.write_data()
    write_npz(own.file("labels.npz"), own.token_labels())
    stream = read_npz(own.file("training.npz"), {"tokens": "int N"})["tokens"]
    write_packed_arrays(own.file("training.npz"), {"tokens": stream.astype(np.min_scalar_type(int(stream.max())))})
