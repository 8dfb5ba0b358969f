"""Rules for models that are not ours, against autograd's double backward in float64."""

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from oracles import by_autograd
from polca.external.modules import ModuleLoss, parameters_of
from polca.external.sequences import next_token
from polca.method.basic_rules import WIDE
from polca.method.forward import directional_derivatives
from polca.method.forward_rules import linear, missing_rule
from polca.method.jets import Jet, PendingLinear, UnsupportedOperation, taylor

Params = Mapping[str, Tensor]


def agree(loss: Callable[..., Tensor], params: Params, batch: Any, rtol: float, count: int = 2) -> None:
    """Jets alone, to first and to second order, against autograd."""
    generator = torch.Generator().manual_seed(3)
    b = {n: 0.3 * torch.randn(count, *p.shape, generator=generator, dtype=p.dtype) for n, p in params.items()}
    value, first, second = taylor(loss, params, b, batch, True)
    plain, alone, nothing = taylor(loss, params, b, batch, False)
    assert nothing is None
    with torch.no_grad():
        torch.testing.assert_close(value, loss(params, batch), rtol=rtol, atol=0)
    torch.testing.assert_close(plain, value)
    expected_first, expected_second = by_autograd(loss, params, b, batch)
    for found, expected in ((first, expected_first), (alone, expected_first), (second, expected_second)):
        assert found is not None
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol * max(scale, 1e-3))
    assert second is not None


BLOCK = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(7)).double()
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "view": lambda w, v: (w * v).view(2, -1),
    "rows of an array times a matrix": lambda w, v: BLOCK @ (w * v),
    "array times a matrix, both moving": lambda w, v: (BLOCK * w[:, :1].square().mT) @ (w * v),
    "matrix times a vector": lambda w, v: BLOCK[0] @ (w * v)[:, 0],
    "array times a vector": lambda w, v: torch.matmul(BLOCK, (w * v)[:, 0]),
    "vector times a matrix": lambda w, v: (w * v)[:, 0] @ w,
    "vector times a vector": lambda w, v: (w * v)[0] @ v[1],
    "matrix times arrays": lambda w, v: (w * v).T @ BLOCK.mT,
    "arrays in two ways": lambda w, v: (BLOCK[:, None] * w[:, 0]) @ (w * v * BLOCK[:, :3, :1]),
    "mask wider than what it masks": lambda w, v: (
        (w * v).masked_fill(torch.ones(5, 3, 4).tril().bool(), 1.0).square().sum(0)
    ),
    "indexing with two tensors apart": lambda w, v: (
        (w * v).expand(2, 3, 4).unsqueeze(-3)[..., torch.tensor([0, 0]), :, torch.tensor([1, 3])]
    ),
    "softmax in another type": lambda w, v: torch.softmax((w * v).float(), -1, dtype=torch.float64) * v,
    "view of a transposed one": lambda w, v: (w * v).transpose(0, 1).contiguous().view(-1, 2),
    "reshape": lambda w, v: torch.reshape(w * v, (2, 6)).reshape(3, 4),
    "transpose from the front": lambda w, v: (w * v).transpose(0, 1) * 2,
    "permute": lambda w, v: (w * v).unsqueeze(0).permute(2, 0, 1)[:, 0],
    "slices": lambda w, v: (w * v)[1:, :2] * w[:2, 2:],
    "index": lambda w, v: (w * v)[0],
    "chunk": lambda w, v: torch.cat([-p * w[..., :2] for p in (w * v).chunk(2, dim=-1)], dim=1),
    "split": lambda w, v: (w * v).split(2, dim=1)[1] * (w * w).split([1, 3], dim=1)[0],
    "cat with a constant": lambda w, v: torch.cat((w * v, torch.ones(3, 1).double()), -1).square(),
    "stack": lambda w, v: torch.stack((w * v, w, torch.ones(3, 4).double()), 1).pow(2),
    "expand": lambda w, v: (w * v)[:, None].expand(3, 2, 4).reshape(3, 8),
    "squeeze": lambda w, v: (w * v).unsqueeze(1).squeeze(1),
    "repeat_interleave": lambda w, v: (w * v).repeat_interleave(2, dim=1),
    "sum and mean": lambda w, v: (w * v).sum(1, keepdim=True) * (w * w).mean(-1, keepdim=True),
    "sum over a broadcast dimension": lambda w, v: (torch.ones(2, 3, 4).double() + w * v).sum(0).square(),
    "mean of a broadcast difference": lambda w, v: (
        (torch.arange(5).double().view(5, 1, 1) - w * v).square().mean((0, 2))
    ),
    "broadcast product": lambda w, v: (
        (torch.linspace(1, 2, 5).double().view(5, 1, 1) * w).square().reshape(5, -1).sum(0) * v.flatten()
    ),
    "dimensions by name": lambda w, v: (
        (w * v).transpose(dim0=0, dim1=1).unsqueeze(dim=1).flatten(start_dim=0, end_dim=1)
    ),
    "flatten all": lambda w, v: torch.flatten(w * v) + (w * w).flatten(),
    "unflatten": lambda w, v: (w * v).unflatten(1, (2, 2)).unflatten(dim=0, sizes=(3, 1)),
    "difference": lambda w, v: 1 - w * v - (w - v) * (v - 2),
    "quotient": lambda w, v: w / v + 2 / v + v / 3,
    "quotient of other types": lambda w, v: (
        w / torch.tensor(3) + w / torch.arange(3, 7) + torch.tensor(2) / v + w / torch.tensor([3.0, 7.0, 0.1, 9.0])
    ),
    "other types": lambda w, v: (
        w * torch.tensor([True, False, True, True]) - torch.tensor(3) * v + (v - torch.arange(4)) * torch.tensor(0.1)
    ),
    "where": lambda w, v: torch.where(torch.ones(3, 4).tril().bool(), w * v, torch.zeros(()).double()) * w,
    "powers": lambda w, v: v**3 + v.pow(2) * torch.pow(v, -1) + v.rsqrt() + v.sqrt() + v.square() + v.reciprocal(),
    "sigmoid": lambda w, v: torch.sigmoid(w * v),
    "silu": lambda w, v: F.silu(w * v),
    "gelu, tanh form": lambda w, v: F.gelu(w * v, approximate="tanh"),
    "gelu, written out": lambda w, v: (
        0.5 * w * (1 + torch.tanh(math.sqrt(2 / math.pi) * (w + 0.04 * torch.pow(w, 3.0))))
    ),
    "addmm": lambda w, v: torch.addmm(v[0, :3], w * v, v.transpose(0, 1)),
    "dropout at rest": lambda w, v: F.dropout(w * v, 0.5, training=False),
    "types": lambda w, v: (w * v).to(torch.float64).type_as(v).type(v.dtype) * w.size(0) * w.ndim,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(name: str) -> None:
    """Each in a function with curvature in both operands, for as many directions as an operand has rows, and others."""
    generator = torch.Generator().manual_seed(1)
    params = {
        "w": torch.randn(3, 4, generator=generator).double(),
        "v": 1 + torch.rand(3, 4, generator=generator).double(),
    }

    def loss(p: Params, _: Any) -> Tensor:
        result = OPERATIONS[name](p["w"] * p["w"], p["v"])
        return (result.reshape(1, -1) * torch.linspace(1, 2, math.prod(result.shape)).double()).tanh()

    for count in (1, 2, 3, 5):
        agree(loss, params, None, 1e-5 if "another type" in name else 1e-9, count)


