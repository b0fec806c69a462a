"""Powers, exponentials and their kin of complex tensors."""

import pytest
import torch
from tests.lowering.support import check

import fxonnx

torch.manual_seed(0)

FUNCTIONS = {
    "powers": lambda x, y: (x**2, x**3, x**-1, x**0, x**0.5, x ** (1 + 1j), x**y, 2**x),
    "functions": lambda x, y: (x.exp(), x.log(), x.sqrt(), x.rsqrt(), x.sin(), x.cos(), x.sinh(), x.cosh(), x.tanh()),
    "others": lambda x, y: (x.sigmoid(), x.reciprocal(), x.square(), x.sgn(), x.tan(), torch.sinc(x)),
    "exponentials": lambda x, y: (x.exp2(), x.expm1(), torch.logaddexp(x, y)),
    "logarithms": lambda x, y: (x.log1p(), x.log2(), x.log10()),
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


def test_near_zero_keeps_its_digits():
    x = torch.randn(9, dtype=torch.complex64) * 1e-6
    check(lambda x: (x.log1p(), x.expm1(), x.tan(), x.tanh()), x, rtol=1e-5, atol=0)


def test_far_away_does_not_overflow():
    x = torch.tensor([3e30 - 4e30j, 3e-30 + 4e-30j, 90 + 1j, 1 + 90j, -1e38 + 2e38j, 0j])
    check(lambda x: (x.abs(), x.sgn(), x.sqrt(), x.tanh(), x.tan(), x.log()), x, rtol=1e-5, atol=1e-7)
    check(torch.abs, torch.tensor([3e300 - 4e300j, 3e-300 + 4e-300j, 1 + 1j, 0j], dtype=torch.complex128))


def test_powers_beyond_float32_on_their_way():
    x = torch.tensor([1 + 0.5j, -2j, 3 - 1j]).to(torch.complex64) * 1e20
    for power in (2, 3, -1, -2, -8):
        found, exact = fxonnx.compile(lambda x, power=power: x**power, (x,))(x), x.to(torch.complex128) ** power
        torch.testing.assert_close(found, exact.to(torch.complex64))
