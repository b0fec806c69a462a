"""Eigenvalues and eigenvectors of matrices that need not be symmetric, from the Schur form.

The eigenvalues come in the order of the blocks, which rounding decides and torch leaves open. An eigenvector is
determined but for a factor of length 1: its largest element is made real, as LAPACK's is; of a real matrix the vectors
of conjugate eigenvalues are conjugate, and those of real ones real.

Source: Golub & Van Loan, Matrix Computations, §7.6.4 (vectors of a triangle); LAPACK's dlanv2 (blocks of 2 rows).
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.linalg.matrix import (
    Matrix,
    column,
    column_numbers,
    diagonal,
    for_each,
    identity,
    lower_matrices,
    row,
    row_numbers,
    triangle,
    where,
)
from fxonnx.lowering.aten.linalg.schur import EPS, below_diagonal, moved, schur
from fxonnx.lowering.vocabulary import number

_LARGE = 1e100  # elements beyond which matrices are scaled, and beyond the inverse of which


@lower_matrices("aten.linalg_eig", rename={"self": "A"}, of=["A"])
def eig(op: Builder, A: Matrix) -> tuple[Matrix, Matrix]:
    """(eigenvalues, eigenvectors as columns, of length 1 and with a real largest element)."""
    if 0 in A.shape:
        return _vector(op, diagonal(op, A)), A
    scale = _scale(op, A)
    T, Q = schur(op, A / scale, vectors=True)
    values, turn = _blocks(op, T)
    vectors = _unit(op, Q @ turn @ _vectors(op, turn.H @ T @ turn, values))
    return _vector(op, values * scale), vectors if A.is_complex else _in_pairs(op, values, vectors)


@lower_matrices("aten.linalg_eigvals", "aten._linalg_eigvals", rename={"self": "A"}, of=["A"])
def eigvals(op: Builder, A: Matrix) -> Matrix:
    """The eigenvalues."""
    if 0 in A.shape:
        return _vector(op, diagonal(op, A))
    scale = _scale(op, A)
    return _vector(op, _blocks(op, schur(op, A / scale, vectors=False)[0])[0] * scale)


def _vector(op: Builder, x: Matrix) -> Matrix:
    """Matrices of one row as vectors."""
    return x.each(lambda part: op.Squeeze(part, [-2]))


def _scale(op: Builder, A: Matrix) -> Tensor:
    """What a matrix is divided by so that no product of its elements leaves the range of float64: 1 but at its ends."""
    size = op.ReduceMax(reduce(op.Max, map(op.Abs, A.parts)), [-2, -1])
    zero, one, large, small = (number(op, value, size) for value in (0, 1, _LARGE, 1 / _LARGE))
    return op.Where(op.Or(size > large, op.And(size > zero, size < small)), size, one)


# ── blocks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _blocks(op: Builder, T: Matrix) -> tuple[Matrix, Matrix]:
    """(the eigenvalues as a row, the unitary G of which Gᴴ T G is triangular) of a quasi-triangle: a block with rows
    (a, b) and (c, d) has the eigenvector (λ - d, c)."""
    zero, one = number(op, 0, T.real), Matrix((number(op, 1, T.real),))
    on_diagonal, below, above = diagonal(op, T), below_diagonal(op, T), below_diagonal(op, T.T)
    is_first = abs(below) > zero
    corner = moved(op, on_diagonal, 1)
    nearer, farther = _distances(op, on_diagonal - corner, where(op, is_first, below * above, 0))
    is_second = op.And(abs(moved(op, below, -1)) > zero, column_numbers(op, T) > op.constant(0))

    def of_blocks(first: Matrix, second: Matrix, otherwise: Matrix) -> Matrix:
        return where(op, is_first, first, where(op, is_second, moved(op, second, -1), otherwise))

    values = of_blocks(corner + farther, corner + nearer, on_diagonal.whole())
    length = where(op, is_first, Matrix((op.Sqrt(farther.squares() + below.squares()),)), one).real
    along, across = farther / length, below.whole() / length
    rows, columns = row_numbers(op, T), column_numbers(op, T)
    nothing = Matrix((zero,)).whole()
    turn = where(op, op.Equal(rows, columns), of_blocks(along, along.conj, one), nothing)
    turn = where(op, op.And(op.Equal(rows, columns + 1), is_first), across, turn)
    return values, where(op, op.And(op.Equal(rows, columns - 1), is_second), -moved(op, across.conj, -1), turn)


def _distances(op: Builder, apart: Matrix, crossed: Matrix) -> tuple[Matrix, Matrix]:
    """(the smaller, the larger z) with z² - (a - d) z - b c = 0: the eigenvalues of a block, less d. Of a real block
    two conjugate ones, or two real ones."""
    zero, half = number(op, 0, apart.real), number(op, 0.5, apart.real)
    middle = apart * half
    root = _square_root(op, middle * middle + crossed)
    same = middle.whole().conj * root
    larger = middle.whole() + where(op, same.real < zero, -root, root)
    is_nothing = op.Equal(abs(larger), zero)
    smaller = -(crossed.whole() / where(op, is_nothing, Matrix((number(op, 1, zero),)).whole(), larger))
    if not apart.is_complex:
        is_pair = root.parts[1] > zero
        larger = where(op, is_pair, middle.whole() + root, larger)
        smaller = where(op, is_pair, larger.conj, Matrix((smaller.real,)))
    return smaller, larger


def _square_root(op: Builder, x: Matrix) -> Matrix:
    """The root in the right half-plane, of negative real numbers on the positive imaginary axis."""
    real, imaginary = x.whole().parts
    zero, half, one = (number(op, value, real) for value in (0, 0.5, 1))
    larger = op.Sqrt((op.Abs(real) + abs(x)) * half)
    smaller = op.Abs(imaginary) * half / op.Where(op.Equal(larger, zero), one, larger)
    is_right, is_upper = real >= zero, imaginary >= zero
    height = op.Where(is_right, smaller, larger)
    return replace(x, parts=(op.Where(is_right, larger, smaller), op.Where(is_upper, height, -height)))


# ── vectors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _vectors(op: Builder, T: Matrix, values: Matrix) -> Matrix:
    """The eigenvectors of a triangle with these eigenvalues on its diagonal, of any length: back substitution for all
    of them at once. Where an eigenvalue is there twice, the difference counts as a rounding error (LAPACK's trevc)."""
    size = T.shape[-1]
    beside = triangle(op, T, upper=True, diagonal=1)
    least = op.ReduceMax(op.ReduceSum(abs(T), [-2]), [-1]) * number(op, EPS, T.real)
    least = op.Where(op.Equal(least, number(op, 0, least)), number(op, EPS, least), least)

    def step(op: Builder, k: Tensor, X: Matrix, beside: Matrix, values: Matrix, least: Tensor) -> tuple[Matrix]:
        k = op.sizes([size - 1]) - k
        apart = values - column(op, values, k)
        apart = where(op, abs(apart) < least, Matrix((least,)), apart)
        found = (row(op, beside, k) @ X) / apart
        is_open = op.And(op.Equal(row_numbers(op, X), k), column_numbers(op, X) > k)
        X = where(op, is_open, found, X)
        length = op.ReduceMax(abs(X), [-2])
        one = number(op, 1, length)
        return (X / op.Where(length > number(op, _LARGE, length), length, one),)

    return for_each(op, size, [identity(op, T, size, size)], step, [beside, values, least])[0]


def _unit(op: Builder, X: Matrix) -> Matrix:
    """The columns with length 1, the largest element of each real and positive."""
    X = X / op.Sqrt(op.ReduceSum(X.squares(), [-2], keepdims=1))
    place = op.ArgMax(X.squares(), axis=-2, keepdims=1)
    largest = X.each(lambda part: op.GatherElements(part, place, axis=-2))
    X = X * (largest.conj / abs(largest))
    is_largest = op.Equal(row_numbers(op, X), place)
    return replace(X, parts=(X.real, op.Where(is_largest, number(op, 0, X.real), X.parts[1])))


def _in_pairs(op: Builder, values: Matrix, vectors: Matrix) -> Matrix:
    """The vectors of a real matrix: real ones of real eigenvalues, and conjugate ones of conjugate eigenvalues."""
    zero = number(op, 0, values.real)
    imaginary = op.Where(op.Equal(values.parts[1], zero), zero, vectors.parts[1])
    vectors = replace(vectors, parts=(vectors.real, imaginary))
    return where(op, values.parts[1] < zero, moved(op, vectors, -1).conj, vectors)
