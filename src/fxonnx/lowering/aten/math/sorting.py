"""Sorting: order statistics by TopK, which orders equal elements by position and takes NaN for the greatest, as torch
does.

ONNX's TopK says the first; the second is ONNX Runtime's kernel. Unique elements are ONNX's Unique.
"""

from __future__ import annotations

import math
from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, floor_divide, maximum, product
from fxonnx.lowering.aten.math.arithmetic import lerp
from fxonnx.lowering.aten.math.reduction import any_, count_nonzero
from fxonnx.lowering.aten.tensor.joining import LAST, cut
from fxonnx.lowering.aten.tensor.shape import movedim, without
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import (
    as_vector,
    axis_of,
    cast,
    dtype_of,
    flat,
    full,
    may_be_zero,
    number,
    positions,
    reshape,
)


def ordered(op: Any, x: Any, k: Dim, dim: int, largest: bool) -> tuple[Any, Any]:
    """The first `k` elements along an axis in descending or ascending order, and where they were."""
    values, places = op.TopK(as_vector(op, x), [k], axis=axis_of(dim, len(x.shape)), largest=int(largest))
    return (values, places) if x.shape else (_scalar(op, values, k), _scalar(op, places, k))


def _scalar(op: Any, x: Any, k: Dim) -> Any:
    """The result for a scalar: one again, but for `k` = 0, which torch answers with nothing."""
    return op.Reshape(x, [0] if k == 0 else [])


def _size(x: Any, dim: int) -> Dim:
    return x.shape[axis_of(dim, len(x.shape))] if x.shape else 1


