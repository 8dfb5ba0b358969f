"""Nothing wrong comes out without a word: rules spoilt on purpose, losses of every kind, and the right values."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oracles import InMemory, Problem, by_autograd
from polca.errors import PolcaError
from polca.external.modules import ModuleCheckpoints, ModuleLoss, parameters_of
from polca.method.bases import dense_basis, hessian_basis, random_basis
from polca.method.checkpoints import CheckpointDirectory
from polca.method.curvature import Layout
from polca.method.decomposition import allocations
from polca.method.guard import Guard, check_repeatable
from polca.method.jets import RULES, Jet, parts
from polca.method.projections import project

Params = Mapping[str, Tensor]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = draw(4, 4, 3, seed=9)
PARAMS = {"W": draw(3, 5, seed=1), "V": draw(5, 4, seed=2), "theta": draw(4, seed=3)}


def attention(p: Params, x: Tensor) -> Tensor:
    """Has every operation that is spoilt below."""
    y = x @ p["W"]
    scores = (y @ p["V"]).masked_fill(torch.ones(4, 4, dtype=torch.bool).triu(1), -1.0)
    mixed = torch.softmax(scores, -1) @ y
    total = mixed.tanh() @ p["V"]
    return (total + p["theta"]).square().sum(-1) + total.sum(-1)


def exact(found: Any, loss: Callable[..., Tensor], params: Params, basis: Any, batch: Any, rtol: float = 1e-10) -> None:
    """G and λ of one checkpoint against autograd."""
    first, second = by_autograd(loss, params, basis.vectors, batch)
    for value, expected in ((found.gradients, first), (found.token_curvatures, second)):
        if value is not None:
            expected = expected.flatten(1).T.numpy()
            np.testing.assert_allclose(value[0], expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def wrong_axis(rule: Callable[..., Any]) -> Callable[..., Any]:
    def spoilt(x: Jet, dim: int, dtype: Any = None) -> Jet:
        right = rule(x, dim, dtype)
        return Jet.make(right.value, rule(x, -2, dtype).first, right.second)

    return spoilt


def missing_broadcast(_: Callable[..., Any]) -> Callable[..., Any]:
    def spoilt(a: Any, b: Any) -> Jet:
        (a0, a1, _), (b0, b1, _) = parts(a), parts(b)
        terms = [p @ q for p, q in ((a1, b0), (a0, b1)) if p is not None and q is not None]
        return Jet.make(a0 @ b0, sum(terms[1:], terms[0]))

    return spoilt


def dropped_mask(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, mask, value: Jet.make(rule(x, mask, value).value, x.first, x.second)


def alias(rule: Callable[..., Any]) -> Callable[..., Any]:
    def spoilt(x: Jet) -> Jet:
        y = rule(x)
        assert x.first is not None
        x.first.mul_(1 - y.value.square())  # as if the operand's memory were free
        return y

    return spoilt


def wrong_sign(rule: Callable[..., Any]) -> Callable[..., Any]:
    def spoilt(x: Jet) -> Jet:
        y = rule(x)
        return Jet.make(y.value, y.first, None if y.second is None else -y.second)

    return spoilt


SPOILT = {
    "wrong axis": (wrong_axis, [torch.softmax], "softmax"),
    "missing broadcast": (missing_broadcast, [Tensor.__matmul__, Tensor.matmul, torch.matmul], "matmul"),
    "dropped mask": (dropped_mask, [Tensor.masked_fill], "masked_fill"),
    "operand changed in place": (alias, [Tensor.tanh], "tanh"),
    "wrong sign of the second derivative": (wrong_sign, [Tensor.tanh], "tanh"),
}


class TestSpoiltRules:
    @pytest.fixture(autouse=True)
    def all_rules(self) -> None:
        from polca.method import forward_rules  # noqa: F401

    @pytest.mark.parametrize("how", SPOILT)
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    def test_is_caught(self, how: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
        """One line names the operation, and `torch.func.jvp` gives the right numbers."""
        spoil, operations, name = SPOILT[how]
        for operation in operations:
            monkeypatch.setitem(RULES, operation, spoil(RULES[operation]))

        def loss(p: Params, x: Tensor) -> Tensor:
            h = attention(p, x)
            # The operand is used again, where a change in place shows.
            y = x.to(p["W"]) @ p["W"]
            return h + (y.tanh() + y).sum(-1)

        params, x = {n: p.to(dtype) for n, p in PARAMS.items()}, X.to(dtype)
        basis = random_basis(params, 4, steps=[0] * 4)
        with pytest.warns(UserWarning, match=rf"the rule of {name} does not do what PyTorch does"):
            found = project(loss, InMemory({0: params}), basis, [x], curvature=True)
        exact(found, loss, params, basis, x, 1e-10 if dtype == torch.float64 else 1e-4)

    def test_a_rule_that_breaks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(x: Jet) -> Jet:
            raise TypeError("not a number of dimensions")

        monkeypatch.setitem(RULES, Tensor.tanh, broken)
        basis = random_basis(PARAMS, 3, steps=[0] * 3)
        with pytest.warns(UserWarning, match=r"the rule of tanh .* \(not a number of dimensions\)"):
            found = project(attention, InMemory({0: PARAMS}), basis, [X], method="forward")
        exact(found, attention, PARAMS, basis, X)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
    def test_nothing_is_said_of_the_rules_as_they_are(self, dtype: torch.dtype) -> None:
        params, x = {n: p.to(dtype) for n, p in PARAMS.items()}, X.to(dtype)
        basis = random_basis(params, 4, steps=[0] * 4)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = project(attention, InMemory({0: params}), basis, [x], curvature=True)
        exact(found, attention, params, basis, x, 1e-10 if dtype == torch.float64 else 1e-4)

    def test_every_new_trace_is_tested(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A rule that is right in the first pass and wrong in one of other operations."""

        def spoilt(x: Jet) -> Jet:
            return x.make(x.value.sigmoid(), x.first)

        monkeypatch.setitem(RULES, torch.sigmoid, spoilt)

        def loss(p: Params, x: Tensor) -> Tensor:
            y = x @ p["w"]
            return torch.sigmoid(y) if x.sum() > 0 else y.tanh()

        params, guard = {"w": draw(3, 1)}, Guard()
        b = {"w": draw(2, 3, 1, seed=4)}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            guard.forward(loss, params, b, -torch.ones(2, 3).double(), second_order=False)
        with pytest.warns(UserWarning, match="the rule of sigmoid"):
            _, first, _ = guard.forward(loss, params, b, torch.ones(2, 3).double(), second_order=False)
        expected, _ = by_autograd(loss, params, b, torch.ones(2, 3).double())
        torch.testing.assert_close(first, expected)
        with warnings.catch_warnings():  # said once
            warnings.simplefilter("error")
            guard.forward(loss, params, b, torch.ones(2, 3).double(), second_order=False)


