"""The Cholesky factorization of positive definite matrices, and what it solves."""

from __future__ import annotations

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.linalg.matrix import (
    Matrix,
    column,
    column_numbers,
    for_each,
    identity,
    lower_matrices,
    row,
    row_numbers,
    triangle,
    where,
    zeros,
)
from fxonnx.lowering.aten.linalg.triangular import substitute
from fxonnx.lowering.vocabulary import cast, number


def factorize(op: Builder, A: Matrix) -> tuple[Matrix, Tensor]:
    """(L with L Lᴴ = A, int64[…, 1, 1]: the first pivot, counted from 1, that is not above 0, or 0).

    Reads the lower triangle. Golub & Van Loan, Matrix Computations, §4.2.
    """

    def step(op: Builder, k: Tensor, A: Matrix, failed: Tensor) -> tuple[Matrix, Tensor]:
        """Column k of the factor, and what it takes from the columns behind it."""
        rows, columns, current = row_numbers(op, A), column_numbers(op, A), column(op, A, k)
        pivot = row(op, current, k).real
        root = op.Sqrt(pivot)
        below = where(op, rows > k, current / root, 0)
        current = where(op, op.Equal(rows, k), Matrix((root,)), below)
        found = op.And(op.Equal(failed, 0), op.Not(pivot > number(op, 0, pivot)))
        A = where(op, op.Equal(columns, k), current, where(op, columns > k, A - below @ below.H, A))
        return A, op.Where(found, k + 1, failed)

    L, failed = for_each(op, A.shape[-1], [A, zeros(op, A.shape[:-2], 1, 1)], step)
    return triangle(op, L, upper=False), failed


@lower_matrices("aten.linalg_cholesky_ex", rename={"self": "A"}, ignore={"check_errors"}, of=["A"])
def cholesky_ex(op: Builder, A: Matrix, *, upper: bool = False) -> tuple[Matrix, Tensor]:
    """(L with L Lᴴ = A or U with Uᴴ U = A, the first pivot that is not above 0), of one triangle of A."""
    L, failed = factorize(op, A.H if upper else A)
    return L.H if upper else L, cast(op, op.Squeeze(failed, [-2, -1]), dtypes.INT32)


@lower_matrices("aten.cholesky", "aten.linalg_cholesky", rename={"self": "A"}, of=["A"])
def cholesky(op: Builder, A: Matrix, upper: bool = False) -> Matrix:
    """L with L Lᴴ = A, or U with Uᴴ U = A; where torch raises for a matrix that is not positive definite, NaN."""
    return cholesky_ex(op, A, upper=upper)[0]


@lower_matrices("aten.cholesky_solve", rename={"self": "B", "input2": "L"}, of=["B", "L"])
def cholesky_solve(op: Builder, B: Matrix, L: Matrix, upper: bool = False) -> Matrix:
    """X with L Lᴴ X = B, or with Uᴴ U X = B."""
    L = L.H if upper else L
    return substitute(op, L.H, substitute(op, L, B, upper=False), upper=True)


@lower_matrices("aten.cholesky_inverse", rename={"self": "L"}, of=["L"])
def cholesky_inverse(op: Builder, L: Matrix, upper: bool = False) -> Matrix:
    """The inverse of L Lᴴ, or of Uᴴ U."""
    return cholesky_solve(op, identity(op, L, L.shape[-1], L.shape[-1]), L, upper)
