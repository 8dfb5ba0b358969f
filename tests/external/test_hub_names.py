"""Folders of checkpoints as frameworks leave them: their names, and what is in them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import tiny_lm
from polca.cli import app
from polca.errors import PolcaError
from polca.external.headers import check_hub
from polca.external.hub import causal_loss, open_causal_lm


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_lm.train("gpt_neox", tmp_path_factory.mktemp("trained"))


@pytest.fixture
def two(trained: Path, tmp_path: Path) -> Path:
    """Two checkpoints of one's own to spoil."""
    for step in (0, 25):
        shutil.copytree(trained / f"step{step}", tmp_path / "two" / f"step{step}")
    return tmp_path / "two"


def folders(root: Path, *names: str) -> str:
    for name in names:
        (root / name).mkdir()
    return str(root)


class TestNames:
    @pytest.mark.parametrize(
        "form",
        [
            *("step{}", "step_{}", "step-{}", "checkpoint-{}", "epoch-{}", "epoch_{}", "global_step{}", "{}"),
            *("step{}-tokens1B", "stage1-step{}-tokens3B", "stage2-ingredient1-step{}-tokens1B", "Step{}", "ckpt_{}"),
        ],
    )
    def test_forms(self, form: str, tmp_path: Path) -> None:
        steps = (0, 25, 1000)
        others = ("results", "step", "step9.bak", "runs-5-old", "-7", "tokens1B")
        source = folders(tmp_path, *(form.format(s) for s in steps), *others)
        found = open_causal_lm(source)
        assert {s: Path(where).name for s, (where, _) in found.sources.items()} == {s: form.format(s) for s in steps}

    def test_tokens_grow(self, tmp_path: Path) -> None:
        source = folders(tmp_path, "step0-tokens0B", "step1000-tokens4B", "step2000")
        assert open_causal_lm(source).steps() == [0, 1000, 2000]

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("step0", "step25", "checkpoint-50", "checkpoint-75"), "2 named checkpoint…, 2 named step…"),
            (("step0", "step25", "50"), "1 named by a number alone, 2 named step…"),
            (("stage1-step0", "stage1-step25", "stage2-step0"), "2 named stage1-step…, 1 named stage2-step…"),
        ],
    )
    def test_mixtures(self, names: tuple[str, ...], message: str, tmp_path: Path) -> None:
        """Refused, since a part would be taken for the whole; --names takes one kind."""
        source = folders(tmp_path, *names)
        with pytest.raises(PolcaError, match="several kinds") as error:
            open_causal_lm(source)
        assert message in str(error.value)
        pattern = names[0].replace("0", "*")
        assert open_causal_lm(source, pattern).steps() == [0, 25]

    def test_one_step_twice(self, tmp_path: Path) -> None:
        with pytest.raises(PolcaError, match="'step25' and 'step_25' are both step 25"):
            open_causal_lm(folders(tmp_path, "step25", "step_25", "step0"))


