"""Systems of equations with triangular matrices, by substitution."""

from __future__ import annotations

from typing import Any

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.linalg.matrix import (
    Matrix,
    column,
    for_each,
    lower_matrices,
    row,
    row_numbers,
    same_batch,
    where,
)


def substitute(op: Builder, A: Matrix, B: Matrix, *, upper: bool, unitriangular: bool = False) -> Matrix:
    """X with A X = B, of which one triangle is read: row after row, from the corner that has one unknown.

    Golub & Van Loan, Matrix Computations, §3.1.
    """
    A, B = same_batch(op, A, B)
    count = A.shape[-2]

    def step(op: Builder, k: Tensor, X: Matrix, A: Matrix) -> tuple[Matrix]:
        k = op.sizes([count - 1]) - k if upper else k
        coefficients, rows = column(op, A, k), row_numbers(op, A)
        solved = row(op, X, k) if unitriangular else row(op, X, k) / row(op, coefficients, k)
        unsolved = rows < k if upper else rows > k
        return (where(op, unsolved, X - coefficients * solved, where(op, op.Equal(rows, k), solved, X)),)

    return for_each(op, count, [B], step, [A])[0]


@lower_matrices("aten.linalg_solve_triangular", rename={"self": "A"}, of=["A", "B"])
def solve_triangular(
    op: Builder,
    A: Matrix,
    B: Matrix,
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
) -> Matrix:
    """X with A X = B, or with X A = B."""
    if left:
        return substitute(op, A, B, upper=upper, unitriangular=unitriangular)
    return substitute(op, A.T, B.T, upper=not upper, unitriangular=unitriangular).T


@lower_matrices("aten.triangular_solve", of=["self", "A"])
def triangular_solve(
    op: Builder,
    self: Matrix,
    A: Matrix,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> Any:
    """(X with A X = self or Aᵀ X = self, A), both in the batch that theirs broadcast to."""
    A, B = same_batch(op, A, self)
    if transpose:
        return substitute(op, A.T, B, upper=not upper, unitriangular=unitriangular), A
    return substitute(op, A, B, upper=upper, unitriangular=unitriangular), A
