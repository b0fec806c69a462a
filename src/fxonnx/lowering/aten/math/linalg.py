"""Linear algebra: norms, distances, determinants, and what can be said with products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr
from fxonnx.ir.infer import broadcast
from fxonnx.lowering.aten.math.reduction import extremum
from fxonnx.lowering.promote import FLOAT, SAME
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import axes_of, axis_of, cast, dtype_of, expand, full, number

_LARGEST_ADJUGATE = 3  # rows; longer formulas are neither short nor accurate
_NEXT, _PREVIOUS = [1, 2, 0], [2, 0, 1]  # of three places, in a circle

# ── norms ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def norm_along(op: Builder, x: Tensor, p: float, axes: list[int], keepdim: bool) -> Tensor:
    """The p-norm of vectors along `axes` (torch.linalg.vector_norm); of a scalar its absolute value."""
    if not axes or not x.shape:
        return _count_nonzero(op, x, [], False) if p == 0 else op.Abs(x)
    match p:
        case 0:
            return _count_nonzero(op, x, axes, keepdim)
        case 1:
            return op.ReduceL1(x, axes, keepdims=keepdim)
        case 2:
            return op.ReduceL2(x, axes, keepdims=keepdim)
        case math.inf:
            return extremum(op, op.Abs(x), axes, keepdim, operator="ReduceMax")
        case _ if p == -math.inf:
            return extremum(op, op.Abs(x), axes, keepdim, operator="ReduceMin")
    return _power_norm(op, x, p, axes, keepdim)


def _power_norm(op: Builder, x: Tensor, p: float, axes: list[int], keepdim: bool) -> Tensor:
    powers = op.ReduceSum(op.Abs(x) ** number(op, p, x), axes, keepdims=keepdim)
    return powers ** number(op, 1.0 / p, x)


def _count_nonzero(op: Builder, x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    ones = cast(op, op.Not(op.Equal(x, number(op, 0, x))), dtype_of(x))
    return op.ReduceSum(ones, axes, keepdims=keepdim) if axes else ones


@lower("aten.linalg_vector_norm", given={"of_matrices": False}, opmath=True)
@lower("aten.norm", rename={"p": "ord"}, given={"of_matrices": False}, opmath=True)
@lower("aten.frobenius_norm", given={"ord": 2, "of_matrices": False}, opmath=True)
@lower("aten.linalg_norm", opmath=True)
def norm(
    op: Builder, self: Tensor, ord: Any = None, dim: int | Sequence[int] | None = None,
    keepdim: bool = False, *, dtype: DType | None = None, of_matrices: bool = True,
) -> Tensor:  # fmt: skip
    """(Σ |x|ᵖ)^(1/p) along `dim`, computed in `dtype`; no order is the 2-norm of all elements.

    torch.linalg.norm of several dims with an order is the norm of matrices.
    """
    axes = axes_of(dim, len(self.shape))
    if of_matrices and ord is not None and (len(axes) != 1 or isinstance(ord, str)):
        return matrix_norm(op, self, ord, axes, keepdim, dtype=dtype)
    return norm_along(op, self if dtype is None else cast(op, self, dtype), 2 if ord is None else ord, axes, keepdim)


@lower("aten.linalg_matrix_norm", opmath=True)
def matrix_norm(
    op: Builder,
    self: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """The Frobenius norm, or the largest or smallest sum of a column (±1) or a row (±∞)."""
    x, rank = self if dtype is None else cast(op, self, dtype), len(self.shape)
    rows, columns = (axis_of(axis, rank) for axis in dim)
    if ord == "fro":
        return norm_along(op, x, 2, [rows, columns], keepdim)
    if isinstance(ord, str) or abs(ord) not in (1, math.inf):
        raise Unsupported(f"the matrix norm of order {ord!r}, which needs singular values; ONNX has none")
    summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = op.ReduceL1(x, [summed], keepdims=1)
    result = (op.ReduceMax if ord > 0 else op.ReduceMin)(sums, [kept], keepdims=1)
    if ord > 0 and (x.shape[kept] == 0 or isinstance(x.shape[kept], Expr)):
        result = op.Relu(result)  # of no sums ReduceMax is -∞, and the norm 0
    return result if keepdim else op.Squeeze(result, [rows, columns])


# ── distances ────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.dist", promote=FLOAT, opmath=True)
def dist(op: Builder, self: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of a difference."""
    difference = self - other
    return norm_along(op, difference, p, list(range(len(difference.shape))), keepdim=False)


