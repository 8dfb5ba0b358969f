"""Curvature without the Hessian: Hessian-vector products and Lanczos.

The Hessian H = ∇²L(X; θ) of a mean token loss is only ever applied to vectors. Flat vectors follow the order of the
parameter mapping; `Layout` converts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polca.errors import PolcaError, check_choice
from polca.machine.distributed import from_first, shard, sum_over_ranks
from polca.machine.products import PortableProducts
from polca.machine.runtime import device, on_device
from polca.typing import TokenLossFunction

Which = Literal["algebraic", "magnitude"]


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the parameters, in the order in which they make up a flat vector of length d."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, params: Mapping[str, Tensor]) -> "Layout":
        return cls(tuple(params), tuple(tuple(p.shape) for p in params.values()))

    @property
    def size(self) -> int:
        """Number of parameters d."""
        return sum(math.prod(shape) for shape in self.shapes)

    def flatten(self, params: Mapping[str, Tensor]) -> Tensor:
        """Parameters by name → flat vector `[d]`."""
        return torch.cat([params[name].detach().reshape(-1) for name in self.names])

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Flat vectors `[..., d]` → views by name `[..., *shape]`."""
        parts = flat.split([math.prod(shape) for shape in self.shapes], dim=-1)
        return {
            name: part.unflatten(-1, shape) if shape else part.squeeze(-1)
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }


class HessianOperator:
    """v ↦ ∇²L(X; θ) v for the mean loss over all tokens of `batches`.

    The graph of the gradient is built once and stays, so that a product costs the second backward pass alone; memory is
    that of all `batches` together. Under torchrun each process takes its share of `batches`, and products are summed.
    With `keep_graphs=False` each product rebuilds one batch's graph at a time.

    Args:
        token_loss: `(params, batch) → losses [sequences, targets]`.
        params: θ by name.
        batches: the data X in chunks; chunks may differ in size (tokens are weighted equally).
    """

    def __init__(
        self,
        token_loss: TokenLossFunction,
        params: Mapping[str, Tensor],
        batches: Sequence[Any],
        keep_graphs: bool = True,
    ) -> None:
        self.layout = Layout.of(params)
        self._token_loss = token_loss
        self._batches = [on_device(batch) for batch in shard(batches)]
        self._params = {name: on_device(p.detach().clone()).requires_grad_() for name, p in params.items()}
        with torch.no_grad(), PortableProducts():
            tokens = sum(token_loss(self._params, batch).numel() for batch in self._batches)
        self._tokens = int(sum_over_ranks([torch.tensor(tokens)])[0])
        self._graphs = [self._gradient(batch) for batch in self._batches] if keep_graphs else None

    def _gradient(self, batch: Any) -> tuple[Tensor, ...]:
        with PortableProducts():
            loss = self._token_loss(self._params, batch).sum() / self._tokens
            return torch.autograd.grad(loss, list(self._params.values()), create_graph=True)

    def __call__(self, vector: Tensor) -> Tensor:
        """Flat `[d]` → flat `[d]`, where the vector is."""
        leaves, origin = list(self._params.values()), vector.device
        vector = on_device(vector)
        tangent = tuple(self.layout.split(vector).values())
        total = torch.zeros_like(vector)
        for index, batch in enumerate(self._batches):
            gradient = self._gradient(batch) if self._graphs is None else self._graphs[index]
            with PortableProducts():
                product = torch.autograd.grad(
                    gradient, leaves, tangent, retain_graph=self._graphs is not None, materialize_grads=True
                )
            total += torch.cat([p.reshape(-1) for p in product])
        return sum_over_ranks([total])[0].to(origin)


@dataclass(frozen=True)
class EigenResult:
    """Eigenpairs of a symmetric operator.

    Attributes:
        values: `[k]`, in the order wanted (largest first).
        vectors: `[k, d]`, orthonormal rows.
        residuals: `[k]`, ‖Av − λv‖₂ as Lanczos bounds it.
        converged: whether every residual is within tolerance · |λ|.
        matvecs: number of applications of the operator.
        runner_up: `[d]`, the approximate eigenvector that comes after the wanted ones; None where there is no other.
    """

    values: NDArray[np.float64]
    vectors: Tensor
    residuals: NDArray[np.float64]
    converged: bool
    matvecs: int
    runner_up: Tensor | None


Array = TypeVar("Array", NDArray[Any], Tensor)


def _remove(vector: Array, rows: Array) -> Array:
    """Make `vector [d]` orthogonal to orthonormal `rows [m, d]`; twice, since once is not enough in rounding."""
    for _ in range(2):
        vector = vector - (rows @ vector) @ rows
    return vector


def inner(one: Array, other: Array) -> float:
    """⟨one, other⟩ of vectors `[d]`, added up in double precision.

    BLAS adds float32 in float32: over millions of entries of one sign, as in a norm, it keeps four or five digits.
    """
    product = one * other
    return float(product.sum(dtype=torch.float64 if isinstance(product, Tensor) else np.float64))


def norm(vector: Array) -> float:
    """Length of a vector `[d]`, as accurate as `inner`."""
    return math.sqrt(inner(vector, vector))


def _unit(vector: Tensor) -> Tensor:
    return vector / norm(vector)


def check_lanczos(k: int, tolerance: float, max_matvecs: int) -> None:
    """Refuse numbers with which Lanczos cannot find `k` pairs.

    Raises:
        PolcaError: `max_matvecs` below 2 or k, or a negative tolerance.
    """
    if max_matvecs < max(2, k):
        raise PolcaError(f"max_matvecs = {max_matvecs}: must be at least {max(2, k)} for {k} eigenvectors a step")
    if not tolerance >= 0:
        raise PolcaError(f"tolerance = {tolerance}: must not be negative")


