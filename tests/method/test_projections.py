"""The engine: G, Δ, λ and losses, by either method, in any chunks, on any number of processes."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from oracles import InMemory, by_autograd, random_directions
from polca.errors import PolcaError
from polca.method import projections
from polca.method.bases import Basis, axis_basis, random_basis
from polca.method.projections import Projections, project, project_bases, thin


@pytest.fixture
def run(make_problem):
    """Three checkpoints a small step apart, and a problem."""
    problem = make_problem(examples=6)
    step = random_directions(problem.params, 2, seed=9)
    content = {
        0: problem.params,
        5: {n: p + 0.3 * step[n][0] for n, p in problem.params.items()},
        10: {n: p + 0.3 * step[n][0] - 0.2 * step[n][1] for n, p in problem.params.items()},
    }
    inputs, targets = problem.batch
    return problem, InMemory(content), [(inputs[:4], targets[:4]), (inputs[4:], targets[4:])]


def test_against_plain_autograd(run) -> None:
    problem, checkpoints, data = run
    basis = random_basis(problem.params, 3, steps=[5, 5, 10])
    result = project(problem.loss, checkpoints, basis, data, curvature=True)
    assert result.steps.tolist() == [0, 5, 10]
    for c, step in enumerate((0, 5, 10)):
        leaves = {n: p.clone().requires_grad_() for n, p in checkpoints.load(step).items()}
        losses = problem.loss(leaves, problem.batch).reshape(-1)
        np.testing.assert_allclose(result.losses[c], losses.detach(), rtol=1e-12)
        for x in range(len(losses)):
            grads = torch.autograd.grad(losses[x], list(leaves.values()), create_graph=True)
            for k in range(3):
                b = [basis.vectors[n][k] for n in leaves]
                along = sum((g * v).sum() for g, v in zip(grads, b, strict=True))
                assert result.gradients[c, x, k] == pytest.approx(along.item(), rel=1e-10, abs=1e-13)
                if x % 5 == 0:
                    hb = torch.autograd.grad(along, list(leaves.values()), retain_graph=True, materialize_grads=True)
                    curved = sum((h * v).sum() for h, v in zip(hb, b, strict=True)).item()
                    assert result.token_curvatures is not None
                    assert result.token_curvatures[c, x, k] == pytest.approx(curved, rel=1e-8, abs=1e-11)
    flat = basis.flat()
    for t, (before, after) in enumerate(((0, 5), (5, 10))):
        change = torch.cat(
            [(checkpoints.load(after)[n] - checkpoints.load(before)[n]).reshape(-1) for n in basis.vectors]
        )
        np.testing.assert_allclose(result.movements[t], flat @ change, rtol=1e-6)
    np.testing.assert_allclose(result.curvatures, result.token_curvatures.mean(1), rtol=1e-6)


def test_methods_chunks_and_processes_agree(run) -> None:
    problem, checkpoints, data = run
    bases = {"random": random_basis(problem.params, 3, steps=[0, 0, 0]), "lca": axis_basis(problem.params, 4)}
    backward = project_bases(problem.loss, checkpoints, bases, data, method="backward")
    forward = project_bases(problem.loss, checkpoints, bases, [problem.batch], method="forward")
    for name in bases:
        np.testing.assert_allclose(backward[name].gradients, forward[name].gradients, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(backward[name].movements, forward[name].movements)
    spread = project_bases(problem.loss, checkpoints, bases, data, method="backward", workers=2)
    for name in bases:
        assert np.array_equal(spread[name].gradients, backward[name].gradients)


@pytest.mark.parametrize("cuts", [(1, 2), (3, 4), (1, 4)])
def test_batches_may_differ_in_size(run, cuts) -> None:
    """Whether the first is the largest or not."""
    problem, checkpoints, _ = run
    inputs, targets = problem.batch
    basis = random_basis(problem.params, 3, steps=[0, 0, 0])
    parts = [(inputs[slice(*at)], targets[slice(*at)]) for at in itertools.pairwise((0, *cuts, len(inputs)))]
    whole = project(problem.loss, checkpoints, basis, [problem.batch], curvature=True)
    found = project(problem.loss, checkpoints, basis, parts, curvature=True)
    np.testing.assert_allclose(found.losses, whole.losses, rtol=1e-12)
    np.testing.assert_allclose(found.gradients, whole.gradients, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.token_curvatures, whole.token_curvatures, rtol=1e-9, atol=1e-12)


def test_sharing_a_pass_changes_nothing(run) -> None:
    problem, checkpoints, data = run
    bases = {str(seed): random_basis(problem.params, 2, steps=[0, 0], seed=seed) for seed in range(2)}
    together = project_bases(problem.loss, checkpoints, bases, data, curvature_of=["1"])
    for name, basis in bases.items():
        alone = project(problem.loss, checkpoints, basis, data)
        np.testing.assert_allclose(together[name].gradients, alone.gradients, rtol=1e-10, atol=1e-13)
    assert together["0"].curvatures is None


def test_resumes(run, tmp_path) -> None:
    problem, checkpoints, data = run
    bases = {"random": random_basis(problem.params, 2, steps=[0, 0])}
    whole = project_bases(problem.loss, checkpoints, bases, data, method="backward")

    class Counting:
        calls = 0

        def __call__(self, params, batch):
            Counting.calls += 1
            return problem.loss(params, batch)

    first = project_bases(problem.loss, checkpoints, bases, data, steps=[0, 5], resume=tmp_path, method="backward")
    (tmp_path / "5.npz").write_bytes(b"torn")
    loss = Counting()
    again = project_bases(loss, checkpoints, bases, data, resume=tmp_path, method="backward")
    spent, Counting.calls = Counting.calls, 0
    project_bases(loss, checkpoints, bases, data, resume=tmp_path, method="backward")
    # Besides the test of the first checkpoint, two chunks at the torn and at the new one, none at the kept one.
    assert spent - Counting.calls == 4
    assert np.array_equal(again["random"].gradients, whole["random"].gradients)
    assert np.array_equal(first["random"].gradients, whole["random"].gradients[:2])


def test_round_trip_and_foreign_files(run, tmp_path) -> None:
    problem, checkpoints, data = run
    result = project(problem.loss, checkpoints, random_basis(problem.params, 2, steps=[0, 0]), data)
    result.save(tmp_path / "p.npz")
    again = Projections.load(tmp_path / "p.npz")
    assert np.array_equal(again.gradients, result.gradients)
    assert again.curvatures is None
    np.savez(tmp_path / "foreign.npz", x=np.zeros(2))
    with pytest.raises(PolcaError, match="has arrays x, not steps"):
        Projections.load(tmp_path / "foreign.npz")


def test_basis_of_another_model_is_refused(run, make_problem) -> None:
    problem, checkpoints, data = run
    other: Basis = random_basis(make_problem(width=4).params, 2, steps=[0, 0])
    with pytest.raises(PolcaError, match="does not match the checkpoints"):
        project(problem.loss, checkpoints, other, data)


def test_nan_weights_are_named(run) -> None:
    problem, checkpoints, data = run
    checkpoints.content[5] = {n: p * float("nan") for n, p in problem.params.items()}
    with pytest.raises(PolcaError, match="step 5 is NaN or infinite"):
        project(problem.loss, checkpoints, random_basis(problem.params, 2, steps=[0, 0]), data)


def test_movements_by_tensor_products(run, monkeypatch) -> None:
    """The way of a GPU, taken here on the CPU, for vectors and single parameters."""
    problem, checkpoints, data = run
    bases = {"random": random_basis(problem.params, 3, steps=[5, 5, 10]), "lca": axis_basis(problem.params, 4)}
    plain = project_bases(problem.loss, checkpoints, bases, data)
    monkeypatch.setattr(projections, "device", lambda: torch.device("meta"))
    other = project_bases(problem.loss, checkpoints, bases, data)
    for name in bases:
        assert np.abs(plain[name].movements).min() > 0
        np.testing.assert_allclose(other[name].movements, plain[name].movements, rtol=1e-6)


@pytest.mark.parametrize("method", ["auto", "backward", "forward"])
def test_curvature_at_the_first_points(run, method: str) -> None:
    """Its rows, and the gradients there, are those of the full computation; later gradients are so within rounding."""
    problem, checkpoints, data = run
    bases = {str(i): random_basis(problem.params, 2, steps=[0, 0], seed=i) for i in range(2)}

    def made(points: int | None) -> dict[str, Projections]:
        return project_bases(
            problem.loss, checkpoints, bases, data, curvature_of=["1"], curvature_points=points, method=method
        )

    whole, some = made(None), made(2)
    assert whole["1"].curved_intervals == some["1"].curved_intervals == 2
    assert len(whole["1"].token_curvatures) == 3
    np.testing.assert_array_equal(some["1"].token_curvatures, whole["1"].token_curvatures[:2])
    np.testing.assert_array_equal(some["1"].curvatures, whole["1"].curvatures[:2])
    assert some["0"].token_curvatures is None
    for name in bases:
        np.testing.assert_allclose(some[name].losses, whole[name].losses, rtol=1e-12)
        np.testing.assert_array_equal(some[name].movements, whole[name].movements)
        np.testing.assert_array_equal(some[name].gradients[:2], whole[name].gradients[:2])
        np.testing.assert_allclose(some[name].gradients, whole[name].gradients, rtol=1e-9, atol=1e-12)
    for points in (3, 100):
        np.testing.assert_array_equal(made(points)["1"].token_curvatures, whole["1"].token_curvatures)
    with pytest.raises(PolcaError, match="curvature_points = 0: must be at least 1"):
        made(0)


def test_curvature_at_the_first_points_of_files(run, tmp_path: Path) -> None:
    problem, checkpoints, data = run
    basis = random_basis(problem.params, 2, steps=[0, 0])
    some = project(problem.loss, checkpoints, basis, data, curvature=True, curvature_points=1, resume=tmp_path / "r")
    some.save(tmp_path / "p.npz")
    assert Projections.load(tmp_path / "p.npz").curved_intervals == 1
    again = project(problem.loss, checkpoints, basis, data, curvature=True, curvature_points=1, resume=tmp_path / "r")
    np.testing.assert_array_equal(again.token_curvatures, some.token_curvatures)


def test_unknown_method_is_refused(run) -> None:
    problem, checkpoints, data = run
    with pytest.raises(PolcaError, match="method = 'sideways': expected one of auto, backward, forward"):
        project(problem.loss, checkpoints, random_basis(problem.params, 2, steps=[0, 0]), data, method="sideways")


def test_thinned_projections_are_those_of_the_coarser_grid(make_problem) -> None:
    problems = [make_problem(width=4, layers=1, seed=i) for i in range(5)]
    first = problems[0]
    checkpoints = InMemory({10 * i: p.params for i, p in enumerate(problems)})
    basis = random_basis(first.params, 3, steps=[10, 20, 30])
    fine, coarse = (
        project(first.loss, checkpoints, basis, [first.batch], steps=steps, curvature=True)
        for steps in ([0, 10, 20, 30, 40], [0, 20, 40])
    )
    thinned = thin(fine, 20)
    assert thin(fine, 10) is fine
    assert thinned.steps.tolist() == [0, 20, 40]
    np.testing.assert_array_equal(thinned.losses, coarse.losses)
    np.testing.assert_array_equal(thinned.gradients, coarse.gradients)
    np.testing.assert_allclose(thinned.movements, coarse.movements, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(thinned.curvatures, coarse.curvatures)
    np.testing.assert_array_equal(thinned.token_curvatures, coarse.token_curvatures)
    for points, left in ((1, 1), (2, 1), (3, 2), (4, 2), (5, 3)):
        cut = replace(fine, curvatures=fine.curvatures[:points], token_curvatures=fine.token_curvatures[:points])
        np.testing.assert_array_equal(thin(cut, 20).token_curvatures, coarse.token_curvatures[:left])
        np.testing.assert_array_equal(thin(cut, 20).curvatures, coarse.curvatures[:left])
    with pytest.raises(PolcaError, match="interval = 30"):
        thin(fine, 30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "backwards"}, "method = 'backwards': expected one of auto, backward, forward"),
        ({"curvature_of": ("hesian",)}, "curvature_of = 'hesian': expected one of random, lca"),
        ({"curvature_of": ("lca",)}, "'lca' is made of single parameters"),
        ({"steps": []}, "steps is empty"),
        ({"data": []}, "data is empty"),
        ({"token_loss": lambda p, x: p["final_norm.bias"].sum()}, "one row a sequence"),
        ({"token_loss": lambda p, x: torch.ones(2, 2)}, "does not depend on the parameters"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-",
)
def test_impossible_input(run, options, message) -> None:
    problem, checkpoints, data = run
    bases = {"random": random_basis(problem.params, 2, steps=[0, 0]), "lca": axis_basis(problem.params, 2)}
    given = {"token_loss": problem.loss, "checkpoints": checkpoints, "bases": bases, "data": data} | options
    with pytest.raises(PolcaError, match=message):
        project_bases(**given)


def test_auto_serves_a_classifier() -> None:
    """As in the README: logits of rows, no positions."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4)).double()
    params = {n: p.detach() for n, p in model.named_parameters()}

    def loss(p, batch):
        logits = torch.func.functional_call(model, dict(p), batch[0])
        return torch.nn.functional.cross_entropy(logits, batch[1], reduction="none").unsqueeze(-1)

    batch = (torch.randn(7, 6).double(), torch.arange(7) % 4)
    basis = random_basis(params, 3, steps=[0] * 3)
    expected, _ = by_autograd(loss, params, basis.vectors, batch)
    for method in ("auto", "forward", "backward"):
        found = project(loss, InMemory({0: params}), basis, [batch], method=method)
        np.testing.assert_allclose(found.gradients[0], expected[..., 0].T, rtol=1e-10, atol=1e-13)
