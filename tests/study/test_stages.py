"""Stages of the way through: which bases a task needs, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch

from polca.errors import PolcaError
from polca.method.checkpoints import CheckpointDirectory, MemoryCheckpoints
from polca.method.completeness import Subset, second_order_rmse
from polca.method.decomposition import FORMS, decompose
from polca.method.projections import Projections
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.study.stages.basis import make_basis
from polca.study.stages.checkpoints import checkpoint_directory
from polca.study.stages.cluster import ExactLosses
from polca.study.stages.project import project
from polca.study.stages.trajectories import archive_analysis, decompose_analysis, known_facts
from polca.tasks.arithmetic.task import ArithmeticTask

SMOKE = Preset.read(PresetPaths.named("smoke"))


@pytest.fixture(scope="module")
def task() -> ArithmeticTask:
    """The smoke preset made smaller still."""
    settings = SMOKE.arithmetic().settings.changed(
        model={"layers": 1, "width": 8, "heads": 2, "mlp_width": 8},
        data={"evaluation_examples": 5},
        training={"steps": 40, "checkpoint_interval": 10, "batch_size": 4},
        basis={"interval": 20, "vectors": 2, "hessian_examples": 4, "lca_parameters": 3, "tolerance": 0.1},
        polca={"interval": 20},
        breakthroughs={"delta": 20},
    )
    return ArithmeticTask(settings, Path("nowhere"))


@pytest.fixture(scope="module")
def checkpoints(task: ArithmeticTask) -> MemoryCheckpoints:
    """Parameters that drift at random."""
    kept, params, generator = MemoryCheckpoints(), task.initial(), torch.Generator().manual_seed(0)
    for step in range(0, 41, 10):
        kept.save(step, params)
        params = {n: p + 0.1 * torch.randn(p.shape, generator=generator) for n, p in params.items()}
    return kept


def projections(form: str = "none") -> Projections:
    """Of 20 tokens on 2 vectors at 3 points; with curvature where `form` asks for it."""
    rng = np.random.default_rng(0)
    curved = {"token_curvatures": rng.normal(size=(3, 20, 2)).astype(np.float32)} if form == "exact" else {}
    return Projections(
        steps=np.array([0, 20, 40]),
        losses=rng.random((3, 20)).astype(np.float32),
        gradients=rng.normal(size=(3, 20, 2)).astype(np.float32),
        movements=rng.normal(size=(2, 2)).astype(np.float32),
        vector_steps=np.array([20, 40]),
        eigenvalues=np.ones(2, np.float32),
        **curved,
    )


class TestBases:
    def test_those_of_the_analyses_each_once(self, task: ArithmeticTask) -> None:
        assert task.bases == ["hessian", "lca", "random", "shuffled_hessian"]
        assert SMOKE.english().bases == ["hessian"]

    @pytest.mark.parametrize("kind", ["hessian", "shuffled_hessian", "random"])
    def test_size_and_steps(self, task: ArithmeticTask, checkpoints: MemoryCheckpoints, kind: str) -> None:
        basis = make_basis(task, kind, checkpoints)
        flat = basis.flat().numpy()
        assert (basis.kind, sorted(basis.steps.tolist())) == (kind, [20, 40])
        np.testing.assert_allclose(flat @ flat.T, np.eye(2), atol=1e-5)
        assert np.isfinite(basis.eigenvalues).all()

    def test_lca_is_of_the_end(self, task: ArithmeticTask, checkpoints: MemoryCheckpoints) -> None:
        """The largest parameters of the last checkpoint."""
        basis, last = make_basis(task, "lca", checkpoints), checkpoints.load(40)
        size = torch.cat([p.flatten() for p in last.values()]).abs().topk(3).values
        found = torch.stack([last[name].flatten()[index].abs() for name, index in basis.axes])
        assert torch.equal(found.sort(descending=True).values, size)

    def test_unknown_kind(self, task: ArithmeticTask, checkpoints: MemoryCheckpoints) -> None:
        with pytest.raises(PolcaError, match="basis 'fourier': expected one of hessian, shuffled_hessian, random, lca"):
            make_basis(task, "fourier", checkpoints)


class TestProjections:
    def test_points_and_curvature(self, task: ArithmeticTask, checkpoints: MemoryCheckpoints) -> None:
        """A point every `polca.interval`; curvature where the preset names the basis, or the caller does."""
        found = {kind: make_basis(task, kind, checkpoints) for kind in ("hessian", "random")}
        made = project(task, checkpoints, found, workers=1)
        assert made["hessian"].steps.tolist() == [0, 20, 40]
        assert made["hessian"].losses.shape == (3, 20)
        assert made["hessian"].token_curvatures is not None
        assert made["random"].token_curvatures is None
        plain = project(task, checkpoints, found, curvature_of=(), workers=1)
        assert plain["hessian"].token_curvatures is None

    def test_curvature_at_the_first_points(self, task: ArithmeticTask, checkpoints: MemoryCheckpoints) -> None:
        """Facts then lack what asks for more; App. C, whose intervals these are, is as with all."""
        found = {kind: make_basis(task, kind, checkpoints) for kind in task.bases}
        other = ArithmeticTask(task.settings.changed(polca={"curvature_points": 1}), task.folder)
        whole, some = (project(t, checkpoints, found, workers=1) for t in (task, other))
        assert some["hessian"].token_curvatures is not None
        np.testing.assert_array_equal(some["hessian"].token_curvatures, whole["hessian"].token_curvatures[:1])
        right, facts = known_facts(task, whole), known_facts(other, some)
        assert set(right["completeness"]) - set(facts["completeness"]) == {"exact"}
        assert {n for n in right["app_c"] if n not in facts["app_c"]} == {n for n in right["app_c"] if "_all" in n}
        assert facts["app_c"]["terms_published_subset"] == 20 * 2
        cut = second_order_rmse(whole["hessian"], "paper", subset=Subset(intervals=slice(1)))
        assert facts["app_c"]["rmse_paper_published_subset"] == pytest.approx(cut.rmse, rel=1e-3)
        assert "polca_exact" in task.analyses
        assert "polca_exact" not in other.analyses
        with pytest.raises(PolcaError, match=r"analysis 'polca_exact': expected one of loss, .*polca_paper$"):
            decompose_analysis(other, "polca_exact", some)

    def test_other_data(self, task: ArithmeticTask, checkpoints: MemoryCheckpoints) -> None:
        found = {"random": make_basis(task, "random", checkpoints)}
        made = project(task, checkpoints, found, data=[task.batch(0)], workers=1)
        assert made["random"].losses.shape == (3, 16)
        np.testing.assert_allclose(
            made["random"].losses[0], task.evaluated_loss(checkpoints.load(0), task.batch(0)).flatten(), rtol=1e-5
        )

    def test_checkpoints_of_another_grid(self, task: ArithmeticTask) -> None:
        kept = MemoryCheckpoints()
        for step in (0, 30):
            kept.save(step, task.initial())
        with pytest.raises(PolcaError, match=r"arithmetic\.polca\.interval = 20: does not fit the checkpoints"):
            project(task, kept, {}, workers=1)


class TestTrajectories:
    @pytest.mark.parametrize(("analysis", "form"), [("polca_paper", "paper"), ("polca_exact", "exact")])
    def test_form_of_an_analysis(self, task: ArithmeticTask, analysis: str, form: str) -> None:
        found = {"hessian": projections(form)}
        right = decompose(found["hessian"], "polca", *FORMS[form])
        np.testing.assert_array_equal(decompose_analysis(task, analysis, found).values, right.values)

    @pytest.mark.parametrize("form", ["none", "trapezoid"])
    def test_form_of_the_preset(self, task: ArithmeticTask, form: str) -> None:
        other = ArithmeticTask(task.settings.changed(polca={"second_order": form}), task.folder)
        made = decompose_analysis(other, "polca", {"hessian": projections()})
        np.testing.assert_array_equal(made.values, decompose(projections(), "polca", *FORMS[form]).values)

    def test_of_the_exact_loss_from_any_basis(self, task: ArithmeticTask) -> None:
        made = decompose_analysis(task, "loss", {"random": projections()})
        np.testing.assert_array_equal(made.values[0], projections().losses.T)

    def test_unknown(self, task: ArithmeticTask) -> None:
        with pytest.raises(PolcaError, match="analysis 'fourier': expected one of loss, loss_change, fisher"):
            decompose_analysis(task, "fourier", {"hessian": projections()})
        with pytest.raises(PolcaError, match="analysis 'polca_random': no projections on basis 'random': make them"):
            decompose_analysis(task, "polca_random", {"hessian": projections()})

    def test_archive_is_as_exact_as_the_preset_asks(self, task: ArithmeticTask) -> None:
        found = {"hessian": projections()}
        whole = archive_analysis(task, "polca", found)
        np.testing.assert_array_equal(whole.trajectories().values, decompose_analysis(task, "polca", found).values)
        coarse = ArithmeticTask(task.settings.changed(archive={"relative_error": 0.5}), task.folder)
        assert whole.relative_error.max() == 0
        assert 0 < archive_analysis(coarse, "polca", found).relative_error.max() <= 0.5


def test_losses_of_the_first_projections() -> None:
    first, other = projections(), projections("exact")
    losses = ExactLosses.of({"a": first, "b": other})
    assert losses.losses is first.losses
    assert losses.steps is first.steps


def test_checkpoints_of_another_model_are_refused(task: ArithmeticTask, tmp_path: Path) -> None:
    CheckpointDirectory(tmp_path).save(0, {"weight": torch.ones(2)})
    with pytest.raises(PolcaError, match="this checkpoint is of another model"):
        checkpoint_directory(task, tmp_path).load(0)
