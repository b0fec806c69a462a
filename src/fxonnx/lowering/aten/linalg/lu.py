"""The LU factorization with row exchanges, and what it gives: solutions, inverses, determinants."""

from __future__ import annotations

from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, minimum
from fxonnx.lowering.aten.linalg.matrix import (
    Matrix,
    alike,
    column,
    column_numbers,
    diagonal,
    first,
    for_each,
    identity,
    lower_matrices,
    row,
    row_numbers,
    same_batch,
    swapped_rows,
    triangle,
    where,
    zeros,
)
from fxonnx.lowering.aten.linalg.triangular import substitute
from fxonnx.lowering.aten.math.arithmetic import sign
from fxonnx.lowering.aten.math.special import atan2
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, expand, full, number, positions


def factorize(op: Builder, A: Matrix) -> tuple[Matrix, Tensor, Tensor]:
    """(L below the diagonal and U, pivots, order): the rows of A in `order`, a column of int64, are those of L U, and
    in step k rows k and pivots[k], a row of int64, were exchanged.

    As LAPACK's getrf: the pivot is the largest below the diagonal, of complex numbers by |re| + |im|.
    """
    count, batch = minimum(*A.shape[-2:]), A.shape[:-2]

    def step(op: Builder, k: Tensor, A: Matrix, pivots: Tensor, order: Tensor) -> tuple[Matrix, Tensor, Tensor]:
        rows, columns = row_numbers(op, A), column_numbers(op, A)
        largest = _largest(op, column(op, A, k), k)
        exchange = op.Where(op.Equal(rows, k), largest, op.Where(op.Equal(rows, largest), k, rows))
        A, order = swapped_rows(op, A, exchange), swapped_rows(op, order, exchange)
        pivot, below = row(op, column(op, A, k), k), rows > k
        factors = column(op, A, k) / where(op, op.Equal(pivot.squares(), 0), number_like(op, 1, pivot), pivot)
        eliminated = where(op, op.Equal(columns, k), factors, A - factors * row(op, A, k))
        A = where(op, op.And(below, columns >= k), eliminated, A)
        return A, op.Where(op.Equal(column_numbers(op, pivots), k), largest, pivots), order

    order = expand(op, row_numbers(op, A), (*batch, A.shape[-2], 1))
    return tuple(for_each(op, count, [A, zeros(op, batch, 1, count), order], step))


def _largest(op: Builder, x: Matrix, k: Tensor) -> Tensor:
    """Where the largest element of a column is, from row `k` on."""
    size = op.Abs(x.parts[0])
    if x.is_complex:
        size = size + op.Abs(x.parts[1])
    return op.ArgMax(op.Where(row_numbers(op, x) >= k, size, number(op, -1, size)), axis=-2, keepdims=1)


def number_like(op: Builder, value: float, like: Matrix) -> Matrix:
    """A real number beside matrices."""
    return Matrix((number(op, value, like.real),))


def order_of(op: Builder, pivots: Tensor, rows: Dim) -> Tensor:
    """The order that LAPACK's exchanges of rows (int32[…, k], counted from 1) leave, as a column."""
    batch, count = pivots.shape[:-1], pivots.shape[-1]

    def step(op: Builder, k: Tensor, order: Tensor, chosen: Tensor) -> tuple[Tensor]:
        places, other = row_numbers(op, order), op.Gather(chosen, k, axis=-1)
        exchange = op.Where(op.Equal(places, k), other, op.Where(op.Equal(places, other), k, places))
        return (swapped_rows(op, order, exchange),)

    start = expand(op, op.Unsqueeze(positions(op, rows), [1]), (*batch, rows, 1))
    chosen = op.Unsqueeze(cast(op, pivots, dtypes.INT64) - 1, [-2])
    return for_each(op, count, [start], step, [chosen])[0]


def permutation(op: Builder, order: Tensor, like: Matrix) -> Matrix:
    """P with A = P L U where L U has the rows of A in `order`."""
    turned = op.Transpose(order, perm=[*range(len(order.shape) - 2), len(order.shape) - 1, len(order.shape) - 2])
    return Matrix((cast(op, op.Equal(row_numbers(op, order), turned), like.real.dtype),))


def solve_factorized(op: Builder, LU: Matrix, order: Tensor, B: Matrix, adjoint: bool = False) -> Matrix:
    """X with A X = B, or with Aᴴ X = B."""
    if adjoint:
        inner = substitute(op, LU.H, B, upper=False)
        inner = substitute(op, LU.H, inner, upper=True, unitriangular=True)
        return permutation(op, order, inner) @ inner
    LU, B = same_batch(op, LU, B)
    order = expand(op, order, (*B.shape[:-1], 1))
    inner = substitute(op, LU, swapped_rows(op, B, order), upper=False, unitriangular=True)
    return substitute(op, LU, inner, upper=True)