@lower("aten.pairwise_distance", promote=SAME.of("x1", "x2"), opmath=True)
def pairwise_distance(
    op: Builder, x1: Tensor, x2: Tensor, p: float = 2, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + ε along the last axis; integers are subtracted as such, and may wrap around."""
    difference = x1 - x2
    difference = cast(op, difference, dtypes.to_float(dtype_of(difference)))
    return norm_along(op, difference + number(op, eps, difference), p, [len(difference.shape) - 1], keepdim)


@lower("aten.cosine_similarity", promote=FLOAT.of("x1", "x2"), opmath=True)
def cosine_similarity(op: Builder, x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Σ (x1 / max(|x1|, ε)) (x2 / max(|x2|, ε)) along `dim`."""
    shape = broadcast(x1.shape, x2.shape)
    if not shape:
        first, second = (x / op.Max(op.Abs(x), number(op, eps, x)) for x in (x1, x2))
        return first * second
    axis = axis_of(dim, len(shape)) - len(shape)
    whole = (x if _size_along(x, axis) == shape[axis] else expand(op, x, shape) for x in (x1, x2))
    first, second = (x / op.Max(op.ReduceL2(x, [axis]), number(op, eps, x)) for x in whole)
    return op.ReduceSum(first * second, [axis], keepdims=0)


def _size_along(x: Tensor, axis: int) -> Dim:
    """The size of an axis counted from the back; 1 where the tensor has not so many."""
    return x.shape[axis] if -axis <= len(x.shape) else 1


@lower("aten.pdist", "aten._pdist_forward", opmath=True)
def pdist(op: Builder, self: Tensor, p: float = 2) -> Tensor:
    """The p-norm distance of every pair of rows."""
    count = self.shape[0]
    if isinstance(count, Expr):
        raise Unsupported(f"pdist of {count} rows: their number must be known when compiling")
    first, second = (indices.astype(np.int64) for indices in np.triu_indices(count, 1))
    return norm_along(op, op.Gather(self, first, axis=0) - op.Gather(self, second, axis=0), p, [1], keepdim=False)


# ── of matrices ──────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.det", "aten.linalg_det", rename={"A": "self"})
def det(op: Builder, self: Tensor) -> Tensor:
    """The determinant of each matrix."""
    return op.Det(self)


@lower("aten.logdet", opmath=True)
def logdet(op: Builder, self: Tensor) -> Tensor:
    """The logarithm of each determinant: NaN where that is negative."""
    return op.Log(op.Det(self))


@lower("aten.slogdet", "aten.linalg_slogdet", rename={"A": "self"}, opmath=True)
def slogdet(op: Builder, self: Tensor) -> tuple[Tensor, Tensor]:
    """The sign of each determinant, and the logarithm of its absolute value."""
    value = op.Det(self)
    return op.Sign(value), op.Log(op.Abs(value))


@lower("aten.trace")
def trace(op: Builder, self: Tensor) -> Tensor:
    """The sum of the diagonal."""
    diagonal = op.Cast(op.EyeLike(self, dtype=dtypes.INT32.code), to=dtypes.BOOL.code)
    wide = self if dtype_of(self).is_float else cast(op, self, dtypes.INT64)
    return op.ReduceSum(op.Where(diagonal, wide, number(op, 0, wide)), keepdims=0)


@lower("aten.linalg_cross", opmath=True)
def linalg_cross(op: Builder, self: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three along `dim`."""
    if dtype_of(self) is not dtype_of(other):
        raise Unsupported(f"a cross product of {dtype_of(self)} and {dtype_of(other)}: torch's kernel refuses it, too")
    rank = max(len(self.shape), len(other.shape))
    axis = axis_of(dim, rank) - rank

    def turned(x: Tensor, order: list[int]) -> Tensor:
        return op.Gather(x, order, axis=axis)

    return turned(self, _NEXT) * turned(other, _PREVIOUS) - turned(self, _PREVIOUS) * turned(other, _NEXT)


@lower("aten.cross", opmath=True)
def cross(op: Builder, self: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product along `dim`, by default the first axis of size 3."""
    axis = self.shape.index(3) if dim is None else dim
    return linalg_cross(op, self, other, dim=axis)


@lower("aten.matrix_power", "aten.linalg_matrix_power")
def matrix_power(op: Builder, self: Tensor, n: int) -> Tensor:
    """The product of `n` times the same matrix, by repeated squaring."""
    if n < 0:
        return matrix_power(op, inverse(op, self), -n)
    if n == 0:
        return expand(op, op.EyeLike(full(op, self.shape[-2:], 0, dtype_of(self))), self.shape)
    if n == 1:
        return self
    half = matrix_power(op, self, n // 2)
    square = half @ half
    return square @ self if n % 2 else square


@lower("aten.inverse", "aten.linalg_inv", rename={"A": "self"}, opmath=True)
def inverse(op: Builder, self: Tensor) -> Tensor:
    """The inverse of each matrix of up to 3 rows: its adjugate over its determinant."""
    size = self.shape[-1]
    if size == 0:
        return self
    if isinstance(size, Expr) or size > _LARGEST_ADJUGATE:
        raise Unsupported(f"the inverse of a matrix of {size} rows: ONNX has none, fxonnx a formula for up to 3 rows")
    return _adjugate(op, self, size) / op.Unsqueeze(op.Det(self), [-1, -2])


@lower("aten.linalg_inv_ex", rename={"A": "self"}, ignore={"check_errors"}, opmath=True)
def inverse_unchecked(op: Builder, self: Tensor) -> tuple[Tensor, Tensor]:
    """(the inverse, zeros: no matrix is said to be singular)."""
    return inverse(op, self), full(op, self.shape[:-2], 0, dtypes.INT32)


@lower("aten._linalg_check_errors", ignore={"info", "api_name", "is_matrix"})
def check_errors(op: Builder) -> None:
    """Nothing: where torch raises for a matrix that has no inverse, the model goes on with infinities."""


def _adjugate(op: Builder, x: Tensor, size: int) -> Tensor:
    """The transposed matrix of cofactors."""
    if size == 1:
        return x / x
    transposed = op.Transpose(x, perm=[*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2])
    if size == 2:
        swapped = op.Gather(op.Gather(transposed, [1, 0], axis=-1), [1, 0], axis=-2)
        return swapped * [[1, -1], [-1, 1]]

    def turned(rows: list[int], columns: list[int]) -> Tensor:
        return op.Gather(op.Gather(transposed, rows, axis=-2), columns, axis=-1)

    return turned(_NEXT, _NEXT) * turned(_PREVIOUS, _PREVIOUS) - turned(_NEXT, _PREVIOUS) * turned(_PREVIOUS, _NEXT)
