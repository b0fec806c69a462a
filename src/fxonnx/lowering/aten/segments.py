"""Reductions of neighbouring slices: as many as lengths say, or those between offsets."""

from __future__ import annotations

import math

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.math.reduction import extremum, reduced
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import axis_of, cast, dtype_of, number, positions

_START = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}
_OPERATORS = {"sum": "ReduceSum", "mean": "ReduceSum", "prod": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin"}


@lower("aten.segment_reduce", ignore={"unsafe"})
def segment_reduce(
    op: Builder, data: Tensor, reduce: str, lengths: Tensor | None = None, indices: Tensor | None = None,
    offsets: Tensor | None = None, axis: int = 0, initial: float | None = None,
) -> Tensor:  # fmt: skip
    """The sum, mean, product, greatest or least element of each segment of an axis, and of `initial`.

    Of an empty one without `initial` it is what changes no other: 0, 1, an infinity; the mean is NaN.
    """
    if indices is not None:
        raise Unsupported("segments by indices, for which torch has no kernel")
    axis = axis_of(axis, len(data.shape))
    start = _START[reduce] if initial is None else initial
    inside = _membership(op, data, axis, *_bounds(op, lengths, offsets, axis))
    kept = op.Where(inside, op.Unsqueeze(data, [axis]), number(op, _START[reduce], data))
    if reduce in ("max", "min"):
        found = extremum(op, kept, axis + 1, operator=_OPERATORS[reduce])
        return op.Where(op.IsNaN(found), found, getattr(op, reduce.title())(found, number(op, start, data)))
    found = reduced(op, _OPERATORS[reduce], kept, axis + 1)
    found = found * float(start) if reduce == "prod" else found + float(start)
    if reduce != "mean":
        return found
    counted = cast(op, op.ReduceSum(cast(op, inside, dtypes.INT64), [axis + 1], keepdims=0), data.dtype)
    none = op.Equal(counted, number(op, 0, data))
    return op.Where(none, number(op, math.nan if initial is None else start, data), found / counted)


@lower("aten._segment_reduce_backward")
def segment_reduce_backward(
    op: Builder, grad: Tensor, output: Tensor, data: Tensor, reduce: str, *, lengths: Tensor | None = None,
    offsets: Tensor | None = None, axis: int = 0, initial: float | None = None,
) -> Tensor:  # fmt: skip
    """The gradient of the elements that segments are reduced of, 0 outside of all.

    Extrema share a gradient above 0 and are each given one below (ATen/native/SegmentReduce.cpp).
    """
    axis = axis_of(axis, len(data.shape))
    inside = _membership(op, data, axis, *_bounds(op, lengths, offsets, axis))
    given = _of_each(op, inside, grad, axis)
    if reduce == "sum":
        return given
    if reduce == "prod":
        return _of_factors(op, inside, given, _of_each(op, inside, output, axis), data, axis, initial)
    zero, is_sharing = number(op, 0, data), inside
    if reduce in ("max", "min"):
        is_found = op.Or(op.Equal(data, _of_each(op, inside, output, axis)), op.IsNaN(data))
        given = op.Where(is_found, given, zero)
        is_sharing = op.And(inside, op.Unsqueeze(is_found, [axis]))
    counted = op.ReduceSum(cast(op, is_sharing, dtype_of(data)), [axis + 1], keepdims=0)
    shared = given / op.Max(_of_each(op, inside, counted, axis), number(op, 1, data))
    return shared if reduce == "mean" else op.Where(given > zero, shared, given)


def _of_each(op: Builder, inside: Tensor, x: Tensor, axis: int) -> Tensor:
    """Of each element what its segment has; 0 outside of all."""
    return op.ReduceSum(op.Where(inside, op.Unsqueeze(x, [axis + 1]), number(op, 0, x)), [axis], keepdims=0)


def _of_factors(
    op: Builder, inside: Tensor, grad: Tensor, output: Tensor, data: Tensor, axis: int, initial: float | None
) -> Tensor:
    """The gradient of factors: the product over each one, and, where that says nothing, the product of the others."""
    one = number(op, 1, data)
    place = positions(op, data.shape[axis])
    is_other = op.Not(op.Equal(op.Unsqueeze(place, [1]), place))
    behind = len(data.shape) - axis - 1
    is_other = op.Unsqueeze(is_other, list(range(2, 2 + behind))) if behind else is_other
    own, others = (cast(op, op.Unsqueeze(inside, [axis + shift]), dtypes.INT32) for shift in (2, 1))
    is_with = cast(op, op.ReduceMax(own * others, [axis], keepdims=0), dtypes.BOOL)
    factors = op.Where(op.And(is_with, is_other), op.Unsqueeze(data, [axis]), one)
    rest = reduced(op, "ReduceProd", factors, axis + 1) * number(op, 1.0 if initial is None else initial, data)
    is_nothing = op.Or(op.Equal(data, number(op, 0, data)), op.IsNaN(data))
    return grad * op.Where(is_nothing, rest, output / op.Where(is_nothing, one, data))


def _bounds(op: Builder, lengths: Tensor | None, offsets: Tensor | None, axis: int) -> tuple[Tensor, Tensor]:
    """Where each segment begins, and where it ends."""
    if offsets is not None:
        offsets = cast(op, offsets, dtypes.INT64)
        return op.Slice(offsets, [0], [-1], [axis]), op.Slice(offsets, [1], [2**62], [axis])
    assert lengths is not None, "torch asks for one of them"
    lengths = cast(op, lengths, dtypes.INT64)
    ends = op.CumSum(lengths, axis)
    return ends - lengths, ends


def _membership(op: Builder, data: Tensor, axis: int, first: Tensor, end: Tensor) -> Tensor:
    """[…, segments, elements, 1, …]: which elements of the axis each segment has."""
    place = positions(op, data.shape[axis])
    inside = op.And(op.Unsqueeze(first, [-1]) <= place, op.Unsqueeze(end, [-1]) > place)
    behind = len(data.shape) - axis - 1
    return op.Unsqueeze(inside, list(range(axis + 2, axis + 2 + behind))) if behind else inside
