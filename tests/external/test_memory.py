"""What `polca analyze` says of memory, and its summary in sentences."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from polca.external.memory import Memory, estimated
from polca.external.modules import ModuleLoss, parameters_of

ROOT = Path(__file__).parents[2]
GIB = 2**30


def test_closed_form() -> None:
    """One layer without bias: d = 12·5 numbers of four bytes."""
    model = torch.nn.Linear(12, 5, bias=False)
    batch = (torch.randn(7, 12), torch.zeros(7, dtype=torch.int64))
    d = 12 * 5 * 4
    found = estimated(ModuleLoss(model), parameters_of(model), batch, vectors=3, max_matvecs=50, curvature=False)
    assert found.basis == 2 * 3 * d
    assert found.lanczos == 32 * d
    assert found.lanczos_most == 50 * d
    few = estimated(ModuleLoss(model), parameters_of(model), batch, vectors=3, max_matvecs=9, curvature=False)
    assert few.lanczos == few.lanczos_most == 9 * d


def test_batch_grows_with_its_sequences() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(30, 200), torch.nn.Tanh(), torch.nn.Linear(200, 100))
    sizes = [
        estimated(
            ModuleLoss(model),
            parameters_of(model),
            (torch.randn(n, 30), torch.zeros(n, dtype=torch.int64)),
            vectors=2,
            max_matvecs=9,
            curvature=False,
        ).batch
        for n in (40, 80)
    ]
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.01)


def test_measured_run() -> None:
    """Within a factor of two of the peak of the benchmark, which holds the libraries too."""
    from transformers import AutoModelForCausalLM, GPTNeoXConfig

    run = json.loads((ROOT / "benchmarks" / "analyze_neox.json").read_text(encoding="utf-8"))
    sizes = {"hidden_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 512}
    config = GPTNeoXConfig(vocab_size=50304, max_position_embeddings=2048, **sizes)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    params = parameters_of(model)
    assert sum(p.numel() for p in params.values()) == run["parameters"]
    ids = torch.zeros(2, 101, dtype=torch.int64)
    loss, batch = ModuleLoss(model, use_cache=False), (ids[:, :-1], ids[:, 1:])
    found = estimated(loss, params, batch, vectors=10, max_matvecs=30, curvature=False)
    assert 0.5 < found.total / (run["peak_memory_mib"] * 2**20) < 2


def test_sentence() -> None:
    memory = Memory(weights=GIB, basis=6 * GIB, lanczos=3 * GIB, lanczos_most=19 * GIB, batch=2 * GIB)
    said = memory.sentence(20 * GIB)
    assert "basis 6 GiB, Lanczos 3 (at most 19), a batch 2, weights 1; together 12 of 20 GiB that are free" in said
    assert "may not fit" not in said
    assert "this may not fit. Lower --vectors first (--max-matvecs, --batch, --context, --workers" in memory.sentence(
        GIB
    )
    # Workers project at once, with one copy of the basis each.
    assert Memory(GIB, 6 * GIB, 0, 0, 2 * GIB, workers=4).total == 4 * 6 * GIB


class TestSummary:
    def test_command(self, command: Any, tmp_path: Path) -> None:
        """The sentences hold the numbers of summary.json; the command ends with what to open first."""
        out = tmp_path / "out"
        output = command(out, "--min-samples-divisor", "100", "--min-cluster-size", "2").output
        found, text = json.loads((out / "summary.json").read_text()), (out / "summary.txt").read_text()
        assert all(line in output for line in text.splitlines())
        assert f"falls from {found['loss_first']:.4g} to {found['loss_last']:.4g} nats" in text
        assert f"({found['completeness']['fraction']:.1%})" in text
        assert found["clusters"] > 1
        assert f"HDBSCAN found {found['clusters']} clusters of standardised trajectories" in text
        assert f"They hold {1 - found['outlier_fraction']:.0%} of" in text
        assert "All 2 eigenvectors converged to a relative residual of 0.001." in text
        assert found["unconverged"] == []
        assert found["fallback"] is None
        assert "memory, roughly" in output
        last = output.splitlines()[-2:]
        assert last[0].startswith(f"open first: {out}/projected_losses.png")
        assert all((out / name).is_file() for name in ("projected_losses.png", "clusters.csv"))
        assert last[1].endswith(f"polca explore {out}/")

    def test_not_converged(self, command: Any, tmp_path: Path) -> None:
        out = tmp_path / "out"
        command(out, "--max-matvecs", "1")
        vectors = json.loads((out / "summary.json").read_text())["vectors"]
        late = [v["vector"] for v in vectors if v["residual"] > 1e-3 * abs(v["eigenvalue"])]
        assert late == [1, 2]
        assert json.loads((out / "summary.json").read_text())["unconverged"] == late
        assert "2 of 2 eigenvectors did not converge" in (out / "summary.txt").read_text()
        assert "(vectors 1, 2): raise --max-matvecs" in (out / "summary.txt").read_text()

    def test_uneven(self, command: Any, tmp_path: Path) -> None:
        command(tmp_path / "out", "--steps", "0,10,50")
        assert "no breakthrough steps" in (tmp_path / "out" / "summary.txt").read_text()
