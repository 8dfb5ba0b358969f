"""Speed against what a user would pick instead: ratios measured in one run on one machine (`make bench`).

Every measurement is a process of its own, so that peak memory is its own too. Ours runs with the package's pinned,
portable kernels; the alternatives run as a user would run them, with PyTorch's own kernels. Both have one thread.
Sizes are the laptop preset's, with weights after a few steps of training and random directions, so that nothing but the
package is needed. What is counted as arithmetic is what passes through matrix products.

    python benchmarks/speed.py run      # everything, about ten minutes; writes speed.json
    python benchmarks/speed.py measure '{"case": "projections", "method": "ours", "setting": "english", …}'
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OURS = ("ours", "ours_rebuilt", "ours_further", "peak")
LIMIT = 240
"""Seconds after which a measurement is given up; the row says so."""
FURTHER = 3e-7
"""Relative residual that ARPACK reaches when it is asked for 1e-3, so that its products and ours can be compared."""
PINNED = ("ATEN_CPU_CAPABILITY", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES")


@dataclass(frozen=True)
class Measurement:
    """What one process measures; sizes of 0 are the laptop preset's."""

    case: str
    method: str
    setting: str = "arithmetic"
    sequences: int = 10
    vectors: int = 10
    width: int = 0
    context: int = 0
    repeats: int = 3


def _grid() -> list[Measurement]:
    """All measurements. The slow alternatives get fewer sequences: results are compared per token and vector."""
    grid: list[Measurement] = []
    for setting, vectors, ours, theirs in (("arithmetic", 8, 50, 10), ("english", 10, 10, 2)):
        base = Measurement("projections", "ours", setting, ours, vectors)
        grid.append(base)
        grid.append(replace(base, method="jvp_each"))
        grid += [replace(base, method=m, sequences=theirs, repeats=2) for m in ("vmap_grad", "loop_grad")]
        # As many tokens as the alternatives, so that memory can be compared.
        grid.append(replace(base, sequences=theirs))
        grid.append(replace(base, case="curvature"))
        grid.append(replace(base, case="curvature", method="vmap_hvp", sequences=1, vectors=2, repeats=2))
        hvp = Measurement("hvp", "ours", setting, 50 if setting == "arithmetic" else 10, 1)
        grid += [replace(hvp, method=m) for m in ("ours", "ours_rebuilt", "double_backward", "curvlinops")]
    eigen = Measurement("eigenpairs", "ours", "arithmetic", 20, 1, repeats=1)
    grid += [replace(eigen, method=m) for m in ("ours", "ours_further", "eigsh", "lobpcg", "power", "cola")]
    growth = Measurement("growth", "ours", "english", 4, 8, 128, 64, repeats=9)
    grid += [replace(growth, sequences=n) for n in (4, 8, 16, 32)]
    grid += [replace(growth, vectors=n) for n in (8, 16, 32, 64)]
    grid += [replace(growth, width=n) for n in (128, 256, 512, 1024)]
    grid += [replace(growth, context=n) for n in (32, 64, 128, 256)]
    grid += [Measurement("memory", "ours", "english", n, 8, 128, 64, repeats=1) for n in (10, 20, 40, 80, 160, 320)]
    grid.append(Measurement("peak", "peak"))
    return list(dict.fromkeys(grid))


# --- one measurement ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """A model, its weights, data and directions. `batch` holds `sequences` sequences."""

    config: Any
    token_loss: Any
    params: dict[str, Any]
    batch: Any
    directions: dict[str, Any]


