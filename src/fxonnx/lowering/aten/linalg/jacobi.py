"""Jacobi's rotations: the mechanism of the symmetric eigenvalue problem and of singular values.

In round r, columns i and j with i + j = r (mod n) are a pair: disjoint pairs, which are rotated at once, and in n
rounds, a sweep, every pair has had its turn. A column whose partner it is itself rests. Five to ten sweeps are enough,
since they converge quadratically, and the results are exact to float64's rounding.

Source: Golub & Van Loan, Matrix Computations, §8.5 (rotations, parallel orders) and §8.6.3 (one-sided, Hestenes).
"""

from __future__ import annotations

from dataclasses import replace

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.lowering.aten.linalg.matrix import (
    Matrix,
    column,
    column_numbers,
    diagonal,
    identity,
    repeat,
    row_numbers,
    where,
)
from fxonnx.lowering.vocabulary import number, positions

SWEEPS = 40  # at most, of matrices for which rounding hinders the end
_OFF_DIAGONAL = 1e-17  # of the largest element: what is left beside eigenvalues
_PARALLEL = 1e-15  # the cosine between columns that counts as 0
_NOTHING = 1e-32  # a product of columns that counts as 0, of the largest column's with itself: what rounding leaves


def diagonalize(op: Builder, A: Matrix, vectors: bool) -> tuple[Tensor, Matrix]:
    """(the eigenvalues of Hermitian matrices as a row, in no order, the eigenvectors as columns if wanted)."""
    size = A.shape[-1]
    V = identity(op, A, size if vectors else 0, size)

    def round_of(op: Builder, k: Tensor, A: Matrix, V: Matrix) -> tuple[Tensor, Matrix, Matrix]:
        """Rotate each pair of columns of round k; the first result says whether to go on."""
        partner = _partners(op, k, size)
        turned = column(op, A, partner)
        own, shared = diagonal(op, A).real, diagonal(op, turned)
        rotation = _rotation(op, own, op.Gather(own, partner, axis=-1), shared, partner)
        A = rotated(op, rotated(op, A, partner, *rotation).H, partner, *rotation).H
        is_pair = op.Equal(op.Unsqueeze(partner, [1]), column_numbers(op, A))
        on_diagonal = op.Equal(row_numbers(op, A), column_numbers(op, A))
        A = where(op, op.And(is_pair, op.Not(on_diagonal)), _zero(op, A), A)
        beside = op.ReduceMax(abs(where(op, on_diagonal, _zero(op, A), A)), [-2, -1])
        least = op.ReduceMax(abs(A), [-2, -1]) * number(op, _OFF_DIAGONAL, beside)
        return _any(op, beside > least), A, rotated(op, V, partner, *rotation) if vectors else V

    A, V = repeat(op, size * SWEEPS, [A, V], round_of)
    return diagonal(op, A).real, V


def orthogonalize(op: Builder, A: Matrix, vectors: bool) -> tuple[Matrix, Matrix]:
    """(W with orthogonal columns, V unitary, if wanted) with A V = W."""
    size = A.shape[-1]
    V = identity(op, A, size if vectors else 0, size)

    def round_of(op: Builder, k: Tensor, W: Matrix, V: Matrix, quiet: Tensor) -> tuple[Tensor, Matrix, Matrix, Tensor]:
        """Rotate each pair of columns of round k; the first result says whether to go on."""
        partner = _partners(op, k, size)
        own = op.ReduceSum(W.squares(), [-2], keepdims=1)
        shared = (W.conj * column(op, W, partner)).each(lambda part: op.ReduceSum(part, [-2], keepdims=1))
        other = op.Gather(own, partner, axis=-1)
        least = op.ReduceMax(own, [-1]) * number(op, _NOTHING, own)
        limit = op.Max(op.Sqrt(own) * op.Sqrt(other) * number(op, _PARALLEL, own), least)
        is_pair = op.Not(op.Equal(partner, positions(op, size)))
        rotates = op.And(is_pair, abs(shared) > limit)
        shared = where(op, rotates, shared, 0)
        rotation = _rotation(op, own, other, shared, partner)
        quiet = op.Where(_any(op, rotates), op.constant([0]), quiet + 1)
        W, V = rotated(op, W, partner, *rotation), rotated(op, V, partner, *rotation) if vectors else V
        return op.Squeeze(quiet < op.sizes([size]), [0]), W, V, quiet

    W, V, _ = repeat(op, size * SWEEPS, [A, V, op.constant([0])], round_of)
    return W, V


def _partners(op: Builder, k: Tensor, size: Dim) -> Tensor:
    """int64[n]: the partner of each column in round `k`."""
    count = op.sizes([size])
    return op.Mod(k % count + count - positions(op, size), count)


def rotated(op: Builder, x: Matrix, partner: Tensor, cosine: Tensor, sine: Matrix) -> Matrix:
    """The columns, each joined with its partner: cosine · x + sine · partner."""
    return x * cosine + column(op, x, partner) * sine


def _rotation(op: Builder, own: Tensor, other: Tensor, shared: Matrix, partner: Tensor) -> tuple[Tensor, Matrix]:
    """(cosine, sine) of each column, that make 0 of the product `shared` with its partner; `own` and `other` are the
    products with themselves."""
    zero, one = number(op, 0, own), number(op, 1, own)
    size, numbers = abs(shared), positions(op, partner.shape[0])
    rests = op.Or(op.Equal(size, zero), op.Equal(partner, numbers))
    divisor = op.Where(rests, one, size)
    theta = (other - own) / (divisor * number(op, 2, own))
    is_first = numbers < partner
    is_positive = op.Or(theta > zero, op.And(op.Equal(theta, zero), is_first))
    slope = one / (op.Abs(theta) + op.Sqrt(theta * theta + one))
    tangent = op.Where(rests, zero, op.Where(is_positive, slope, -slope))
    cosine = one / op.Sqrt(tangent * tangent + one)
    return cosine, -(shared.conj * (tangent * cosine / divisor))


def _zero(op: Builder, like: Matrix) -> Matrix:
    return replace(like, parts=(number(op, 0, like.real),))


def _any(op: Builder, condition: Tensor) -> Tensor:
    """Whether it holds anywhere, as a scalar."""
    count = op.ReduceSum(op.Cast(condition, to=dtypes.INT64.code), keepdims=0)
    return count > op.constant(0)
