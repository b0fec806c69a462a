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
from fxonnx.ir.dims import Dim, product
from fxonnx.lowering.aten.tensor.shape import without
from fxonnx.lowering.promote import FLOAT
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import axes_of, axis_of, cast, dtype_of, full, number, widened

Axes = int | Sequence[int] | None


def reduced(op: Any, name: str, x: Any, dim: Axes = None, keepdim: bool = False) -> Any:
    """`op.Reduce<name>` over the axes in `dim`, all when none is named."""
    rank = len(x.shape)
    axes = axes_of(dim, rank) if rank else []
    every = len(axes) == rank and not keepdim
    arguments = () if every else (axes,)
    return getattr(op, f"Reduce{name}")(x, *arguments, keepdims=int(keepdim))


def summable(op: Any, x: Any, dtype: DType | None) -> Any:
    """`x` in the dtype it is summed in: the one asked for, int64 for integers and bools."""
    own = dtype_of(x)
    return cast(op, x, dtype or (own if own.is_float else dtypes.INT64))


def count(x: Any, dim: Axes) -> Dim:
    """How many elements each result is made of."""
    rank = len(x.shape)
    return product(x.shape[axis] for axis in axes_of(dim, rank)) if rank else 1


# ── sums ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.sum")
def sum_(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """Σx."""
    return reduced(op, "Sum", summable(op, self, dtype), dim, keepdim)


@lower("aten.mean")
def mean(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """Σx / n; NaN of nothing."""
    x = summable(op, self, dtype)
    result = reduced(op, "Mean", x, dim, keepdim)
    return result if count(x, dim) != 0 else result / number(op, 0, x)


@lower("aten.prod")
def prod(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """Πx."""
    return reduced(op, "Prod", summable(op, self, dtype), dim, keepdim)


@lower("aten.nansum")
def nansum(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """Σx over what is not NaN."""
    x = op.Where(op.IsNaN(self), number(op, 0, self), self) if dtype_of(self).is_float else self
    return sum_(op, x, dim, keepdim, dtype)


@lower("aten.nanmean")
def nanmean(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """Σx / n over what is not NaN."""
    valid = cast(op, op.Not(op.IsNaN(self)), dtype or dtype_of(self))
    return nansum(op, self, dim, keepdim, dtype) / reduced(op, "Sum", valid, dim, keepdim)


@lower("aten.count_nonzero")
def count_nonzero(op: Builder, self: Tensor, dim: Axes = None) -> Tensor:
    """How many elements are not zero."""
    return reduced(op, "Sum", cast(op, cast(op, self, dtypes.BOOL), dtypes.INT64), dim)


# ── truth ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _truth(op: Any, name: str, x: Any, dim: Axes, keepdim: bool) -> Any:
    """Reduced as uint8, whose kernels are eight times as fast as bool's; torch answers in uint8 where it is asked in
    it.
    """
    found = reduced(op, name, cast(op, cast(op, x, dtypes.BOOL), dtypes.UINT8), dim, keepdim)
    return found if dtype_of(x) is dtypes.UINT8 else cast(op, found, dtypes.BOOL)


@lower("aten.any", "aten._is_any_true")
def any_(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """Whether an element is not zero."""
    return _truth(op, "Max", self, dim, keepdim)


@lower("aten.all", "aten._is_all_true")
def all_(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """Whether no element is zero."""
    if dtype_of(self) is dtypes.UINT8 and count(self, dim) == 0:
        return op.Min(_truth(op, "Min", self, dim, keepdim), number(op, 1, self))
    return _truth(op, "Min", self, dim, keepdim)


# ── extrema ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _extremum(op: Any, name: str, x: Any, dim: Axes, keepdim: bool) -> Any:
    """ReduceMax or ReduceMin, NaN where there is a NaN among the reduced."""
    found = reduced(op, name, x, dim, keepdim)
    if not dtype_of(x).is_float:
        return found
    spoiled = reduced(op, "Max", cast(op, op.IsNaN(x), dtypes.UINT8), dim, keepdim)
    return op.Where(cast(op, spoiled, dtypes.BOOL), number(op, math.nan, x), found)


@lower("aten.amax")
def amax(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """The greatest element; NaN counts as greater than all."""
    return _extremum(op, "Max", self, dim, keepdim)


@lower("aten.amin")
def amin(op: Builder, self: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """The least element; NaN counts as less than all."""
    return _extremum(op, "Min", self, dim, keepdim)


@lower("aten.max.default")
def max_(op: Builder, self: Tensor) -> Tensor:
    """The greatest of all elements."""
    return amax(op, self)


@lower("aten.min.default")
def min_(op: Builder, self: Tensor) -> Tensor:
    """The least of all elements."""
    return amin(op, self)


@lower("aten.aminmax")
def aminmax(op: Builder, self: Tensor, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The least and the greatest element."""
    return amin(op, self, dim, keepdim), amax(op, self, dim, keepdim)


def _first_extremum(op: Any, x: Any, axis: int, largest: bool) -> tuple[Any, Any]:
    """The extremum along an axis and the position of its first occurrence, both with that axis kept.

    TopK takes NaN for the greatest, as fast as ArgMax, which skips it; the least of floats is sought as the greatest of
    -x, for NaN to come first.
    """
    if largest or not dtype_of(x).is_float:
        return op.TopK(x, [1], axis=axis, largest=int(largest))
    value, position = op.TopK(-x, [1], axis=axis)
    return -value, position


def _along(op: Any, x: Any, dim: int, keepdim: bool, largest: bool) -> tuple[Any, Any]:
    if not x.shape:
        return x, full(op, [], 0, dtypes.INT64)
    axis = axis_of(dim, len(x.shape))
    value, position = _first_extremum(op, x, axis, largest)
    return (value, position) if keepdim else (without(op, value, [axis]), without(op, position, [axis]))


@lower("aten.max.dim")
def max_along(op: Builder, self: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The greatest element along `dim`, and where it first occurs."""
    return _along(op, self, dim, keepdim, largest=True)


@lower("aten.min.dim")
def min_along(op: Builder, self: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The least element along `dim`, and where it first occurs."""
    return _along(op, self, dim, keepdim, largest=False)


def _position(op: Any, x: Any, dim: int | None, keepdim: bool, largest: bool) -> Any:
    if dim is not None:
        return _along(op, x, dim, keepdim, largest)[1]
    _, position = _first_extremum(op, op.Reshape(x, [-1]), 0, largest)
    return op.Reshape(position, [1] * len(x.shape) if keepdim else [])


@lower("aten.argmax")
def argmax(op: Builder, self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the greatest element first occurs along `dim`, in the flat tensor when that is None."""
    return _position(op, self, dim, keepdim, largest=True)


@lower("aten.argmin")
def argmin(op: Builder, self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the least element first occurs along `dim`, in the flat tensor when that is None."""
    return _position(op, self, dim, keepdim, largest=False)


# ── moments ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _moments(
    op: Any, x: Any, dim: Axes, unbiased: bool, correction: float | None, keepdim: bool, root: bool
) -> tuple[Any, Any]:
    """Σ(x - mean)² / max(n - correction, 0), or its root, and the mean with the reduced axes kept.

    Narrow floats are computed in float32 and rounded once, as in torch.
    """
    kind, x = dtype_of(x), widened(op, x)
    center = mean(op, x, dim, True)
    deviation = x - center
    variance = _mean_over(op, deviation * deviation, dim, _correction(unbiased, correction), keepdim)
    return cast(op, op.Sqrt(variance) if root else variance, kind), cast(op, center, kind)


def _correction(unbiased: bool, correction: float | None) -> float:
    return float(unbiased) if correction is None else correction


def _mean_over(op: Any, x: Any, dim: Axes, correction: float, keepdim: bool) -> Any:
    """Σx / max(n - correction, 0)."""
    size = count(x, dim)
    if correction == 0:
        return mean(op, x, dim, keepdim)
    if isinstance(size, int):
        free = number(op, max(size - correction, 0), x)
    else:
        free = cast(op, op.size(size), dtype_of(x)) - number(op, correction, x)
        free = op.Max(free, number(op, 0, x))
    return reduced(op, "Sum", x, dim, keepdim) / free


def _without_reduced(op: Any, center: Any, dim: Axes, keepdim: bool) -> Any:
    return center if keepdim or not center.shape else without(op, center, axes_of(dim, len(center.shape)))


@lower("aten.var")
def var(
    op: Builder,
    self: Tensor,
    dim: Axes = None,
    unbiased: bool = True,
    keepdim: bool = False,
    correction: float | None = None,
) -> Tensor:
    """Mean squared deviation from the mean, over n - correction (1 unless biased)."""
    return _moments(op, self, dim, unbiased, correction, keepdim, root=False)[0]


@lower("aten.std")
def std(
    op: Builder,
    self: Tensor,
    dim: Axes = None,
    unbiased: bool = True,
    keepdim: bool = False,
    correction: float | None = None,
) -> Tensor:
    """The root of `var`."""
    return _moments(op, self, dim, unbiased, correction, keepdim, root=True)[0]


@lower("aten.var_mean")
def var_mean(
    op: Builder,
    self: Tensor,
    dim: Axes = None,
    unbiased: bool = True,
    keepdim: bool = False,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """`var`, and the mean."""
    variance, center = _moments(op, self, dim, unbiased, correction, keepdim, root=False)
    return variance, _without_reduced(op, center, dim, keepdim)


@lower("aten.std_mean")
def std_mean(
    op: Builder,
    self: Tensor,
    dim: Axes = None,
    unbiased: bool = True,
    keepdim: bool = False,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """`std`, and the mean."""
    deviation, center = _moments(op, self, dim, unbiased, correction, keepdim, root=True)
    return deviation, _without_reduced(op, center, dim, keepdim)


@lower("aten.logsumexp", promote=FLOAT)
def logsumexp(op: Builder, self: Tensor, dim: Axes, keepdim: bool = False) -> Tensor:
    """log(Σ exp(x))."""
    return reduced(op, "LogSumExp", self, dim, keepdim)
