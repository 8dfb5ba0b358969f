"""Every chosen checkpoint, opened before the first product: what is cut off or foreign is found then."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from polca.errors import PolcaError
from polca.external.hub import HubCheckpoints
from polca.method.checkpoints import tensor_header

HALF = {"BF16": "bfloat16", "F16": "float16"}
"""Types of 16 bits, as safetensors calls them."""


def check_files(paths: Callable[[int], Path], steps: Sequence[int], params: Mapping[str, Tensor]) -> set[str]:
    """Open the file of each step, and look that it has every parameter in its shape.

    Returns:
        Names of the 16-bit types in them.

    Raises:
        PolcaError: a file that is missing, cut off, or of another model.
    """
    types: set[str] = set()
    for step in steps:
        path = paths(step)
        header = tensor_header(path)
        for name, value in params.items():
            if name in header and header[name][1] != tuple(value.shape):
                raise PolcaError(f"{path}: parameter {name!r} is of another shape: this checkpoint is of another model")
        types |= {HALF[kind] for kind, _ in header.values() if kind in HALF}
    return types


def check_hub(checkpoints: HubCheckpoints, steps: Sequence[int]) -> set[str]:
    """Open the configuration and the weights of each step, and look that all have the same parameters.

    Names may differ between versions of one model; then the checkpoint is loaded as a whole.

    Returns, raises:
        As `check_files`.
    """
    types: set[str] = set()
    first: dict[str, tuple[int, ...]] = {}
    for step in steps:
        shapes: dict[str, tuple[int, ...]] = {}
        for path in checkpoints.files(step):
            if path.suffix == ".safetensors":
                header = tensor_header(path)
                types |= {HALF[kind] for kind, _ in header.values() if kind in HALF}
                shapes |= {name: shape for name, (_, shape) in header.items()}
        first = first or shapes
        if shapes != first:
            checkpoints.load(step)
    return types
