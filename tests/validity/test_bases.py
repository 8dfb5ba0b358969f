"""What bases cost, how they are grouped, and that a basis which spans the path is complete."""

from dataclasses import replace

import numpy as np
import pytest

from polca.errors import PolcaError
from polca.method.bases import Basis
from polca.method.checkpoints import CheckpointDirectory
from polca.study.paths import PresetPaths
from polca.study.settings import Preset
from polca.tasks.arithmetic.task import ArithmeticTask
from polca.validity.bases import FURTHER, BasesWork, cost, further_basis, groups, make_further_basis, sample_size
from polca.validity.settings import BasesSettings, on_grid, read


@pytest.fixture
def work(tmp_path):
    """Checkpoints that drift at random, of the smoke preset made smaller."""
    preset = Preset.read(PresetPaths.named("smoke"))
    settings = on_grid(preset.arithmetic(), read(preset, "bases", BasesSettings)).settings.changed(
        model={"layers": 1, "width": 8, "mlp_width": 8},
        training={"steps": 80},
        basis={"interval": 40, "vectors": 2, "hessian_examples": 8},
    )
    task = ArithmeticTask(settings, tmp_path)
    params = task.initial()
    checkpoints, generator = CheckpointDirectory(tmp_path / "checkpoints"), np.random.default_rng(0)
    for step in range(0, 81, 20):
        checkpoints.save(step, params)
        params = {n: p + 0.1 * np.float32(generator.normal()) + 0.05 * p * step for n, p in params.items()}
    return BasesWork(task, 2, tmp_path / "checkpoints", tmp_path)


@pytest.mark.parametrize("kind", FURTHER)
def test_every_kind_is_an_orthonormal_basis_of_the_wanted_size(work, kind: str) -> None:
    make_further_basis(work, kind)
    basis = Basis.load(work.basis_at(kind))
    flat = basis.flat().numpy()
    np.testing.assert_allclose(flat @ flat.T, np.eye(2), atol=1e-5)


def test_reversed_basis_starts_at_the_end(work) -> None:
    assert further_basis("hessian_reversed", work).steps.tolist() == [80, 40]
    assert further_basis("hessian_end", work).steps.tolist() == [80, 80]
    with pytest.raises(PolcaError, match="expected one of"):
        further_basis("fourier", work)


def test_cost_counts_products_by_sample_and_window(work) -> None:
    basis = further_basis("gauss_newton", work)
    basis = replace(basis, matvecs=np.array([5, 7]))
    at_end = replace(basis, matvecs=np.array([20, 20]))
    costs = {
        "gauss_newton": 24,
        "hessian_half_sample": 12,
        "hessian_double_sample": 48,
        "sliding_window": 2 * (5 + 2 * 7),
        "random": 0,
    }
    settings = work.task.settings
    for kind, expected in costs.items():
        assert cost(kind, basis, settings, 2) == expected
    assert cost("hessian_end", at_end, settings, 2) == 40
    greedy = settings.changed(basis={"hessian_examples": 80 * 32})
    with pytest.raises(PolcaError, match="hessian_double_sample takes 5120"):
        sample_size("hessian_double_sample", greedy)


def test_groups_keep_all_kinds() -> None:
    assert groups(["a", "b", "c"], vectors=10, at_most=25) == [["a", "b"], ["c"]]
    assert groups(["a", "b"], vectors=60, at_most=50) == [["a"], ["b"]]