def solve_from(op: Builder, LU: Matrix, order: Tensor, B: Matrix, left: bool, adjoint: bool) -> Matrix:
    """X with A X = B, or with X A = B; A may be conjugated and transposed."""
    if left:
        return solve_factorized(op, LU, order, B, adjoint)
    return solve_factorized(op, LU, order, B.H, not adjoint).H


def singular_at(op: Builder, LU: Matrix) -> Tensor:
    """int32[…]: the first 0 on U's diagonal, counted from 1, or 0."""
    count = minimum(*LU.shape[-2:])
    square = first(op, first(op, LU, count, -2), count, -1)
    zero = op.Equal(diagonal(op, square).squares(), 0)
    places = op.Concat(
        op.Where(zero, positions(op, count) + 1, dtypes.INT32.highest),
        full(op, (*LU.shape[:-2], 1, 1), dtypes.INT32.highest, dtypes.INT64),
        axis=-1,
    )
    least = op.ReduceMin(places, [-2, -1], keepdims=0)
    return cast(op, op.Where(op.Equal(least, dtypes.INT32.highest), 0, least), dtypes.INT32)


def lapack_pivots(op: Builder, pivots: Tensor) -> Tensor:
    """Pivots as LAPACK counts them: int32[…, k] from 1."""
    return cast(op, op.Squeeze(pivots, [-2]) + 1, dtypes.INT32)


# ── factorizations ───────────────────────────────────────────────────────────────────────────────────────────────────


@lower_matrices("aten.linalg_lu_factor_ex", ignore={"check_errors"}, of=["A"])
def lu_factor_ex(op: Builder, A: Matrix, *, pivot: bool = True) -> tuple[Matrix, Tensor, Tensor]:
    """(L and U in one matrix, the row exchanged in each step, the first zero pivot)."""
    _check_pivoted(pivot)
    LU, pivots, _ = factorize(op, A)
    return LU, lapack_pivots(op, pivots), singular_at(op, LU)


@lower_matrices("aten.linalg_lu", of=["A"])
def lu(op: Builder, A: Matrix, *, pivot: bool = True) -> tuple[Matrix, Matrix, Matrix]:
    """P, L, U with A = P L U."""
    _check_pivoted(pivot)
    LU, _, order = factorize(op, A)
    return permutation(op, order, A), *_unpacked(op, LU)


def _check_pivoted(pivot: bool) -> None:
    if not pivot:
        raise Unsupported("LU without pivoting: torch's kernel for the CPU refuses it, too")


def _unpacked(op: Builder, LU: Matrix) -> tuple[Matrix, Matrix]:
    rows, columns = LU.shape[-2:]
    count = minimum(rows, columns)
    lower_part = triangle(op, first(op, LU, count, -1), upper=False, diagonal=-1)
    return lower_part + identity(op, LU, rows, count), triangle(op, first(op, LU, count, -2), upper=True)