def problem(m: Measurement) -> Problem:
    """The laptop preset's model at the sizes asked for, after ten steps of training on its own batch."""
    import numpy as np
    import torch

    from polca.study.paths import PresetPaths
    from polca.study.settings import Preset
    from polca.tasks.arithmetic.data import batch as additions
    from polca.tasks.english.text import evaluation_batch
    from polca.tasks.transformer import TokenLoss, initialize

    preset, random = Preset.read(PresetPaths.named("laptop")), np.random.default_rng(0)
    if m.setting == "arithmetic":
        task = preset.arithmetic()
        config, batch = task.model(), additions(task.data.training[: m.sequences])
    else:
        config = preset.english().model(evaluated=True)
        context = m.context or config.context
        config = replace(config, context=context, targets=context - 2)
        batch = evaluation_batch(random.integers(1, config.output_vocabulary, (m.sequences, context + 1), np.int32))
    if m.width:
        config = replace(config, width=m.width, mlp_width=4 * m.width)
    loss, params = TokenLoss(config), initialize(config, 0)
    leaves = {name: p.requires_grad_() for name, p in params.items()}
    optimizer = torch.optim.AdamW(leaves.values(), lr=1e-3)
    for _ in range(10 if m.case in ("hvp", "eigenpairs") else 0):
        optimizer.zero_grad()
        loss(leaves, batch).mean().backward()
        optimizer.step()
    generator = torch.Generator().manual_seed(0)
    directions = {
        n: torch.randn(m.vectors, *p.shape, generator=generator) * p.numel() ** -0.5 for n, p in params.items()
    }
    return Problem(config, loss, {n: p.detach() for n, p in params.items()}, batch, directions)


def _projections(m: Measurement, p: Problem) -> Callable[[], Any]:
    import rivals

    from polca.method.forward import directional_derivatives
    from polca.method.reverse import projected_gradients

    if m.method != "ours":
        function = getattr(rivals, m.method)
        return lambda: function(p.token_loss, p.params, p.directions, p.batch)
    if m.setting == "arithmetic":
        return lambda: projected_gradients(p.token_loss, p.params, p.batch, p.directions)
    return lambda: directional_derivatives(p.token_loss, p.params, p.directions, p.batch, second_order=False)


def _curvature(m: Measurement, p: Problem) -> Callable[[], Any]:
    import rivals

    from polca.method.forward import directional_derivatives

    if m.method == "ours":
        return lambda: directional_derivatives(p.token_loss, p.params, p.directions, p.batch)
    return lambda: rivals.vmap_hvp(p.token_loss, p.params, p.directions, p.batch)


def _matvec(m: Measurement, p: Problem) -> Callable[[Any], Any]:
    import rivals

    from polca.method.curvature import HessianOperator
    from polca.tasks.transformer import Transformer

    if m.method == "double_backward":
        return rivals.double_backward(p.token_loss, p.params, p.batch)
    if m.method == "curvlinops":
        model = Transformer(p.config)
        model.load_state_dict(p.params)
        operator = rivals.curvlinops_hessian(model, p.batch)
        return lambda vector: operator @ vector
    return HessianOperator(p.token_loss, p.params, [p.batch], keep_graphs=m.method != "ours_rebuilt")


def _gradient(p: Problem, portable: bool) -> Callable[[], Any]:
    import contextlib

    import torch

    from polca.machine.products import PortableProducts

    leaves = {name: q.detach().clone().requires_grad_() for name, q in p.params.items()}

    def gradient() -> Any:
        with PortableProducts() if portable else contextlib.nullcontext():
            return torch.autograd.grad(p.token_loss(leaves, p.batch).mean(), list(leaves.values()))

    return gradient


def _eigenpair(m: Measurement, p: Problem, tolerance: float = 1e-3) -> dict[str, Any]:
    """Every solver gets the same products (ours), so that their numbers can be compared."""
    import rivals

    from polca.method.curvature import HessianOperator, lanczos

    operator, count = HessianOperator(p.token_loss, p.params, [p.batch]), 0
    size = operator.layout.size

    def matvec(vector: Any) -> Any:
        nonlocal count
        count += 1
        return operator(vector)

    start = time.perf_counter()
    if m.method in OURS:
        found = lanczos(matvec, size, tolerance=FURTHER if m.method == "ours_further" else tolerance)
        value, vector = float(found.values[0]), found.vectors[0]
    else:
        value, vector = getattr(rivals, f"top_{m.method}")(matvec, size, tolerance)
    seconds, used = time.perf_counter() - start, count
    vector = vector / vector.norm()
    residual = float((operator(vector) - value * vector).norm() / abs(value))
    return {"seconds": [seconds], "matvecs": used, "eigenvalue": value, "relative_residual": residual}


