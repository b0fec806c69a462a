"""The LDL factorization, with LAPACK's pivots."""

import pytest
import torch
from tests.lowering.matrices import DTYPES, DYNAMIC, SQUARE, agree, matrix


def mirrored(*shape, dtype=torch.float32, hermitian=False):
    """Symmetric or Hermitian matrices with small diagonals, which need pivots of two."""
    x = matrix(*shape, dtype=dtype)
    x = x + (x.mH if hermitian else x.mT)
    return x - 0.9 * torch.diag_embed(x.diagonal(dim1=-2, dim2=-1))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [*SQUARE, (9, 9)], ids=str)
@pytest.mark.parametrize("hermitian", [False, True])
def test_factors_and_solutions(dtype, shape, hermitian):
    def factors(x, b):
        factor, pivots, failed = torch.linalg.ldl_factor_ex(x, hermitian=hermitian)
        return factor, pivots, failed, torch.linalg.ldl_solve(factor, pivots, b, hermitian=hermitian)

    agree(factors, mirrored(*shape, dtype=dtype, hermitian=hermitian), matrix(*shape[:-1], 2, dtype=dtype), atol=1e-3)


def test_columns_of_zeros_are_told():
    agree(lambda x: torch.linalg.ldl_factor_ex(x), torch.stack([torch.zeros(3, 3), torch.eye(3)]))


def test_one_triangle_is_read():
    agree(lambda x: torch.linalg.ldl_factor(x), mirrored(5, 5).tril())


def test_any_size():
    agree(lambda x: torch.linalg.ldl_factor(x), mirrored(2, 5, 5), dynamic={"x": DYNAMIC}, again=(mirrored(1, 7, 7),))
