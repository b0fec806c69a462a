"""Reductions of neighbouring slices: as many as lengths say, or those between offsets."""

from __future__ import annotations

import math

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.math.reduction import extremum, reduced
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import axis_of, cast, number, positions

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
