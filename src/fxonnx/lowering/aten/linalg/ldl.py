"""The LDL factorization of symmetric and Hermitian matrices that need not be positive definite."""

from __future__ import annotations

import math

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.linalg.matrix import (
    Matrix,
    column,
    column_numbers,
    for_each,
    lower_matrices,
    row,
    row_numbers,
    same_batch,
    swapped_columns,
    swapped_rows,
    triangle,
    where,
    zeros,
)
from fxonnx.lowering.vocabulary import cast, expand, number, swapped

_GROWTH = (1 + math.sqrt(17)) / 8  # Bunch & Kaufman's bound, of a pivot to what is beside it


def _mirrored(op: Builder, A: Matrix, hermitian: bool) -> Matrix:
    """The matrix of which the lower triangle is read."""
    below = triangle(op, A, upper=False, diagonal=-1)
    on_diagonal = triangle(op, triangle(op, A, upper=False), upper=True)
    if hermitian:
        return below + below.H + Matrix((on_diagonal.real,))
    return below + below.T + on_diagonal


def _exchanged(op: Builder, places: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """The places with two of them exchanged."""
    return op.Where(op.Equal(places, one), other, op.Where(op.Equal(places, other), one, places))


def _size(op: Builder, x: Matrix) -> Tensor:
    """|re| + |im|, as LAPACK compares."""
    size = op.Abs(x.parts[0])
    return size + op.Abs(x.parts[1]) if x.is_complex else size


def _at(op: Builder, x: Matrix, place: Tensor) -> Matrix:
    """The row at a place of each matrix's own."""
    index = expand(op, place, (*x.shape[:-2], 1, x.shape[-1]))
    return x.each(lambda part: op.GatherElements(part, index, axis=-2))


def _choice(op: Builder, A: Matrix, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(the row to exchange, whether the pivot is a block of two, whether all of column `k` is 0): Bunch and Kaufman's
    choice, LAPACK's sytf2."""
    rows = row_numbers(op, A)
    sizes = _size(op, column(op, A, k))
    none, own = number(op, -1, sizes), op.Gather(sizes, k, axis=-2)
    below = op.Where(rows > k, sizes, none)
    largest = op.ArgMax(below, axis=-2, keepdims=1)
    beside = op.Max(op.ReduceMax(below, [-2]), number(op, 0, sizes))
    other = _size(op, swapped_columns(op, A, largest)) if A.shape[-1] == 1 else _size(op, _at(op, A.T, largest).T)
    its_own = op.ReduceMax(op.Where(op.Equal(rows, largest), other, none), [-2])
    its_beside = op.ReduceMax(op.Where(op.And(rows >= k, op.Not(op.Equal(rows, largest))), other, none), [-2])
    growth = number(op, _GROWTH, sizes)
    stays = op.Or(own >= growth * beside, own * its_beside >= growth * beside * beside)
    single = its_own >= growth * its_beside
    return op.Where(stays, k, largest), op.Not(op.Or(stays, single)), op.Equal(op.Max(own, beside), number(op, 0, own))


def _pair(op: Builder, x: Matrix, y: Matrix, D: tuple[Matrix, Matrix, Matrix, Matrix]) -> tuple[Matrix, Matrix]:
    """(x, y) D⁻¹ of a block D = (a, b′; b, c)."""
    a, upper, lower, c = D
    determinant = a * c - lower * upper
    return (x * c - y * lower) / determinant, (y * a - x * upper) / determinant


def factorize(op: Builder, A: Matrix) -> tuple[Matrix, Tensor, Tensor]:
    """(L and D below and on the diagonal, LAPACK's pivots as a row of int64, the first that is 0, counted from 1)."""
    size, batch = A.shape[-1], A.shape[:-2]

    def step(
        op: Builder, k: Tensor, A: Matrix, pivots: Tensor, second: Tensor, failed: Tensor
    ) -> tuple[Matrix, Tensor, Tensor, Tensor]:
        rows, columns = row_numbers(op, A), column_numbers(op, A)
        is_second = op.Equal(second, 1)
        chosen, two, empty = _choice(op, A, k)
        two = op.And(two, op.Not(is_second))
        pivot = op.Where(is_second, k, op.Where(two, k + 1, k))
        order = _exchanged(op, rows, pivot, op.Where(is_second, k, chosen))
        order = expand(op, order, (*batch, size, 1))
        moved = swapped_columns(op, swapped_rows(op, A, order), swapped(op, order))
        A = where(op, op.And(rows >= k, columns >= k), moved, A)
        A = where(op, op.Or(is_second, empty), A, _eliminated(op, A, k, two))
        mark = op.Where(two, -(chosen + 1), chosen + 1)
        here = op.Or(op.Equal(columns, k), op.And(two, op.Equal(columns, k + 1)))
        pivots = op.Where(op.And(here, op.Not(is_second)), mark, pivots)
        failed = op.Where(op.And(op.Equal(failed, 0), op.And(empty, op.Not(is_second))), k + 1, failed)
        return A, pivots, cast(op, two, dtypes.INT64), failed

    start = [A, zeros(op, batch, 1, size), zeros(op, batch, 1, 1), zeros(op, batch, 1, 1)]
    factors, pivots, _, failed = for_each(op, size, start, step)
    return triangle(op, factors, upper=False), pivots, failed


def _eliminated(op: Builder, A: Matrix, k: Tensor, two: Tensor) -> Matrix:
    """A without what the pivot at `k`, or the block of two there, explains, and L's columns in its place."""
    rows, columns = row_numbers(op, A), column_numbers(op, A)
    following = op.Min(k + 1, op.sizes([A.shape[-1] - 1]))
    own, other = column(op, A, k), column(op, A, following)
    D = (row(op, own, k), row(op, other, k), row(op, own, following), row(op, other, following))
    first, second = _pair(op, own, other, D)
    first = where(op, two, first, own / D[0])
    second = where(op, two, second, 0)
    last = op.Where(two, following, k)
    first, second = where(op, rows > last, first, 0), where(op, rows > last, second, 0)
    rest = A - first * row(op, A, k) - second * row(op, A, following)
    stored = where(op, op.Equal(columns, k), first, where(op, columns > last, rest, second))
    return where(op, op.And(rows > last, columns >= k), stored, A)


@lower_matrices("aten.linalg_ldl_factor_ex", rename={"self": "A"}, ignore={"check_errors"}, of=["A"])
def ldl_factor_ex(op: Builder, A: Matrix, *, hermitian: bool = False) -> tuple[Matrix, Tensor, Tensor]:
    """(L and D in one matrix, LAPACK's pivots, the first that is 0)."""
    LD, pivots, failed = factorize(op, _mirrored(op, A, hermitian))
    return LD, cast(op, op.Squeeze(pivots, [-2]), dtypes.INT32), cast(op, op.Squeeze(failed, [-2, -1]), dtypes.INT32)


@lower_matrices("aten.linalg_ldl_solve", of=["LD", "B"])
def ldl_solve(op: Builder, LD: Matrix, pivots: Tensor, B: Matrix, *, hermitian: bool = False) -> Matrix:
    """X with A X = B, from the factors of A (LAPACK's sytrs)."""
    size = LD.shape[-1]
    LD, B = same_batch(op, LD, B)
    marks = expand(op, op.Unsqueeze(cast(op, pivots, dtypes.INT64), [-2]), (*LD.shape[:-2], 1, size))

    def forward(op: Builder, k: Tensor, X: Matrix, second: Tensor, LD: Matrix, marks: Tensor) -> tuple[Matrix, Tensor]:
        mark, is_second = op.Gather(marks, k, axis=-1), op.Equal(second, 1)
        two = op.And(mark < 0, op.Not(is_second))
        X = _moved(op, X, k, mark, two, is_second)
        factor = where(op, row_numbers(op, LD) > op.Where(two, k + 1, k), column(op, LD, k), 0)
        X = X - factor * row(op, X, k)
        return _divided(op, X, LD, k, op.Not(op.Or(two, is_second)), is_second, hermitian), cast(op, two, dtypes.INT64)

    def backward(op: Builder, k: Tensor, X: Matrix, second: Tensor, LD: Matrix, marks: Tensor) -> tuple[Matrix, Tensor]:
        k = op.sizes([size - 1]) - k
        mark, comes_second = op.Gather(marks, k, axis=-1), op.Equal(second, 1)
        is_second, two = op.And(mark < 0, op.Not(comes_second)), op.And(mark < 0, comes_second)
        factor = where(op, row_numbers(op, LD) > op.Where(two, k + 1, k), column(op, LD, k), 0)
        explained = (factor.H if hermitian else factor.T) @ X
        X = where(op, op.Equal(row_numbers(op, LD), k), X - explained, X)
        return _moved(op, X, k, mark, two, is_second), cast(op, is_second, dtypes.INT64)

    none = zeros(op, LD.shape[:-2], 1, 1)
    X, _ = for_each(op, size, [B, none], forward, [LD, marks])
    return for_each(op, size, [X, none], backward, [LD, marks])[0]


def _moved(op: Builder, X: Matrix, k: Tensor, mark: Tensor, two: Tensor, is_second: Tensor) -> Matrix:
    """The rows that the pivot at `k` exchanged; nothing at the second of a block."""
    pivot, chosen = op.Where(two, k + 1, k), op.Abs(mark) - 1
    return swapped_rows(op, X, _exchanged(op, row_numbers(op, X), pivot, op.Where(is_second, k, chosen)))


def _divided(
    op: Builder, X: Matrix, LD: Matrix, k: Tensor, single: Tensor, is_second: Tensor, hermitian: bool
) -> Matrix:
    """Row `k` over its pivot, or rows k - 1 and k over the block of two that ends there."""
    rows, before = row_numbers(op, X), op.Max(k - 1, op.constant([0]))
    own, other = column(op, LD, before), column(op, LD, k)
    lower, c = row(op, own, k), row(op, other, k)
    D = (row(op, own, before), lower, lower.conj if hermitian else lower, c)
    first, second = _pair(op, row(op, X, before), row(op, X, k), D)
    solved = where(op, is_second, second, where(op, single, row(op, X, k) / c, row(op, X, k)))
    X = where(op, op.Equal(rows, k), solved, X)
    return where(op, op.And(is_second, op.Equal(rows, before)), first, X)
