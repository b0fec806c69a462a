"""Eigenvalues and eigenvectors of symmetric and Hermitian matrices."""

import pytest
import torch
from tests.lowering.matrices import DTYPES, DYNAMIC, SQUARE, agree, matrix

import fxonnx


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SQUARE, ids=str)
@pytest.mark.parametrize("triangle", ["L", "U"])
def test_vectors_make_the_matrix(dtype, shape, triangle):
    def made(x):
        values, vectors = torch.linalg.eigh(x, triangle)
        return values, vectors * values.unsqueeze(-2) @ vectors.mH, vectors.mH @ vectors

    agree(made, matrix(*shape, dtype=dtype))


def test_values_are_as_exact_as_lapack_s():
    x = matrix(24, 24, dtype=torch.float64)
    x = x + x.mT
    exact, values = torch.linalg.eigvalsh(x), torch.linalg.eigvalsh
    ours, eager = (function(x.float()) - exact for function in (fxonnx.compile(values, x.float()), values))
    assert ours.abs().max() <= 1.5 * eager.abs().max()
    wide = fxonnx.compile(values, x)(x) - exact
    assert wide.abs().max() <= 24 * torch.finfo(torch.float64).eps * exact.abs().max() * 2


EQUAL = {
    "the identity": torch.eye(5),
    "ones": torch.ones(6, 6),
    "zeros": torch.zeros(4, 4),
    "two of a kind": torch.diag(torch.tensor([2.0, 1, 2, 1])),
}


@pytest.mark.parametrize("x", EQUAL.values(), ids=EQUAL)
def test_equal_values(x):
    def made(x):
        values, vectors = torch.linalg.eigh(x)
        return values, vectors * values @ vectors.mT, vectors.mT @ vectors

    agree(made, x)


def test_numbers_far_apart():
    scale = torch.tensor([1e-3, 1.0, 1e3, 1e5, 1.0]).double()
    x = matrix(5, 5, dtype=torch.float64) * scale * scale.unsqueeze(1)
    agree(torch.linalg.eigvalsh, x + x.mT, rtol=1e-9, atol=1e-3)


def test_any_size():
    agree(lambda x: torch.linalg.eigvalsh(x), matrix(2, 5, 5), dynamic={"x": DYNAMIC}, again=(matrix(3, 2, 2),))