class StraightThrough(torch.autograd.Function):
    """Rounds, and says that it does not."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.detach().round()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return 2 * tangent


def test_derivatives_that_contradict_each_other_are_refused() -> None:
    params = {"w": draw(3, 2)}

    def loss(p: Params, x: Tensor) -> Tensor:
        return StraightThrough.apply(x @ p["w"])  # type: ignore[no-any-return]

    with pytest.raises(PolcaError, match="StraightThrough"):
        project(
            loss, InMemory({0: params}), random_basis(params, 2, steps=[0, 0]), [draw(4, 3, seed=1)], method="forward"
        )


LOSSES: dict[str, tuple[Callable[[Params, Tensor], Tensor], tuple[int, ...]]] = {
    "x @ W on [N, T, d]": (lambda p, x: (x @ p["W"]).square().sum(-1).tanh(), (4, 5, 3)),
    "A @ theta": (lambda p, x: (x @ p["theta"]).square().unsqueeze(-1), (4, 3)),
    "heads": (lambda p, x: (x.unflatten(-1, (2, 3)).transpose(1, 2) @ p["W"]).tanh().sum((1, 3)), (4, 5, 6)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("vectors", [1, 2, 3, 4])
def test_as_many_directions_as_anything_else(name: str, vectors: int) -> None:
    """Sequences, heads and features among them, for losses of one's own."""
    loss, shape = LOSSES[name]
    params = {"theta": draw(3, seed=1)} if "theta" in name else {"W": draw(3, 3, seed=1)}
    vectors = min(vectors, 3) if "theta" in name else vectors
    x = draw(*shape, seed=2)
    basis = random_basis(params, vectors, steps=[0] * vectors)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = project(loss, InMemory({0: params}), basis, [x], curvature=True)
        first_order = project(loss, InMemory({0: params}), basis, [x], method="forward")
    exact(found, loss, params, basis, x)
    exact(first_order, loss, params, basis, x)


