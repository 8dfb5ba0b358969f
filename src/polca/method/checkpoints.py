"""The checkpoint contract: `steps()` lists the training steps that have one, `load(step)` gives their parameters.

Anything with these two methods serves every function of this package.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.files import read_tensors, write_tensors
from polca.machine.text import one_line

HALF = (torch.bfloat16, torch.float16)
"""Types of 16 bits, which are read as float32: a product along a vector needs more digits than they have."""


class Checkpoints(Protocol):
    """A sequence of parameter sets θ_0 … θ_T along training."""

    def steps(self) -> Sequence[int]:
        """Training steps with a checkpoint, increasing."""

    def load(self, step: int) -> Mapping[str, Tensor]:
        """Parameters by name at `step`."""


class WritableCheckpoints(Checkpoints, Protocol):
    """Checkpoints that training can add to."""

    def save(self, step: int, parameters: Mapping[str, Tensor]) -> None:
        """Keep the parameters of `step`."""


class MemoryCheckpoints:
    """Checkpoints that are held in memory, on the device on which they were made."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[str, Tensor]] = {}

    def steps(self) -> list[int]:
        """Training steps with a checkpoint, increasing."""
        return sorted(self._kept)

    def save(self, step: int, parameters: Mapping[str, Tensor]) -> None:
        """Keep a copy of the parameters of `step`."""
        # In the order in which files give them back, since random vectors are drawn parameter by parameter.
        self._kept[step] = {name: parameters[name].detach().clone() for name in sorted(parameters)}

    def load(self, step: int) -> dict[str, Tensor]:
        """Parameters by name at `step`.

        Raises:
            PolcaError: there is no such checkpoint.
        """
        if step not in self._kept:
            raise PolcaError(f"step {step}: no such checkpoint (there are {len(self._kept)}): train first")
        return dict(self._kept[step])


def tensor_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type (as safetensors calls it, such as `F32`) and shape of every tensor of a file, without reading the values.

    Raises:
        PolcaError: missing, cut off, or not a safetensors file.
    """
    if not path.is_file():
        raise PolcaError(f"{path}: no such checkpoint file: correct the path")
    try:
        with safe_open(path, "pt") as handle:
            slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118  # not a mapping
            return {name: (str(part.get_dtype()), tuple(part.get_shape())) for name, part in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise PolcaError(
            f"{path}: not a readable safetensors file ({one_line(error)}): repair it, or leave its step out"
        ) from error


def _apart(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same with a copy of each tensor that shares memory with one before it (tied weights), as files want it."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in parameters.items():
        memory = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.detach().clone() if memory in seen else tensor
        seen.add(memory)
    return apart


class CheckpointDirectory:
    """Checkpoints as `step_000120.safetensors` files in one directory; the zeros before the number may be left out.

    Weights of 16 bits are read as float32. Tied weights may be saved under each of their names.

    Args:
        directory: where the files lie.
        shapes: if given, the expected shape of every parameter; a file that differs is refused.

    Raises:
        PolcaError: the directory holds no checkpoint; a file is damaged, foreign or not finite.
    """

    _NAME = re.compile(r"step[-_]?(\d+)\.safetensors")

    def __init__(self, directory: Path, shapes: Mapping[str, Sequence[int]] | None = None) -> None:
        self.directory = Path(directory)
        self._shapes = None if shapes is None else {name: tuple(shape) for name, shape in shapes.items()}

    def path(self, step: int) -> Path:
        """The file of `step`."""
        usual = self.directory / f"step_{step:06d}.safetensors"
        return usual if usual.is_file() else self._files().get(step, usual)

    def _files(self) -> dict[int, Path]:
        found: dict[int, Path] = {}
        for path in sorted(self.directory.iterdir()) if self.directory.is_dir() else ():
            if match := self._NAME.fullmatch(path.name):
                step = int(match[1])
                if step in found:
                    raise PolcaError(f"{path}: {found[step].name} is step {step} as well: remove one of them")
                found[step] = path
        return found

    def steps(self) -> list[int]:
        """Training steps with a checkpoint, increasing."""
        steps = sorted(self._files())
        if not steps:
            raise PolcaError(
                f"{self.directory}: no step_*.safetensors checkpoint there: train first or correct the path"
            )
        return steps

    def save(self, step: int, parameters: Mapping[str, Tensor]) -> None:
        """Write the checkpoint of `step`, whole or not at all."""
        write_tensors(self.path(step), _apart(parameters), {"step": str(step)})

    def load(self, step: int) -> dict[str, Tensor]:
        """Parameters by name at `step`."""
        path = self.path(step)
        tensors = read_tensors(path)
        if self._shapes is not None:
            shapes = {name: tuple(t.shape) for name, t in tensors.items()}
            if shapes != self._shapes:
                odd = sorted(set(shapes.items()) ^ set(self._shapes.items()))[0][0]
                raise PolcaError(
                    f"{path}: parameter {odd!r} differs from the model's: this checkpoint is of another model; "
                    "delete the folder and train again, or correct the preset"
                )
        for name, tensor in tensors.items():
            if self._shapes is not None and not tensor.is_floating_point():
                raise PolcaError(f"{path}: parameter {name!r} is {tensor.dtype}, not floats: delete it and train again")
            if not torch.isfinite(tensor).all():
                raise PolcaError(f"{path}: parameter {name!r} has NaN or infinite values: delete it and train again")
        return {name: tensor.float() if tensor.dtype in HALF else tensor for name, tensor in tensors.items()}


def select_steps(available: Sequence[int], interval: int, name: str = "interval") -> list[int]:
    """The steps of `available` that are multiples of `interval`, from the first to the last.

    Raises:
        PolcaError: the checkpoints do not lie on such a grid.
    """
    if interval < 1:
        raise PolcaError(f"{name} = {interval}: must be at least 1")
    wanted = list(range(available[0], available[-1] + 1, interval))
    missing = sorted(set(wanted) - set(available))
    if missing or wanted[-1] != available[-1]:
        odd = missing[0] if missing else available[-1]
        raise PolcaError(
            f"{name} = {interval}: does not fit the checkpoints (step {odd}; they lie at {available[0]}, "
            f"{available[min(1, len(available) - 1)]}, … {available[-1]}): choose a multiple of their spacing that "
            "divides the number of steps"
        )
    return wanted