class _Vectors:
    """Where Lanczos keeps its vectors: NumPy's arrays, whose products have portable bits, or tensors on a GPU."""

    def __init__(self, place: torch.device | None) -> None:
        self.place = place

    def placed(self, tensor: Tensor) -> Any:
        return tensor.numpy() if self.place is None else tensor.to(self.place)

    def tensor(self, vector: Any) -> Tensor:
        return torch.from_numpy(vector) if self.place is None else vector

    def empty(self, rows: int, like: Any) -> Any:
        return np.empty((rows, *like.shape), like.dtype) if self.place is None else like.new_empty(rows, *like.shape)

    def join(self, one: Any, other: Any) -> Any:
        return np.concatenate([one, other]) if self.place is None else torch.cat([one, other])

    def combined(self, weights: NDArray[np.float64], rows: Any) -> NDArray[Any]:
        """`weights [k, m] @ rows [m, d]` as an array."""
        if self.place is None:
            return weights.astype(rows.dtype) @ rows  # type: ignore[no-any-return]
        product: NDArray[Any] = (torch.from_numpy(weights.copy()).to(rows) @ rows).cpu().numpy()
        return product

    def finite(self, vector: Any) -> bool:
        return bool(np.isfinite(vector).all() if self.place is None else torch.isfinite(vector).all())


def lanczos(
    matvec: Callable[[Tensor], Tensor],
    size: int,
    k: int = 1,
    *,
    orthogonal_to: Tensor | None = None,
    which: Which = "algebraic",
    tolerance: float = 1e-3,
    max_matvecs: int = 200,
    seed: int = 0,
    start: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    place: torch.device | None = None,
) -> EigenResult:
    """Top `k` eigenpairs of ΠAΠ, Π = I − BBᵀ, by Lanczos with full reorthogonalisation (Algorithm 1).

    Stops when the residual of each wanted pair, |β_m s_mi|, is at most `tolerance` · |λ_i|.

    Args:
        matvec: the symmetric operator A on flat vectors `[size]`.
        size: d.
        k: number of pairs.
        orthogonal_to: B as orthonormal rows `[m, d]`; the result is orthogonal to them.
        which: `algebraic`: largest eigenvalues; `magnitude`: largest absolute values.
        seed: of the random start vector.
        start: a guess at the top eigenvector `[d]`. Lanczos begins from it and a tenth of the random vector, so that no
            eigenvector is missed because the guess is orthogonal to it.
        place: device on which vectors are kept as tensors, by default `runtime.device()` where that is a GPU; otherwise
            they are NumPy's arrays. The result is on the CPU.

    Raises:
        PolcaError: `k` exceeds the dimension left, `max_matvecs` cannot give that many, an unknown `which`, or the
            operator returns values that are not finite.
    """
    check_choice("which", which, get_args(Which))
    check_lanczos(k, tolerance, max_matvecs)
    removed = 0 if orthogonal_to is None else len(orthogonal_to)
    if not 1 <= k <= size - removed:
        raise PolcaError(
            f"k = {k} eigenvectors wanted of a space of {size - removed} dimensions ({size} parameters, {removed} "
            "vectors already in the basis): lower basis.per_step or basis.vectors"
        )
    store = _Vectors(device() if place is None and device().type != "cpu" else place)
    outside = None if orthogonal_to is None or removed == 0 else store.placed(orthogonal_to)
    limit = min(max_matvecs, size - removed)

    def project(vector: Any) -> Any:
        return vector if outside is None else _remove(vector, outside)

    generator = torch.Generator().manual_seed(seed)
    # The same bits in every process, as are the operator's images: all then stop after the same number of products.
    noise = torch.randn(size, generator=generator, dtype=dtype)
    if start is not None:
        noise = _unit(start.to(noise)) + 0.1 * _unit(noise)
    first = project(store.placed(from_first(noise)))
    krylov = store.empty(min(32, limit), first)
    krylov[0] = first / norm(first)
    alphas: list[float] = []
    betas: list[float] = []
    while True:
        m = len(alphas)
        image = project(store.placed(matvec(store.tensor(krylov[m]))))
        if not store.finite(image):
            raise PolcaError(
                "curvature: a Hessian-vector product has NaN or infinite values: check the checkpoint and the data"
            )
        alphas.append(inner(krylov[m], image))
        image = _remove(image, krylov[: m + 1])
        beta = norm(image)
        tridiagonal = np.diag(alphas) + np.diag(betas, 1) + np.diag(betas, -1)
        values, weights = np.linalg.eigh(tridiagonal)
        ranked = np.argsort(-(values if which == "algebraic" else np.abs(values)), kind="stable")[: k + 1]
        order = ranked[:k]
        residuals = beta * np.abs(weights[-1, order])
        done = len(alphas) >= k and bool(np.all(residuals <= tolerance * np.abs(values[order])))
        # An exhausted Krylov space (an invariant subspace) is exact, whatever the tolerance.
        exhausted = len(alphas) == size - removed or beta <= 1e-12 * max(1e-300, float(np.abs(values).max()))
        if done or exhausted or len(alphas) == limit:
            break
        betas.append(beta)
        if m + 1 == len(krylov):
            krylov = store.join(krylov, store.empty(min(32, limit - len(krylov)), first))
        krylov[m + 1] = image / beta
    vectors = store.combined(weights[:, ranked].T, krylov[: len(alphas)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return EigenResult(
        values=values[order].astype(np.float64),
        vectors=torch.from_numpy(vectors[:k]),
        residuals=residuals.astype(np.float64),
        converged=bool(done or exhausted),
        matvecs=len(alphas),
        runner_up=torch.from_numpy(vectors[k]) if len(vectors) > k else None,
    )
