"""Counting: how often numbers occur, and how many elements or points lie between edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import product
from fxonnx.lowering.aten.tensor.indexing import int64
from fxonnx.lowering.aten.tensor.scatter import written
from fxonnx.lowering.promote import as_tensor
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import cast, constant, dtype_of, flat, full, may_be_zero, number, reshape


@lower("aten.bincount")
def bincount(op: Builder, self: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of 0, 1, … occurs, or the sum of its weights; as long as the greatest element wants, at least
    `minlength`. Of nothing there are no weights either: it is counted.
    """
    weights = None if self.shape == (0,) else weights
    values = int64(op, self)
    longest = op.ReduceMax(op.Concat(values, [minlength - 1], axis=0), [0])
    kind = (
        dtypes.INT64 if weights is None else dtypes.FLOAT32 if dtype_of(weights) is dtypes.FLOAT32 else dtypes.FLOAT64
    )
    zeros = op.ConstantOfShape(op.Add(longest, [1]), value=np.zeros(1, kind.numpy))
    updates = full(op, self.shape, 1, kind) if weights is None else cast(op, weights, kind)
    return written(op, zeros, values, updates, 0, "add")


@lower("aten._convert_indices_from_coo_to_csr")
def row_starts(op: Builder, self: Tensor, size: int, *, out_int32: bool = False) -> Tensor:
    """Where each of `size` rows starts among sorted numbers of rows, and where the last one ends."""
    ones = full(op, self.shape, 1, dtypes.INT64)
    counts = written(op, full(op, [size], 0, dtypes.INT64), int64(op, self), ones, 0, "add")
    starts = op.Concat([0], op.CumSum(counts, 0), axis=0)
    return cast(op, starts, dtypes.INT32 if out_int32 else dtypes.INT64)


@lower("aten.histc", runtime={"min", "max"})
def histc(op: Builder, self: Tensor, bins: int = 100, min: Any = 0, max: Any = 0) -> Tensor:
    """How many elements lie in each of `bins` equal intervals from `min` to `max`, both included; those outside are not
    counted.
    """
    x = flat(op, self)
    low, high = _given_range(op, x, min, max)
    inside = op.And(x >= low, x <= high)
    offset = (x - low) / (high - low)
    bin_of = cast(op, op.Where(inside, offset * number(op, bins, x), number(op, 0, x)), dtypes.INT64)
    place = op.Min(bin_of, bins - 1)
    return written(op, full(op, [bins], 0, dtype_of(x)), place, cast(op, inside, dtype_of(x)), 0, "add")


def _given_range(op: Builder, x: Tensor, min: Any, max: Any) -> tuple[Any, Any]:
    """Two numbers, which may be known only when the model runs; of two that are one, the elements' own."""
    low, high = (as_tensor(op, each, dtype_of(x)) for each in (min, max))
    if isinstance(min, (int, float)) and isinstance(max, (int, float)):
        return _own_range(op, x, 1.0) if min == max else (low, high)
    is_one, (least, most) = op.Equal(low, high), _own_range(op, x, 1.0)
    return op.Where(is_one, least, low), op.Where(is_one, most, high)


def _own_range(op: Any, x: Any, apart: float) -> tuple[Any, Any]:
    """The least and the greatest element, moved apart where they are one; 0 and 1 of none."""
    low, high = op.ReduceMin(x, keepdims=0), op.ReduceMax(x, keepdims=0)
    if may_be_zero(op, x.shape[0]):
        is_none = low > high
        low, high = op.Where(is_none, number(op, 0, x), low), op.Where(is_none, number(op, 1, x), high)
    widening = cast(op, op.Equal(low, high), dtype_of(x)) * number(op, apart, x)
    return low - widening, high + widening


