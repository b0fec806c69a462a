"""The QR factorization, signed as LAPACK does."""

import pytest
import torch
from tests.lowering.matrices import DTYPES, OBLONG, agree, matrix


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", OBLONG, ids=str)
@pytest.mark.parametrize("mode", ["reduced", "complete", "r"])
def test_factors(dtype, shape, mode):
    agree(lambda x: tuple(torch.linalg.qr(x, mode)), matrix(*shape, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
def test_reflections(dtype, left, transpose):
    def products(x, other):
        packed, factors = torch.geqrf(x)
        product = torch.ormqr(packed, factors, other if left else other.mT, left, transpose)
        return packed, factors, torch.linalg.householder_product(packed, factors), product

    agree(products, matrix(2, 5, 3, dtype=dtype), matrix(2, 5, 4, dtype=dtype))


def test_a_column_of_zeros():
    agree(lambda x: tuple(torch.linalg.qr(x)), torch.tensor([[0.0, 1, 2], [0, 3, 4], [0, 5, 6], [0, 7, 8]]))


def test_any_size():
    dynamic = {"x": {0: "b", 1: "n", 2: "m"}}
    agree(lambda x: tuple(torch.linalg.qr(x)), matrix(2, 5, 3), dynamic=dynamic, again=(matrix(1, 2, 6),))
