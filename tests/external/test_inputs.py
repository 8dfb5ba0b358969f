"""Data, weights and outputs in the forms in which people have them: each gives the numbers of the plain form."""

import json
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from polca.errors import PolcaError
from polca.external.modules import ModuleCheckpoints, ModuleLoss, parameters_of
from polca.external.sequences import from_batches
from polca.method.checkpoints import CheckpointDirectory
from polca.method.forward import directional_derivatives
from polca.method.projections import Projections
from tiny_images import images

IDS = np.arange(60).reshape(6, 10) % 23
Named = namedtuple("Named", ["loss", "logits"])


class Tied(torch.nn.Module):
    """A language model without context, whose unembedding is its embedding."""

    def __init__(self, wrap: Any = lambda logits: logits) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.embedding = torch.nn.Embedding(23, 5)
        self.head = torch.nn.Linear(5, 23, bias=False)
        self.head.weight = self.embedding.weight
        self.wrap = wrap

    def forward(self, ids: torch.Tensor) -> Any:
        return self.wrap(self.head(torch.tanh(self.embedding(ids))))


def expected_losses(weight: torch.Tensor) -> torch.Tensor:
    """Of the next token, from the formula."""
    ids = torch.tensor(IDS)
    logits = torch.tanh(weight[ids[:, :-1]]) @ weight.T
    return -torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None]).squeeze(-1)


class TestTokenIds:
    @pytest.mark.parametrize("kind", ["u1", "i1", "<u2", ">u2", "i2", "u4", "i4", ">i4", "u8", "i8"])
    def test_integer_types(self, kind: str, tmp_path: Path) -> None:
        """From a read-only file that is mapped into memory, as tokenised corpora are kept."""
        IDS.astype(kind).tofile(tmp_path / "ids.bin")
        mapped = np.memmap(tmp_path / "ids.bin", dtype=kind, mode="r", shape=IDS.shape)
        found = from_batches([mapped[:4], mapped[4:]], "ids")
        assert torch.equal(found.inputs, torch.tensor(IDS[:, :-1]))
        assert torch.equal(found.targets, torch.tensor(IDS[:, 1:]))
        model = Tied()
        losses = ModuleLoss(model)(parameters_of(model), found.batches(6)[0])
        torch.testing.assert_close(losses, expected_losses(model.embedding.weight.detach()))

    @pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.uint16, torch.int32])
    def test_tensors(self, kind: torch.dtype) -> None:
        pair = (torch.tensor(IDS).to(kind), torch.tensor(IDS[:, 0]).to(kind))
        found = from_batches([pair], "ids")
        assert found.inputs.dtype == found.targets.dtype == torch.int64
        assert torch.equal(found.inputs, torch.tensor(IDS))
        assert torch.equal(found.targets, torch.tensor(IDS[:, :1]))


def test_inputs_of_double_precision() -> None:
    """NumPy's floats with weights of single precision; and weights of double precision with single inputs."""
    x, y = images()
    data = from_batches([(x.double().numpy(), y.numpy())], "images")
    assert data.inputs.dtype == torch.float64
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    params = parameters_of(model)
    expected = torch.nn.functional.cross_entropy(model(x), y, reduction="none")[:, None].detach()
    directions = {n: torch.randn(2, *p.shape) for n, p in params.items()}
    batch = data.batches(60)[0]
    found, slopes, _ = directional_derivatives(ModuleLoss(model), params, directions, batch, second_order=False)
    torch.testing.assert_close(found, expected)
    step = 1e-2
    ahead, back = (
        ModuleLoss(model)({n: p + s * directions[n][0] for n, p in params.items()}, batch) for s in (step, -step)
    )
    torch.testing.assert_close(slopes[0], (ahead - back) / (2 * step), rtol=1e-2, atol=1e-3)
    double = ModuleLoss(model.double())({n: p.double() for n, p in params.items()}, (x, y))
    assert double.dtype == torch.float64


class TestOutputs:
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda z: (z, None),
            lambda z: (z, z.mean()),
            lambda z: (z.mean(), z),
            lambda z: [z],
            lambda z: {"loss": None, "logits": z},
            lambda z: SimpleNamespace(logits=z),
            lambda z: Named(None, z),
        ],
        ids=["tuple", "tuple-loss", "loss-first", "list", "dict", "object", "named"],
    )
    def test_forms(self, wrap: Any) -> None:
        """Losses by the formula, and derivatives through jets, which go through the same output."""
        model, plain = Tied(wrap), Tied()
        params, batch = parameters_of(model), from_batches([IDS], "ids").batches(6)[0]
        torch.testing.assert_close(ModuleLoss(model)(params, batch), expected_losses(params["embedding.weight"]))
        directions = {n: torch.ones(1, *p.shape) for n, p in params.items()}
        found, wanted = (directional_derivatives(ModuleLoss(m), params, directions, batch) for m in (model, plain))
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))

    @pytest.mark.parametrize(
        "wrap", [lambda z: {"scores": z}, lambda z: (z.mean(),), lambda z: None], ids=["scores", "scalar", "none"]
    )
    def test_no_logits(self, wrap: Any) -> None:
        model = Tied(wrap)
        with pytest.raises(PolcaError, match="without logits"):
            ModuleLoss(model)(parameters_of(model), from_batches([IDS], "ids").batches(6)[0])