@lower("aten.topk", ignore={"sorted"})
def topk(op: Builder, self: Tensor, k: Dim, dim: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The `k` greatest (or least) elements along `dim`, in order, and where they are."""
    return ordered(op, self, k, dim, largest)


@lower("aten.sort", ignore={"stable"})
def sort(op: Builder, self: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """The elements along `dim` in order, and where they were; equal ones in the order they had."""
    return ordered(op, self, _size(self, dim), dim, descending)


@lower("aten.argsort", ignore={"stable"})
def argsort(op: Builder, self: Tensor, dim: int = -1, descending: bool = False) -> Tensor:
    """Where the elements along `dim` are, in their order."""
    return sort(op, self, dim, descending)[1]


@lower("aten.msort")
def msort(op: Builder, self: Tensor) -> Tensor:
    """The elements along the first axis in order."""
    return sort(op, self, 0)[0]


@lower("aten.kthvalue")
def kthvalue(op: Builder, self: Tensor, k: Dim, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The k-th least element along `dim`, counted from 1, and where it is."""
    if not self.shape:
        return ordered(op, self, 1, dim, False)
    axis = axis_of(dim, len(self.shape))
    last = [cut(op, part, axis, k - 1, k) for part in ordered(op, self, k, axis, False)]
    first, second = last if keepdim else [without(op, part, [axis]) for part in last]
    return first, second


# ── medians ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.median.dim")
def median_along(op: Builder, self: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The lower median along `dim`, and where it is; NaN where there is one, which comes last in order and so must be
    sought.
    """
    middle = floor_divide(_size(self, dim) - 1, 2) + 1
    value, place = kthvalue(op, self, middle, dim, keepdim)
    if not dtype_of(self).is_float or not self.shape:
        return value, place
    spoils = op.IsNaN(self)
    spoiled = any_(op, spoils, dim, keepdim)
    first = op.ArgMax(cast(op, spoils, dtypes.INT32), axis=axis_of(dim, len(self.shape)), keepdims=int(keepdim))
    return op.Where(spoiled, number(op, float("nan"), self), value), op.Where(spoiled, first, place)


@lower("aten.median.default")
def median(op: Builder, self: Tensor) -> Tensor:
    """The lower median of all elements; NaN of nothing."""
    return median_along(op, _or_nan(op, flat(op, self)), 0)[0]


def _or_nan(op: Builder, x: Tensor) -> Tensor:
    """A vector of floats, or one NaN where it has none."""
    (size,) = x.shape
    if not dtype_of(x).is_float or not may_be_zero(op, size):
        return x
    return op.Concat(x, full(op, [maximum(1 - size, 0)], math.nan, dtype_of(x)), axis=0)


@lower("aten.nanmedian.dim")
def nanmedian_along(op: Builder, self: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The lower median of what is not NaN along `dim`, and where it is."""
    if not dtype_of(self).is_float or not self.shape:
        return median_along(op, self, dim, keepdim)
    axis = axis_of(dim, len(self.shape))
    values, places = ordered(op, self, self.shape[axis], axis, False)
    valid = op.Unsqueeze(count_nonzero(op, op.Not(op.IsNaN(self)), axis), [axis])
    middle = op.Max(valid - 1, 0) / 2
    found = [op.GatherElements(part, middle, axis=axis) for part in (values, places)]
    first, second = found if keepdim else [without(op, part, [axis]) for part in found]
    return first, second


@lower("aten.nanmedian.default")
def nanmedian(op: Builder, self: Tensor) -> Tensor:
    """The lower median of all elements that are not NaN; NaN of nothing."""
    return nanmedian_along(op, _or_nan(op, flat(op, self)), 0)[0]


@lower("aten.mode")
def mode(op: Builder, self: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The most frequent element along `dim`, the least among equally frequent ones, and where it last occurs."""
    if not self.shape:
        return ordered(op, self, 1, dim, False)
    axis = axis_of(dim, len(self.shape))
    values, _ = ordered(op, self, self.shape[axis], axis, False)
    same = op.Equal(op.Unsqueeze(values, [axis + 1]), op.Unsqueeze(values, [axis]))
    frequency = op.ReduceSum(cast(op, same, dtypes.INT64), [axis + 1], keepdims=0)
    value = op.GatherElements(values, op.ArgMax(frequency, axis=axis), axis=axis)
    place = op.ArgMax(cast(op, op.Equal(self, value), dtypes.INT32), axis=axis, select_last_index=1)
    return (value, place) if keepdim else (without(op, value, [axis]), without(op, place, [axis]))


# ── quantiles ────────────────────────────────────────────────────────────────────────────────────────────────────────

_ROUNDED = {"lower": "Floor", "higher": "Ceil", "nearest": "Round"}


@lower("aten.quantile", runtime={"q"}, given={"skip_nan": False})
@lower("aten.nanquantile", runtime={"q"}, given={"skip_nan": True})
def quantile(
    op: Builder, self: Tensor, q: float | Tensor, dim: int | None = None, keepdim: bool = False,
    interpolation: str = "linear", *, skip_nan: bool,
) -> Tensor:  # fmt: skip
    """The elements of rank q (n - 1) along `dim`, NaN where there is one unless it is skipped; several `q` make a
    first axis.
    """
    x, probabilities = _in_rows(op, self, dim), _probabilities(op, self, q)
    ranks = (_ranks_of_numbers if skip_nan else _ranks)(op, x, probabilities)
    return _quantiles(op, self, _of_rank(op, x, ranks, interpolation), q, dim, keepdim)


def _ranks(op: Any, x: Any, probabilities: Any) -> Any:
    """Ranks among the last axis's elements; where there is a NaN, the last one in order, which it is."""
    last = op.Cast([x.shape[-1] - 1], to=dtype_of(x))
    return op.Where(any_(op, op.IsNaN(x), -1, True), last, probabilities * last)


def _ranks_of_numbers(op: Any, x: Any, probabilities: Any) -> Any:
    """Ranks among what is not NaN."""
    valid = op.ReduceSum(cast(op, op.Not(op.IsNaN(x)), dtype_of(x)), [-1], keepdims=1)
    return op.Max(probabilities * (valid - number(op, 1, x)), number(op, 0, x))


def _in_rows(op: Any, x: Any, dim: int | None) -> Any:
    """`x` with the axis to order in last."""
    return flat(op, x) if dim is None or not x.shape else movedim(op, x, dim, -1)


def _probabilities(op: Any, x: Any, q: Any) -> Any:
    return as_vector(op, q) if isinstance(q, Tensor) else as_vector(op, number(op, q, x))


def _of_rank(op: Any, x: Any, ranks: Any, interpolation: str) -> Any:
    """The elements of [..., n] of fractional ranks [..., k]."""
    values, _ = ordered(op, x, x.shape[-1], -1, False)
    if interpolation in _ROUNDED:
        return op.GatherElements(values, cast(op, getattr(op, _ROUNDED[interpolation])(ranks), dtypes.INT64), axis=-1)
    below = op.Floor(ranks)
    weight = ranks - below if interpolation == "linear" else 0.5
    first, second = (op.GatherElements(values, cast(op, r, dtypes.INT64), axis=-1) for r in (below, op.Ceil(ranks)))
    return lerp(op, first, second, weight)


def _quantiles(op: Any, self: Any, found: Any, q: Any, dim: int | None, keepdim: bool) -> Any:
    """[..., k] as torch returns it: k in front, absent for a single `q`, and the ordered axis of size 1 if kept."""
    several = isinstance(q, Tensor) and bool(q.shape)
    result = movedim(op, found, -1, 0) if several else without(op, found, [len(found.shape) - 1])
    if not keepdim or not self.shape:
        return result
    kept = range(len(self.shape)) if dim is None else [axis_of(dim, len(self.shape))]
    return op.Unsqueeze(result, [axis + several for axis in kept])


# ── unique elements ──────────────────────────────────────────────────────────────────────────────────────────────────


def _nothing(op: Any) -> Any:
    """What torch returns for a result that was not asked for."""
    return full(op, [0], 0, dtypes.INT64)


def _unique(op: Any, x: Any, axis: int | None, shape: Any, inverse: bool, counts: bool) -> tuple[Any, Any, Any]:
    """Unique elements in order, which of them each element is, and how often each occurs."""
    values, _, which, often = op.Unique(x, axis=axis, sorted=1, _outputs=4)
    return values, reshape(op, which, shape) if inverse else _nothing(op), often if counts else _nothing(op)


@lower("aten._unique2", "aten._unique", ignore={"sorted"})
def unique(
    op: Builder, self: Tensor, return_inverse: bool = False, return_counts: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct elements of the flat tensor, in order; each NaN is one of its own, which ONNX's operator loses."""
    x = flat(op, self)
    if not dtype_of(x).is_float:
        return _unique(op, x, None, self.shape, return_inverse, return_counts)
    sorted_, places = ordered(op, x, x.shape[0], 0, False)
    values, which, often = unique_consecutive(op, sorted_, return_inverse, return_counts)
    if return_inverse:
        which = reshape(op, op.ScatterElements(places, places, which, axis=0), self.shape)
    return values, which, often


@lower("aten.unique_dim", ignore={"sorted", "return_inverse", "return_counts"})
def unique_dim(op: Builder, self: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct slices along `dim`, in order, each with a NaN one of its own. torch returns the inverse and the
    counts whether asked or not."""
    axis = axis_of(dim, len(self.shape))
    count = self.shape[axis]
    if not dtype_of(self).is_float:
        return _unique(op, self, axis, (count,), True, True)
    length = product((*self.shape[:axis], *self.shape[axis + 1 :]))
    rows = reshape(op, movedim(op, self, axis, 0), (count, length))
    _, first, which, often = op.Unique(_told_apart(op, rows), axis=0, sorted=1, _outputs=4)
    return op.Gather(self, first, axis=axis), which, often


def _told_apart(op: Builder, rows: Tensor) -> Tensor:
    """Rows without NaN, which ONNX's operator takes for equal to all: infinities, and which row it is."""
    is_nan = op.IsNaN(rows)
    own = op.Unsqueeze(cast(op, positions(op, rows.shape[0]), dtype_of(rows)), [1])
    own = op.Where(any_(op, is_nan, 1, keepdim=True), own, number(op, -1, rows))
    return op.Concat(op.Where(is_nan, number(op, math.inf, rows), rows), own, axis=1)


@lower("aten.unique_consecutive", "aten.unique_dim_consecutive")
def unique_consecutive(
    op: Builder, self: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The elements (slices along `dim`) that differ from the one before, which of them each element is, how long each
    run is.
    """
    x = flat(op, self) if dim is None else self
    axis = axis_of(dim or 0, len(x.shape))
    size = x.shape[axis]
    starts = _run_starts(op, x, axis)
    values = op.Compress(x, starts, axis=axis)
    which = op.CumSum(cast(op, starts, dtypes.INT64), 0) - 1
    begins = op.Compress(positions(op, size), starts, axis=0)
    often = op.Concat(cut(op, begins, 0, 1, LAST), [size], axis=0) - begins
    inverse = reshape(op, which, self.shape if dim is None else (size,))
    along = dim is not None  # then torch returns all three, whether asked or not
    return (
        values,
        inverse if return_inverse or along else _nothing(op),
        often if return_counts or along else _nothing(op),
    )


def _run_starts(op: Any, x: Any, axis: int) -> Any:
    """bool[n]: whether a slice along the axis differs from the one before; the first does."""
    differs = op.Not(op.Equal(cut(op, x, axis, 1, LAST), cut(op, x, axis, 0, -1)))
    others = [other for other in range(len(x.shape)) if other != axis]
    starts = op.Concat([True], any_(op, differs, others) if others else differs, axis=0)
    return cut(op, starts, 0, 0, x.shape[axis]) if may_be_zero(op, x.shape[axis]) else starts  # of nothing none
