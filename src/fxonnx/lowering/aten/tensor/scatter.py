"""Scattering: what writes elements by position or by mask, and counts them.

A write is a value: the tensor with some elements replaced. Where torch leaves open which of several writes to one
element wins, so does ONNX.
Source of the semantics: ATen/native/TensorAdvancedIndexing.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, maximum, minimum, product
from fxonnx.ir.infer.call import broadcast
from fxonnx.lowering.aten.tensor.creation import filled
from fxonnx.lowering.aten.tensor.indexing import MASKS, clamped, index_of, int64, without_scalar_masks
from fxonnx.lowering.aten.tensor.joining import LAST, cut, from_front, joined
from fxonnx.lowering.promote import as_tensor
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import (
    as_vector,
    axis_of,
    cast,
    dtype_of,
    expand,
    flat,
    full,
    like_self,
    may_be_zero,
    number,
    positions,
    reshape,
    transpose,
)

# torch's reduction -> ONNX's, and the value that leaves any other unchanged.
_REDUCTIONS = {
    "sum": ("add", 0),
    "prod": ("mul", 1),
    "mean": ("add", 0),
    "amax": ("max", -math.inf),
    "amin": ("min", math.inf),
}


def written(op: Any, data: Any, index: Any, updates: Any, axis: int, reduction: str = "none") -> Any:
    """ScatterElements: `data[i][index[i, j]] = updates[i, j]` along `axis`, or reduced with what is there."""
    kind = _accumulator(dtype_of(data), reduction)
    result = op.ScatterElements(cast(op, data, kind), index, cast(op, updates, kind), axis=axis, reduction=reduction)
    return cast(op, result, dtype_of(data))


def tuples_written(op: Any, data: Any, tuples: Any, updates: Any, reduction: str) -> Any:
    """ScatterND: `data[tuples[i]] = updates[i]`, or reduced with what is there."""
    kind = _accumulator(dtype_of(data), reduction)
    result = op.ScatterND(cast(op, data, kind), tuples, cast(op, updates, kind), reduction=reduction)
    return cast(op, result, dtype_of(data))


def _accumulator(dtype: DType, reduction: str) -> DType:
    """The dtype that many values are reduced in: float32 for narrow floats, whose sums lose less there, int32 for bool,
    which has no order or sum.
    """
    if reduction == "none":
        return dtype
    return dtypes.INT32 if dtype is dtypes.BOOL else dtypes.FLOAT32 if dtype.is_float and dtype.bits < 32 else dtype


def _constant_like(op: Any, x: Any, value: float) -> Any:
    return full(op, x.shape, value, dtype_of(x))


# ── one element per index ────────────────────────────────────────────────────────────────────────────────────────────


def _cropped(op: Any, source: Any, shape: Sequence[Dim]) -> Any:
    """The leading part of `source`, which may be larger than the index."""
    axes = [axis for axis, (size, wanted) in enumerate(zip(source.shape, shape, strict=True)) if size != wanted]
    if not axes:
        return source
    ends = [shape[axis] for axis in axes]
    return op.Slice(source, [0] * len(axes), ends, axes)


def _scattered(op: Any, self: Any, dim: int, index: Any, updates: Any, reduction: str) -> Any:
    """Updates that are already as large as the index, written into a tensor of any rank."""
    if 0 in index.shape:
        return self
    axis = axis_of(dim, len(self.shape))
    data, index = as_vector(op, self), int64(op, as_vector(op, index))
    return like_self(op, written(op, data, index, as_vector(op, updates), axis, reduction), self)


def _updates(op: Any, self: Any, index: Any, src: Any) -> Any:
    if len(src.shape) != len(index.shape):
        src, index = as_vector(op, src), as_vector(op, index)
    return cast(op, src if 0 in index.shape else _cropped(op, src, index.shape), dtype_of(self))


@lower("aten.scatter.src", "aten.scatter.reduce")
@lower("aten.scatter_add", given={"reduce": "add"})
def scatter(op: Builder, self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str | None = None) -> Tensor:
    """`self[i][index[i, j]] = src[i, j]` along `dim`, or added to, or multiplied with what is there."""
    reduction = {None: "none", "add": "add", "multiply": "mul"}[reduce]
    return _scattered(op, self, dim, index, _updates(op, self, index, src), reduction)


@lower("aten.scatter.value", "aten.scatter.value_reduce", runtime={"value"})
def scatter_value(op: Builder, self: Tensor, dim: int, index: Tensor, value: Any, reduce: str | None = None) -> Tensor:
    """As `scatter` with one number as source."""
    return scatter(op, self, dim, index, filled(op, index.shape, value, dtype_of(self)), reduce)


@lower("aten.scatter_reduce.two")
def scatter_reduce(
    op: Builder, self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool = True
) -> Tensor:
    """The sum, product, mean or extremum of what is written to each element, with what was there if `include_self`."""
    if 0 in index.shape:
        return self
    axis = axis_of(dim, len(self.shape))
    updates = as_vector(op, _updates(op, self, index, src))
    result = _reduced_at(op, as_vector(op, self), int64(op, as_vector(op, index)), updates, axis, reduce, include_self)
    return like_self(op, result, self)


def _reduced_at(op: Any, data: Any, index: Any, updates: Any, axis: int, reduce: str, include_self: bool) -> Any:
    reduction, neutral = _REDUCTIONS[reduce]
    if not include_self:
        data = written(op, data, index, _constant_like(op, updates, _within(neutral, dtype_of(data))), axis)
    result = written(op, data, index, updates, axis, reduction)
    if reduce == "mean":
        return _divided(op, result, _contributions(op, data, index, updates, axis, include_self))
    if reduction in ("max", "min") and dtype_of(data).is_float:
        return _spoiled(op, result, data, index, updates, axis)
    return result


def _within(value: float, dtype: DType) -> float:
    """An infinity as the extreme value of an integer dtype."""
    if dtype.is_float or math.isfinite(value):
        return value
    return dtype.lowest if value < 0 else dtype.highest


def _contributions(op: Any, data: Any, index: Any, updates: Any, axis: int, include_self: bool) -> Any:
    """How many values each element is made of, at least 1."""
    ones = _constant_like(op, data, 1)
    before = ones if include_self else written(op, ones, index, _constant_like(op, updates, 0), axis)
    counts = written(op, before, index, _constant_like(op, updates, 1), axis, "add")
    return counts if include_self else op.Max(counts, number(op, 1, data))


def _divided(op: Any, total: Any, counts: Any) -> Any:
    """total / counts, rounded down for integers."""
    if dtype_of(total).is_float:
        return total / counts
    return (total - op.Mod(total, counts)) / counts


def _spoiled(op: Any, result: Any, data: Any, index: Any, updates: Any, axis: int) -> Any:
    """NaN where an extremum had a NaN to look at, which ONNX Runtime skips."""
    spoils, own = (cast(op, op.IsNaN(x), dtypes.INT32) for x in (updates, data))
    found = cast(op, written(op, own, index, spoils, axis, "max"), dtypes.BOOL)
    return op.Where(found, number(op, math.nan, data), result)


# ── whole slices along one axis ──────────────────────────────────────────────────────────────────────────────────────


def _spread(op: Any, index: Any, shape: Sequence[Dim], axis: int) -> Any:
    """An index of slices as one of elements: repeated over the other axes of `shape`."""
    column = op.Unsqueeze(index, [other for other in range(len(shape)) if other != axis]) if len(shape) > 1 else index
    return expand(op, column, [index.shape[0] if other == axis else dim for other, dim in enumerate(shape)])


def _slices_written(op: Any, self: Any, dim: int, index: Any, source: Any, reduction: str = "none") -> Any:
    """Slices of `source` written to, or added to, the slices of `self` at `index`."""
    axis = axis_of(dim, len(self.shape))
    data, index = as_vector(op, self), int64(op, as_vector(op, index))
    source = as_vector(op, cast(op, source, dtype_of(self)))
    if axis == 0:
        result = tuples_written(op, data, op.Unsqueeze(index, [-1]), source, reduction)
    else:
        result = written(op, data, _spread(op, index, source.shape, axis), source, axis, reduction)
    return like_self(op, result, self)


@lower("aten.index_add", runtime={"alpha"})
def index_add(op: Builder, self: Tensor, dim: int, index: Tensor, source: Tensor, alpha: Any = 1) -> Tensor:
    """alpha * source[i] added to the slice index[i] along `dim`."""
    is_one = isinstance(alpha, (int, float)) and alpha == 1
    scaled = source if is_one else source * as_tensor(op, alpha, dtype_of(source))
    return _slices_written(op, self, dim, index, scaled, "add")


@lower("aten.index_copy")
def index_copy(op: Builder, self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """The slice index[i] along `dim` replaced by source[i]."""
    return _slices_written(op, self, dim, index, source)


@lower("aten.index_fill", runtime={"value"})
def index_fill(op: Builder, self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """The slices at `index` along `dim` filled with a number."""
    axis = axis_of(dim, len(self.shape))
    data, index = as_vector(op, self), int64(op, as_vector(op, index))
    size = data.shape[axis]
    hit = written(op, full(op, [size], False, dtypes.BOOL), index, full(op, index.shape, True, dtypes.BOOL), 0)
    after = list(range(1, len(data.shape) - axis))
    condition = op.Unsqueeze(hit, after) if after else hit
    return like_self(op, op.Where(condition, as_tensor(op, value, dtype_of(self)), data), self)


@lower("aten.index_reduce")
def index_reduce(
    op: Builder, self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, include_self: bool = True
) -> Tensor:
    """The product, mean or extremum of the slices of `source` that go to each slice of `self`."""
    axis = axis_of(dim, len(self.shape))
    updates = as_vector(op, source)
    wide = _spread(op, int64(op, as_vector(op, index)), updates.shape, axis)
    return like_self(op, _reduced_at(op, as_vector(op, self), wide, updates, axis, reduce, include_self), self)


# ── advanced indexing ────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.index_put", "aten._unsafe_index_put", "aten._index_put_impl", ignore={"unsafe"})
def index_put(
    op: Builder, self: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False
) -> Tensor:
    """`self[indices] = values`, or `+=`."""
    given = [(axis, item) for axis, item in enumerate(indices) if item is not None]
    values = cast(op, values, dtype_of(self))
    if not given:
        return self + values if accumulate else expand(op, values, self.shape)
    if len(given) == 1 and not accumulate and (chosen := _choice(op, self, *given[0], values)) is not None:
        return chosen
    x, indices = without_scalar_masks(op, self, indices)
    return reshape(op, _put(op, x, indices, values, "add" if accumulate else "none"), self.shape)


def _choice(op: Any, self: Any, axis: int, mask: Any, values: Any) -> Any:
    """A write under a mask as Where, when every selected element gets the same values; None when it is not that."""
    behind = len(self.shape) - axis - len(mask.shape)
    own = len(values.shape) - behind - 1  # the axis of `values` that runs over the selected elements
    if dtype_of(mask) not in MASKS or (own >= 0 and values.shape[own] != 1):
        return None
    if own >= 0 and len(mask.shape) != 1:
        shape = tuple(values.shape)
        values = reshape(op, values, (*shape[:own], *(1,) * len(mask.shape), *shape[own + 1 :]))
    condition = cast(op, mask, dtypes.BOOL)
    if behind:
        condition = op.Unsqueeze(condition, [len(mask.shape) + i for i in range(behind)])
    return op.Where(condition, values, self)


def _put(op: Any, x: Any, indices: Sequence[Any], values: Any, reduction: str) -> Any:
    """ScatterND with the indexed axes in front."""
    index = index_of(op, indices)
    order = index.order(len(x.shape))
    rest = [x.shape[axis] for axis in order[len(index.axes) :]]
    before = index.axes[0] if index.adjacent else 0
    placed = expand(op, values, (*rest[:before], *index.shape, *rest[before:]))
    moved = [
        *range(before, before + len(index.shape)),
        *range(before),
        *range(before + len(index.shape), len(placed.shape)),
    ]
    result = tuples_written(op, transpose(op, x, order), index.tuples(op), transpose(op, placed, moved), reduction)
    return transpose(op, result, np.argsort(order).tolist())


@lower("aten._unsafe_masked_index_put_accumulate")
def unsafe_masked_index_put_accumulate(
    op: Builder, self: Tensor, mask: Tensor, indices: Sequence[Tensor | None], values: Tensor
) -> Tensor:
    """`self[indices] += where(mask, values, 0)`, where indices outside the mask may be out of bounds."""
    kept = op.Where(mask, values, number(op, 0, values))
    return index_put(op, self, clamped(op, self, indices), kept, accumulate=True)


@lower("aten.put")
def put(op: Builder, self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Elements written, or added, at positions in the flat tensor."""
    reduction = "add" if accumulate else "none"
    return reshape(op, written(op, flat(op, self), flat(op, index), flat(op, source), 0, reduction), self.shape)


