"""Reductions: sums, extrema and moments over axes. Norms are linear algebra's.

Rules that hold for all: no axes named means all of them, a scalar reduces to itself, integers and bools are summed in
int64.
ONNX leaves open what an extremum of NaN is (ONNX Runtime skips it); torch propagates NaN, so it is put back here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr, product
from fxonnx.lowering.aten.tensor.shape import without
from fxonnx.lowering.promote import FLOAT
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import (
    axes_of,
    axis_of,
    cast,
    dtype_of,
    full,
    may_be_zero,
    number,
    positions,
    reshape,
)

Axes = int | Sequence[int] | None


def reduced(op: Any, operator: str, x: Any, dim: Axes = None, keepdim: bool = False) -> Any:
    """An operator like ReduceSum over the axes in `dim`, all when none is named."""
    rank = len(x.shape)
    axes = axes_of(dim, rank) if rank else []
    every = len(axes) == rank and not keepdim
    arguments = () if every else (axes,)
    return getattr(op, operator)(x, *arguments, keepdims=int(keepdim))


def summable(op: Any, x: Any, dtype: DType | None) -> Any:
    """`x` in the dtype it is summed in: the one asked for, int64 for integers and bools."""
    own = dtype_of(x)
    return cast(op, x, dtype or (own if own.is_float else dtypes.INT64))


def count(x: Any, dim: Axes) -> Dim:
    """How many elements each result is made of."""
    rank = len(x.shape)
    return product(x.shape[axis] for axis in axes_of(dim, rank)) if rank else 1


# ── sums ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.sum", given={"operator": "ReduceSum"})
@lower("aten.prod", given={"operator": "ReduceProd"}, computes="Πx.")
def sum_(
    op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None,
    operator: str = "ReduceSum",
) -> Tensor:  # fmt: skip
    """Σx."""
    x = summable(op, self, dtype)
    own = dtype_of(x)
    if not own.is_integer or own.bits == 64:
        return reduced(op, operator, x, dim, keepdim)
    # the runtime's end at the greatest integer, torch's go on from the least: the low part of an int64 does
    return cast(op, reduced(op, operator, cast(op, x, dtypes.INT64), dim, keepdim), own)


@lower("aten.mean", opmath=True)
def mean(op: Any, self: Any, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Any:
    """Σx / n; NaN of nothing, of which ONNX Runtime's ReduceMean is 0: where a size may be 0 it is written out."""
    x = summable(op, self, dtype)
    size = count(x, dim)
    if not may_be_zero(op, size):
        return reduced(op, "ReduceMean", x, dim, keepdim)
    divisor = number(op, size, x) if isinstance(size, int) else cast(op, op.size(size), dtype_of(x))
    return reduced(op, "ReduceSum", x, dim, keepdim) / divisor


