"""The Cholesky factorization and what it solves."""

import pytest
import torch
from tests.lowering.matrices import DTYPES, DYNAMIC, SQUARE, agree, definite, matrix


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SQUARE, ids=str)
def test_factors(dtype, shape):
    def factors(x):
        return torch.linalg.cholesky(x), torch.linalg.cholesky(x, upper=True), torch.cholesky(x)

    agree(factors, definite(*shape, dtype=dtype))


@pytest.mark.parametrize("upper", [False, True])
def test_one_triangle_is_read(upper):
    x = definite(4, 4)
    agree(lambda x: torch.linalg.cholesky(x, upper=upper), x.triu() if upper else x.tril())


def test_what_is_not_positive_definite_is_told():
    matrices = torch.stack([torch.eye(5), torch.diag(torch.tensor([1.0, 1, -1, 1, -1])), torch.zeros(5, 5)])
    agree(lambda x: torch.linalg.cholesky_ex(x).info, matrices)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("upper", [False, True])
def test_solutions(dtype, upper):
    def solved(factor, b):
        return torch.cholesky_solve(b, factor, upper), torch.cholesky_inverse(factor, upper)

    factor = torch.linalg.cholesky(definite(2, 5, 5, dtype=dtype), upper=upper)
    agree(solved, factor, matrix(5, 3, dtype=dtype))


def test_any_size():
    agree(lambda x: torch.linalg.cholesky(x), definite(2, 5, 5), dynamic={"x": DYNAMIC}, again=(definite(1, 2, 2),))
