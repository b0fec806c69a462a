"""Powers and exponentials of matrices."""

import pytest
import torch
from tests.lowering.matrices import DTYPES, DYNAMIC, SQUARE, agree, matrix, solvable


@pytest.mark.parametrize("power", [0, 1, 2, 5, -2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_powers(power, dtype):
    agree(lambda x: torch.linalg.matrix_power(x, power), solvable(2, 3, 3, dtype=dtype), atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SQUARE, ids=str)
def test_exponential(dtype, shape):
    agree(torch.matrix_exp, matrix(*shape, dtype=dtype))


def test_exponentials_of_any_size_and_length():
    lengths = torch.tensor([1e-6, 1.0, 20.0]).reshape(3, 1, 1)
    wide = matrix(3, 5, 5, dtype=torch.float64) * lengths  # in float32 it is eager that is off
    again = matrix(1, 2, 2, dtype=torch.float64)
    agree(lambda x: torch.matrix_exp(x), wide, dynamic={"x": DYNAMIC}, again=(again,))
    agree(torch.matrix_exp, torch.zeros(4, 4))
