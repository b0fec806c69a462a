"""Reading and writing at computed places, in what opset 9 has for it: Gather and Scatter along one axis.

The several axes of an index become one, counted in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fxonnx.dtypes import INT64
from fxonnx.ir.build import Builder, InvalidCall, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.ir.graph import Node, constant_ints
from fxonnx.passes.legalize.registry import expands, form


@expands("Range", opmath=True)
def range_(op: Builder, start: Tensor, limit: Tensor, delta: Tensor, **_: Any) -> Tensor:
    """start + i · delta for the places i of as many ones as there are steps up to the limit."""
    span = op.Sub(limit, start)
    if start.dtype.is_float:
        count = op.Cast(op.Ceil(span / delta), to=INT64)
    else:  # integers are divided towards zero: one step short of a whole one is rounded up
        whole, step = (op.Cast(each, to=INT64) for each in (span, delta))
        count = (whole + step - op.Sign(step)) / step
    ones = op.Expand(op.constant(1), op.Reshape(op.Max(count, 0), [1]))
    places = op.Cast(op.Squeeze(op.NonZero(ones), [0]), to=start.dtype)
    return start + (places if constant_ints(delta.value) == (1,) else places * delta)


def counted(op: Builder, size: Dim) -> Tensor:
    """0, 1, … size - 1."""
    return op.Range(np.array(0), op.size(size), np.array(1))


def from_the_front(op: Builder, indices: Tensor, size: Dim) -> Tensor:
    """Indices that count from 0, where negative ones count from the end."""
    known = constant_ints(indices.value)
    if known is not None and all(index >= 0 for index in known):
        return indices
    return op.Where(op.Less(indices, 0), op.Add(indices, op.Cast(op.size(size), to=indices.dtype)), indices)


@form("Gather", since=11, applies=lambda node: any(index < 0 for index in constant_ints(node.inputs[1]) or ()))
def gather(op: Builder, x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    """Constant indices counted from the front, as the older text wants them; runtimes take those of data either way."""
    size = x.shape[axis]
    if isinstance(size, int):
        known = np.array(constant_ints(indices.value), np.int64).reshape([int(dim) for dim in indices.shape])
        return op.Gather(x, np.where(known < 0, known + size, known), axis=axis)
    return op.Gather(x, from_the_front(op, indices, size), axis=axis)


@expands("GatherElements")
def gather_elements(op: Builder, x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    """One axis of all elements, and where in it each wanted one lies."""
    axis %= x.rank
    places: list[Tensor | None] = [None] * x.rank
    places[axis] = from_the_front(op, indices, x.shape[axis])
    for other in range(x.rank):
        if other != axis:
            column = [-1 if each == other else 1 for each in range(x.rank)]
            places[other] = op.Reshape(counted(op, indices.shape[other]), column)
    return op.Gather(op.Reshape(x, [-1]), row_major(op, places, x.shape), axis=0)


def row_major(op: Builder, places: Sequence[Tensor | None], shape: Sequence[Dim]) -> Tensor:
    """Where an element lies when the axes of `shape` are one, by its place in each: int64, the places broadcast."""
    flat = op.constant(0)
    for place, size in zip(places, shape, strict=True):
        assert place is not None
        wide = place if place.dtype is INT64 else op.Cast(place, to=INT64)
        flat = flat * op.size(size) + wide
    return flat


def _flat_places(op: Builder, indices: Tensor, shape: Sequence[Dim]) -> Tensor:
    """The last axis of `indices`, which has a place for each axis of `shape`, as one place in all of them."""
    columns = op.Split(indices, axis=-1, num_outputs=len(shape)) if len(shape) > 1 else indices
    columns = columns if isinstance(columns, tuple) else (columns,)
    places = [
        from_the_front(op, op.Squeeze(column, [-1]), size) for column, size in zip(columns, shape, strict=True)
    ]
    return row_major(op, places, shape)


def _indexed_axes(x: Tensor, indices: Tensor) -> int:
    depth = indices.shape[-1]
    if not isinstance(depth, int):
        raise InvalidCall("indices of a number of axes that is not known have no form in this opset")
    return depth


@expands("GatherND")
def gather_nd(op: Builder, x: Tensor, indices: Tensor, *, batch_dims: int) -> Tensor:
    """The indexed axes as one, and a Gather along it."""
    if batch_dims:
        raise InvalidCall("GatherND with batch axes has no form in this opset")
    depth = _indexed_axes(x, indices)
    rows = op.Reshape(x, [-1, *x.shape[depth:]])
    return op.Gather(rows, _flat_places(op, indices, x.shape[:depth]), axis=0)


@expands("ScatterND")
def scatter_nd(op: Builder, x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str) -> Tensor:
    """The indexed axes as one, and the rows of what is left written whole."""
    if reduction != "none":
        raise InvalidCall(f"ScatterND that reduces by {reduction} has no form in this opset")
    depth = _indexed_axes(x, indices)
    width = math.prod(x.shape[depth:], start=1)
    rows, written = op.Reshape(x, [-1, width]), op.Reshape(updates, [-1, width])
    places = op.Reshape(_flat_places(op, indices, x.shape[:depth]), [-1, 1])
    places = op.Expand(places, [1, width])
    return op.Reshape(op.ScatterElements(rows, places, written, axis=0), list(x.shape))


def _is_no_constant_slice(node: Node) -> bool:
    starts, ends, axes, steps = (*node.inputs[1:], None, None)[:4]
    constant = all(each is None or constant_ints(each) is not None for each in (starts, ends, axes))
    return not constant or steps is not None


@form("Slice", since=10, applies=_is_no_constant_slice)
def slice_(op: Builder, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None, steps: Tensor | None) -> Tensor:
    """Without steps of 1; else the rows at the places from start to end, axis by axis."""
    strides = (1,) * _count(starts) if steps is None else constant_ints(steps.value)
    along = tuple(range(_count(starts))) if axes is None else constant_ints(axes.value)
    if strides is None or along is None:
        raise InvalidCall("a Slice whose axes or steps come from data has no form in this opset")
    first, last = constant_ints(starts.value), constant_ints(ends.value)
    if first is not None and last is not None and set(strides) <= {1}:
        return op.Slice(x, list(first), list(last), list(along))
    for index, (axis, stride) in enumerate(zip(along, strides, strict=True)):
        start, end = (op.Gather(each, np.array(index), axis=0) for each in (starts, ends))
        x = op.Gather(x, _places_of_slice(op, start, end, stride, x.shape[axis]), axis=axis % x.rank)
    return x


def _count(starts: Tensor) -> int:
    (count,) = starts.shape
    if not isinstance(count, int):
        raise InvalidCall("a Slice of a number of axes that is not known has no form in this opset")
    return count


def _places_of_slice(op: Builder, start: Tensor, end: Tensor, stride: int, size: Dim) -> Tensor:
    """The places that a slice of an axis takes: bounds count from the end where negative, and are clamped to the axis
    (downwards, to the place before it). Source: ONNX Slice."""
    low, high = (0, size) if stride > 0 else (-1, size - 1)
    bounds = (op.Where(op.Less(each, 0), each + op.size(size), each) for each in (start, end))
    first, last = (op.Min(op.Max(op.Cast(each, to=INT64), low), op.size(high)) for each in bounds)
    return op.Range(first, last, np.array(stride))
