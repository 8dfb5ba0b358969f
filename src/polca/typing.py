"""Types that several modules share."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:  # the names of presets and readings must not wait for PyTorch
    from torch import Tensor

TokenLossFunction: TypeAlias = "Callable[[Mapping[str, Tensor], Any], Tensor]"
"""`token_loss(params, batch) → losses [sequences, targets]`: all that the method needs to know of a model."""

Strategy = Literal["loss", "loss_change", "fisher", "lca", "polca_first_order", "polca"]
"""Rows of Table 8 (see `method.decomposition.decompose`)."""
SecondOrder = Literal["paper", "trapezoid", "exact", "none"]
"""Forms of eq. 4's second-order term (see `method.decomposition.allocations`)."""
Reading = Literal["standardised", "raw"]
"""What HDBSCAN sees of trajectories, shapes or values (see `method.clustering`): the paper does not say which."""
EigenvalueAt = Literal["basis", "current"]
"""Whether the λ of eq. 4 is that of the step of the basis vector, or that of the current step."""
