"""What `polca analyze` makes of the architectures in transformers: tiny random models, against autograd.

    python benchmarks/architectures.py --write    # also writes the table in docs/your-own-model.md

Each model gets two sequences, of which one loss a token is projected on two random directions, in double precision. The
reference is dense reverse mode, twice for the curvature. Errors are relative to the largest value.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polca.errors import PolcaError
from polca.external.analyze import check_forward
from polca.external.modules import ModuleLoss, check_repeatable, parameters_of
from polca.external.sequences import next_token
from polca.method.forward import directional_derivatives
from polca.method.forward_rules import missing_rule

DOCS = Path(__file__).resolve().parents[1] / "docs" / "your-own-model.md"
VOCABULARY, CONTEXT, DIRECTIONS = 29, 7, 2
_LLAMA = {
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2},
    **{"num_key_value_heads": 1, "max_position_embeddings": 32},
}
_NEOX = {**_LLAMA}
_ = _NEOX.pop("num_key_value_heads")
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "BLOOM": ("Bloom", {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "Falcon": ("Falcon", {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}),
    "Gemma 2": ("Gemma2", {**_LLAMA, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4}),
    "GPT-2": ("GPT2", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}),
    "GPT-NeoX": ("GPTNeoX", _NEOX),
    "Llama": ("Llama", _LLAMA),
    "Mistral": ("Mistral", {**_LLAMA, "sliding_window": 4}),
    "Mixtral": ("Mixtral", {**_LLAMA, "num_local_experts": 3, "num_experts_per_tok": 2}),
    "OLMo": ("Olmo", _LLAMA),
    "OLMo 2": ("Olmo2", _LLAMA),
    "OPT": (
        "OPT",
        {
            **{"hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 24, "num_hidden_layers": 2},
            **{"num_attention_heads": 2, "max_position_embeddings": 32},
        },
    ),
    "Phi": ("Phi", _NEOX),
    "Qwen2": ("Qwen2", _LLAMA),
    "Qwen3": ("Qwen3", {**_LLAMA, "head_dim": 8}),
}
"""Class and sizes of each."""


@dataclass(frozen=True)
class Outcome:
    """What one architecture takes.

    Attributes:
        way: `jets`, `torch.func.jvp`, or `refused`.
        reason: why it is not jets, and why curvatures are refused where they are.
        first, second: errors of slopes and curvatures; NaN where they are refused.
    """

    way: str
    reason: str = ""
    first: float = float("nan")
    second: float = float("nan")


def problem(name: str) -> tuple[ModuleLoss, dict[str, Tensor], dict[str, Tensor], tuple[Tensor, Tensor]]:
    """Loss, parameters, directions and a batch of a tiny random model."""
    import transformers

    kind, sizes = ARCHITECTURES[name]
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    config = getattr(transformers, f"{kind}Config")(vocab_size=VOCABULARY, **sizes, **ends)
    torch.manual_seed(1)
    options = {"attn_implementation": "eager", "experts_implementation": "eager"}
    model = transformers.AutoModelForCausalLM.from_config(config, **options).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():  # larger than at the start of training, so that nothing is nearly linear
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype), alpha=0.2)
    loss = ModuleLoss(model, use_cache=False)
    params = parameters_of(model)
    directions = {n: torch.randn(DIRECTIONS, *p.shape, generator=generator, dtype=p.dtype) for n, p in params.items()}
    ids = torch.randint(2, VOCABULARY, (2, CONTEXT + 1), generator=generator)
    return loss, params, directions, next_token(ids).batches(2)[0]


def reference(
    loss: ModuleLoss, params: Mapping[str, Tensor], directions: Mapping[str, Tensor], batch: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Slopes and curvatures `[K, N, T]` of every token by reverse mode, and reverse mode again."""
    leaves = {n: p.clone().requires_grad_() for n, p in params.items()}
    losses = loss(leaves, batch)
    slopes, curvatures = (torch.empty(DIRECTIONS, losses.numel(), dtype=losses.dtype) for _ in range(2))
    for x, one in enumerate(losses.reshape(-1)):
        gradient = torch.autograd.grad(one, list(leaves.values()), create_graph=True)
        for k in range(DIRECTIONS):
            along = [directions[n][k] for n in leaves]
            slope = sum((g * b).sum() for g, b in zip(gradient, along, strict=True))
            product = torch.autograd.grad(slope, list(leaves.values()), retain_graph=True, materialize_grads=True)
            slopes[k, x] = slope.detach()
            curvatures[k, x] = sum((p * b).sum() for p, b in zip(product, along, strict=True))
    return slopes.view(DIRECTIONS, *losses.shape), curvatures.view(DIRECTIONS, *losses.shape)


def error(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, as a fraction of the largest value wanted."""
    return float((found - wanted).abs().max() / wanted.abs().max())


def outcome(name: str) -> Outcome:
    """What `polca analyze` does with an architecture, and how far its derivatives are from the reference."""
    loss, params, directions, batch = problem(name)
    try:
        check_repeatable(loss, params, batch)
        check_forward(loss, params, batch, False)
    except PolcaError as refusal:
        return Outcome("refused", str(refusal))
    reason = missing_rule(loss, params, batch)
    way, note, curved = ("torch.func.jvp" if reason else "jets"), reason or "", True
    try:
        check_forward(loss, params, batch, True)
    except PolcaError as refusal:
        note, curved = "; ".join([*filter(None, [note]), f"curvatures are refused: {refusal}"]), False
    _, slopes, curvatures = directional_derivatives(loss, params, directions, batch, second_order=curved)
    first, second = reference(loss, params, directions, batch)
    return Outcome(way, note, error(slopes, first), float("nan") if curvatures is None else error(curvatures, second))


def table(outcomes: Mapping[str, Outcome]) -> str:
    """The outcomes in Markdown."""
    lines = ["| architecture | derivatives by | error of slopes | error of curvatures | why not jets |"]
    lines.append("|---|---|---|---|---|")
    for name, o in outcomes.items():
        errors = [f"{e:.0e}" if e == e else "–" for e in (o.first, o.second)]
        lines.append(f"| {name} | {o.way} | {' | '.join(errors)} | {o.reason} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table into the docs")
    wanted = parser.parse_args().write
    found = {}
    for name in ARCHITECTURES:
        found[name] = outcome(name)
        print(name, found[name], file=sys.stderr, flush=True)
    text = table(found)
    print(text)
    if wanted:
        old = DOCS.read_text(encoding="utf-8")
        mark = re.compile(r"(<!-- architectures -->\n).*?(?=<!-- end -->)", re.DOTALL)
        DOCS.write_text(mark.sub(lambda m: f"{m[1]}{text}\n", old), encoding="utf-8")


if __name__ == "__main__":
    main()
