"""The logits in whatever a model gives."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from polca.errors import PolcaError


def logits_of(output: Any) -> Tensor:
    """The logits of a model's output: the output itself, its `logits` (of a dict or an object), or a tuple's first one.

    In a tuple, such as (logits, loss), logits are the first tensor of two dimensions at least.

    Raises:
        PolcaError: there are none.
    """
    if isinstance(output, Tensor):
        return output
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if found is None and isinstance(output, tuple | list):
        found = next((part for part in output if isinstance(part, Tensor) and part.dim() >= 2), None)
    if not isinstance(found, Tensor):
        raise PolcaError(
            f"the model gives a {type(output).__name__} without logits: let it give logits, (logits, …), or "
            "a dict or an object with 'logits'"
        )
    return found