@lower("aten.masked_scatter")
def masked_scatter(op: Builder, self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The elements where the mask is true replaced by those of `source`, in order."""
    shape = broadcast(tuple(self.shape), tuple(mask.shape))
    self, condition = expand(op, self, shape), expand(op, mask, shape)
    if 0 in source.shape:
        return self
    rank = op.CumSum(cast(op, flat(op, condition), dtypes.INT64), 0)
    given = flat(op, source)
    if any(may_be_zero(op, size) for size in source.shape):  # then there is nothing to replace
        given = op.Concat(given, full(op, (1,), 0, dtype_of(source)), axis=0)
    taken = op.Gather(given, rank - 1, axis=0)  # -1, before the first: any element does
    return op.Where(condition, reshape(op, taken, self.shape), self)


@lower("aten.masked_scatter_backward")
def masked_scatter_backward(op: Builder, grad_output: Tensor, mask: Tensor, sizes: Sequence[Dim]) -> Tensor:
    """The gradient of a source of `sizes`: that of each place where the mask is true, in order, and 0 where it ends."""
    is_read = flat(op, expand(op, mask, grad_output.shape))
    count = product(sizes)
    place = op.CumSum(cast(op, is_read, dtypes.INT64), 0) - 1
    place = op.Where(is_read, place, op.size(count))  # a place of its own for what is not read
    room = full(op, (count + 1,), 0, dtype_of(grad_output))
    given = written(op, room, place, flat(op, grad_output), 0, "add")
    return reshape(op, op.Slice(given, [0], [-1], [0]), sizes)


# ── views written to ─────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.select_scatter")
def select_scatter(op: Builder, self: Tensor, src: Tensor, dim: int, index: Dim) -> Tensor:
    """`self` with the slice at `index` along `dim` replaced."""
    axis = axis_of(dim, len(self.shape))
    first = from_front(index, self.shape[axis])
    return _replaced(op, self, op.Unsqueeze(cast(op, src, dtype_of(self)), [axis]), axis, first)


def _replaced(op: Any, x: Any, piece: Any, axis: int, start: Dim) -> Any:
    """`x` with a piece along an axis replaced, from `start` on: what is before, the piece, what is after."""
    end = start + piece.shape[axis]
    before = [] if start == 0 else [cut(op, x, axis, 0, start)]
    after = [] if end == x.shape[axis] else [cut(op, x, axis, end, LAST)]
    return joined(op, [*before, piece, *after], axis)


@lower("aten.slice_scatter", ignore={"end"})
def slice_scatter(
    op: Builder, self: Tensor, src: Tensor, dim: int = 0, start: Dim | None = None, step: int = 1
) -> Tensor:
    """`self` with `self[start:end:step]` along `dim` replaced, of which `src` has the shape: it says where the end
    is.
    """
    axis = axis_of(dim, len(self.shape))
    size, source = self.shape[axis], cast(op, src, dtype_of(self))
    if source.shape[axis] == 0:
        return self
    first = minimum(maximum(from_front(start or 0, size), 0), size)
    if step == 1:
        return _replaced(op, self, source, axis, first)
    places = op.Add(positions(op, source.shape[axis]) * step, [first])
    return _slices_written(op, self, axis, places, source)
