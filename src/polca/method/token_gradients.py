r"""Projections of a linear layer by each token's own gradient, the fast order of the two products on a GPU.

For z = W a + c and δ_τ as in `reverse`, ⟨B_W, Σ_t δ_τ[n, t] a[n, t]ᵀ⟩ can be multiplied out in two ways:

- images B_W a, then the product with δ (`reverse`): the work grows with directions, and no gradient is formed;
- the gradient Σ_t δ_τ[n, t] a[n, t]ᵀ of every token, then one product with all directions (here): the gradients go
  through memory once, whatever the number of directions. A GPU is made for that; a CPU is two to three times slower.
"""

from torch import Tensor

from polca.machine.products import matmul

BUFFER_BYTES = 3 * 2**30
"""Bound on the gradients that are formed at once, small beside a GPU's memory and enough to fill it with work."""


def linear_part(source: Tensor, deltas: Tensor, weight: Tensor, buffer_bytes: int = BUFFER_BYTES) -> Tensor:
    """Σ_t δ_τ[n,t]ᵀ B_k a[n,t] by gradients, the same numbers as by images up to rounding.

    Args:
        source: a `[N, T, i]`.
        deltas: δ `[N, T, o, targets]`.
        weight: B `[K, o, i]`.
        buffer_bytes: bound on the gradients that are formed at once; one sequence's at least.

    Returns:
        `[N, K, targets]`.
    """
    (sequences, _, inputs), (vectors, outputs, _), targets = source.shape, weight.shape, deltas.shape[-1]
    directions = weight.reshape(vectors, -1).mT
    rows = deltas.permute(0, 3, 2, 1).flatten(1, 2)
    block = max(1, buffer_bytes // (targets * outputs * inputs * source.element_size()))
    result = source.new_empty(sequences, targets, vectors)
    for first in range(0, sequences, block):
        some = slice(first, first + block)
        gradients = matmul(rows[some], source[some]).view(-1, outputs * inputs)
        result[some] = matmul(gradients, directions).view(-1, targets, vectors)
    return result.mT
