"""Types that several modules share."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

TokenLossFunction = Callable[[Mapping[str, Tensor], Any], Tensor]
"""`token_loss(params, batch) → losses [sequences, targets]`: all that the method needs to know of a model."""
