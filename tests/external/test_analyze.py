"""`polca analyze`, end to end on models that the package does not know, and its refusals."""

import json
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import tiny_analysis
import tiny_lm
from polca.cli import app
from polca.errors import PolcaError
from polca.external.analyze import analyze, write_analysis
from polca.external.modules import ModuleCheckpoints, ModuleLoss, check_repeatable, parameters_of
from polca.external.sequences import Sequences, from_batches, imported, next_token, packed_text
from polca.external.settings import AnalysisSettings, basis_steps
from polca.method.checkpoints import CheckpointDirectory
from polca.method.clustering import Clusters, cluster
from polca.method.decomposition import decompose
from polca.method.projections import Projections
from tiny_images import images, train_on_images

OPTIONS = ["--context", "16", "--tokens", "240", "--hessian-sequences", "4", "--vectors", "2", "--interval", "50"]
OPTIONS += ["--min-cluster-size", "8", "--min-samples-divisor", "100", "--tolerance", "0.01"]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: tiny_lm.train(kind, tmp_path_factory.mktemp(kind)) for kind in ("gpt_neox", "gpt2")}


def run(model: Path, out: Path, *options: str, data: str | None = None) -> Any:
    return CliRunner().invoke(
        app, ["analyze", str(model), "--data", data or str(model / "text.txt"), "--out", str(out), *options]
    )


