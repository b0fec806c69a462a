"""Variances and products of complex tensors, on pairs (see `pairs`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fxonnx import dtypes
from fxonnx.dtypes import DType, result_type
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import product as count
from fxonnx.lowering.aten.complex.exponentials import exp, log1p
from fxonnx.lowering.aten.complex.pairs import (
    Axes,
    abs_,
    conjugate,
    div,
    matmul,
    matrix_transpose,
    pair,
    part,
    product,
    to,
)
from fxonnx.lowering.aten.math.cumulative import cumulated, scanned
from fxonnx.lowering.aten.math.reduction import moments as real_moments
from fxonnx.lowering.aten.math.reduction import observations, sum_
from fxonnx.lowering.aten.math.vectors import power_sum as real_power_sum
from fxonnx.lowering.complex_shape import whole
from fxonnx.lowering.promote import SAME
from fxonnx.lowering.registry import COMPLEX, lower
from fxonnx.lowering.vocabulary import axis_of, cast, positions, reshape


@lower("aten.var", given={"root": False, "with_mean": False}, when=COMPLEX)
@lower("aten.std", given={"root": True, "with_mean": False}, when=COMPLEX)
@lower("aten.var_mean", given={"root": False, "with_mean": True}, when=COMPLEX)
@lower("aten.std_mean", given={"root": True, "with_mean": True}, when=COMPLEX)
def moments(
    op: Builder, self: Tensor, dim: Axes = None, unbiased: bool = True, keepdim: bool = False,
    correction: float | None = None, *, root: bool, with_mean: bool,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """Σ|x - mean|² / max(n - correction, 0), the variances of both parts added up, or its root; and the mean."""
    parts = [cast(op, part(op, self, index), dtypes.FLOAT64) for index in (0, 1)]
    found = [
        real_moments(op, each, dim, unbiased, keepdim, correction, root=False, with_mean=True) for each in parts
    ]
    (real, center), (imaginary, other) = found
    spread = cast(op, op.Sqrt(real + imaginary) if root else real + imaginary, self.dtype)
    if not with_mean:
        return spread
    return spread, cast(op, pair(op, op.Unsqueeze(center, [-1]), op.Unsqueeze(other, [-1])), self.dtype)


@lower("aten.linalg__powsum", when=COMPLEX)
def power_sum(
    op: Builder, self: Tensor, ord: Any = 2, dim: Axes = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Σ |x|ᵖ along `dim`."""
    wanted = None if dtype is None else dtypes.to_real(dtype)
    return real_power_sum(op, abs_(op, self), ord, dim, keepdim, dtype=wanted)


@lower("aten.cov", when=COMPLEX)
def cov(
    op: Builder, self: Tensor, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of variables, one a row: (x - x̄)·W·(x - x̄)ᴴ over the degrees of freedom, by real weights."""
    x = reshape(op, self, (1, count(self.shape[:-1]), 2)) if len(self.shape) < 3 else self
    x = x if aweights is None else cast(op, x, result_type(x.dtype, aweights.dtype))
    weight, total, degrees = observations(op, x.shape[1], x.dtype, correction, fweights, aweights)
    weight = op.Unsqueeze(weight, [1])
    centered = x - op.ReduceSum(x * weight, [1], keepdims=1) / total
    result = matmul(op, centered, conjugate(op, matrix_transpose(op, centered * weight))) / degrees
    return result if len(self.shape) > 2 and self.shape[0] != 1 else op.Reshape(result, [2])


@lower("aten.corrcoef", when=COMPLEX)
def corrcoef(op: Builder, self: Tensor) -> Tensor:
    """Covariances over both deviations, each part within ±1."""
    result = cov(op, self)
    if len(result.shape) == 1:
        return div(op, result, result)
    variance = op.GatherElements(part(op, result, 0), op.Unsqueeze(positions(op, self.shape[0]), [1]), axis=1)
    deviation = op.Sqrt(op.Unsqueeze(variance, [-1]))
    return op.Clip(result / deviation / op.Transpose(deviation, perm=[1, 0, 2]), -1.0, 1.0)


@lower("aten.cumprod", promote=SAME.of("self"), when=COMPLEX)
def cumprod(op: Builder, self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """Running products along `dim`; of the real parts in a real dtype."""
    x = to(op, whole(op, self), dtype)
    if _is_real(dtype):
        return cumulated(op, x, dim, dtype, operator="CumProd")
    if len(x.shape) == 1:
        return x
    one = op.constant([1, 0], x.dtype)
    return scanned(op, x, axis_of(dim, len(x.shape) - 1), one, product)


@lower("aten.prod", promote=SAME.of("self"), when=COMPLEX)
def prod(
    op: Builder, self: Tensor, dim: int | None = None, keepdim: bool = False, dtype: DType | None = None
) -> Tensor:
    """Πx of all elements, or along `dim`; 1 of none. In a real dtype of the real parts."""
    x = to(op, whole(op, self), dtype)
    if _is_real(dtype):
        return sum_(op, x, dim, keepdim, dtype, operator="ReduceProd")
    if len(x.shape) == 1:
        return x
    if dim is None:
        x = reshape(op, x, (count(x.shape[:-1]), 2))
    axis = 0 if dim is None else axis_of(dim, len(x.shape) - 1)
    before = op.Expand(op.constant([1, 0], x.dtype), _with_one(x.shape, axis))
    running = scanned(op, op.Concat(before, x, axis=axis), axis, op.constant([1, 0], x.dtype), product)
    last = op.Gather(running, -1, axis=axis)
    return op.Unsqueeze(last, [axis]) if keepdim and dim is not None else last


@lower("aten.logcumsumexp", when=COMPLEX)
def logcumsumexp(op: Builder, self: Tensor, dim: int) -> Tensor:
    """log of the running sums of exp(x) along `dim`."""
    if len(self.shape) == 1:
        return self
    nothing = op.constant([-math.inf, 0.0], self.dtype)
    return scanned(op, self, axis_of(dim, len(self.shape) - 1), nothing, _log_add_exp)


def _log_add_exp(op: Builder, left: Tensor, right: Tensor) -> Tensor:
    """log(exp(x) + exp(y)) = x + log1p(exp(y - x)), x being the one with the larger real part; of logs of 0, one."""
    is_larger = part(op, left, 0) >= part(op, right, 0)
    is_left = op.Unsqueeze(is_larger, [-1])
    most, least = op.Where(is_left, left, right), op.Where(is_left, right, left)
    is_nothing = op.Unsqueeze(op.Equal(part(op, most, 0), -math.inf), [-1])
    return op.Where(is_nothing, most, most + log1p(op, exp(op, least - most)))


def _is_real(dtype: DType | None) -> bool:
    return dtype is not None and not dtype.is_complex


def _with_one(shape: Sequence[Any], axis: int) -> list[Any]:
    return [1 if place == axis else dim for place, dim in enumerate(shape)]
