"""How this process computes: PyTorch's settings, and the device."""

import os
import warnings
from typing import Any

import torch

from polca.errors import PolcaError
from polca.machine.pinned import is_pinned

_warned = False


def warn_unpinned() -> None:
    """For library calls: say once a process that results will agree within rounding, not bit for bit."""
    global _warned
    if not _warned and (not is_pinned() or torch.get_num_threads() != 1):
        warnings.warn(
            "this process has other threads or kernels than the polca command sets: results agree within rounding "
            "from machine to machine, not bit for bit (polca.machine.pinned.ENVIRONMENT says how)",
            stacklevel=3,
        )
        _warned = True


def configure_torch() -> None:
    """One thread, deterministic algorithms, no TF32. For commands, stages and their workers."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Writing over memory that is about to be filled would cost 7 % of training, and nothing here reads it before.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


_device = "cpu"


def use_device(name: str) -> None:
    """Compute on `cpu`, or on `cuda`: then this process' own GPU, torchrun's LOCAL_RANK.

    Raises:
        PolcaError: another name, or no such GPU here.
    """
    global _device
    if name not in ("cpu", "cuda"):
        raise PolcaError(f"device = {name!r}: expected cpu or cuda")
    if name == "cuda":
        number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if not torch.cuda.is_available():
            raise PolcaError("device = cuda: PyTorch finds no GPU: install its CUDA build (TORCH_INDEX=), or take cpu")
        if number >= there:
            raise PolcaError(f"device = cuda: more processes than the {there} GPUs: lower --nproc-per-node")
        name = f"cuda:{number}"
        torch.cuda.set_device(number)
    _device = name


def device() -> torch.device:
    """Where the heavy stages compute; what they return is on the CPU."""
    return torch.device(_device)


def on_device(values: Any) -> Any:
    """Tensors, also in (nested) tuples, lists and dicts, on `device()`; on the CPU the very same objects."""
    if _device == "cpu":
        return values
    if isinstance(values, torch.Tensor):
        return values.to(device())
    if isinstance(values, dict):
        return {name: on_device(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)([on_device(value) for value in values])
    return values
