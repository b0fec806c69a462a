"""Reading and writing at computed places, in what opset 9 has for it: Gather and Scatter along one axis.

The several axes of an index become one, counted in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fxonnx.dtypes import INT64
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_scan
from fxonnx.ir.dims import Dim
from fxonnx.ir.graph import Node, constant_ints
from fxonnx.passes.legalize.registry import NoExpansion, expands, form


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
    return op.Gather(op.Reshape(x, [-1]), _elements(op, x, indices, axis % x.rank), axis=0)


def _elements(op: Builder, x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Where each element lies that `indices` name along an axis, when all axes of `x` are one."""
    places: list[Tensor] = []
    for other in range(x.rank):
        if other == axis:
            places.append(from_the_front(op, indices, x.shape[axis]))
            continue
        column = [-1 if each == other else 1 for each in range(x.rank)]
        places.append(op.Reshape(counted(op, indices.shape[other]), column))
    return row_major(op, places, x.shape)


def row_major(op: Builder, places: Sequence[Tensor], shape: Sequence[Dim]) -> Tensor:
    """Where an element lies when the axes of `shape` are one, by its place in each: int64, the places broadcast."""
    flat = op.constant(0)
    for place, size in zip(places, shape, strict=True):
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
        raise NoExpansion("indices of a number of axes that is not known")
    return depth


@expands("GatherND")
def gather_nd(op: Builder, x: Tensor, indices: Tensor, *, batch_dims: int) -> Tensor:
    """The indexed axes as one, and a Gather along it."""
    if batch_dims:
        raise NoExpansion("GatherND with batch axes")
    depth = _indexed_axes(x, indices)
    rows = op.Reshape(x, [-1, *x.shape[depth:]])
    return op.Gather(rows, _flat_places(op, indices, x.shape[:depth]), axis=0)


@expands("ScatterND")
def scatter_nd(op: Builder, x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str) -> Tensor:
    """The indexed axes as one, and the rows of what is left written whole."""
    depth = _indexed_axes(x, indices)
    width = math.prod(x.shape[depth:], start=1)
    rows, written = op.Reshape(x, [-1, width]), op.Reshape(updates, [-1, width])
    places = op.Reshape(_flat_places(op, indices, x.shape[:depth]), [-1, 1])
    wide = op.Expand(places, [1, width])
    return op.Reshape(op.ScatterElements(rows, wide, written, axis=0, reduction=reduction), list(x.shape))


def _reduces(node: Node) -> bool:
    return node.attributes.get("reduction", "none") != "none"


def _reduces_to_extremes(node: Node) -> bool:
    return node.attributes.get("reduction") in ("min", "max")


@form("ScatterND", since=16, applies=_reduces)
@form("ScatterND", since=18, applies=_reduces_to_extremes)
def reduce_rows(op: Builder, x: Tensor, indices: Tensor, updates: Tensor, *, reduction: str) -> Tensor:
    """The indexed axes as one, as ScatterElements."""
    return scatter_nd(op, x, indices, updates, reduction=reduction)


_REDUCTIONS = {"add": "Add", "mul": "Mul", "min": "Min", "max": "Max"}


@form("ScatterElements", since=16, applies=_reduces)
@form("ScatterElements", since=18, applies=_reduces_to_extremes)
def reduce_elements(op: Builder, x: Tensor, indices: Tensor, updates: Tensor, *, axis: int, reduction: str) -> Tensor:
    """All axes as one, and a Scan that writes an update after the other: places may occur twice."""
    if 0 in updates.shape:
        return op.Identity(x)  # the runtime scans nothing of no size
    places = op.Reshape(_elements(op, x, indices, axis % x.rank), [-1, 1])

    def write(inner: Builder, flat: Tensor, place: Tensor, update: Tensor) -> list[Tensor]:
        (reduced,) = inner.call(_REDUCTIONS[reduction], [inner.Gather(flat, place, axis=0), update], {})
        return [inner.ScatterElements(flat, place, reduced, axis=0)]

    flat, rows = op.Reshape(x, [-1]), [places, op.Reshape(updates, [-1, 1])]
    if not all(isinstance(dim, int) for dim in updates.shape):  # there may be none: a first one that changes nothing
        neutral = {"add": 0, "mul": 1}.get(reduction)
        same = op.Slice(flat, [0], [1]) if neutral is None else op.constant([neutral], x.dtype)
        first = op.Reshape(same, [1, 1])
        rows = [op.Concat(one, rest, axis=0) for one, rest in zip(([[0]], first), rows, strict=True)]
    (flat,) = record_scan(op, [flat], rows, write)
    return op.Reshape(flat, list(x.shape))


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
        raise NoExpansion("a Slice whose axes or steps come from data")
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
        raise NoExpansion("a Slice of a number of axes that is not known")
    return count


def _places_of_slice(op: Builder, start: Tensor, end: Tensor, stride: int, size: Dim) -> Tensor:
    """The places that a slice of an axis takes: bounds count from the end where negative, and are clamped to the axis
    (downwards, to the place before it). Source: ONNX Slice."""
    low, high = (0, size) if stride > 0 else (-1, size - 1)
    bounds = (op.Where(op.Less(each, 0), each + op.size(size), each) for each in (start, end))
    first, last = (op.Min(op.Max(op.Cast(each, to=INT64), low), op.size(high)) for each in bounds)
    return op.Range(first, last, np.array(stride))
