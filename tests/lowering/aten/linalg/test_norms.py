"""Norms of matrices, condition and rank."""

import math

import pytest
import torch
from tests.lowering.matrices import DTYPES, agree, matrix
from tests.lowering.support import check


def test_sums():
    def norms(x):
        norm = torch.linalg.matrix_norm
        return (
            torch.linalg.norm(x),
            torch.linalg.norm(x, "fro"),
            torch.linalg.norm(x, 1),
            torch.linalg.norm(x, 1, dim=0),
            norm(x, math.inf, keepdim=True),
            norm(x, -1),
            torch.norm(x, dtype=torch.float64),
        )

    check(norms, torch.randn(3, 4))


@pytest.mark.parametrize("order", [1, -1, math.inf, -math.inf])
@pytest.mark.parametrize("dim", [(0, 1), (1, 0)])
def test_sums_with_nan_are_nan(order, dim):
    x = torch.tensor([[1, math.nan, 2], [3, 4, -math.inf], [5, 6, 7]])
    check(lambda x: torch.linalg.matrix_norm(x, order, dim), x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", ["nuc", 2, -2])
def test_singular_values(dtype, order):
    def norms(x):
        norm = torch.linalg.matrix_norm
        return norm(x, order), norm(x, order, dim=(0, -1), keepdim=True), norm(x, order, dim=(1, 0))

    agree(norms, matrix(3, 4, 2, dtype=dtype))


@pytest.mark.parametrize("order", [1, math.inf, 2, "nuc"])
def test_of_empty_matrices_are_zero(order):
    check(lambda x: torch.linalg.matrix_norm(x, order), torch.ones(3, 0, 0))


@pytest.mark.parametrize("order", [None, -2, "fro", "nuc", 1, -math.inf])
def test_condition(order):
    agree(lambda x: torch.linalg.cond(x, order), matrix(2, 4, 4))


def test_rank():
    low = torch.stack([matrix(5, 2) @ matrix(2, 4), matrix(5, 4)])

    def ranks(x):
        rank, square = torch.linalg.matrix_rank, x.mT @ x
        return rank(x), rank(x, 1e-3), rank(x, atol=1e-3, rtol=0.1), rank(square, hermitian=True)

    agree(ranks, low)
    agree(ranks, low, dynamic={"x": {0: "b", 1: "n", 2: "m"}}, again=(matrix(1, 6, 3),))
