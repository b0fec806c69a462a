"""Norms of matrices, and what is measured with singular values: condition and rank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Expr
from fxonnx.lowering.aten.linalg.eigh import decompose as eigh
from fxonnx.lowering.aten.linalg.matrix import Matrix, as_matrix, lower_matrices
from fxonnx.lowering.aten.linalg.svd import singular_values, tolerance
from fxonnx.lowering.aten.math.reduction import extremum
from fxonnx.lowering.aten.math.vectors import norm_along
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import axes_of, axis_of, cast, dtype_of, full, transpose


@lower("aten.linalg_norm", opmath=True)
def norm(
    op: Builder, self: Tensor, ord: Any = None, dim: int | Sequence[int] | None = None,
    keepdim: bool = False, *, dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    """The norm of matrices where an order and not one dim are given, else that of vectors."""
    axes = axes_of(dim, len(self.shape))
    if ord is not None and (len(axes) != 1 or isinstance(ord, str)):
        return matrix_norm(op, self, ord, axes, keepdim, dtype=dtype)
    return norm_along(op, self if dtype is None else cast(op, self, dtype), 2 if ord is None else ord, axes, keepdim)


@lower("aten.linalg_matrix_norm", opmath=True)
def matrix_norm(
    op: Builder, self: Tensor, ord: float | str = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False,
    *, dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    """The Frobenius norm, the largest or smallest sum of a column (±1) or a row (±∞) or singular value (±2), or the
    sum of singular values ("nuc")."""
    x, rank = self if dtype is None else cast(op, self, dtype), len(self.shape)
    rows, columns = (axis_of(axis, rank) for axis in dim)
    if ord == "fro":
        return norm_along(op, x, 2, [rows, columns], keepdim)
    if ord == "nuc" or abs(ord) == 2:  # type: ignore[arg-type]
        return _spectral_norm(op, x, ord, rows, columns, keepdim)
    if isinstance(ord, str) or abs(ord) not in (1, math.inf):
        raise Unsupported(f"the matrix norm of order {ord!r}, which torch has not, either")
    summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = op.ReduceL1(x, [summed], keepdims=1)
    result = extremum(op, sums, [kept], True, operator=_extreme_of(ord))
    if ord > 0 and (x.shape[kept] == 0 or isinstance(x.shape[kept], Expr)):
        result = op.Relu(result)  # of no sums ReduceMax is -∞, and the norm 0
    return result if keepdim else op.Squeeze(result, [rows, columns])


def _extreme_of(ord: float | str) -> str:
    """Which of its sums or singular values the norm is."""
    return "ReduceMin" if str(ord).startswith("-") else "ReduceMax"


def _spectral_norm(op: Builder, x: Tensor, ord: float | str, rows: int, columns: int, keepdim: bool) -> Tensor:
    order = [*(axis for axis in range(len(x.shape)) if axis not in (rows, columns)), rows, columns]
    values = singular_values(op, as_matrix(op, transpose(op, x, order), is_complex=False))
    if ord == "nuc":
        result = op.ReduceSum(values, [-2, -1], keepdims=0)
    elif values.shape[-1] == 0:
        result = full(op, values.shape[:-2], 0, dtypes.FLOAT64)
    else:
        result = extremum(op, values, [-2, -1], operator=_extreme_of(ord))
    result = cast(op, result, dtype_of(x))
    return op.Unsqueeze(result, sorted((rows, columns))) if keepdim else result


@lower_matrices("aten.linalg_matrix_rank", rename={"self": "A", "input": "A"}, of=["A"])
def matrix_rank(
    op: Builder, A: Matrix, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None
) -> Tensor:
    """How many singular values, or sizes of eigenvalues of Hermitian matrices, are above max(atol, rtol · S₁)."""
    if 0 in A.shape[-2:]:
        return full(op, A.shape[:-2], 0, dtypes.INT64)
    values = op.Unsqueeze(op.Abs(eigh(op, A, vectors=False)[0]), [-2]) if hermitian else singular_values(op, A)
    if tol is not None:
        atol, rtol = tol, 0.0
    kept = values > tolerance(op, A, op.ReduceMax(values, [-1]), atol, rtol)
    return op.ReduceSum(cast(op, kept, dtypes.INT64), [-2, -1], keepdims=0)
