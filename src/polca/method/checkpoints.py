"""The checkpoint contract: `steps()` lists the training steps that have one, `load(step)` gives their parameters.

Anything with these two methods serves every function of this package.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from polca.errors import PolcaError
from polca.machine.files import read_tensors, write_tensors


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


class CheckpointDirectory:
    """Checkpoints as `step_000120.safetensors` files in one directory.

    Args:
        directory: where the files lie.
        shapes: if given, the expected shape of every parameter; a file that differs is refused.

    Raises:
        PolcaError: the directory holds no checkpoint; a file is damaged, foreign or not finite.
    """

    _NAME = re.compile(r"step_(\d+)\.safetensors")

    def __init__(self, directory: Path, shapes: Mapping[str, Sequence[int]] | None = None) -> None:
        self.directory = Path(directory)
        self._shapes = None if shapes is None else {name: tuple(shape) for name, shape in shapes.items()}

    def path(self, step: int) -> Path:
        """The file of `step`."""
        return self.directory / f"step_{step:06d}.safetensors"

    def steps(self) -> list[int]:
        """Training steps with a checkpoint, increasing."""
        names = self.directory.iterdir() if self.directory.is_dir() else ()
        steps = sorted(int(m[1]) for p in names if (m := self._NAME.fullmatch(p.name)))
        if not steps:
            raise PolcaError(
                f"{self.directory}: no step_*.safetensors checkpoint there: train first or correct the path"
            )
        return steps

    def save(self, step: int, parameters: Mapping[str, Tensor]) -> None:
        """Write the checkpoint of `step`, whole or not at all."""
        write_tensors(self.path(step), parameters, {"step": str(step)})

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
        return tensors


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