@lower("aten.nansum")
def nansum(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """Σx over what is not NaN."""
    x = op.Where(op.IsNaN(self), number(op, 0, self), self) if dtype_of(self).is_float else self
    return sum_(op, x, dim, keepdim, dtype)


@lower("aten.nanmean", opmath=True)
def nanmean(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """Σx / n over what is not NaN."""
    valid = cast(op, op.Not(op.IsNaN(self)), dtype or dtype_of(self))
    return nansum(op, self, dim, keepdim, dtype) / reduced(op, "ReduceSum", valid, dim, keepdim)


@lower("aten.count_nonzero")
def count_nonzero(op: Builder, self: Tensor, dim: Axes = None) -> Tensor:
    """How many elements are not zero."""
    return reduced(op, "ReduceSum", cast(op, cast(op, self, dtypes.BOOL), dtypes.INT64), dim)


# ── truth ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.any", "aten._is_any_true", given={"operator": "ReduceMax"})
@lower("aten.all", "aten._is_all_true", given={"operator": "ReduceMin"}, computes="Whether no element is zero.")
def any_(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, operator: str = "ReduceMax") -> Tensor:
    """Whether an element is not zero; by the minimum, whether none is zero.

    Reduced as uint8, whose kernels are eight times as fast as bool's; torch answers in uint8 where it is asked in it,
    and of each element for itself where no axis is named: `dim=()`.
    """
    truths = cast(op, cast(op, self, dtypes.BOOL), dtypes.UINT8)
    if isinstance(dim, Sequence) and not dim:
        return cast(op, truths, dtypes.UINT8 if dtype_of(self) is dtypes.UINT8 else dtypes.BOOL)
    found = reduced(op, operator, truths, dim, keepdim)
    if dtype_of(self) is not dtypes.UINT8:
        return cast(op, found, dtypes.BOOL)
    is_bounded = operator == "ReduceMax" or not may_be_zero(op, count(self, dim))  # the least of nothing is 255
    return found if is_bounded else op.Min(found, number(op, 1, self))


# ── extrema ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.amax", "aten.max.default", given={"operator": "ReduceMax"})
@lower("aten.amin", "aten.min.default", given={"operator": "ReduceMin"})
def extremum(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, *, operator: str) -> Tensor:
    """The greatest or the least element; NaN where there is a NaN among the reduced."""
    found = reduced(op, operator, self, dim, keepdim)
    return _with_nan(op, found, self, dim, keepdim) if dtype_of(self).is_float else found


def _with_nan(op: Builder, found: Tensor, self: Tensor, dim: Axes, keepdim: bool) -> Tensor:
    """What is found of each row, NaN where there is a NaN in it: the runtime's extrema pass over those."""
    spoiled = reduced(op, "ReduceMax", cast(op, op.IsNaN(self), dtypes.UINT8), dim, keepdim)
    return op.Where(cast(op, spoiled, dtypes.BOOL), number(op, math.nan, self), found)


@lower("aten.aminmax")
def aminmax(op: Builder, self: Tensor, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The least and the greatest element."""
    least, greatest = (extremum(op, self, dim, keepdim, operator=name) for name in ("ReduceMin", "ReduceMax"))
    return least, greatest


def _first_extremum(op: Any, x: Any, axis: int, largest: bool) -> tuple[Any, Any]:
    """The extremum along an axis and the position of its first occurrence, both with that axis kept.

    TopK takes NaN for the greatest, as fast as ArgMax, which skips it; the least of floats is sought as the greatest of
    -x, for NaN to come first.
    """
    if largest or not dtype_of(x).is_float:
        return op.TopK(x, [1], axis=axis, largest=int(largest))
    value, position = op.TopK(-x, [1], axis=axis)
    return -value, position


@lower("aten.max.dim", given={"largest": True})
@lower("aten.min.dim", given={"largest": False})
def extremum_along(
    op: Builder, self: Tensor, dim: int, keepdim: bool = False, *, largest: bool
) -> tuple[Tensor, Tensor]:
    """The greatest or the least element along `dim`, and where it first occurs."""
    if not self.shape:
        return self, full(op, [], 0, dtypes.INT64)
    axis = axis_of(dim, len(self.shape))
    value, position = _first_extremum(op, self, axis, largest)
    return (value, position) if keepdim else (without(op, value, [axis]), without(op, position, [axis]))


@lower("aten.argmax", given={"largest": True})
@lower("aten.argmin", given={"largest": False})
def position_of_extremum(
    op: Builder, self: Tensor, dim: int | None = None, keepdim: bool = False, *, largest: bool
) -> Tensor:
    """Where the greatest or the least element first occurs along `dim`, in the flat tensor when that is None."""
    if dim is not None:
        return extremum_along(op, self, dim, keepdim, largest=largest)[1]
    _, found = _first_extremum(op, op.Reshape(self, [-1]), 0, largest)
    return op.Reshape(found, [1] * len(self.shape) if keepdim else [])


# ── moments ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _mean_over(op: Any, x: Any, dim: Axes, correction: float | Dim, keepdim: bool) -> Any:
    """Σx / max(n - correction, 0), and NaN of nothing, whatever the correction."""
    size = count(x, dim)
    if correction == 0:
        return mean(op, x, dim, keepdim)
    total = reduced(op, "ReduceSum", x, dim, keepdim)
    if not isinstance(size, Expr) and not isinstance(correction, Expr):
        return total / number(op, max(size - correction, 0) if size else 0, x)
    n, less = (
        cast(op, op.size(each), dtype_of(x)) if isinstance(each, Expr) else number(op, each, x)
        for each in (size, correction)
    )
    free = op.Max(n - less, number(op, 0, x))
    if may_be_zero(op, size) and (isinstance(correction, Expr) or correction < 0):
        free = op.Where(op.Equal(n, number(op, 0, x)), n, free)
    return total / free


@lower("aten.var", given={"root": False, "with_mean": False}, opmath=True)
@lower("aten.std", given={"root": True, "with_mean": False}, opmath=True)
@lower("aten.var_mean", given={"root": False, "with_mean": True}, opmath=True)
@lower("aten.std_mean", given={"root": True, "with_mean": True}, opmath=True)
def moments(
    op: Builder, self: Tensor, dim: Axes = None, unbiased: bool = True, keepdim: bool = False,
    correction: float | Dim | None = None, *, root: bool, with_mean: bool,
) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
    """Σ(x - mean)² / max(n - correction, 0), or its root, and the mean; the correction is 1 unless biased."""
    center = mean(op, self, dim, True)
    deviation = self - center
    free = float(unbiased) if correction is None else correction
    variance = _mean_over(op, deviation * deviation, dim, free, keepdim)
    spread = op.Sqrt(variance) if root else variance
    if not with_mean:
        return spread
    return spread, center if keepdim or not center.shape else without(op, center, axes_of(dim, len(center.shape)))


@lower("aten.logsumexp", promote=FLOAT, opmath=True)
def logsumexp(op: Builder, self: Tensor, dim: Axes, keepdim: bool = False) -> Tensor:
    """log(Σ exp(x)). The runtime gives the greatest element where that is infinite."""
    return _with_nan(op, reduced(op, "ReduceLogSumExp", self, dim, keepdim), self, dim, keepdim)


# ── of two variables ─────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.cov", promote=FLOAT.of("self", "aweights"), opmath=True)
def cov(
    op: Builder, self: Tensor, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of variables, one a row: (x - x̄)·W·(x - x̄)ᵀ over Σw - correction, the latter times Σw·a / Σw
    where weights `a` tell how much an observation is worth. Weights `fweights` tell how often it was made."""
    x = reshape(op, self, (1, product(self.shape))) if len(self.shape) < 2 else self
    weight, total, degrees = observations(op, x.shape[1], dtype_of(x), correction, fweights, aweights)
    centered = x - op.ReduceSum(x * weight, [1], keepdims=1) / total
    result = op.MatMul(centered, op.Transpose(centered * weight, perm=[1, 0])) / degrees
    return result if len(self.shape) > 1 and self.shape[0] != 1 else op.Reshape(result, [])


def observations(
    op: Builder, count: Dim, dtype: DType, correction: int, fweights: Tensor | None, aweights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(what each observation weighs, Σw, the degrees of freedom, at least 0)."""
    given = [cast(op, each, dtype) for each in (fweights, aweights) if each is not None]
    weight = full(op, (count,), 1, dtype) if not given else reshape(op, given[0], (count,))
    weight = weight * given[1] if len(given) > 1 else weight
    total = op.ReduceSum(weight, keepdims=0)
    worth = total if aweights is None else op.ReduceSum(weight * given[-1], keepdims=0)
    degrees = total - (worth / total * float(correction) if aweights is not None else float(correction))
    return weight, total, op.Max(degrees, 0.0)


@lower("aten.corrcoef", promote=FLOAT.of("self"), opmath=True)
def corrcoef(op: Builder, self: Tensor) -> Tensor:
    """Pearson's correlation coefficients of variables, one a row: covariances over both deviations, within ±1."""
    result = cov(op, self)
    if not result.shape:
        return result / result
    places = op.Unsqueeze(positions(op, self.shape[0]), [1])
    variance = op.GatherElements(result, places, axis=1)
    deviation = op.Sqrt(variance)
    return op.Clip(result / deviation / op.Transpose(deviation, perm=[1, 0]), -1.0, 1.0)
