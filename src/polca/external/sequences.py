"""Evaluation data of one's own: text or batches as sequences, and how their tokens are shown."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polca.errors import PolcaError
from polca.external.texts import read_text_file
from polca.external.token_texts import AFTER, BEFORE, TokenTexts, alone, bracketed
from polca.machine.text import UNPRINTABLE, visible


@dataclass(frozen=True)
class Sequences:
    """N sequences with T targets each.

    Attributes:
        inputs: `[N, …]` what the model sees.
        targets: `[N, T]` what it is to predict.
        decode: ids to text, for tables; None shows the ids.
    """

    inputs: Tensor
    targets: Tensor
    decode: Callable[[list[int]], str] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.targets)

    def part(self, start: int, stop: int) -> "Sequences":
        """Sequences `start` … `stop` − 1."""
        return Sequences(self.inputs[start:stop], self.targets[start:stop], self.decode)

    def batches(self, size: int) -> list[tuple[Tensor, Tensor]]:
        """(inputs, targets) in batches of at most `size` sequences."""
        return [(self.inputs[i : i + size], self.targets[i : i + size]) for i in range(0, len(self), size)]

    def _shown(self, ids: Tensor) -> str:
        numbers = [int(i) for i in ids]
        text = " ".join(map(str, numbers)) if self.decode is None else self.decode(numbers)
        return visible(text)

    @property
    def _continues(self) -> bool:
        """Whether the targets continue the first input, as in running text."""
        return self.inputs.shape == self.targets.shape and not self.inputs.is_floating_point()

    def _pieces(self, ids: Tensor) -> list[str]:
        """The texts of ids in a row, which joined are the text of all."""
        pieces = [self._shown(ids[:1])]
        for i in range(1, len(ids)):
            # Decoded together, since a token's text may depend on the one before it.
            start = max(0, i - BEFORE)
            before, upto = self._shown(ids[start:i]), self._shown(ids[start : i + 1])
            pieces.append(upto[len(before) :] if upto.startswith(before) else self._shown(ids[i : i + 1]))
        # The bytes of one character can be tokens of their own, and have no text.
        return [piece or UNPRINTABLE for piece in pieces]

    def texts(self) -> TokenTexts:
        """Every target x with its name, in its sequence: after the first input where the targets continue it."""
        count, targets = self.targets.shape
        first = int(self._continues)
        rows = torch.cat([self.inputs[:, :1], self.targets], dim=1) if first else self.targets
        return TokenTexts(
            names=[self.name(x) for x in range(count * targets)],
            sequences=[self._pieces(row) for row in rows],
            sequence=[n for n in range(count) for _ in range(targets)],
            place=[place for _ in range(count) for place in range(first, first + targets)],
        )

    def name(self, token: int) -> str:
        """The text of target x (its id where there is no text)."""
        sequence, place = divmod(token, self.targets.shape[1])
        return self._shown(self.targets[sequence, place : place + 1])

    def context(self, token: int) -> str:
        """Target x in brackets `⟦…⟧`, with tokens before and after; or which sequence and target it is."""
        sequence, place = divmod(token, self.targets.shape[1])
        own = self.targets[sequence]
        if not self._continues:
            return alone(sequence, place, self.name(token))
        before = torch.cat([self.inputs[sequence, :1], own[:place]])[-BEFORE:]
        upto, beyond = torch.cat([before, own[place : place + 1]]), own[place + 1 : place + 1 + AFTER]
        # Decoded together, since a token's text may depend on the one before it.
        parts = [self._shown(before), self._shown(upto), self._shown(torch.cat([upto, beyond]))]
        if not (parts[1].startswith(parts[0]) and parts[2].startswith(parts[1])):
            return f"{parts[0]}⟦{self.name(token)}⟧{self._shown(beyond)}"
        return bracketed(parts[0], parts[1][len(parts[0]) :], parts[2][len(parts[1]) :])


def packed_text(path: Path, encode: Callable[[str], Sequence[int]], context: int, field: str | None = None) -> Tensor:
    """A text file (`read_text_file`) as windows `[N, context + 1]` of token ids, without overlap.

    The rest at the end is left out.

    Raises:
        PolcaError: as `read_text_file`, or too short for two windows.
    """
    if context < 2:
        raise PolcaError(f"context = {context}: must be at least 2")
    text = read_text_file(path, field)
    ids = torch.tensor(list(encode(text)), dtype=torch.int64)
    windows = len(ids) // (context + 1)
    if windows < 2:
        raise PolcaError(
            f"{path}: {len(ids)} tokens are {windows} contexts of {context + 1}: need two at least; "
            "give more text or a smaller context"
        )
    return ids[: windows * (context + 1)].reshape(windows, context + 1)


def next_token(windows: Tensor, decode: Callable[[list[int]], str] | None = None) -> Sequences:
    """Windows `[N, C + 1]` of token ids: each token but the first is to be predicted from those before it."""
    return Sequences(windows[:, :-1].contiguous(), windows[:, 1:].contiguous(), decode)


def _tensor(values: Any) -> Tensor:
    """Values as a tensor in memory; integers of any type, as in a memory-mapped file of uint16, as int64."""
    if isinstance(values, np.ndarray):
        # A copy, since PyTorch neither reads every byte order nor respects what may not be written.
        kind = np.dtype(np.int64) if values.dtype.kind in "iu" else values.dtype.newbyteorder("=")
        values = torch.from_numpy(np.array(values, kind))
    tensor = torch.as_tensor(values)
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    return tensor.to(torch.int64) if whole else tensor


def from_batches(batches: Iterable[Any], source: str) -> Sequences:
    """Batches, each token ids `[n, C + 1]` or a pair (inputs `[n, …]`, targets `[n]` or `[n, T]`), as sequences.

    Raises:
        PolcaError: anything else; the message begins with `source`.
    """
    inputs: list[Tensor] = []
    targets: list[Tensor] = []
    for batch in batches:
        try:
            if isinstance(batch, (Tensor, np.ndarray)):
                part = next_token(_tensor(batch))
                given, wanted = part.inputs, part.targets
            else:
                given, wanted = map(_tensor, batch)
            wanted = wanted.unsqueeze(-1) if wanted.dim() == 1 else wanted
            right = wanted.dim() == 2 and len(wanted) == len(given) and not wanted.is_floating_point()
        except (TypeError, ValueError, IndexError, RuntimeError) as error:
            raise PolcaError(f"{source}: batch {len(inputs)} is neither token ids nor (inputs, targets)") from error
        if not right:
            raise PolcaError(
                f"{source}: batch {len(inputs)} has inputs {tuple(given.shape)} and targets {tuple(wanted.shape)}: "
                "give integer targets [n] or [n, T] for n inputs"
            )
        if given.is_floating_point() and not torch.isfinite(given).all():
            raise PolcaError(f"{source}: batch {len(inputs)} has NaN or infinite inputs: leave them out")
        inputs.append(given)
        targets.append(wanted.to(torch.int64))
    if not inputs:
        raise PolcaError(f"{source}: gives no batches")
    try:
        return Sequences(torch.cat(inputs), torch.cat(targets))
    except RuntimeError as error:
        raise PolcaError(f"{source}: batches differ in the shape of a sequence: give all the same length") from error


def imported(spec: str, option: str) -> Callable[[], Any]:
    """The function that `module:function` names. Importing a module runs its code: the user's own, at their word.

    Raises:
        PolcaError: no such module or function.
    """
    module_name, colon, name = spec.partition(":")
    if not colon or not name.isidentifier() or not all(p.isidentifier() for p in module_name.split(".")):
        raise PolcaError(f"{option} {spec!r}: expected module:function")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise PolcaError(f"{option} {spec!r}: {error}: correct the name, or run where the module lies") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise PolcaError(f"{option} {spec!r}: module {module_name} has no function {name}")
    return function  # type: ignore[no-any-return]
