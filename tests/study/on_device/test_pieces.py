"""Training, bases and projections on a device, on a CPU against the functions of the stages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polca.errors import PolcaError
from polca.machine.checkout import ROOT
from polca.method.checkpoints import MemoryCheckpoints
from polca.method.completeness import APP_C, second_order_rmse
from polca.method.projections import Projections, project_bases
from polca.study.on_device import bases, training
from polca.study.on_device.bases import directions
from polca.study.on_device.projections import Projector, app_c
from polca.study.on_device.tf32 import eigenpair_error, gradient_error
from polca.study.on_device.training import BudgetedCheckpoints, train_on_device
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.study.stages.basis import make_basis
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.tasks.training import train

TOLERANCE = 1e-6
"""Of losses and weights, absolute: the learning rate is rounded to float32 on a device."""


def tiny_task(steps: int = 40) -> ArithmeticTask:
    """A model of 898 parameters, trained fast enough to change."""
    settings = Preset.read(PresetPaths.of(ROOT / "presets" / "smoke" / "params.yaml")).arithmetic().settings
    settings = settings.changed(
        model={"layers": 1, "width": 8, "heads": 2, "mlp_width": 16},
        training={"steps": steps, "batch_size": 4, "warmup_steps": 4, "checkpoint_interval": 10},
        basis={"vectors": 2, "hessian_examples": 8, "interval": 20, "tolerance": 1e-3, "lca_parameters": 3},
        polca={"interval": 10, "batch_sequences": 7, "curvature_of": []},
        data={"evaluation_examples": 20},
        breakthroughs={"delta": 10, "published": None},
    )
    return ArithmeticTask(settings, Path("nowhere"))


def on_device(task: ArithmeticTask, keep: set[int], **others: Any) -> tuple[np.ndarray, BudgetedCheckpoints]:
    """Losses and checkpoints."""
    checkpoints = others.pop("checkpoints", BudgetedCheckpoints())
    log = train_on_device(
        task.token_loss, task.initial(), task.batch, task.settings.training, checkpoints, keep, **others
    )
    return log["loss"].to_numpy(), checkpoints


@pytest.fixture(scope="module")
def trained() -> tuple[ArithmeticTask, MemoryCheckpoints]:
    """By the stages' own training."""
    task, checkpoints = tiny_task(), MemoryCheckpoints()
    train(task.token_loss, task.initial(), task.batch, task.settings.training, checkpoints)
    return task, checkpoints


