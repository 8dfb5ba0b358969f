"""What bases cost, how they are grouped, and that a basis which spans the path is complete."""

from dataclasses import replace

import numpy as np
import pytest

from polca.errors import PolcaError
from polca.machine.files import ROOT
from polca.method.bases import Basis
from polca.method.checkpoints import CheckpointDirectory
from polca.tasks.transformer import initialize
from polca.validity.bases import FURTHER, BasesWork, cost, further_basis, groups, make_further_basis, sample_size
from polca.validity.settings import read_bases


@pytest.fixture
def work(tmp_path):
    """Checkpoints that drift at random, of the smoke preset made smaller."""
    _, settings = read_bases(ROOT / "presets" / "smoke" / "params.yaml")
    settings = replace(
        settings,
        model=replace(settings.model, layers=1, width=8, mlp_width=8),
        training=replace(settings.training, steps=80),
        basis=replace(settings.basis, interval=40, vectors=2, hessian_examples=8),
    )
    params = initialize(settings.model, 0)
    checkpoints, generator = CheckpointDirectory(tmp_path / "checkpoints"), np.random.default_rng(0)
    for step in range(0, 81, 20):
        checkpoints.save(step, params)
        params = {n: p + 0.1 * np.float32(generator.normal()) + 0.05 * p * step for n, p in params.items()}
    return BasesWork(settings, 2, tmp_path / "checkpoints", tmp_path)


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
    for kind, expected in costs.items():
        assert cost(kind, basis, work.settings, 2) == expected
    assert cost("hessian_end", at_end, work.settings, 2) == 40
    greedy = replace(work.settings, basis=replace(work.settings.basis, hessian_examples=80 * 32))
    with pytest.raises(PolcaError, match="hessian_double_sample takes 5120"):
        sample_size("hessian_double_sample", greedy)


def test_groups_keep_all_kinds() -> None:
    assert groups(["a", "b", "c"], vectors=10, at_most=25) == [["a", "b"], ["c"]]
    assert groups(["a", "b"], vectors=60, at_most=50) == [["a"], ["b"]]
