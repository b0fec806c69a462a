"""The LU factorization, solutions, inverses, determinants."""

import math

import pytest
import torch
from tests.lowering.matrices import DTYPES, DYNAMIC, OBLONG, SQUARE, agree, matrix, solvable
from tests.lowering.support import operators

import fxonnx
from fxonnx import errors

linalg = torch.linalg


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", OBLONG, ids=str)
def test_factors(dtype, shape):
    def factors(x):
        packed, pivots = linalg.lu_factor(x)
        return packed, pivots, *linalg.lu(x), *torch.lu_unpack(packed, pivots)

    agree(factors, matrix(*shape, dtype=dtype))


def test_what_is_not_unpacked_is_empty():
    agree(lambda x: tuple(torch.lu_unpack(*linalg.lu_factor(x), unpack_pivots=False)), matrix(3, 3))
    agree(lambda x: tuple(torch.lu_unpack(*linalg.lu_factor(x), unpack_data=False)), matrix(3, 3))


def test_singular_matrices_are_told():
    agree(lambda x: linalg.lu_factor_ex(x)[2], torch.tensor([[[1.0, 2], [2, 4]], [[1, 0], [0, 1]]]))
    agree(lambda x: linalg.inv_ex(x)[1], torch.zeros(5, 5))


def test_without_pivots_is_refused():
    with pytest.raises(errors.UnsupportedArguments, match="pivoting"):
        fxonnx.compile(lambda x: linalg.lu_factor(x, pivot=False)[0], matrix(3, 3))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("adjoint", [False, True])
def test_solutions_of_factors(dtype, left, adjoint):
    def solved(x, b):
        return linalg.lu_solve(*linalg.lu_factor(x), b if left else b.mT, left=left, adjoint=adjoint)

    agree(solved, solvable(2, 5, 5, dtype=dtype), matrix(5, 3, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SQUARE, ids=str)
def test_inverses_and_determinants(dtype, shape):
    def numbers(x):
        return linalg.inv(x), linalg.det(x), *linalg.slogdet(x)

    agree(numbers, solvable(*shape, dtype=dtype))


def test_determinants_below_zero():
    agree(lambda x: (torch.logdet(x), linalg.det(x), *linalg.slogdet(x)), -solvable(2, 3, 3))


def test_logarithms_of_determinants_beyond_the_range_of_float32():
    agree(linalg.slogdet, solvable(40, 40) * 100)


def test_the_sign_of_a_determinant_that_is_nan_is_zero() -> None:
    agree(linalg.slogdet, torch.stack([solvable(3, 3), torch.full((3, 3), math.nan)]))


@pytest.mark.parametrize(
    "shapes", [((5, 5), (5,)), ((2, 5, 5), (2, 5)), ((3, 1, 4, 4), (2, 4, 2)), ((0, 0), (0,))], ids=str
)
def test_solutions(shapes):
    size, other = shapes
    agree(linalg.solve, solvable(*size), matrix(*other))


def test_solutions_from_the_right():
    agree(lambda x, b: linalg.solve(x, b, left=False), solvable(4, 4), matrix(3, 4))


def test_tensors_as_matrices():
    agree(lambda x: linalg.tensorinv(x, ind=1), matrix(6, 2, 3))
    agree(linalg.tensorsolve, matrix(2, 3, 6), matrix(2, 3))


def test_any_size():
    def numbers(x):
        return linalg.inv(x), linalg.det(x), *linalg.lu(x)

    agree(numbers, solvable(2, 5, 5), dynamic={"x": DYNAMIC}, again=(solvable(3, 1, 1),))


def test_a_large_matrix_is_a_loop():
    compiled = fxonnx.compile(linalg.det, solvable(6, 6))
    assert operators(compiled).count("Loop") == 1
    assert "Loop" not in operators(fxonnx.compile(linalg.det, solvable(3, 3)))
