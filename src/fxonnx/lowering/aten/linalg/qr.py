"""The QR factorization by Householder's reflections, as LAPACK stores and signs it."""

from __future__ import annotations

from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import minimum
from fxonnx.lowering.aten.linalg.matrix import (
    Matrix,
    column,
    column_numbers,
    first,
    for_each,
    identity,
    lower_matrices,
    row,
    row_numbers,
    same_batch,
    triangle,
    where,
)
from fxonnx.lowering.registry import Unsupported
from fxonnx.lowering.vocabulary import full, number


def reflect(op: Builder, A: Matrix) -> tuple[Matrix, Matrix]:
    """(R with the reflections' vectors below its diagonal, their factors τ as a row): H₁ H₂ … R = A with
    Hₖ = 1 - τ v vᴴ.

    As LAPACK's geqrf (larfg): R's diagonal has the opposite sign of what it replaces.
    """
    count = minimum(*A.shape[-2:])

    def step(op: Builder, k: Tensor, A: Matrix, tau: Matrix) -> tuple[Matrix, Matrix]:
        rows, columns, current = row_numbers(op, A), column_numbers(op, A), column(op, A, k)
        beta, factor, below = reflection(op, current, k)
        vector = where(op, op.Equal(rows, k), Matrix((number(op, 1, A.real),)), below)
        stored = where(op, rows > k, below, where(op, op.Equal(rows, k), beta, current))
        reflected = A - vector * (factor.conj * (vector.H @ A))
        A = where(op, op.Equal(columns, k), stored, where(op, columns > k, reflected, A))
        return A, where(op, op.Equal(column_numbers(op, tau), k), factor, tau)

    tau = full(op, (*A.shape[:-2], 1, count), 0.0, dtypes.FLOAT64)
    return tuple(for_each(op, count, [A, Matrix((tau, tau)) if A.is_complex else Matrix((tau,))], step))


def reflection(op: Builder, x: Matrix, k: Tensor) -> tuple[Matrix, Matrix, Matrix]:
    """(β, τ, v below row k) of the reflection that takes column `x` from row `k` on to (β, 0, …)."""
    alpha, rest = row(op, x, k), where(op, row_numbers(op, x) > k, x, 0)
    squares = op.ReduceSum(rest.squares(), [-2], keepdims=1)
    is_done = op.Equal(squares, 0)
    if x.is_complex:
        is_done = op.And(is_done, op.Equal(alpha.parts[1], 0))
    one, length = Matrix((number(op, 1, squares),)), op.Sqrt(alpha.squares() + squares)
    beta = Matrix((op.Where(alpha.real < number(op, 0, length), length, -length),))
    beta = where(op, is_done, alpha, beta)
    divisor = where(op, is_done, one, beta)
    tau = where(op, is_done, beta - alpha, (beta - alpha) / divisor)
    return beta, tau, rest / where(op, is_done, one, alpha - beta)


def apply(op: Builder, V: Matrix, tau: Matrix, C: Matrix, adjoint: bool = False) -> Matrix:
    """Q C with Q = H₁ H₂ …, or Qᴴ C; `tau` is a row."""
    V, C = same_batch(op, V, C)
    tau = tau.whole() if V.is_complex else tau
    count = tau.shape[-1]

    def step(op: Builder, k: Tensor, C: Matrix, V: Matrix, tau: Matrix) -> tuple[Matrix]:
        k = k if adjoint else op.sizes([count - 1]) - k
        rows, factor = row_numbers(op, V), column(op, tau, k)
        below = where(op, rows > k, column(op, V, k), 0)
        vector = where(op, op.Equal(rows, k), Matrix((number(op, 1, V.real),)), below)
        return (C - vector * ((factor.conj if adjoint else factor) * (vector.H @ C)),)

    return for_each(op, count, [C], step, [V, tau])[0]


def as_row(op: Builder, vector: Matrix) -> Matrix:
    """Vectors as matrices of one row."""
    return vector.each(lambda part: op.Unsqueeze(part, [-2]))


@lower_matrices("aten.geqrf", rename={"self": "A"}, of=["A"])
def geqrf(op: Builder, A: Matrix) -> tuple[Matrix, Matrix]:
    """(R with the reflections' vectors below its diagonal, the reflections' factors)."""
    packed, tau = reflect(op, A)
    return packed, tau.each(lambda part: op.Squeeze(part, [-2]))


@lower_matrices("aten.linalg_householder_product", rename={"input": "V"}, of=["V", "tau"])
@lower_matrices("aten.orgqr", rename={"self": "V", "input2": "tau"}, of=["V", "tau"])
def householder_product(op: Builder, V: Matrix, tau: Matrix) -> Matrix:
    """The first columns of H₁ H₂ …, as many as there are vectors."""
    return apply(op, V, as_row(op, tau), identity(op, V, *V.shape[-2:]))


@lower_matrices("aten.ormqr", rename={"self": "V", "input2": "tau", "input3": "C"}, of=["V", "tau", "C"])
def ormqr(op: Builder, V: Matrix, tau: Matrix, C: Matrix, left: bool = True, transpose: bool = False) -> Matrix:
    """Q C or C Q with Q = H₁ H₂ …, or with Qᴴ."""
    factors = as_row(op, tau)
    if left:
        return apply(op, V, factors, C, adjoint=transpose)
    return apply(op, V, factors, C.H, adjoint=not transpose).H


@lower_matrices("aten.linalg_qr", of=["A"])
def qr(op: Builder, A: Matrix, mode: str = "reduced") -> Any:
    """Q and R: all columns of Q, as many as A has rows or columns, or none."""
    if mode not in ("reduced", "complete", "r"):
        raise Unsupported(f"the QR factorization in mode {mode!r}")
    rows, columns = A.shape[-2:]
    count = rows if mode == "complete" else minimum(rows, columns)
    packed, tau = reflect(op, A)
    R = triangle(op, first(op, packed, count, -2), upper=True)
    if mode == "r":
        return Matrix((full(op, (0,), 0.0, dtypes.FLOAT64),)), R
    return apply(op, packed, tau, identity(op, A, rows, count)), R
