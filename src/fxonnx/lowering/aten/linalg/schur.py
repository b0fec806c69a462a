"""The Schur form of square matrices by the QR algorithm: A = Q T Qᴴ, T quasi-triangular, of blocks of 1 or 2 rows.

Householder's reflections make a matrix upper Hessenberg; Francis's steps, of two shifts at once, so that real matrices
stay real, make one element below the diagonal after the other vanish. As LAPACK's, the algorithm is backward stable: T
is the form of a matrix that differs from the given one by a few units in float64's last place of its norm.

Source: Golub & Van Loan, Matrix Computations, §7.4 (Hessenberg form) and §7.5 (Francis's step); EISPACK's hqr2 for a
step's first column and for the shifts that end a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.linalg.matrix import (
    Matrix,
    column,
    column_numbers,
    diagonal,
    for_each,
    identity,
    repeat,
    row_numbers,
    triangle,
    where,
    zeros,
)
from fxonnx.lowering.aten.linalg.qr import reflection
from fxonnx.lowering.vocabulary import number

EPS = float(np.finfo(np.float64).eps)
_STEPS = 30  # for each row, at most; two or three are usual
_CYCLES = (10, 20)  # steps in one window, after which other shifts are tried


def schur(op: Builder, A: Matrix, vectors: bool) -> tuple[Matrix, Matrix]:
    """(T quasi-triangular, Q unitary; without rows unless wanted) with A = Q T Qᴴ."""
    size = A.shape[-1]
    H, Q = _hessenberg(op, A, identity(op, A, size if vectors else 0, size))
    none = zeros(op, A.shape[:-2], 1, 1)
    norm = op.ReduceMax(op.ReduceSum(abs(A), [-2]), [-1])

    def step(
        op: Builder, _: Tensor, H: Matrix, Q: Matrix, last: Tensor, steps: Tensor, norm: Tensor
    ) -> tuple[Tensor, Matrix, Matrix, Tensor, Tensor]:
        """Make a step in the lowest window of each matrix; the first result says whether to go on."""
        H, first = _split(op, H, last, norm)
        is_done = last - first < op.constant(2)
        H, Q = _francis(op, H, Q, _Window(first, last, op.Not(is_done)), steps)
        last = op.Where(is_done, first - 1, last)
        going = op.ReduceMax(last, keepdims=0) > op.constant(1)
        return going, H, Q, last, op.Where(is_done, op.constant(0), steps + 1)

    T, Q, *_ = repeat(op, size * _STEPS, [H, Q, none + op.sizes([size - 1]), none], step, [norm])
    return T, Q


def below_diagonal(op: Builder, x: Matrix) -> Matrix:
    """x[k + 1, k] as a row, of which the last element is 0."""
    is_below = op.Equal(row_numbers(op, x), column_numbers(op, x) + 1)
    return where(op, is_below, x, 0).each(lambda part: op.ReduceSum(part, [-2], keepdims=1))


def moved(op: Builder, row: Matrix, by: int) -> Matrix:
    """The elements of rows, each the one `by` places on; at the ends the last there is."""
    place = column_numbers(op, row)
    return column(op, row, op.Min(op.Max(place + by, 0), op.sizes([row.shape[-1] - 1])))


def _hessenberg(op: Builder, A: Matrix, Q: Matrix) -> tuple[Matrix, Matrix]:
    """(Pᴴ A P, Q P), the first of zeros below the elements under the diagonal."""
    size = A.shape[-1]

    def step(op: Builder, k: Tensor, A: Matrix, Q: Matrix) -> tuple[Matrix, Matrix]:
        return _reflected(op, A, Q, column(op, A, k), k + 1)

    count = size - 2 if not isinstance(size, int) else max(size - 2, 0)
    H, Q = for_each(op, count, [A, Q], step)
    return triangle(op, H, upper=True, diagonal=-1), Q


def _reflected(
    op: Builder, A: Matrix, Q: Matrix, x: Matrix, k: Tensor, applies: Tensor | None = None
) -> tuple[Matrix, Matrix]:
    """(Pᴴ A P, Q P) of the reflection P = 1 - τ v vᴴ that makes 0 of the column `x` below row `k`."""
    _, tau, below = reflection(op, x, k)
    tau = tau if applies is None else where(op, applies, tau, 0)
    v = where(op, op.Equal(row_numbers(op, x), k), Matrix((number(op, 1, x.real),)), below)
    A = A - v * (tau.conj * (v.H @ A))
    turned = tau * v.H
    return A - (A @ v) * turned, Q - (Q @ v) * turned


# ── Francis's step ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Window:
    """The first and last row (int64[…, 1, 1]) of the block that each matrix works at, and whether it does."""

    first: Tensor
    last: Tensor
    active: Tensor


def _split(op: Builder, H: Matrix, last: Tensor, norm: Tensor) -> tuple[Matrix, Tensor]:
    """(H with 0 for what is negligible under the diagonal, the first row of the block that ends in row `last`)."""
    on_diagonal = diagonal(op, H)
    beside = abs(on_diagonal) + abs(moved(op, on_diagonal, 1))
    beside = op.Where(op.Equal(beside, number(op, 0, norm)), norm, beside)
    is_nothing = abs(below_diagonal(op, H)) <= beside * number(op, EPS, norm)
    after = column_numbers(op, H) + 1
    H = where(op, op.And(op.Equal(row_numbers(op, H), after), is_nothing), Matrix((number(op, 0, norm),)), H)
    starts = op.Where(op.And(is_nothing, after <= last), after, op.constant(0))
    return H, op.ReduceMax(starts, [-1], keepdims=1)


def _francis(op: Builder, H: Matrix, Q: Matrix, window: _Window, steps: Tensor) -> tuple[Matrix, Matrix]:
    """(Pᴴ H P, Q P) of a step with the eigenvalues of the window's last two rows as shifts: its first reflection puts
    a bulge below the diagonal, which the others chase down."""
    start = _first_column(op, H, window, steps)
    end = op.ReduceMax(window.last, keepdims=0)
    begin = op.ReduceMin(op.Where(window.active, window.first, end), keepdims=0)
    begin = op.Max(op.Min(begin, op.size(H.shape[-1] - 1)), 0)  # the least of no matrices is no row
    reads = [start, window.first, window.last, window.active, begin, end]

    def step(
        op: Builder, k: Tensor, H: Matrix, Q: Matrix, start: Matrix, *read: Tensor
    ) -> tuple[Tensor, Matrix, Matrix]:
        first, last, active, begin, end = read
        k, rows = k + begin, row_numbers(op, H)
        x = where(op, op.Equal(first, k), start, column(op, H, op.Max(k - 1, 0)))
        x = where(op, op.And(rows <= k + 2, rows <= last), x, 0)
        applies = op.And(active, op.And(first <= k, k < last))
        return op.Squeeze(k + 1 < end, [0]), *_reflected(op, H, Q, x, k, applies)

    H, Q = repeat(op, H.shape[-1] - 1, [H, Q], step, reads)
    return triangle(op, H, upper=True, diagonal=-1), Q


def _first_column(op: Builder, H: Matrix, window: _Window, steps: Tensor) -> Matrix:
    """(H - σ₁) (H - σ₂) e₁ of the window, over the element below its first, of the shifts σ that the last two rows have
    as eigenvalues."""
    first, last = window.first, window.last
    on_diagonal, below = diagonal(op, H), below_diagonal(op, H)
    above = below_diagonal(op, H.T)

    def at(row: Matrix, place: Tensor) -> Matrix:
        chosen = where(op, op.Equal(column_numbers(op, row), place), row, 0)
        return chosen.each(lambda part: op.ReduceSum(part, [-1], keepdims=1))

    is_cycle = reduce(op.Or, (op.Equal(steps, op.constant(count)) for count in _CYCLES))
    size = abs(at(below, last - 1)) + abs(at(below, last - 2))
    lower, upper = at(on_diagonal, last), at(on_diagonal, last - 1)
    shift = lower + Matrix((size * number(op, 0.75, size),))
    upper, lower = where(op, is_cycle, shift, upper), where(op, is_cycle, shift, lower)
    crossed = Matrix((size * size * number(op, -0.4375, size),))
    crossed = where(op, is_cycle, crossed, at(below, last - 1) * at(above, last - 1))

    corner = at(on_diagonal, first)
    one, other = lower - corner, upper - corner
    divisor = where(op, window.active, at(below, first), Matrix((number(op, 1, size),)))
    elements = (
        (one * other - crossed) / divisor + at(above, first),
        at(on_diagonal, first + 1) - corner - one - other,
        at(below, first + 1),
    )
    rows = row_numbers(op, H)
    nothing = Matrix((number(op, 0, size),))
    parts = (where(op, op.Equal(rows, first + place), element, nothing) for place, element in enumerate(elements))
    return reduce(Matrix.__add__, parts)
