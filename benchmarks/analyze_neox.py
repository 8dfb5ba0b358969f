"""What `polca analyze` costs on a GPT-NeoX of 14 million parameters (the shape of Pythia-14m) with ten checkpoints.

    python benchmarks/analyze_neox.py --output benchmarks/analyze_neox.json --work <empty folder>

The model is drawn at random, then trained for 90 steps on a stream of synthetic bigrams; `polca analyze` then runs as
its users run it, in one process with one thread, on 2,000 tokens. Time and memory are of that process. Then
`polca cluster` reads its projections the other way, in finer clusters.
"""

import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from polca.machine.files import read_json, write_json
from polca.machine.runtime import configure_torch

CONTEXT, STEPS, INTERVAL = 100, 90, 10


def windows(count: int, seed: int) -> Any:
    """`[count, CONTEXT + 1]` ids: Zipf-distributed words, every second one decided by the word before it."""
    import numpy as np

    rng = np.random.default_rng(seed)
    ids = np.minimum(rng.zipf(1.3, (count, CONTEXT + 1)), 50_000)
    ids[:, 1::2] = (ids[:, :-1:2] * 7 + 3) % 50_000
    return ids.astype(np.int64)


def data() -> list[Any]:
    """What `--data analyze_neox:data` gives."""
    return [windows(24, 1)]


def train(directory: Path) -> None:
    """Write `step0` … `step90`."""
    import torch
    from transformers import AutoModelForCausalLM, GPTNeoXConfig

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=50304,
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=2048,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    ids = torch.from_numpy(windows(4 * STEPS, 0))
    for step in range(STEPS + 1):
        if step % INTERVAL == 0:
            model.save_pretrained(directory / f"step{step}")
        if step < STEPS:
            batch = ids[4 * step : 4 * step + 4]
            loss = model(batch, labels=batch, use_cache=False).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main(
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")],
    work: Annotated[Path, typer.Option(help="Empty folder for checkpoints and results (600 MB).")],
) -> None:
    """Train, analyse, and write what it took."""
    configure_torch()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "model" / f"step{STEPS}").is_dir():
        train(work / "model")
    options = ["--vectors", "10", "--per-step", "2", "--tokens", "2000", "--hessian-sequences", "2", "--batch", "2"]
    options += ["--tolerance", "0.01", "--max-matvecs", "30"]
    analysis = ["analyze", str(work / "model"), "--data", "analyze_neox:data", "--out", str(work / "results"), *options]
    again = ["--raw", "--min-samples-divisor", "60"]
    seconds = timed(*analysis)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    cluster_seconds = timed("cluster", str(work / "results"), *again, "--out", str(work / "raw"))
    found = read_json(work / "results" / "summary.json")
    import transformers

    write_json(
        output,
        {
            "command": f"polca analyze model --data analyze_neox:data --out results {' '.join(options)}",
            "wall_seconds": round(seconds, 1),
            "peak_memory_mib": round(memory / 1024),
            "cluster_command": f"polca cluster results {' '.join(again)} --out raw",
            "cluster_seconds": round(cluster_seconds, 1),
            "parameters": found["parameters"],
            "checkpoints": len(found["steps"]),
            "tokens": found["tokens"],
            "vectors": len(found["vectors"]),
            "kept": sum(t["kept"] for t in found["trajectories"]),
            "clusters": found["clusters"],
            "largest_relative_residual": max(abs(v["residual"] / v["eigenvalue"]) for v in found["vectors"]),
            "products": sum({v["step"]: v["products"] for v in found["vectors"]}.values()),
            "completeness": found["completeness"],
            "threads": 1,
            "machine": {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
            "transformers": transformers.__version__,
        },
    )


def timed(*arguments: str) -> float:
    """Seconds that `polca` takes with these arguments."""
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "from polca.cli import main; main()", *arguments],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    return time.monotonic() - start


def processor() -> str:
    """The CPU's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    typer.run(main)
