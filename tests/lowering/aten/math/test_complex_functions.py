"""Powers, exponentials and their kin of complex tensors."""

import pytest
import torch
from tests.lowering.support import check

torch.manual_seed(0)

FUNCTIONS = {
    "powers": lambda x, y: (x**2, x**3, x**-1, x**0, x**0.5, x ** (1 + 1j), x**y, 2**x),
    "functions": lambda x, y: (x.exp(), x.log(), x.sqrt(), x.rsqrt(), x.sin(), x.cos(), x.sinh(), x.cosh(), x.tanh()),
    "others": lambda x, y: (x.sigmoid(), x.reciprocal(), x.square(), x.sgn()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    x, y = torch.randn(2, 3, 4, dtype=torch.complex64)
    check(FUNCTIONS[name], x, y, rtol=1e-4, atol=1e-5)


def test_double_precision():
    """Of those whose operators ONNX Runtime has in float64; it lacks Sinh, Cosh and Atan."""
    check(
        lambda x: (x.exp(), x.sigmoid(), x.reciprocal(), x**3, x**-2, x.sgn()), torch.randn(3, dtype=torch.complex128)
    )


def test_at_zero_and_on_the_axes():
    x = torch.tensor([0, 1, -1, 1j, -1j, -0.0 - 1j])
    check(lambda x: (x.sqrt(), x**2.5, x**0.0, x**3, x**-2, torch.pow(x, x.real)), x, rtol=1e-4, atol=1e-5)
