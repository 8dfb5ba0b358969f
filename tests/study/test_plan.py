"""Arithmetic is compared with a count of the products that really run; time and memory with a measured laptop run."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from polca.machine import products
from polca.machine.checkout import ROOT
from polca.method.curvature import HessianOperator
from polca.method.forward import directional_derivatives
from polca.method.reverse import projected_gradients
from polca.study import plan, plan_report
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.transformer import ModelConfig, TokenLoss, initialize

SEQUENCES, DIRECTIONS = 3, 5
ARITHMETIC = ModelConfig(12, 10, 12, 3, 64, 4, 256, targets=4)
ENGLISH = ModelConfig(200, 200, 32, 3, 64, 4, 256, targets=30)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], float]:
    """Counts the operations of the matrix products of a call."""
    total, plain = 0.0, products._numpy_matmul

    def counting(a: Tensor, b: Tensor) -> Tensor:
        nonlocal total
        out = plain(a, b)
        total += 2 * out.numel() * a.shape[-1]
        return out

    monkeypatch.setattr(products, "_numpy_matmul", counting)

    def count(call: Callable[[], Any]) -> float:
        nonlocal total
        total = 0.0
        call()
        return total

    return count


@pytest.mark.parametrize(("config", "length"), [(ARITHMETIC, 11), (ENGLISH, 32)])
def test_units_are_what_runs(config: ModelConfig, length: int, counted: Callable[[Callable[[], Any]], float]) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = (
        torch.randint(0, 10, (SEQUENCES, length), generator=generator),
        torch.randint(0, 10, (SEQUENCES, config.targets), generator=generator),
    )
    loss, params = TokenLoss(config), initialize(config, 0)
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    directions = {name: torch.randn(DIRECTIONS, *p.shape, generator=generator) for name, p in params.items()}
    unit = SEQUENCES * plan.forward_flops(config, length)
    with products.PortableProducts():
        assert counted(lambda: loss(params, batch)) == unit
        assert counted(lambda: torch.autograd.grad(loss(leaves, batch).mean(), list(leaves.values()))) == 3 * unit
    operator = HessianOperator(loss, params, [batch])
    assert counted(lambda: operator(torch.ones(operator.layout.size))) == 6 * unit
    # The rest has small extra terms: embeddings, norms and biases have products of their own.
    for units, second_order in ((1 + 2 * DIRECTIONS, False), (1 + 4 * DIRECTIONS, True)):
        found = counted(
            lambda order=second_order: directional_derivatives(loss, params, directions, batch, second_order=order)
        )
        assert found == pytest.approx(units * unit, rel=0.15)
    if config is ARITHMETIC:
        by_backward = counted(lambda: projected_gradients(loss, params, batch, directions))
        assert by_backward == pytest.approx((1 + config.targets + DIRECTIONS) * unit, rel=0.1)


def test_agrees_with_the_measured_laptop_run() -> None:
    """Within a factor of two of the longer chain of the stages it counts, with the rate that the benchmark found."""
    run = json.loads((ROOT / "benchmarks/laptop_run.json").read_text())
    rows = json.loads((ROOT / "benchmarks/speed.json").read_text())["rows"]
    rate = next(row["flops_per_second"] for row in rows if row["case"] == "peak")
    costs = plan.plan(Preset.read(PresetPaths.named("laptop")), workers=2)
    chains = [[c.stage for c in costs if c.stage.endswith(f"@{task}")] for task in ("arithmetic", "english")]
    longer = max(sum(run["stages"][stage] for stage in chain) for chain in chains)
    assert 0.5 < plan.wall_seconds(costs, rate, 2, run["cores"]) / longer < 2
    # The two chains run side by side, so that the two heaviest stages may meet.
    heaviest = sorted(cost.memory for cost in costs)[-2:]
    assert 0.5 < sum(heaviest) / (run["peak_memory_mib"] * 2**20) < 2


def test_checkpoints_of_the_paper_preset_take_what_the_paper_s_interval_asks() -> None:
    """9,475,594 parameters of four bytes at 501 checkpoints (every 20 of 10,000 steps) are 19 GB."""
    train = plan.plan(Preset.read(PresetPaths.named("paper")), workers=2)[0]
    assert train.disk == 9_475_594 * 4 * 501
    assert round(train.disk / 1e9) == 19


def test_curvature_costs_at_its_points_alone() -> None:
    """At each of the 21 points of smoke 16 + 1 passes of four vectors' curvature in place of 4 of their gradients."""
    task = Preset.read(PresetPaths.named("smoke")).arithmetic()

    def project(points: int | None) -> plan.StageCost:
        settings = task.settings.changed(polca={"curvature_points": points})
        changed = ArithmeticTask(settings, task.folder)
        return next(c for c in plan._costs(changed, changed.bases, 2) if c.stage == "project@arithmetic")

    unit = 100 * plan.forward_flops(task.model(evaluated=True), task.length)
    everywhere, first = project(None), project(6)
    assert everywhere.flops - first.flops == pytest.approx(15 * (1 + 4 * 4 - 4) * unit)
    assert everywhere.disk - first.disk == 4 * 15 * 400 * 4
    assert project(21) == project(1000) == everywhere


