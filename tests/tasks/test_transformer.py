"""The transformer against `torch.nn`'s own, and against the published parameter counts."""

import pytest
import torch
from torch import nn

from polca.errors import PolcaError
from polca.tasks.arithmetic.data import model_config
from polca.tasks.transformer import ModelConfig, TokenLoss, Transformer, initialize, parameter_count


def test_published_parameter_counts() -> None:
    assert parameter_count(model_config(3, 512, 4, 2048)) == 9_475_594
    assert parameter_count(ModelConfig(30_001, 30_001, 128)) == 40_274_737


def _reference(model: Transformer) -> nn.TransformerEncoder:
    """PyTorch's own pre-norm encoder with the weights of `model`."""
    c = model.config
    layer = nn.TransformerEncoderLayer(
        c.width,
        c.heads,
        c.mlp_width,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
        dtype=torch.float64,
    )
    reference = nn.TransformerEncoder(
        layer, c.layers, norm=nn.LayerNorm(c.width, dtype=torch.float64), enable_nested_tensor=False
    )
    with torch.no_grad():
        for ours, theirs in zip(model.blocks, reference.layers, strict=True):
            a = ours.attention
            theirs.self_attn.in_proj_weight.copy_(torch.cat([a.query.weight, a.key.weight, a.value.weight]))
            theirs.self_attn.in_proj_bias.copy_(torch.cat([a.query.bias, a.key.bias, a.value.bias]))
            theirs.self_attn.out_proj.load_state_dict(a.output.state_dict())
            theirs.linear1.load_state_dict(ours.mlp_in.state_dict())
            theirs.linear2.load_state_dict(ours.mlp_out.state_dict())
            theirs.norm1.load_state_dict(ours.norm1.state_dict())
            theirs.norm2.load_state_dict(ours.norm2.state_dict())
        reference.norm.load_state_dict(model.final_norm.state_dict())
    return reference.eval()


@pytest.mark.parametrize("targets", [0, 4])
def test_agrees_with_torch_nn(targets: int) -> None:
    torch.manual_seed(0)
    config = ModelConfig(12, 10, 12, layers=3, width=16, heads=4, mlp_width=32, targets=targets)
    model = Transformer(config).to(torch.float64)
    tokens = torch.randint(0, 12, (6, 11))
    reference = _reference(model)
    x = model.embed(tokens) + model.position(torch.arange(11))
    mask = nn.Transformer.generate_square_subsequent_mask(11, dtype=torch.float64)
    expected = model.unembed(reference(x, mask=mask))
    expected = expected[:, -targets:] if targets else expected
    assert (model(tokens) - expected).abs().max() <= 1e-10


def test_initialisation_is_transformerlens_default() -> None:
    config = model_config(3, 256, 4, 1024)
    params = initialize(config, 0)
    for name, p in params.items():
        if p.ndim > 1 and p.numel() > 10_000:
            assert p.std().item() == pytest.approx(0.8 / 256**0.5, rel=0.02), name
        elif p.ndim == 1:
            assert torch.equal(p, torch.ones_like(p) if "norm" in name and "weight" in name else torch.zeros_like(p))
    assert all(torch.equal(p, q) for p, q in zip(params.values(), initialize(config, 0).values(), strict=True))


def test_loss_is_cross_entropy_of_each_target(make_problem) -> None:
    problem = make_problem()
    model = Transformer(problem.loss.skeleton.config).to(torch.float64)
    model.load_state_dict(problem.params)
    inputs, targets = problem.batch
    probability = torch.softmax(model(inputs), -1).gather(2, targets[..., None])[..., 0]
    torch.testing.assert_close(TokenLoss(model.config)(problem.params, problem.batch), -probability.log())


def test_future_tokens_do_not_matter(make_problem) -> None:
    problem = make_problem()
    inputs, targets = problem.batch
    changed = inputs.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 10
    before = problem.loss(problem.params, (inputs, targets))
    after = problem.loss(problem.params, (changed, targets))
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3], after[:, 3])


def test_impossible_sizes_are_named() -> None:
    with pytest.raises(PolcaError, match=r"model\.width = 10 is not divisible by model\.heads = 4"):
        ModelConfig(12, 10, 12, width=10, heads=4)
    with pytest.raises(PolcaError, match=r"model\.layers = 0"):
        ModelConfig(12, 10, 12, layers=0)
