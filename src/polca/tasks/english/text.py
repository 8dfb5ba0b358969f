"""Next-token prediction on English text (§5): tokenizer, packed contexts, and the evaluation tokens.

Documents are encoded one by one and joined into one stream with `<PAD>` between them. A *window* is C + 1 successive
tokens of the stream, C being the model's context: the model reads the first C and predicts the last C.

Evaluated are the predictions that have three tokens before them in their window, since labels look at a target and the
three tokens before it: targets at the window's places 3 … C, C − 2 a window. That reading gives the published number of
evaluation tokens, 12,600 = 100 windows × (128 − 2).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.files import read_npz, read_text, writing
from polca.tasks.transformer import ModelConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, PAD_ID = "<PAD>", 0
BEFORE = 3
"""Tokens before a target that its label looks at."""
BETWEEN_DOCUMENTS = "\n\n"
"""Separates documents in `evaluation.txt`; `<PAD>` stands there in the stream."""
BYTES = 256

Ids = NDArray[np.int32]
D = TypeVar("D", bound=np.generic)


def train_tokenizer(documents: Sequence[str], vocabulary: int) -> "Tokenizer":
    """Byte-level BPE of `vocabulary` entries, `<PAD>` included; newlines and spaces are kept as they are.

    Raises:
        PolcaError: the vocabulary cannot hold the bytes, or the text is too short to fill it.
    """
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer

    if vocabulary <= BYTES:
        raise PolcaError(f"english.data.vocabulary = {vocabulary}: must exceed the {BYTES} bytes and {PAD}")
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.encode_special_tokens = True  # where the text itself says `<PAD>`, it is text
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(PAD, normalized=False, special=True)],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    if tokenizer.get_vocab_size() < vocabulary:
        raise PolcaError(
            f"english.data.vocabulary = {vocabulary}: the training text gives only {tokenizer.get_vocab_size()} "
            "entries: lower it or take more text"
        )
    return tokenizer


def save_tokenizer(tokenizer: "Tokenizer", path: Path) -> None:
    """Write as the `tokenizer.json` of Hugging Face `tokenizers`."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False), encoding="utf-8")


def load_tokenizer(path: Path) -> "Tokenizer":
    """Read what `save_tokenizer` wrote.

    Raises:
        PolcaError: missing or damaged.
    """
    from tokenizers import Tokenizer

    if not path.is_file():
        raise PolcaError(f"{path}: no such file: run the stage that writes it (`make repro`)")
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises plain Exception
        raise PolcaError(f"{path}: not a readable tokenizer: delete it and run again") from error
    tokenizer.encode_special_tokens = True  # not kept in the file
    return tokenizer


def _encoded(
    tokenizer: "Tokenizer", documents: Sequence[str], batch: int = 256
) -> Iterator[tuple[Ids, NDArray[np.int64]]]:
    """Ids `[n]` and character offsets `[n, 2]` of each document."""
    for first in range(0, len(documents), batch):
        for encoding in tokenizer.encode_batch(list(documents[first : first + batch]), add_special_tokens=False):
            offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
            yield np.array(encoding.ids, np.int32), offsets


def pack(tokenizer: "Tokenizer", documents: Sequence[str]) -> Ids:
    """The documents' tokens as one stream, `<PAD>` between documents."""
    parts: list[Ids] = []
    for ids, _ in _encoded(tokenizer, documents):
        parts += [ids, np.array([PAD_ID], np.int32)]
    return np.concatenate(parts[:-1]) if parts else np.zeros(0, np.int32)


@dataclass(frozen=True)
class EvaluationText:
    """The evaluation windows and where their tokens stand in the text.

    Attributes:
        text: the evaluation documents, `BETWEEN_DOCUMENTS` between them.
        tokens: `[S, C + 1]` ids.
        starts, ends: `[S, C + 1]` offsets of each token in `text`, in characters, half-open; −1 for `<PAD>`.
    """

    text: str
    tokens: Ids
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def fits(self) -> bool:
        """Whether the offsets of every token but `<PAD>` are a part of the text."""
        return not (((self.ends <= self.starts) & (self.starts >= 0)) | (self.ends > len(self.text))).any()


def evaluation_form(number: int, context: int) -> dict[str, str]:
    """What `evaluation.npz` holds (see `artifacts.read_npz`) for so many windows of a model's context."""
    return dict.fromkeys(("tokens", "starts", "ends"), f"int {number} {context + 1}")


def read_evaluation(text: Path, windows: Path, number: int, context: int) -> EvaluationText:
    """Read `evaluation.txt` and `evaluation.npz`.

    Args:
        number, context: windows S and context C that the preset asks for.

    Raises:
        PolcaError: missing, damaged, of other sizes, or not of one another.
    """
    found = EvaluationText(read_text(text), **read_npz(windows, evaluation_form(number, context)))
    if not found.fits:
        raise PolcaError(f"{text}: is not the text of {windows.name}: run stage data@english again")
    return found