@lower_matrices("aten.lu_unpack", of=["LU_data"])
def lu_unpack(
    op: Builder, LU_data: Matrix, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> tuple[Matrix, Matrix, Matrix]:
    """P, L, U of what `lu_factor` returns; what is not asked for is empty."""
    nothing = Matrix((full(op, (0,), 0, dtypes.FLOAT64),))
    P = nothing
    if unpack_pivots:
        P = permutation(op, order_of(op, LU_pivots, LU_data.shape[-2]), LU_data)
    return P, *(_unpacked(op, LU_data) if unpack_data else (nothing, nothing))


# ── solutions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower_matrices("aten.linalg_lu_solve", of=["LU", "B"])
def lu_solve(op: Builder, LU: Matrix, pivots: Tensor, B: Matrix, *, left: bool = True, adjoint: bool = False) -> Matrix:
    """X with A X = B, from the factors of A."""
    return solve_from(op, LU, order_of(op, pivots, LU.shape[-2]), B, left, adjoint)


@lower_matrices("aten._linalg_solve_ex", ignore={"check_errors"}, of=["A", "B"])
def solve_ex(op: Builder, A: Matrix, B: Matrix, *, left: bool = True) -> tuple[Matrix, Matrix, Tensor, Tensor]:
    """(X with A X = B or X A = B, the factors of A, their pivots, the first zero pivot)."""
    A, B = alike(A, B)
    LU, pivots, order = factorize(op, A)
    is_vector = len(B.shape) == 1 or (len(A.shape) - 1 == len(B.shape) and B.shape == A.shape[:-1])
    columns = B.each(lambda part: op.Unsqueeze(part, [-1])) if is_vector else B
    X = solve_from(op, LU, order, columns, left or is_vector, False)
    X = X.each(lambda part: op.Squeeze(part, [-1])) if is_vector else X
    return X, LU, lapack_pivots(op, pivots), singular_at(op, LU)


@lower_matrices("aten.linalg_inv_ex", ignore={"check_errors"}, of=["A"])
def inverse_ex(op: Builder, A: Matrix) -> tuple[Matrix, Tensor]:
    """(the inverse, the first zero pivot)."""
    LU, _, order = factorize(op, A)
    ones = identity(op, A, A.shape[-1], A.shape[-1])
    return solve_factorized(op, LU, order, ones), singular_at(op, LU)


@lower_matrices("aten.inverse", "aten.linalg_inv", rename={"self": "A"}, of=["A"])
def inverse(op: Builder, A: Matrix) -> Matrix:
    """The inverse of each matrix; of one that has none, where torch raises, infinities."""
    return inverse_ex(op, A)[0]


@lower("aten._linalg_check_errors", ignore={"info", "api_name", "is_matrix"})
def check_errors(op: Builder) -> None:
    """Nothing: where torch raises for a matrix that has no inverse, the model goes on with infinities."""


# ── determinants ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _pivots_of_determinant(op: Builder, A: Matrix) -> tuple[Matrix, Tensor]:
    """(the diagonal of U as a row, whether the rows were exchanged an odd number of times)."""
    LU, pivots, _ = factorize(op, A)
    exchanged = op.Not(op.Equal(pivots, column_numbers(op, pivots)))
    count = op.ReduceSum(cast(op, exchanged, dtypes.INT64), [-2, -1], keepdims=0)
    return diagonal(op, LU), op.Equal(op.Mod(count, 2), 1)


def _product_of_row(op: Builder, x: Matrix) -> Matrix:
    """The product along a row; of complex numbers one after another."""
    if not x.is_complex:
        return x.each(lambda part: op.ReduceProd(part, [-2, -1], keepdims=0))

    def step(op: Builder, k: Tensor, so_far: Matrix, x: Matrix) -> tuple[Matrix]:
        return (so_far * column(op, x, k),)

    start = identity(op, x, 1, 1)
    (whole,) = for_each(op, x.shape[-1], [start], step, [x])
    return whole.each(lambda part: op.Squeeze(part, [-2, -1]))


@lower_matrices("aten.det", "aten.linalg_det", rename={"self": "A"}, of=["A"])
def det(op: Builder, A: Matrix) -> Matrix:
    """The determinant of each matrix."""
    pivots, is_odd = _pivots_of_determinant(op, A)
    value = _product_of_row(op, pivots)
    return where(op, is_odd, -value, value)


@lower_matrices("aten._linalg_det", of=["A"])
def det_for_gradients(op: Builder, A: Matrix) -> tuple[Matrix, None, None]:
    """The determinant of each matrix, as a graph of gradients spells it; factors are for one that has no others."""
    return det(op, A), None, None


@lower_matrices("aten._linalg_slogdet", of=["A"])
def slogdet_for_gradients(op: Builder, A: Matrix) -> tuple[Matrix, Tensor, Matrix | None, Tensor | None]:
    """As `slogdet`, likewise; with the factors and pivots of complex matrices, by which torch solves."""
    return *slogdet(op, A), *(lu_factor_ex(op, A)[:2] if A.is_complex else (None, None))


@lower_matrices("aten.slogdet", "aten.linalg_slogdet", rename={"self": "A"}, of=["A"])
def slogdet(op: Builder, A: Matrix) -> tuple[Matrix, Tensor]:
    """The sign of each determinant (of a complex one its direction), and the logarithm of its absolute value."""
    pivots, is_odd = _pivots_of_determinant(op, A)
    size = abs(pivots)
    direction = _product_of_row(op, _directions(op, pivots, size))
    return where(op, is_odd, -direction, direction), op.ReduceSum(op.Log(size), [-2, -1], keepdims=0)


def _directions(op: Builder, x: Matrix, size: Tensor) -> Matrix:
    """x / |x|, and 0 for 0; real NaN counts as 0 too."""
    if not x.is_complex:
        return x.each(lambda part: sign(op, part))
    nothing = op.Equal(size, 0)
    return where(op, nothing, x, x / op.Where(nothing, number(op, 1, size), size))


@lower_matrices("aten.logdet", rename={"self": "A"}, of=["A"])
def logdet(op: Builder, A: Matrix) -> Any:
    """The logarithm of each determinant: NaN where that is negative."""
    direction, logarithm = slogdet(op, A)
    if direction.is_complex:
        real, imaginary = (cast(op, part, A.given) for part in direction.parts)
        return Matrix((logarithm, cast(op, atan2(op, imaginary, real), dtypes.FLOAT64)))
    return op.Where(direction.real < number(op, 0, logarithm), number(op, float("nan"), logarithm), logarithm)