class TestCrossEntropy:
    """Every option is followed or declined; nothing else than the loss of the model itself comes out."""

    TARGETS = torch.tensor([[3, -100, 0], [-100, 2, 5]])

    @pytest.fixture
    def params(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(4)
        return {"x": torch.randn(2, 3, 4, generator=generator).double(), "w": torch.randn(120, 4).double()}

    @pytest.mark.parametrize("classes", [120, 7])
    @pytest.mark.parametrize(("ignored", "form"), [(-100, "columns"), (5, "columns"), (-100, "rows")])
    def test_ignored_targets(self, classes: int, ignored: int, form: str, params: dict[str, Tensor]) -> None:
        targets = torch.where(self.TARGETS == -100, ignored, self.TARGETS)
        params = {**params, "w": params["w"][:classes].clone()}

        def loss(p: Params, _: Any) -> Tensor:
            logits = F.linear(p["x"].tanh(), p["w"])
            if form == "rows":
                flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=ignored)
                return flat.view(2, 3)
            return F.cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=ignored)

        agree(loss, params, None, 1e-10)
        _, first, second = taylor(
            loss, params, {n: torch.ones(1, *p.shape).double() for n, p in params.items()}, 0, True
        )
        assert second is not None
        assert (first[0] != 0).tolist() == (targets != ignored).tolist() == (second[0] != 0).tolist()

    @pytest.mark.parametrize(
        "options",
        [
            {"weight": torch.linspace(1, 2, 120).double()},
            {"label_smoothing": 0.1},
            {"target": "soft"},
            {"target": "one"},
        ],
        ids=str,
    )
    def test_other_options(self, options: dict[str, Any], params: dict[str, Tensor]) -> None:
        soft = torch.softmax(torch.randn(2, 120, 3, generator=torch.Generator().manual_seed(1)).double(), 1)
        chosen: Any = {"soft": soft, "one": soft.argmax(1)}[options.get("target", "one")]
        others = {n: o for n, o in options.items() if n != "target"}

        def loss(p: Params, _: Any) -> Tensor:
            return F.cross_entropy((p["x"].tanh() @ p["w"].mT).transpose(1, 2), chosen, reduction="none", **others)

        b = {
            n: torch.randn(2, *p.shape, generator=torch.Generator().manual_seed(2)).double() for n, p in params.items()
        }
        found = directional_derivatives(loss, params, b, None)
        for part, expected in zip(found[1:], by_autograd(loss, params, b, None), strict=True):
            torch.testing.assert_close(part, expected, rtol=1e-9, atol=1e-12)