def _memory(m: Measurement, p: Problem) -> Callable[[], Any]:
    """The public `project` on batches of ten sequences: memory must not grow with their number."""
    import numpy as np

    from polca.method.bases import Basis
    from polca.method.projections import project

    nothing = np.full(m.vectors, np.nan)
    basis = Basis("random", p.directions, np.full(m.vectors, -1), nothing, nothing, np.zeros(m.vectors, int))

    class One:
        def steps(self) -> list[int]:
            return [0]

        def load(self, step: int) -> dict[str, Any]:
            return p.params

    inputs, targets = p.batch
    data = [(inputs[i : i + 10], targets[i : i + 10]) for i in range(0, len(inputs), 10)]
    return lambda: project(p.token_loss, One(), basis, data, method="forward")


def _counted(call: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products of a call of ours."""
    from polca.machine import products

    total, plain = 0, products._numpy_matmul

    def counting(a: Any, b: Any) -> Any:
        nonlocal total
        out = plain(a, b)
        total += 2 * out.numel() * a.shape[-1]
        return out

    products._numpy_matmul = counting
    try:
        call()
    finally:
        products._numpy_matmul = plain
    return total


def _timed(call: Callable[[], Any], repeats: int) -> list[float]:
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _gemm_peak() -> dict[str, Any]:
    """This machine's matrix-product rate, float32, one core: the best of several sizes."""
    import numpy as np

    rates = []
    for m, k, n in ((512, 512, 512), (1024, 1024, 1024), (2750, 256, 1024), (640, 128, 4001)):
        a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
        rates.append(2 * m * k * n / min(_timed(lambda a=a, b=b: a @ b, 20)))  # type: ignore[misc]
    return {"seconds": [], "flops_per_second": max(rates)}


def measure(m: Measurement) -> dict[str, Any]:
    """Measure in this process."""
    if m.method not in OURS:
        import numpy  # noqa: F401  (before polca, so that a user's own kernels stay in place)
        import torch

        torch.ones(8, 8) @ torch.ones(8, 8)
        warnings.simplefilter("ignore")
    import polca.external.analyze  # noqa: F401  (what it loads counts as memory from before)
    from polca.machine.runtime import configure_torch

    configure_torch()
    if m.case == "peak":
        return _gemm_peak()
    p = problem(m)
    before = _peak_mib()
    tokens = p.batch[1].numel()
    result: dict[str, Any] = {"tokens": tokens, "parameters": sum(q.numel() for q in p.params.values())}
    if m.case == "eigenpairs":
        return result | _eigenpair(m, p)
    if m.case == "hvp":
        matvec = _matvec(m, p)
        vector = next(iter(p.directions.values())).new_ones(result["parameters"])
        result["seconds"] = _timed(lambda: matvec(vector), m.repeats)
        result["gradient_seconds"] = _timed(_gradient(p, m.method in OURS), m.repeats)
        return result | {"peak_mib": _peak_mib() - before}
    make = {"projections": _projections, "growth": _projections, "curvature": _curvature, "memory": _memory}[m.case]
    call = make(m, p)
    result["seconds"] = _timed(call, m.repeats)
    result["peak_mib"] = _peak_mib() - before
    if m.method == "ours":
        result["flops"] = _counted(call)
    return result


# --- all of them ----------------------------------------------------------------------------------------------------


def _in_process(m: Measurement) -> dict[str, Any]:
    """Measure in a fresh process; a library that is not installed gives a row without numbers."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if m.method not in OURS:
        environment = {name: value for name, value in environment.items() if name not in PINNED}
    command = [sys.executable, str(HERE / "speed.py"), "measure", json.dumps(asdict(m))]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=HERE, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return asdict(m) | {"error": f"stopped after {LIMIT} seconds"}
    if done.returncode:
        return asdict(m) | {"error": (done.stderr.strip().splitlines() or ["killed"])[-1]}
    return asdict(m) | json.loads(done.stdout.splitlines()[-1])


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("torch", "numpy", "scipy", "curvlinops-for-pytorch", "cola-ml"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> None:
    """Command line: `run`, or `measure JSON` for one."""
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(Measurement(**json.loads(sys.argv[2])))))
        return
    from measure_run import processor

    from polca.machine.progress import progress

    rows, grid = [], _grid()
    with progress("benchmarks", len(grid)) as bar:
        for m in grid:
            rows.append(_in_process(m))
            bar.advance(note=f"{m.case} {m.method}")
    result = {"processor": processor(), "cores": os.cpu_count(), "threads": 1, "versions": _versions(), "rows": rows}
    (HERE / "speed.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