@lower("aten.histogram")
def histogram(
    op: Builder, self: Tensor, bins: Any = 100, range: Sequence[float] | None = None, weight: Tensor | None = None,
    density: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """How many elements, or how much weight, lie between neighbouring edges, the last one included, and the edges:
    those given, or `bins` equal steps. As a density, over the whole and the width of each bin."""
    x = flat(op, self)
    edges = _edges(op, x, bins, range) if isinstance(bins, int) else cast(op, bins, dtype_of(self))
    return _counted(op, [x], [edges], weight, density), edges


@lower("aten._histogramdd_bin_edges", ignore={"weight", "density"})
def edges_of_bins(op: Builder, self: Tensor, bins: Sequence[int], range: Sequence[float] | None = None) -> list[Tensor]:
    """The edges of the bins along each coordinate of points: equal steps over a range, or over the points' own."""
    columns = _coordinates(op, self, len(bins))
    ranges = [None] * len(bins) if range is None else list(zip(range[::2], range[1::2], strict=True))
    return [_edges(op, *each) for each in zip(columns, bins, ranges, strict=True)]


@lower("aten._histogramdd_from_bin_cts")
def counted_in_bins(
    op: Builder, self: Tensor, bins: Sequence[int], range: Sequence[float] | None = None, weight: Tensor | None = None,
    density: bool = False,
) -> Tensor:  # fmt: skip
    """How many points, or how much weight, lie in each box of a grid of equal steps."""
    return counted_between(op, self, edges_of_bins(op, self, bins, range), weight, density)


@lower("aten._histogramdd_from_bin_tensors")
def counted_between(
    op: Builder, self: Tensor, bins: Sequence[Tensor], weight: Tensor | None = None, density: bool = False
) -> Tensor:
    """How many points, or how much weight, lie in each box of a grid, of which the edges are given."""
    return _counted(op, _coordinates(op, self, len(bins)), bins, weight, density)


def _coordinates(op: Builder, x: Tensor, count: int) -> list[Tensor]:
    """The coordinates of points along the last axis, a vector for each."""
    points = reshape(op, x, (product(x.shape[:-1]), x.shape[-1]))
    return [op.Gather(points, index, axis=1) for index in range(count)]


def _counted(
    op: Builder, coordinates: Sequence[Tensor], edges: Sequence[Tensor], weight: Tensor | None, density: bool
) -> Tensor:
    """The histogram of points, given by coordinates; as a density, over the whole and the volume of each box."""
    x, counts = coordinates[0], [each.shape[0] - 1 for each in edges]
    place, inside = op.size(0), constant(op, np.array(True))
    for each, ends, count in zip(coordinates, edges, counts, strict=True):
        along, is_inside = _place(op, each, ends)
        place, inside = place * op.size(count) + along, op.And(inside, is_inside)
    amount = full(op, x.shape, 1, dtype_of(x)) if weight is None else cast(op, flat(op, weight), dtype_of(x))
    place, amount = op.Where(inside, place, 0), op.Where(inside, amount, number(op, 0, x))
    found = written(op, full(op, (product(counts),), 0, dtype_of(x)), place, amount, 0, "add")
    found = reshape(op, found, tuple(counts))
    if not density:
        return found
    found = found / op.ReduceSum(found, keepdims=0)
    for axis, ends in enumerate(edges):
        width = op.Slice(ends, [1], [2**62], [0]) - op.Slice(ends, [0], [-1], [0])
        found = found / op.Reshape(width, [-1, *[1] * (len(edges) - axis - 1)])
    return found


def _place(op: Builder, x: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Between which edges each number lies, the last of them included, and whether it does."""
    count = edges.shape[0] - 1
    place = op.Min(_upper_bound(op, x, edges), op.size(count)) - 1
    first, last = (op.Gather(edges, op.size(each), axis=0) for each in (0, count))
    return place, op.And(x >= first, x <= last)


def _upper_bound(op: Builder, x: Tensor, edges: Tensor) -> Tensor:
    """How many edges are not above each number, counted as torch does: by halves, which tells of edges that are not
    sorted what it tells there (std::upper_bound)."""
    count = edges.shape[0]
    if not isinstance(count, int):
        return op.ReduceSum(cast(op, op.Unsqueeze(x, [1]) >= edges, dtypes.INT64), [1], keepdims=0)
    first, rest = (full(op, x.shape, each, dtypes.INT64) for each in (0, count))
    for _ in range(count.bit_length()):
        half = rest / 2
        middle = first + half
        is_above = op.And(rest > 0, op.Not(x < op.Gather(edges, op.Min(middle, count - 1), axis=0)))
        first, rest = op.Where(is_above, middle + 1, first), op.Where(is_above, rest - half - 1, half)
    return first


def _edges(op: Builder, x: Tensor, bins: int, range: Sequence[float] | None) -> Tensor:
    """bins + 1 numbers at equal distances, from both ends towards the middle, as torch.linspace takes them."""
    given = (0.0, 1.0) if range is None and x.shape == (0,) else range
    low, high = _own_range(op, x, 0.5) if given is None else (number(op, each, x) for each in given)
    step, places = (high - low) / float(bins), constant(op, np.arange(bins + 1, dtype=dtype_of(x).numpy))
    is_front = constant(op, np.arange(bins + 1) < (bins + 1) // 2)
    return op.Where(is_front, low + step * places, high - step * (float(bins) - places))