class TestUnembedding:
    """A layer with so many outputs that their derivatives wait to be asked for."""

    TARGETS = torch.tensor([[3, 0, 39], [7, 7, 21]])

    @pytest.fixture
    def params(self) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(4)
        shapes = {"x": (2, 3, 4), "w": (4 * WIDE + 8, 4), "c": (4 * WIDE + 8,)}
        return {n: torch.randn(*shape, generator=generator).double() for n, shape in shapes.items()}

    @pytest.mark.parametrize("form", ["classes last", "rows", "moving input alone", "moving bias alone", "no bias"])
    def test_cross_entropy(self, form: str, params: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
        """The derivatives of the logits are formed for one direction at a time."""

        def loss(p: Params, _: Any) -> Tensor:
            w, c = (params["w"], params["c"]) if form == "moving input alone" else (p["w"], p["c"])
            x = p["x"]
            if form == "moving bias alone":
                w, c, x = params["w"], p["c"], params["x"]
            logits = F.linear(torch.tanh(x), w, None if form == "no bias" else c)
            if form == "rows":
                flat = F.cross_entropy(logits.flatten(-3, -2), self.TARGETS.flatten(), reduction="none")
                return flat.unflatten(-1, (2, 3))
            return F.cross_entropy(logits.transpose(-1, -2), self.TARGETS, reduction="none")

        formed: list[int] = []
        inner = PendingLinear.first

        def first(pending: Any) -> Any:
            result = inner(pending)
            formed.append(len(result))
            return result

        monkeypatch.setattr(PendingLinear, "first", first)
        agree(loss, params, None, 1e-9, count=3)
        assert formed == [1, 1, 1]

    def test_formed(self, params: dict[str, Tensor]) -> None:
        """Where anything else asks for them, all of them are."""

        def loss(p: Params, _: Any) -> Tensor:
            logits = F.linear(torch.tanh(p["x"]), p["w"], p["c"])
            return torch.tanh(0.1 * logits.transpose(-1, -2)).flatten(-3, -2)[..., 5, :2].unsqueeze(0)

        agree(loss, params, None, 1e-9)


def architecture(kind: str) -> Any:
    """A tiny model of the kind, in float64."""
    import transformers
    from transformers import AutoModelForCausalLM

    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    usual = {"vocab_size": 23, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, **ends}
    narrow = {"intermediate_size": 24}
    sizes: dict[str, dict[str, Any]] = {
        "GPTNeoX": {**usual, **narrow},
        "GPT2": {"vocab_size": 23, "n_embd": 16, "n_layer": 2, "n_head": 4, **ends},
        "Llama": {**usual, **narrow, "num_key_value_heads": 2},
        "OPT": {**usual, "ffn_dim": 24, "word_embed_proj_dim": 16},
        "Qwen2": {**usual, **narrow, "num_key_value_heads": 2},
        "Qwen3": {**usual, **narrow, "num_key_value_heads": 2, "head_dim": 4},
        "Mistral": {**usual, **narrow, "num_key_value_heads": 2},
        "Gemma": {**usual, **narrow, "num_key_value_heads": 2, "head_dim": 4},
        "Phi": {**usual, **narrow},
        "Olmo": {**usual, **narrow},
        "Olmo2": {**usual, **narrow},
        "GPTJ": {"vocab_size": 23, "n_embd": 16, "n_layer": 2, "n_head": 4, "rotary_dim": 4, **ends},
        "GPTNeo": {"vocab_size": 23, "hidden_size": 16, "num_layers": 2, "num_heads": 4, **ends}
        | {"attention_types": [[["global", "local"], 1]]},
    }
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes[kind])
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").double()
    # Biases and norms start at 0 and 1, where much of a mistake would not show.
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