class TestLanguageModels:
    @pytest.mark.parametrize("kind", ["gpt_neox", pytest.param("gpt2", marks=pytest.mark.thorough)])
    def test_end_to_end(
        self, kind: str, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Files whole, losses as transformers itself gives them, no network, and the same bytes twice."""

        def refuse(*_: Any) -> None:
            raise AssertionError("a network call")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        for name in ("one", "two"):
            result = run(models[kind], tmp_path / name, *OPTIONS)
            assert result.exception is None, result.exception
            assert "attention: plain" in result.output
            assert "slower" not in result.output
        names = sorted(p.name for p in (tmp_path / "one").iterdir() if p.is_file())
        assert "summary.json" in names
        for name in names:
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
        found = json.loads((tmp_path / "one" / "summary.json").read_text())
        assert found["steps"] == [0, 50, 100, 150, 200]
        assert found["loss_last"] < found["loss_first"] - 1
        table = pd.read_csv(tmp_path / "one" / "clusters.csv")
        assert len(table) == found["clusters"] > 0
        assert table["context_1"].str.contains("⟦").all()
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(models[kind] / "step200", attn_implementation="sdpa").eval()
        encoder = tiny_lm.tokenizer()
        windows = packed_text(models[kind] / "text.txt", lambda t: encoder(t)["input_ids"], 16)[4 : 4 + 15]
        with torch.no_grad():
            expected = model(windows, labels=windows, use_cache=False).loss
        np.testing.assert_allclose(found["loss_last"], float(expected), rtol=1e-5)
        assert found["parameters"] == sum(p.numel() for p in model.parameters())

    def test_tied_weights_count_once(self, models: dict[str, Path]) -> None:
        from polca.external.hub import open_causal_lm

        params = open_causal_lm(str(models["gpt2"])).load(0)
        assert "transformer.wte.weight" in params
        assert "lm_head.weight" not in params

    @pytest.mark.parametrize("kind", ["gpt_neox", "gpt2"])
    def test_second_derivative(self, kind: str, models: dict[str, Path]) -> None:
        """bᵀH(x)b through transformers' own operations, against central differences."""
        from polca.external.hub import causal_loss, open_causal_lm
        from polca.method.forward import directional_derivatives

        checkpoints = open_causal_lm(str(models[kind]))
        loss, params = causal_loss(checkpoints, 200), checkpoints.load(200)
        loss.module.double()
        params = {n: p.double() for n, p in params.items()}
        torch.manual_seed(1)
        b = {n: 0.1 * torch.randn(1, *p.shape, dtype=p.dtype) for n, p in params.items()}
        ids = torch.randint(0, 16, (2, 9))
        batch = next_token(ids).batches(2)[0]
        _, first, second = directional_derivatives(loss, params, b, batch)
        assert second is not None

        def at(t: float) -> torch.Tensor:
            with torch.no_grad():
                return loss({n: p + t * b[n][0] for n, p in params.items()}, batch)

        # GPT-NeoX takes its softmax in single precision: steps cannot be small, so the differences are of fourth order.
        h = 5e-3
        two, one, none, back, far = (at(t) for t in (2 * h, h, 0.0, -h, -2 * h))
        torch.testing.assert_close(first[0], (8 * (one - back) - two + far) / (12 * h), rtol=1e-3, atol=1e-3)
        bend = (16 * (one + back) - 30 * none - two - far) / (12 * h**2)
        torch.testing.assert_close(second[0], bend, rtol=1e-2, atol=0.1)
        assert second.abs().max() > 2  # so that the tolerance is not all there is

    def test_refusals(self, models: dict[str, Path], tmp_path: Path) -> None:
        neox = models["gpt_neox"]
        foreign = tmp_path / "foreign"
        shutil.copytree(neox, foreign)
        shutil.rmtree(foreign / "step50")
        shutil.copytree(models["gpt2"] / "step50", foreign / "step50")
        pickled = tmp_path / "pickled"
        for step in (0, 50):
            shutil.copytree(neox / f"step{step}", pickled / f"step{step}")
            (pickled / f"step{step}" / "model.safetensors").rename(pickled / f"step{step}" / "pytorch_model.bin")
        (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
        text = str(neox / "text.txt")
        cases: list[tuple[Path, list[str], str, str]] = [
            (neox, ["--steps", "0,7"], text, "no checkpoint of step 7.*from 0 to 200"),
            (neox, [], str(tmp_path / "none.txt"), "no such text file"),
            (neox, [], str(tmp_path / "latin.txt"), "not UTF-8"),
            (neox, ["--context", "64"], text, "reads at most 32"),
            (neox, ["--vectors", "99"], text, "vectors = 99"),
            (neox / "step0", [], text, "need two checkpoints"),
            (tmp_path / "../etc/passwd", [], text, "no such folder"),
            (foreign, ["--steps", "0,50,100"], text, "of another model"),
            (pickled, [], text, "no causal language model in safetensors"),
        ]
        for model, options, data, message in cases:
            result = run(model, tmp_path / "out", *options, data=data)
            assert isinstance(result.exception, PolcaError), (message, result.exception)
            assert re.search(message, str(result.exception)), result.exception
            assert "\n" not in str(result.exception)
            assert not (tmp_path / "out").exists(), message


class Noisy(torch.nn.Module):
    """Drops units in whatever mode it is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(self.layer(x), 0.5, training=True)


class TestAnyModule:
    @pytest.fixture
    def module(self, tmp_path: Path) -> torch.nn.Module:
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
        train_on_images(model, tmp_path / "run")
        return model

    def test_vision_mlp(self, module: torch.nn.Module, tmp_path: Path) -> None:
        checkpoints = ModuleCheckpoints(tmp_path / "run", module)
        data = from_batches([images()], "images")
        settings = AnalysisSettings(vectors=3, min_cluster_size=5, min_samples_divisor=100, tolerance=1e-2)
        found = analyze(ModuleLoss(module), checkpoints, data.batches(60), data.batches(25), settings)
        x, y = images()
        module.load_state_dict(checkpoints.load(50))
        with torch.no_grad():
            expected = torch.nn.functional.cross_entropy(module(x), y, reduction="none")
        np.testing.assert_allclose(found.projections.losses[-1], expected, rtol=1e-5)
        paths = write_analysis(found, data, tmp_path / "out")
        assert all(p.is_file() for p in paths)
        assert paths[-1].name == "summary.json"
        written = {p for p in (tmp_path / "out").rglob("*") if p.is_file()}
        assert set(paths) == written >= {tmp_path / "out" / "tokens.json"}

    def test_foreign_checkpoints(self, module: torch.nn.Module, tmp_path: Path) -> None:
        other = ModuleCheckpoints(tmp_path / "run", torch.nn.Linear(2, 2))
        with pytest.raises(PolcaError, match="not of this model"):
            other.load(0)

    def test_running_statistics_are_refused(self, tmp_path: Path) -> None:
        model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
        CheckpointDirectory(tmp_path).save(0, {n: t + 1 for n, t in model.state_dict().items()})
        with pytest.raises(PolcaError, match="running statistics"):
            ModuleCheckpoints(tmp_path, model).load(0)


class TestChecks:
    def test_dropout(self) -> None:
        model, batch = Noisy(), (torch.randn(8, 4), torch.zeros(8, dtype=torch.int64))
        with pytest.raises(PolcaError, match="differs between two calls"):
            check_repeatable(ModuleLoss(model), parameters_of(model), batch)

    def test_unused_parameter(self) -> None:
        params = {"a": torch.ones(2), "b": torch.ones(2)}
        with pytest.raises(PolcaError, match="'b' is not used"):
            check_repeatable(lambda p, x: (p["a"] * x).square(), params, torch.ones(3, 2))

    def test_basis_steps_are_spread(self) -> None:
        steps = list(range(0, 101, 10))
        assert basis_steps(steps, AnalysisSettings(vectors=5)) == (20, 40, 60, 80, 100)
        assert basis_steps(steps, AnalysisSettings()) == tuple(steps[1:])
        with pytest.raises(PolcaError, match="at most 10"):
            basis_steps(steps, AnalysisSettings(vectors=11))

    @pytest.mark.parametrize("batches", [[], [3], [torch.zeros(2, 3)], [(torch.zeros(2, 3), torch.zeros(3))]], ids=str)
    def test_batches_of_another_kind(self, batches: list[Any]) -> None:
        with pytest.raises(PolcaError, match="data:"):
            from_batches(batches, "data")

    @pytest.mark.parametrize("spec", ["os", "../x:f", "no_such_module_here:f", "math:nothing"])
    def test_functions_that_are_not_there(self, spec: str) -> None:
        with pytest.raises(PolcaError, match="--data"):
            imported(spec, "--data")

    def test_bad_settings(self) -> None:
        with pytest.raises(PolcaError, match="strategy"):
            AnalysisSettings(strategy="magic")  # type: ignore[arg-type]
        with pytest.raises(PolcaError, match="tokens = 0"):
            AnalysisSettings(tokens=0)


def test_names_of_other_tokens(tmp_path: Path) -> None:
    """Nothing is written where the names are not of the evaluated tokens."""
    data = tiny_analysis.evaluation()
    for names in (data.part(0, 3), Sequences(data.inputs[:, :3], data.targets[:, :3])):
        with pytest.raises(PolcaError, match="but 280 were evaluated"):
            write_analysis(tiny_analysis.analysis(), names, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class TestReading:
    """Standardised trajectories, or raw ones."""

    @pytest.mark.parametrize(("options", "standardise"), [((), True), (("--standardise",), True), (("--raw",), False)])
    def test_option(self, options: tuple[str, ...], standardise: bool, command: Any, tmp_path: Path) -> None:
        """What was chosen is in the summary, and clusters are those of the function that the rest of polca uses."""
        out = tmp_path / "out"
        assert command(out, "--min-samples-divisor", "100", *options).exception is None
        settings = json.loads((out / "summary.json").read_text())["settings"]
        assert settings["standardise"] is standardise
        trajectories = decompose(Projections.load(out / "projections.npz"), second_order="trapezoid")
        right, other = (
            cluster(trajectories, min_cluster_size=5, min_samples_divisor=100, standardise=chosen)
            for chosen in (standardise, not standardise)
        )
        found = Clusters.load(out / "clusters.npz")
        assert np.array_equal(found.labels, right.labels)
        assert not np.array_equal(found.labels, other.labels)

    def test_no_cluster(self, command: Any, tmp_path: Path) -> None:
        """The way out is the other reading too, unless it is taken already."""
        for options, said in (((), True), (("--raw",), False)):
            output = command(tmp_path / f"out{said}", "--min-cluster-size", "31", *options).output
            assert "HDBSCAN found no cluster: raise --min-samples-divisor" in output
            assert ("--raw" in output) is said

    def test_bad_setting(self) -> None:
        with pytest.raises(PolcaError, match="standardise = 'no'"):
            AnalysisSettings(standardise="no")  # type: ignore[arg-type]