def evaluation_text(
    tokenizer: "Tokenizer", documents: Sequence[str], windows: int, context: int, seed: int
) -> EvaluationText:
    """Draw `windows` of the disjoint windows of the evaluation stream at random, and keep them in text order.

    Raises:
        PolcaError: the documents are too short for so many windows.
    """
    ids: list[Ids] = []
    spans: list[NDArray[np.int64]] = []
    base = 0
    for document, (tokens, offsets) in zip(documents, _encoded(tokenizer, documents), strict=True):
        ids += [tokens, np.array([PAD_ID], np.int32)]
        spans += [offsets + base, np.full((1, 2), -1, np.int64)]
        base += len(document) + len(BETWEEN_DOCUMENTS)
    stream = np.concatenate(ids[:-1]) if ids else np.zeros(0, np.int32)
    places = np.concatenate(spans[:-1]) if spans else np.zeros((0, 2), np.int64)
    length = context + 1
    available = len(stream) // length
    if available < windows:
        raise PolcaError(
            f"english.data.evaluation_contexts = {windows}: the {len(documents)} evaluation documents hold only "
            f"{available} windows of {length} tokens: take more text, lower it, or raise "
            "english.data.corpus.evaluation_fraction"
        )
    chosen = np.sort(np.random.default_rng(seed).permutation(available)[:windows])
    rows = chosen[:, None] * length + np.arange(length)
    return EvaluationText(BETWEEN_DOCUMENTS.join(documents), stream[rows], places[rows, 0], places[rows, 1])


class TrainingWindows:
    """The training stream as windows of C + 1 tokens, in a new random order in every pass over the text.

    Successive windows share one token, so that every token of the stream is predicted once a pass.

    Raises:
        PolcaError: the stream is shorter than a window, or training would pass over it more often than allowed.
    """

    def __init__(self, stream: Ids, context: int, seed: int, needed: int = 0, max_epochs: int = 0) -> None:
        self._stream, self._context, self._seed = stream, context, seed
        self.windows = max(0, len(stream) - 1) // context
        if self.windows < 1:
            raise PolcaError(
                f"english.data.corpus: {len(stream)} training tokens are no window of {context + 1}: add text"
            )
        if max_epochs and needed > max_epochs * self.windows:
            raise PolcaError(
                f"english.data.corpus: training reads {needed} windows of {context + 1} tokens, more than "
                f"english.data.max_epochs = {max_epochs} times the text's {self.windows}: add text, lower "
                "english.training.steps, or raise the limit"
            )
        self._orders: dict[int, NDArray[np.int64]] = {}

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            self._orders = {epoch: np.random.default_rng([self._seed, epoch]).permutation(self.windows)}
        return self._orders[epoch]

    def take(self, first: int, count: int) -> Ids:
        """Windows number `first` … `first + count − 1` of training `[count, C + 1]`."""
        numbers = np.arange(first, first + count)
        epochs, places = np.divmod(numbers, self.windows)
        chosen = np.concatenate([self._order(int(e))[places[epochs == e]] for e in np.unique(epochs)])
        return self._stream[chosen[:, None] * self._context + np.arange(self._context + 1)]


def model_config(
    vocabulary: int, context: int, layers: int, width: int, heads: int, mlp_width: int, evaluated: bool = False
) -> ModelConfig:
    """The English model (published: 40,274,737 parameters at vocabulary 30,001); `evaluated`: only evaluated places."""
    targets = context + 1 - BEFORE if evaluated else 0
    return ModelConfig(vocabulary, vocabulary, context, layers, width, heads, mlp_width, targets=targets)


def training_batch(windows: Ids) -> tuple[Tensor, Tensor]:
    """Windows `[N, C + 1]` → `(inputs [N, C], targets [N, C])`."""
    ids = torch.from_numpy(windows.astype(np.int64))
    return ids[:, :-1], ids[:, 1:]


def evaluation_batch(windows: Ids) -> tuple[Tensor, Tensor]:
    """Windows `[N, C + 1]` → `(inputs [N, C], targets [N, C − 2])`, the evaluated places."""
    ids = torch.from_numpy(windows.astype(np.int64))
    return ids[:, :-1], ids[:, BEFORE:]


def evaluated(windows: NDArray[D]) -> NDArray[D]:
    """The evaluated places of per-token arrays `[S, C + 1]` as `[X]`, X = S · (C − 2), window by window."""
    return windows[:, BEFORE:].reshape(-1)