@pytest.mark.parametrize(
    "kind",
    ["GPTNeoX", "GPT2", "Llama", "OPT", "Qwen2", "Qwen3", "Mistral", "Gemma", "Phi", "Olmo", "Olmo2", "GPTJ", "GPTNeo"],
)
def test_language_model(kind: str) -> None:
    """Padding included: the gradient of a padding token's embedding is 0 by decree, and so are its derivatives.

    No operation falls back; parts in single precision are what keeps the models from agreeing further."""
    module = architecture(kind)
    loss = ModuleLoss(module, use_cache=False)
    batch = next_token(torch.randint(3, (2, 6), generator=torch.Generator().manual_seed(2))).batches(2)[0]
    assert missing_rule(loss, parameters_of(module), batch) is None
    agree(loss, parameters_of(module), batch, 2e-5)


class TestLoading:
    """In a process of its own, since rules once loaded stay."""

    SCRIPT = """
import sys, torch
from polca.method.forward import directional_derivatives
from polca.tasks.transformer import ModelConfig, TokenLoss, initialize
config = ModelConfig(input_vocabulary=5, output_vocabulary=5, context=4, layers=1, width=4, heads=2, mlp_width=8)
params, ids = initialize(config, 0), torch.ones(2, 4, dtype=torch.int64)
b = {n: torch.ones(1, *p.shape) for n, p in params.items()}
directional_derivatives(TokenLoss(config), params, b, (ids, ids))
assert "polca.method.forward_rules" not in sys.modules, "our own model misses no rule"
p = {"w": torch.full((1, 3), 0.5)}
_, first, second = directional_derivatives(lambda q, _: q["w"].sigmoid() ** 2, p, {"w": torch.ones(1, 1, 3)}, None)
assert "polca.method.forward_rules" in sys.modules
print(first[0, 0, 0].item(), second[0, 0, 0].item())
"""

    def test_on_the_first_miss(self) -> None:
        done = subprocess.run([sys.executable, "-c", self.SCRIPT], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = [float(word) for word in done.stdout.split()]
        x = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(x.sigmoid() ** 2, x, create_graph=True)
        (bend,) = torch.autograd.grad(slope, x)
        assert found == pytest.approx([slope.item(), bend.item()], rel=1e-5)


class TestNoRule:
    def test_dropout_while_training(self) -> None:
        p = {"w": torch.ones(1, 3)}
        with pytest.raises(UnsupportedOperation, match="training"):
            taylor(lambda q, _: F.dropout(q["w"], 0.5), p, {"w": torch.ones(2, 1, 3)}, None, True)

    def test_in_place(self) -> None:
        """Seen by nobody else, were it done on a jet: such models go through nested `jvp`."""

        def loss(q: Params, _: Any) -> Tensor:
            x = q["w"] * q["w"]
            x += 1
            return x

        p, b = {"w": torch.ones(1, 3)}, {"w": torch.ones(2, 1, 3)}
        with pytest.raises(UnsupportedOperation):
            taylor(loss, p, b, None, True)
        assert "add_" in str(missing_rule(loss, p, None))
        _, first, second = directional_derivatives(loss, p, b, None)
        torch.testing.assert_close(first, torch.full((2, 1, 3), 2.0))
        torch.testing.assert_close(second, torch.full((2, 1, 3), 2.0))

    def test_call_in_another_form(self) -> None:
        """A rule that does not know a name falls back; it does not end the run."""

        def loss(q: Params, _: Any) -> Tensor:
            return torch.cat(tensors=[q["w"] * q["w"], q["w"]], dim=-1)

        def broken(q: Params, _: Any) -> Tensor:
            return torch.cat([q["w"]], dim="none")  # type: ignore[call-overload]

        p, b = {"w": torch.ones(1, 2)}, {"w": torch.ones(1, 1, 2)}
        assert "cat" in str(missing_rule(loss, p, None))
        with pytest.raises(TypeError):  # a mistake is not a missing rule
            taylor(broken, p, b, None, True)
        _, first, second = directional_derivatives(loss, p, b, None)
        torch.testing.assert_close(first, torch.tensor([[[2.0, 2, 1, 1]]]))
        torch.testing.assert_close(second, torch.tensor([[[2.0, 2, 0, 0]]]))

    def test_linear_of_two_jets(self) -> None:
        two = Jet.make(torch.ones(2), torch.ones(1, 2))
        with pytest.raises(UnsupportedOperation, match="two jets"):
            linear(torch.add)(two, two)
