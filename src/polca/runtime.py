"""The environment that makes results bit-identical on every x86-64 CPU with AVX2.

Thread counts change the order of floating-point sums, and BLAS, MKL, oneDNN and NumPy choose kernels by the CPU that
they find. `ENVIRONMENT` pins both. It must be in place before NumPy or PyTorch is imported, so the package imports
this module first and the Makefile exports the same variables (a test compares the two).
"""

import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from polca.errors import PolcaError

if TYPE_CHECKING:
    import torch

ENVIRONMENT: dict[str, str] = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4,AVX512_ICL,AVX512_SPR",
    "PYTHONHASHSEED": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


def pin_environment() -> None:
    """Set `ENVIRONMENT`, or warn where NumPy or PyTorch was imported under other settings.

    The settings are a matter of bits, not of correctness: a user's own script that imported PyTorch first still runs,
    with results equal within rounding.
    """
    # Read once by the interpreter at its start: setting it here would only mislead.
    wanted = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONHASHSEED"}
    different = [name for name, value in wanted.items() if os.environ.get(name) != value]
    late = [module for module in ("numpy", "torch") if module in sys.modules]
    if late and different:
        warnings.warn(
            f"{' and '.join(late)} was imported before polca without the pinned settings ({', '.join(different)}): "
            "results will agree within rounding, not bit for bit. Import polca first, or start from `make`.",
            stacklevel=3,
        )
        return
    os.environ.update(wanted)


def configure_torch() -> None:
    """One thread, deterministic algorithms, no TF32. Called when the package has imported PyTorch."""
    import torch

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
        import torch

        number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if not torch.cuda.is_available():
            raise PolcaError("device = cuda: PyTorch finds no GPU: install its CUDA build (TORCH_INDEX=), or take cpu")
        if number >= there:
            raise PolcaError(f"device = cuda: more processes than the {there} GPUs: lower --nproc-per-node")
        name = f"cuda:{number}"
        torch.cuda.set_device(number)
    _device = name


def device() -> "torch.device":
    """Where the heavy stages compute; what they return is on the CPU."""
    import torch

    return torch.device(_device)


def on_device(values: Any) -> Any:
    """Tensors, also in (nested) tuples, lists and dicts, on `device()`; on the CPU the very same objects."""
    import torch

    if _device == "cpu":
        return values
    if isinstance(values, torch.Tensor):
        return values.to(device())
    if isinstance(values, dict):
        return {name: on_device(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)([on_device(value) for value in values])
    return values
