"""NumPy products under every kind of differentiation, against PyTorch's own."""

import pytest
import torch

from polca.machine.products import PortableProducts, linear, matmul

SHAPES = [
    ((3, 4), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((6, 2, 3, 4), (2, 4, 5)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
]


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_value_gradients_and_second_gradients(left, right) -> None:
    torch.manual_seed(0)
    a = torch.randn(left, dtype=torch.float64, requires_grad=True)
    b = torch.randn(right, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(matmul(a, b), torch.matmul(a, b))
    assert torch.autograd.gradcheck(matmul, (a, b), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(matmul, (a, b))


def test_context_reroutes_modules_and_leaves_results_equal() -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(5, 7), torch.randn(3, 4, 5)
    expected = layer(x) @ torch.ones(7, 2)
    with PortableProducts():
        torch.testing.assert_close(layer(x) @ torch.ones(7, 2), expected)
        torch.testing.assert_close(linear(x, layer.weight), x @ layer.weight.T)


def test_integer_products_pass_through() -> None:
    with PortableProducts():
        assert torch.equal(torch.tensor([[1, 2]]) @ torch.tensor([[3], [4]]), torch.tensor([[11]]))