class TestTraining:
    def compare(self, task: ArithmeticTask, **others: Any) -> None:
        right = MemoryCheckpoints()
        log = train(task.token_loss, task.initial(), task.batch, task.settings.training, right)
        losses, kept = on_device(task, {0, 10, task.settings.training.steps}, **others)
        np.testing.assert_allclose(losses, log["loss"], atol=TOLERANCE)
        assert log["loss"].iloc[0] - log["loss"].iloc[-10:].mean() > 0.1, "nothing was learned, so nothing compared"
        assert kept.steps() == [0, 10, task.settings.training.steps]
        for step in kept.steps():
            for name, p in kept.load(step).items():
                if name.endswith("key.bias"):
                    continue  # no output depends on it: Adam scales the rounding of a gradient of 0 up to whole steps
                torch.testing.assert_close(p, right.load(step)[name], rtol=0, atol=TOLERANCE)

    def test_agrees_with_the_stages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Over the ends of chunks of data."""
        monkeypatch.setattr(training, "CHUNK", 15)
        self.compare(tiny_task())

    def test_warm_up_and_capture_leave_no_trace(self) -> None:
        """As on a GPU, with another function in the place of the graph: weights and moments begin anew."""
        calls = []

        def capturing(update: Callable[[], None]) -> Callable[[], None]:
            update()

            def replay() -> None:
                calls.append(1)
                update()

            return replay

        self.compare(tiny_task(), capturing=capturing)
        assert len(calls) == 40

    def test_without_a_graph(self) -> None:
        """What cannot be captured is said and run as it stands."""
        notes: list[str] = []

        def capturing(update: Callable[[], None]) -> Callable[[], None]:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

        self.compare(tiny_task(), capturing=capturing, note=notes.append)
        assert notes == ["no CUDA graph, training goes step by step: operation not permitted when stream is capturing"]

    def test_a_loss_that_is_not_finite(self) -> None:
        task = tiny_task()

        def loss(params: Any, batch: Any) -> torch.Tensor:
            losses = task.token_loss(params, batch)
            return losses / (losses.detach().mean() > 2.4)

        with pytest.raises(PolcaError, match=r"training: the loss is inf at step \d+: lower training.learning_rate"):
            train_on_device(loss, task.initial(), task.batch, task.settings.training, BudgetedCheckpoints(), set())

    def test_a_budget_of_the_device(self) -> None:
        """A checkpoint that does not fit goes to the host, and is there as the others are."""
        task = tiny_task()
        size = sum(p.numel() * p.element_size() for p in task.initial().values())
        places: list[str] = []

        class Noted(torch.Tensor):
            def cpu(self) -> torch.Tensor:  # type: ignore[override]
                places.append("host")
                return self.as_subclass(torch.Tensor)

        kept = BudgetedCheckpoints(2 * size + 1)
        for step in range(4):
            kept.save(step, {name: (p + step).as_subclass(Noted) for name, p in task.initial().items()})
        assert kept.used == 2 * size
        assert len(places) == 2 * len(task.initial())
        for step in kept.steps():
            assert all(torch.equal(p, task.initial()[name] + step) for name, p in kept.load(step).items())


@pytest.mark.parametrize("kind", ["hessian", "shuffled_hessian", "random", "lca"])
def test_bases(kind: str, trained: tuple[ArithmeticTask, MemoryCheckpoints]) -> None:
    task, checkpoints = trained
    found, right = directions(task, kind, checkpoints), make_basis(task, kind, checkpoints)
    assert found.axes == right.axes
    assert len(found) == len(right) == (3 if kind == "lca" else 2)
    np.testing.assert_array_equal(found.steps, right.steps)
    if kind == "lca":
        return
    torch.testing.assert_close(found.rows, right.flat(), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.rows @ found.rows.T, torch.eye(2), rtol=0, atol=1e-6)
    if kind == "random":  # bᵀHb is not asked for
        assert np.isnan(found.eigenvalues).all()
    else:
        np.testing.assert_allclose(found.eigenvalues, right.eigenvalues, rtol=1e-5)
        np.testing.assert_array_equal(found.matvecs, right.matvecs)


def test_a_basis_that_is_cut(trained: tuple[ArithmeticTask, MemoryCheckpoints]) -> None:
    """The vectors before, as they are in the whole basis."""
    task, checkpoints = trained
    cut, whole = directions(task, "hessian", checkpoints, over=lambda: True), directions(task, "hessian", checkpoints)
    assert (len(cut), len(whole)) == (1, 2)
    torch.testing.assert_close(cut.rows, whole.rows[:1], rtol=0, atol=0)
    assert cut.facts() == whole.first(1).facts()


def test_an_unknown_basis(trained: tuple[ArithmeticTask, MemoryCheckpoints]) -> None:
    with pytest.raises(PolcaError, match="basis 'fourier': expected one of hessian"):
        directions(trained[0], "fourier", trained[1])


KINDS = ("hessian", "random", "lca")


@pytest.fixture(scope="module")
def projector(trained: tuple[ArithmeticTask, MemoryCheckpoints]) -> Projector:
    """On the device."""
    task, checkpoints = trained
    return Projector(task, checkpoints, {kind: directions(task, kind, checkpoints) for kind in KINDS})


@pytest.fixture(scope="module")
def right(trained: tuple[ArithmeticTask, MemoryCheckpoints]) -> dict[str, Projections]:
    """By the stages."""
    task, checkpoints = trained
    bases = {kind: make_basis(task, kind, checkpoints) for kind in KINDS}
    return project_bases(task.evaluated_loss, checkpoints, bases, task.evaluation_batches(), steps=[0, 10, 20, 30])


class TestProjections:
    def close(self, found: np.ndarray, right: np.ndarray) -> None:
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-5 * float(np.abs(right).max()))

    def test_agree_with_the_stages(self, projector: Projector, right: dict[str, Projections]) -> None:
        projected = projector.run([0, 10, 20, 30])
        for kind in KINDS:
            found = projected.of(kind)
            assert found.gradients.shape == (4, 80, 3 if kind == "lca" else 2)
            for name in ("losses", "gradients", "movements"):
                self.close(getattr(found, name), getattr(right[kind], name))
            np.testing.assert_array_equal(found.steps, right[kind].steps)
            np.testing.assert_array_equal(found.vector_steps, right[kind].vector_steps)

    @pytest.mark.parametrize("sequences", [3, 100])  # of a batch of 7: with a part of one, and all
    def test_in_forward_mode(
        self,
        sequences: int,
        trained: tuple[ArithmeticTask, MemoryCheckpoints],
        right: dict[str, Projections],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Two vectors and four targets a sequence: without a backward pass, and the same numbers."""

        def backward(*_: Any) -> None:
            raise AssertionError("a backward pass")

        monkeypatch.setattr("polca.study.on_device.projections.projected_gradients", backward)
        monkeypatch.setattr("polca.study.on_device.projections.FORWARD_SEQUENCES", sequences)
        task, checkpoints = trained
        projected = Projector(task, checkpoints, {"hessian": directions(task, "hessian", checkpoints)}).run([0, 10, 20])
        self.close(projected.of("hessian").gradients, right["hessian"].gradients[:3])
        self.close(projected.losses, right["hessian"].losses[:3])

    def test_stop_where_time_is_over(self, projector: Projector) -> None:
        asked: list[int] = []

        def over(done: int) -> bool:
            asked.append(done)
            return done == 3

        cut, whole = projector.run([0, 10, 20, 30], over), projector.run([0, 10, 20, 30])
        assert asked == [2, 3]
        assert cut.steps.tolist() == [0, 10, 20]
        np.testing.assert_array_equal(cut.gradients, whole.gradients[:, :3])
        np.testing.assert_array_equal(cut.movements, whole.movements[:2])

    def test_take_what_is_known(
        self, projector: Projector, trained: tuple[ArithmeticTask, MemoryCheckpoints], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A finer grid along the first vector alone, without a second look at the checkpoints of the coarse one."""
        task, checkpoints = trained
        coarse = projector.run([0, 20, 40])
        few = Projector(task, checkpoints, {"hessian": projector.bases["hessian"].first(1)})
        whole = few.run([0, 10, 20, 30, 40])
        looked: list[int] = []
        at = few.at
        monkeypatch.setattr(few, "at", lambda step: looked.append(step) or at(step))
        found = few.run([0, 10, 20, 30, 40], known=coarse)
        assert looked == [10, 30]
        self.close(found.gradients, whole.gradients)
        self.close(found.losses, whole.losses)
        np.testing.assert_array_equal(found.movements, whole.movements)

    def test_a_loss_that_is_not_finite(self, trained: tuple[ArithmeticTask, MemoryCheckpoints]) -> None:
        task, checkpoints = trained
        spoilt = MemoryCheckpoints()
        for step in (0, 10, 20):
            params = checkpoints.load(step)
            spoilt.save(step, {n: p * (float("nan") if step == 10 else 1) for n, p in params.items()})
        projector = Projector(task, spoilt, {"hessian": directions(task, "hessian", checkpoints)})
        with pytest.raises(PolcaError, match="a token loss at step 10 is NaN or infinite"):
            projector.run([0, 10, 20])

    @pytest.mark.parametrize("tokens", [30, 400])  # a sequence in part; more than there are
    def test_app_c(
        self, tokens: int, trained: tuple[ArithmeticTask, MemoryCheckpoints], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a subset alone, as of the same subset of all exact curvatures."""
        task, checkpoints = trained
        subset = replace_subset(tokens)
        monkeypatch.setattr("polca.study.on_device.projections.APP_C", subset)
        projected = Projector(task, checkpoints, {"hessian": directions(task, "hessian", checkpoints)}).run(
            [0, 10, 20, 30, 40]
        )
        bases = {"hessian": make_basis(task, "hessian", checkpoints)}
        all_of_them = project_bases(
            task.evaluated_loss, checkpoints, bases, task.evaluation_batches(), curvature_of=["hessian"]
        )["hessian"]
        found = app_c(task, checkpoints, projected)
        for form in ("paper", "trapezoid"):
            right = second_order_rmse(all_of_them, form, subset=subset)
            assert found[f"rmse_{form}_published_subset"] == pytest.approx(right.rmse, rel=1e-3)
            assert found["rms_exact_published_subset"] == pytest.approx(right.rms_exact, rel=1e-3)
            assert found["terms_published_subset"] == right.terms == min(tokens, 80) * 3 * 1


def replace_subset(tokens: int) -> Any:
    """Fewer tokens, intervals and vectors than there are."""
    return APP_C._replace(tokens=slice(tokens), intervals=slice(3), vectors=slice(1))


def test_tf32_error_is_nothing_on_a_cpu(trained: tuple[ArithmeticTask, MemoryCheckpoints]) -> None:
    """Where there is no TF32 both are the same products; the setting is as before."""
    task, checkpoints = trained
    before = torch.backends.cuda.matmul.allow_tf32
    projector = Projector(task, checkpoints, {"hessian": directions(task, "hessian", checkpoints)}, tf32=True)
    assert projector.tf32_error(10) == {"median": 0, "largest": 0, "step": 10}
    assert torch.backends.cuda.matmul.allow_tf32 == before


class TestTF32:
    """On a CPU, where there is none, with a loss that is rounded where TF32 is allowed."""

    ROUNDING = 1e-3

    @pytest.fixture
    def rounding(self, trained: tuple[ArithmeticTask, MemoryCheckpoints], monkeypatch: pytest.MonkeyPatch) -> None:
        exact = trained[0].token_loss

        def loss(task: ArithmeticTask) -> Callable[[Any, Any], torch.Tensor]:
            factor = 1 + self.ROUNDING * torch.backends.cuda.matmul.allow_tf32
            return lambda params, batch: factor * exact(params, batch)

        monkeypatch.setattr(ArithmeticTask, "token_loss", property(loss))

    def test_of_a_gradient(self, rounding: None, trained: tuple[ArithmeticTask, MemoryCheckpoints]) -> None:
        task, checkpoints = trained
        found = gradient_error(task, checkpoints, 20)
        assert found == {"relative": pytest.approx(self.ROUNDING, rel=1e-2), "step": 20}

    @pytest.mark.parametrize("made_in_tf32", [False, True])
    def test_of_an_eigenpair(
        self, made_in_tf32: bool, rounding: None, trained: tuple[ArithmeticTask, MemoryCheckpoints]
    ) -> None:
        """The residual is Lanczos' own bound, and what the eigenvalue is off where the basis was made in TF32."""
        task, checkpoints = trained
        basis = directions(task, "hessian", checkpoints, in_tf32=made_in_tf32)
        bound = basis.residuals[0] / basis.eigenvalues[0]
        found = eigenpair_error(task, checkpoints, int(basis.steps[0]), basis.rows[0], float(basis.eigenvalues[0]))
        assert (found["step"], found["relative"]) == (20, pytest.approx(self.ROUNDING, rel=1e-2))
        assert found["residual"] == pytest.approx(np.hypot(bound, self.ROUNDING * made_in_tf32), rel=0.02)
        assert not torch.backends.cuda.matmul.allow_tf32

    def test_the_algebra_of_lanczos_is_never_in_it(
        self, trained: tuple[ArithmeticTask, MemoryCheckpoints], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its products with vectors are matrix products as well, and would lose orthogonality."""
        inside: list[bool] = []
        plain = bases.lanczos

        def noted(matvec: Callable[[torch.Tensor], torch.Tensor], *arguments: Any, **options: Any) -> Any:
            inside.append(torch.backends.cuda.matmul.allow_tf32)
            return plain(matvec, *arguments, **options)

        monkeypatch.setattr(bases, "lanczos", noted)
        directions(trained[0], "hessian", trained[1], in_tf32=True)
        assert inside
        assert not any(inside)