@pytest.mark.parametrize(("preset", "kept"), [("laptop", True), ("paper", False)])
def test_graphs_are_kept_by_the_rule_of_the_task(preset: str, kept: bool) -> None:
    """One gradient and products on its graph, or everything anew for each product; a process a Hessian basis."""
    read = Preset.read(PresetPaths.named(preset))
    task = read.english()
    assert task.keep_graphs is kept
    (basis,) = (cost for cost in plan.plan(read, workers=2) if cost.stage == "basis@english")
    examples, vectors = task.settings.basis.hessian_examples, task.settings.basis.vectors
    passes = 4 + 6 * plan.PRODUCTS if kept else 10 * plan.PRODUCTS
    assert basis.flops == plan.forward_flops(task.model(), task.length) * examples * vectors * passes


def test_only_the_preset_s_tasks() -> None:
    costs = plan.plan(Preset.read(PresetPaths.named("wikipedia")), workers=2)
    assert [cost.stage for cost in costs] == ["train@english", "basis@english", "project@english"]


def test_time_of_chains_side_by_side() -> None:
    """Never shorter than all work spread over all cores, nor than the longer chain."""
    costs = [plan.StageCost("train@arithmetic", 6e9, 0, 0), plan.StageCost("project@english", 7e9, 0, 0)]
    assert plan.wall_seconds(costs, 1e9, workers=2, cores=2) == pytest.approx(10)
    assert plan.wall_seconds(costs, 1e9, workers=1, cores=1) == pytest.approx(20)


class TestRate:
    def test_measured_again_where_the_machine_is_busy(self) -> None:
        """Until it is not, and no more often than said."""
        found = iter([(4e10, 0.5), (9e10, 0.99), (1e12, 1.0)])
        rate = plan.matrix_product_rate(lambda: next(found), lambda: 6e10)
        assert (rate.value, rate.busy) == (9e10, False)
        assert next(found) == (1e12, 1.0)

    @pytest.mark.parametrize(("measured", "idle"), [((9e10, 0.5), 6e10), ((9e10, 0.5), None), ((3e10, 1.0), 6e10)])
    def test_busy(self, measured: tuple[float, float], idle: float | None) -> None:
        """Part of a core alone, or a core that is far slower than its clock promises."""
        tries = 0

        def measure() -> tuple[float, float]:
            nonlocal tries
            tries += 1
            return measured

        rate = plan.matrix_product_rate(measure, lambda: idle)
        assert rate.busy is True
        assert tries == plan.ATTEMPTS
        said = plan_report.on_load(rate)
        assert said.startswith("Warning: this machine is busy")
        assert f"{measured[1]:.0%}" in said

    def test_cannot_tell(self) -> None:
        rate = plan.matrix_product_rate(lambda: (3e10, 1.0), lambda: None)
        assert rate.busy is None
        assert "cannot be told" in plan_report.on_load(rate)
        assert plan_report.on_load(plan.Rate(9e10, 1.0, 6e10)) == ""

    def test_measurement(self) -> None:
        value, share = plan.measure(0.05)
        assert 1e8 < value < 1e13
        assert 0 < share < 1.2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(40, "40 seconds"), (89, "89 seconds"), (600, "10 minutes"), (5400, "1.5 hours"), (30541 * 60, "21 days")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert plan_report.spoken(seconds) == words


def test_shortages_name_stage_and_way_out() -> None:
    costs = [plan.StageCost("basis@english", 1, 2e9, 3e9), plan.StageCost("project@english", 1, 2e9, 8 * 2**30)]
    assert plan_report.shortages(costs, free_memory=9 * 2**30, free_disk=5e9) == []
    memory, disk = plan_report.shortages(costs, free_memory=2**30, free_disk=3e9)
    assert memory.startswith("Warning: memory: project@english takes 8.0 GiB, and 1.0 are free: ")
    assert disk.startswith("Warning: disk: results take 3.7 GiB, and 2.8 are free: ")


def test_gpu_rates_are_those_of_the_measured_pieces() -> None:
    """Each piece of the published settings takes the time that was measured."""
    preset = Preset.read(PresetPaths.named("paper"))
    units = {}
    for task in (preset.arithmetic(), preset.english()):
        units[task.name] = plan.forward_flops(task.model(), task.length)
    pieces = {
        "train@arithmetic": (3 * 64 * units["arithmetic"], 2.15e-3),
        "basis@arithmetic": (1250 * (4 + 6 * plan.PRODUCTS) * units["arithmetic"], 10.9 / 20),
        "project@arithmetic": (1250 * (1 + 4 + 60) * units["arithmetic"], 0.36),
        "train@english": (3 * 64 * units["english"], 33e-3),
        "basis@english": (10 * units["english"], 2.7e-3),
        "project@english": (10 * (1 + 2 * 5) * units["english"], 29e-3),
    }
    assert pieces.keys() == plan.GPU_RATES.keys()
    for stage, (flops, seconds) in pieces.items():
        assert plan.StageCost(stage, flops, 0, 0).gpu_seconds() == pytest.approx(seconds, rel=0.05), stage


def test_what_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(plan_report, "matrix_product_rate", lambda: plan.Rate(1e11, 1.0, None))
    monkeypatch.setenv("COLUMNS", "160")
    plan_report.print_plan(PresetPaths.named("paper"))
    said = capsys.readouterr().out
    assert "Here: about" in said
    assert "days" in said
    assert "On one H100: about" in said
    assert "cannot be told" in said
    assert "minutes of one core" not in said
    # Of a narrower model nothing was measured.
    plan_report.print_plan(PresetPaths.named("laptop"))
    assert "On one H100: not estimated" in capsys.readouterr().out