class TestContents:
    def test_truncated(self, two: Path) -> None:
        path = two / "step25" / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-4])
        with pytest.raises(PolcaError, match=r"step25/model\.safetensors: not a readable safetensors file"):
            check_hub(open_causal_lm(str(two)), [0, 25])

    def test_adapter(self, two: Path) -> None:
        for name in ("config.json", "model.safetensors"):
            (two / "step25" / name).rename(two / "step25" / f"adapter_{name}")
        with pytest.raises(PolcaError, match=r"step25: holds an adapter \(PEFT\) and no model: merge it"):
            check_hub(open_causal_lm(str(two)), [0, 25])

    def test_shards(self, two: Path) -> None:
        """Weights in several files are read as in one; a missing one is found at the start."""
        folder = two / "step25"
        whole = load_file(folder / "model.safetensors")
        expected = open_causal_lm(str(two)).load(25)
        (folder / "model.safetensors").unlink()
        names = sorted(whole)
        weight_map = {}
        for number, part in enumerate((names[::2], names[1::2]), 1):
            file = f"model-0000{number}-of-00002.safetensors"
            save_file({n: whole[n] for n in part}, folder / file, {"format": "pt"})
            weight_map |= dict.fromkeys(part, file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        checkpoints = open_causal_lm(str(two))
        assert check_hub(checkpoints, [0, 25]) == set()
        assert [p.name for p in checkpoints.files(25)][-2:] == sorted(set(weight_map.values()))
        found = checkpoints.load(25)
        assert all(torch.equal(found[n], expected[n]) for n in expected)
        (folder / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(PolcaError, match=r"step25: .*no model-00002-of-00002\.safetensors"):
            check_hub(open_causal_lm(str(two)), [0, 25])

    def test_leftover_buffers(self, two: Path) -> None:
        """Old buffers are passed over; another name that the model lacks is refused."""
        path = two / "step25" / "model.safetensors"
        whole, expected = load_file(path), open_causal_lm(str(two)).load(25)
        old = {
            "gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 32, 32, dtype=torch.bool),
            "gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9),
            "gpt_neox.layers.0.attention.rotary_emb.inv_freq": torch.ones(2),
        }
        save_file(whole | old, path, {"format": "pt"})
        checkpoints = open_causal_lm(str(two))
        check_hub(checkpoints, [0, 25])
        found = checkpoints.load(25)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[n], expected[n]) for n in expected)
        assert checkpoints.leftovers <= set(old)
        save_file(whole | {"gpt_neox.layers.0.adapter.weight": torch.ones(2)}, path, {"format": "pt"})
        with pytest.raises(PolcaError, match=r"'gpt_neox\.layers\.0\.adapter\.weight' is among the unexpected keys"):
            check_hub(open_causal_lm(str(two)), [0, 25])

    @pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
    def test_half_precision(self, kind: torch.dtype, two: Path) -> None:
        for step in (0, 25):
            path = two / f"step{step}" / "model.safetensors"
            save_file({n: t.to(kind) for n, t in load_file(path).items()}, path, {"format": "pt"})
        checkpoints = open_causal_lm(str(two))
        assert check_hub(checkpoints, [0, 25]) == {str(kind).removeprefix("torch.")}
        name = "gpt_neox.layers.0.mlp.dense_h_to_4h.weight"
        found = checkpoints.load(25)[name]
        assert found.dtype == torch.float32
        assert torch.equal(found, load_file(two / "step25" / "model.safetensors")[name].float())


def test_mixture_of_experts(tmp_path: Path) -> None:
    """Experts run one after the other; slopes along two directions against central differences."""
    from transformers import MixtralConfig, MixtralForCausalLM

    from polca.external.sequences import next_token
    from polca.method.forward import directional_derivatives

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    heads = {"num_key_value_heads": 1, "num_local_experts": 3, "num_experts_per_tok": 2, "vocab_size": 20}
    model = MixtralForCausalLM(MixtralConfig(**sizes, **heads, max_position_embeddings=32))
    for step in (0, 1):
        model.save_pretrained(tmp_path / f"step{step}")
    checkpoints = open_causal_lm(str(tmp_path))
    loss, params = causal_loss(checkpoints, 1), checkpoints.load(1)
    loss.module.double()
    params = {n: p.double() for n, p in params.items()}
    batch = next_token(torch.randint(0, 20, (2, 9))).batches(2)[0]
    directions = {n: 0.1 * torch.randn(2, *p.shape, dtype=p.dtype) for n, p in params.items()}
    _, slopes, _ = directional_derivatives(loss, params, directions, batch, second_order=False)

    def at(k: int, h: float) -> torch.Tensor:
        with torch.no_grad():
            return loss({n: p + h * directions[n][k] for n, p in params.items()}, batch)

    for k in range(2):
        expected = (at(k, 1e-4) - at(k, -1e-4)) / 2e-4
        assert expected.abs().max() > 0.05
        torch.testing.assert_close(slopes[k], expected, rtol=1e-3, atol=1e-3)


def test_command_on_bare_numbers_and_parquet(trained: Path, tmp_path: Path) -> None:
    """The same files as a run on `step…` folders and plain text."""
    import pandas as pd

    pytest.importorskip("pyarrow")
    for folder in trained.glob("step*"):
        shutil.copytree(folder, tmp_path / "model" / folder.name.removeprefix("step"))
    for file in trained.glob("*.json"):
        shutil.copy(file, tmp_path / "model")
    pd.DataFrame({"body": [(trained / "text.txt").read_text()]}).to_parquet(tmp_path / "text.parquet")
    options = ["--context", "16", "--tokens", "240", "--hessian-sequences", "4", "--vectors", "1", "--interval", "100"]

    def run(model: Path, data: Path, *more: str) -> Any:
        out = tmp_path / f"out-{data.suffix}"
        result = CliRunner().invoke(
            app, ["analyze", str(model), "--data", str(data), "--out", str(out), *options, *more]
        )
        assert result.exception is None, result.exception
        return {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()}

    plain = run(trained, trained / "text.txt")
    assert run(tmp_path / "model", tmp_path / "text.parquet", "--field", "body") == plain
