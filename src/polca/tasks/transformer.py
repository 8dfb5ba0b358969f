"""The transformer of both settings (App. D; layout derived from the published parameter counts).

Pre-norm blocks with biases everywhere, learned positions, untied unembedding with bias: TransformerLens' layout. Only
operations with first and second derivatives in forward and reverse mode, so attention is a plain product and softmax.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polca.errors import PolcaError


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a `Transformer`. `targets` is the number of last positions that predict; 0 means all of them."""

    input_vocabulary: int
    output_vocabulary: int
    context: int
    layers: int = 3
    width: int = 512
    heads: int = 4
    mlp_width: int = 2048
    targets: int = 0

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise PolcaError(f"model.width = {self.width} is not divisible by model.heads = {self.heads}: change one")
        for name in ("input_vocabulary", "output_vocabulary", "context", "layers", "width", "heads", "mlp_width"):
            if getattr(self, name) < 1:
                raise PolcaError(f"model.{name} = {getattr(self, name)}: must be at least 1")


class Attention(nn.Module):
    """Causal multi-head attention."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, queries: int) -> Tensor:
        """`x [N, T, width]` → `[N, queries, width]`, the outputs of the last `queries` positions."""
        length = x.shape[-2]
        q = self.query(x[..., length - queries :, :]).unflatten(-1, (self.heads, -1)).transpose(-3, -2)
        k = self.key(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2)
        v = self.value(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2)
        scores = torch.matmul(q, k.transpose(-2, -1)) * (q.shape[-1] ** -0.5)
        future = torch.ones(queries, length, dtype=torch.bool, device=x.device).triu(length - queries + 1)
        weights = torch.softmax(scores.masked_fill(future, float("-inf")), dim=-1)
        return self.output(torch.matmul(weights, v).transpose(-3, -2).flatten(-2))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and MLP, each on a layer norm of the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.norm2 = nn.LayerNorm(config.width)
        self.mlp_in = nn.Linear(config.width, config.mlp_width)
        self.mlp_out = nn.Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor, queries: int) -> Tensor:
        x = x[..., x.shape[-2] - queries :, :] + self.attention(self.norm1(x), queries)
        hidden: Tensor = self.mlp_out(F.gelu(self.mlp_in(self.norm2(x))))
        return x + hidden


class Transformer(nn.Module):
    """Token ids `[N, T]` → logits `[N, targets, output_vocabulary]`.

    The last block computes only the positions that predict: no other position can change their logits.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.input_vocabulary, config.width)
        self.position = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_norm = nn.LayerNorm(config.width)
        self.unembed = nn.Linear(config.width, config.output_vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[-1]
        # One row of positions per sequence, so that per-sequence gradients of the position embedding exist.
        positions = torch.arange(length, device=tokens.device).expand(tokens.shape)
        x = self.embed(tokens) + self.position(positions)
        for index, block in enumerate(self.blocks):
            last = index == len(self.blocks) - 1
            x = block(x, self.config.targets if last and self.config.targets else length)
        return self.unembed(self.final_norm(x))  # type: ignore[no-any-return]


def initialize(config: ModelConfig, seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Parameters by TransformerLens' default: matrices normal with std 0.8/√width, biases 0, norms 1.

    Drawn in the order of `named_parameters()` from one CPU generator, so that they depend on nothing but `seed`.
    """
    generator = torch.Generator().manual_seed(seed)
    std = 0.8 * config.width**-0.5
    parameters: dict[str, Tensor] = {}
    with torch.device("meta"):
        shapes = {name: p.shape for name, p in Transformer(config).named_parameters()}
    for name, shape in shapes.items():
        if len(shape) > 1:
            parameters[name] = torch.randn(shape, generator=generator, dtype=dtype) * std
        else:
            parameters[name] = (torch.ones if "norm" in name and name.endswith("weight") else torch.zeros)(
                shape, dtype=dtype
            )
    return parameters


def parameter_count(config: ModelConfig) -> int:
    """Number of parameters: 9,475,594 for the published arithmetic model, 40,274,737 for the English one."""
    with torch.device("meta"):
        return sum(p.numel() for p in Transformer(config).parameters())


class TokenLoss:
    """Cross-entropy per target token, in nats: the `token_loss(params, batch)` that the method asks for.

    `batch` is a pair `(inputs [N, T], targets [N, targets])` of token ids. Picklable, so it can go to a worker process.
    """

    def __init__(self, config: ModelConfig) -> None:
        with torch.device("meta"):
            self.skeleton = Transformer(config)

    def __call__(self, params: Mapping[str, Tensor], batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return losses `[N, targets]`."""
        inputs, targets = batch
        logits = torch.func.functional_call(self.skeleton, dict(params), (inputs,))
        # One row a token: over the last dimension softmax is several times faster than over an inner one.
        losses = F.cross_entropy(logits.flatten(-3, -2), targets.flatten(), reduction="none")
        return losses.unflatten(-1, targets.shape)  # type: ignore[no-any-return]