class TestTiedWeights:
    def test_round_trip(self, tmp_path: Path) -> None:
        """What `state_dict` gives is saved as it is, and read as parameters that appear once."""
        model = Tied()
        CheckpointDirectory(tmp_path).save(3, model.state_dict())
        weight = model.embedding.weight.detach()
        both = CheckpointDirectory(tmp_path).load(3)
        assert both.keys() == {"embedding.weight", "head.weight"}
        assert all(torch.equal(t, weight) for t in both.values())
        once = ModuleCheckpoints(tmp_path, Tied()).load(3)
        assert once.keys() == {"embedding.weight"}
        assert torch.equal(once["embedding.weight"], weight)

    def test_views_of_one_memory(self, tmp_path: Path) -> None:
        whole = torch.arange(12.0).reshape(3, 4)
        CheckpointDirectory(tmp_path).save(0, {"a": whole, "b": whole[1:], "c": whole.T})
        found = CheckpointDirectory(tmp_path).load(0)
        assert torch.equal(found["b"], torch.arange(4.0, 12.0).reshape(2, 4))
        assert torch.equal(found["c"], torch.arange(12.0).reshape(3, 4).T)


class TestHalfPrecision:
    @pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
    def test_read_as_single(self, kind: torch.dtype, tmp_path: Path) -> None:
        torch.manual_seed(0)
        values = {"a": torch.randn(3, 4).to(kind), "b": torch.randn(2), "n": torch.arange(3)}
        CheckpointDirectory(tmp_path).save(0, values)
        found = CheckpointDirectory(tmp_path).load(0)
        assert found["a"].dtype == found["b"].dtype == torch.float32
        assert found["n"].dtype == torch.int64
        assert torch.equal(found["a"].to(kind), values["a"])

    def test_said_once(self, command: Any, tmp_path: Path) -> None:
        """Losses are those of the rounded weights, computed in single precision."""
        files = CheckpointDirectory(tmp_path / "run")
        for step in files.steps():
            files.save(step, {n: t.bfloat16() for n, t in files.load(step).items()})
        output = command(tmp_path / "out").output
        assert output.count("weights are bfloat16: computed in float32") == 1
        losses = Projections.load(tmp_path / "out" / "projections.npz").losses
        p, (x, y) = files.load(50), images()
        hidden = torch.tanh(x.flatten(1) @ p["1.weight"].T + p["1.bias"])
        logits = hidden @ p["3.weight"].T + p["3.bias"]
        expected = torch.nn.functional.cross_entropy(logits, y, reduction="none")[30:]
        np.testing.assert_allclose(losses[-1], expected, rtol=1e-5)

    def test_not_said_of_single(self, command: Any, tmp_path: Path) -> None:
        assert "computed in float32" not in command(tmp_path / "out").output


class TestFileNames:
    def test_other_forms(self, tmp_path: Path) -> None:
        for step, name in ((0, "step_0"), (5, "step5"), (25, "step-25")):
            save_file({"a": torch.full((2,), float(step))}, tmp_path / f"{name}.safetensors")
        files = CheckpointDirectory(tmp_path)
        files.save(30, {"a": torch.full((2,), 30.0)})
        assert files.steps() == [0, 5, 25, 30]
        assert [float(files.load(step)["a"][0]) for step in files.steps()] == [0, 5, 25, 30]

    def test_one_step_twice(self, tmp_path: Path) -> None:
        for name in ("step_25", "step_000025"):
            save_file({"a": torch.zeros(2)}, tmp_path / f"{name}.safetensors")
        with pytest.raises(PolcaError, match=r"step_25\.safetensors: step_000025\.safetensors is step 25 as well"):
            CheckpointDirectory(tmp_path).steps()


def test_summary_of_a_run_on_mapped_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command on a model with tied weights that gives (logits, None), and ids of 16 bits in a file."""
    from typer.testing import CliRunner

    from polca.cli import app

    model, files = Tied(), CheckpointDirectory(tmp_path / "run")
    ids = torch.tensor(IDS)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    for step in range(5):
        files.save(step, model.state_dict())
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).mT, ids[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    IDS.astype("<u2").tofile(tmp_path / "ids.bin")
    (tmp_path / "mapped_model.py").write_text(
        "import numpy as np\nfrom test_inputs_model import Tied\n\n\n"
        "def make():\n    return Tied(lambda z: (z, None))\n\n\n"
        f"def batches():\n    yield np.memmap({str(tmp_path / 'ids.bin')!r}, '<u2', 'r', shape=(6, 10))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import sys

    monkeypatch.setitem(sys.modules, "test_inputs_model", SimpleNamespace(Tied=Tied))
    options = ["--vectors", "2", "--tokens", "36", "--hessian-sequences", "2", "--min-cluster-size", "5"]
    arguments = ["analyze", str(tmp_path / "run"), "--factory", "mapped_model:make", "--data", "mapped_model:batches"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out"), *options])
    assert result.exception is None, result.exception
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    weight = files.load(4)["embedding.weight"]
    np.testing.assert_allclose(found["loss_last"], float(expected_losses(weight)[2:].mean()), rtol=1e-5)
    assert found["parameters"] == weight.numel()