class TestReverse:
    """Taps, where they hold; forward mode by `auto`, or one line, where they do not."""

    @staticmethod
    def on(model: nn.Module, x: Tensor, method: Any) -> None:
        model = model.double()
        params = parameters_of(model)

        def loss(p: Params, batch: Tensor) -> Tensor:
            return torch.func.functional_call(model, dict(p), (batch,)).square().flatten(1)[:, :2]  # type: ignore[no-any-return]

        basis = random_basis(params, 3, steps=[0] * 3)
        exact(project(loss, InMemory({0: params}), basis, [x], method=method), loss, params, basis, x)

    def test_rows_without_positions(self) -> None:
        self.on(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2)), draw(4, 3), "backward")

    def test_several_dimensions_of_positions(self) -> None:
        self.on(
            nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2)), draw(4, 2, 3, 3), "backward"
        )

    def test_padding_has_no_gradient(self) -> None:
        ids = torch.tensor([[0, 1, 2], [2, 0, 0], [1, 1, 0], [0, 2, 3]])
        self.on(nn.Sequential(nn.Embedding(5, 3, padding_idx=0), nn.Linear(3, 2)), ids, "backward")

    def test_changed_in_place(self) -> None:
        model = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
        with pytest.raises(PolcaError, match="in place"):
            self.on(model, draw(4, 3), "backward")
        self.on(model, draw(4, 3), "auto")

    def test_sequences_and_positions_exchanged(self) -> None:
        """As many positions as sequences: no shape tells, the numbers do."""

        class Exchanged(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = nn.Linear(3, 2)

            def forward(self, x: Tensor) -> Tensor:
                return self.inner(x.transpose(0, 1)).transpose(0, 1).tanh()  # type: ignore[no-any-return]

        with pytest.raises(PolcaError, match="one row per sequence"):
            self.on(Exchanged(), draw(4, 4, 3), "backward")
        self.on(Exchanged(), draw(4, 4, 3), "auto")

    def test_parameter_that_goes_in_as_data(self) -> None:
        params = {"x": draw(4, 3, seed=1), "w": draw(2, 3, seed=2)}
        basis = random_basis(params, 2, steps=[0, 0])

        def loss(p: Params, _: Any) -> Tensor:
            return F.linear(p["x"], p["w"]).square()

        with pytest.raises(PolcaError, match="'x' is used by linear"):
            project(loss, InMemory({0: params}), basis, [0], method="backward")
        exact(project(loss, InMemory({0: params}), basis, [0]), loss, params, basis, 0)


class Conv(nn.Module):
    """Groups over features of two positions."""

    def __init__(self, kind: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), kind, nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class TestRepeatable:
    @pytest.mark.parametrize("layer", [nn.SiLU(), nn.Mish(), nn.GroupNorm(2, 8), nn.GELU("tanh")], ids=str)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_deterministic_layers(self, layer: nn.Module, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        model = Conv(layer).to(dtype)
        params, loss = parameters_of(model), ModuleLoss(model)
        batch = (draw(6, 4).to(dtype), torch.arange(6) % 5)
        checkpoints = InMemory({0: params, 1: params})
        basis = hessian_basis(loss, checkpoints, [batch], steps=[1], per_step=2)
        found = project(loss, checkpoints, basis, [batch], steps=[0], curvature=True)
        exact(found, loss, params, basis, batch, 1e-9 if dtype == torch.float64 else 1e-3)

    def test_dropout(self) -> None:
        params, x = {"w": draw(3, 2)}, draw(5, 3, seed=1)
        checkpoints, basis = InMemory({0: params}), random_basis(params, 1, steps=[0])

        def loss(p: Params, batch: Tensor) -> Tensor:
            return F.dropout(batch @ p["w"], 0.1).square()

        with pytest.raises(PolcaError, match="differs between two calls"):
            hessian_basis(loss, checkpoints, [x], steps=[0])
        with pytest.raises(PolcaError, match="differs between two calls"):
            project(loss, checkpoints, basis, [x])

    def test_a_gradient_of_nothing_but_rounding(self, make_problem: Callable[..., Problem]) -> None:
        """The bias of attention's keys has none: it may differ wholly from call to call."""
        problem = make_problem(dtype=torch.float32)
        check_repeatable(problem.loss, problem.params, problem.batch)


def test_quadratic_loss_is_split_exactly() -> None:
    """Through the public functions, in a complete basis, in float64: the trapezoid adds up to the true change."""
    a = draw(5, 6, 6)
    a, c = a + a.mT, draw(5, 6, seed=1)

    def loss(p: Params, batch: tuple[Tensor, Tensor]) -> Tensor:
        some, slope = batch
        theta = torch.cat([p["one"], p["two"]])
        return (0.5 * ((some @ theta) * theta).sum(-1) + slope @ theta).unsqueeze(-1)

    path = [draw(6, seed=s) for s in range(5)]
    checkpoints = InMemory({10 * t: {"one": theta[:2], "two": theta[2:]} for t, theta in enumerate(path)})
    found = {
        "hessian": hessian_basis(loss, checkpoints, [(a, c)], steps=[0], per_step=6, tolerance=1e-12),
        "random": dense_basis(
            "random", np.linalg.qr(draw(6, 6, seed=7).numpy())[0], Layout.of(checkpoints.load(0)), np.zeros(6)
        ),
    }
    for basis in found.values():
        projections = project(loss, checkpoints, basis, [(a[:3], c[:3]), (a[3:], c[3:])], curvature=True)
        change = np.diff(projections.losses, axis=0)
        assert np.abs(allocations(projections, "trapezoid").sum(axis=2) - change).max() < 1e-10


class TestFrozen:
    @pytest.fixture
    def model(self) -> nn.Module:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)).double()
        model[:-1].requires_grad_(False)
        return model

    def test_no_direction_lies_in_what_is_frozen(self, model: nn.Module, tmp_path: Path) -> None:
        """The basis is the top eigenvector of the last layer's own Hessian."""
        files = CheckpointDirectory(tmp_path)
        batch = (draw(9, 4), torch.arange(9) % 3)
        for step in (0, 1):
            with torch.no_grad():
                model[-1].weight.add_(0.1 * draw(3, 6, seed=step))
            files.save(step, model.state_dict())
        loss, checkpoints = ModuleLoss(model), ModuleCheckpoints(tmp_path, model)
        basis = hessian_basis(loss, checkpoints, [batch], steps=[1], tolerance=1e-12)
        assert set(basis.vectors) == {"4.weight", "4.bias"}
        params = checkpoints.load(1)
        layout = Layout.of(params)
        dense = torch.autograd.functional.hessian(
            lambda flat: loss(layout.split(flat), batch).mean(), layout.flatten(params)
        )
        assert basis.eigenvalues[0] == pytest.approx(torch.linalg.eigvalsh(dense)[-1].item(), rel=1e-10)
        found = project(loss, checkpoints, basis, [batch], curvature=True)
        expected, _ = by_autograd(loss, params, basis.vectors, batch)
        np.testing.assert_allclose(found.gradients[1], expected.flatten(1).T, rtol=1e-10, atol=1e-13)

    def test_frozen_values_of_another_model(self, model: nn.Module, tmp_path: Path) -> None:
        CheckpointDirectory(tmp_path).save(0, {n: t + 1 for n, t in model.state_dict().items()})
        with pytest.raises(PolcaError, match="is frozen in the model, and differs"):
            ModuleCheckpoints(tmp_path, model).load(0)
        with pytest.raises(PolcaError, match="every parameter of the model is frozen"):
            parameters_of(model.requires_grad_(False))

    def test_a_loss_of_ones_own(self, model: nn.Module) -> None:
        """Who gives all of a model's weights hears which of them never moved; integers are no weights."""
        first = {n: p.detach().clone() for n, p in model.named_parameters()}
        last = {n: p + 0.1 * ("4" in n) for n, p in first.items()}
        batch = (draw(9, 4), torch.arange(9) % 3)
        with pytest.warns(UserWarning, match=r"parameter '0.weight' and 3 more did not move from step 0 to step 5"):
            hessian_basis(ModuleLoss(model), InMemory({0: first, 5: last}), [batch], steps=[5])
        counted = InMemory({0: {**first, "count": torch.tensor(3)}})
        with pytest.raises(PolcaError, match=r"'count' is torch\.int64, not floats"):
            hessian_basis(ModuleLoss(model), counted, [batch], steps=[0])
