"""Pools that give a wanted number of windows which cover an axis unevenly.

Window `i` of `m` over `n` elements begins at ⌊i n / m⌋ and ends before ⌈(i + 1) n / m⌉
(ATen/native/AdaptivePooling.h). Windows are boxes, so each axis is pooled by itself, over gathered elements. It is the
same where `n` or `m` is known only when the model runs; then the small tables are computed in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fxonnx.dtypes import FLOAT32
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, ceil_divide, maximum, product
from fxonnx.lowering.aten.math.reduction import extremum
from fxonnx.lowering.vocabulary import cast, constant, dtype_of, may_be_zero, positions, reshape


def averaged(op: Builder, x: Tensor, wanted: Sequence[Dim]) -> Tensor:
    """The mean of every window along the last axes."""
    rank, count = len(x.shape), len(wanted)
    for axis, number in enumerate(wanted, start=rank - count):
        if x.shape[axis] != number:
            x = _averaged_axis(op, x, axis, number)
    return x


def _averaged_axis(op: Builder, x: Tensor, axis: int, count: Dim) -> Tensor:
    """The sum of what each window reads over its length; what fills up shorter windows counts as 0.

    (A product with a matrix would be as short, and would spread a NaN or an infinity over all windows.)
    """
    size, dtype = x.shape[axis], dtype_of(x)
    may_be_one = count == 1 or not isinstance(count, int)  # then eager takes the mean, of an empty axis as well
    if may_be_one and may_be_zero(op, size):  # Gather needs an element to read, which no window counts
        x = op.Pad(x, [0, 1], None, [axis])
    begins, ends = bounds(op, size, count)
    lengths = ends - begins
    trailing = [1] * (len(x.shape) - axis - 1)
    inside = positions(op, _longest(op, size, count)) < lengths
    inside = reshape(op, inside, (count, _longest(op, size, count), *trailing))
    read = op.Where(inside, op.Gather(x, _elements(op, size, count), axis=axis), 0)
    divisors = reshape(op, cast(op, lengths, dtype), (count, *trailing))
    return op.ReduceSum(read, [axis + 1], keepdims=0) / divisors


def largest(op: Builder, x: Tensor, wanted: Sequence[Dim]) -> Tensor:
    """The maximum of every window along the last axes. Shorter windows read their last element again: no difference."""
    rank, count = len(x.shape), len(wanted)
    for axis, number in enumerate(wanted, start=rank - count):
        if x.shape[axis] != number:
            elements = _elements(op, x.shape[axis], number)
            x = extremum(op, op.Gather(x, elements, axis=axis), [axis + 1], operator="ReduceMax")
    return x


def indices_of_maxima(op: Builder, x: Tensor, wanted: Sequence[Dim]) -> Tensor:
    """Where the maximum of every window stands among the elements of the last axes, as in torch: the first, or the
    last NaN."""
    rank, count = len(x.shape), len(wanted)
    sizes, leading = tuple(x.shape[rank - count :]), tuple(x.shape[: rank - count])
    table = _flat_elements(op, sizes, wanted)
    gathered = op.Gather(reshape(op, x, (*leading, product(sizes))), table, axis=-1)
    place = place_of_maximum(op, gathered)
    return op.Squeeze(op.GatherElements(op.Expand(table, op.Shape(gathered)), place, axis=-1), [-1])


def place_of_maximum(op: Builder, x: Tensor) -> Tensor:
    """Where the greatest element along the last axis, which stays, stands first; where there is a NaN, the last one."""
    place = op.ArgMax(x, axis=-1, keepdims=1)
    if not dtype_of(x).is_float:
        return place
    is_nan = cast(op, op.IsNaN(x), FLOAT32)
    last = op.ArgMax(is_nan, axis=-1, keepdims=1, select_last_index=1)
    return op.Where(op.ReduceMax(is_nan, [-1]) > 0.0, last, place)


def _flat_elements(op: Builder, sizes: Sequence[Dim], wanted: Sequence[Dim]) -> Any:
    """[windows…, elements]: the flat positions that each window reads, in order."""
    count = len(sizes)
    total: Any = None
    lengths: list[Dim] = []
    for axis, (size, number) in enumerate(zip(sizes, wanted, strict=True)):
        elements = _elements(op, size, number)
        shape: list[Dim] = [1] * (2 * count)
        shape[axis], shape[count + axis] = number, _longest(op, size, number)
        lengths.append(shape[count + axis])
        step = product(sizes[axis + 1 :])
        scaled = elements if step == 1 else elements * step
        placed = reshape(op, scaled, shape)
        total = placed if total is None else total + placed
    return reshape(op, total, (*wanted, product(lengths)))


def _elements(op: Builder, size: Dim, count: Dim) -> Any:
    """[windows, longest]: the positions that each window reads; shorter windows repeat their last."""
    begins, ends = bounds(op, size, count)
    return op.Min(begins + positions(op, _longest(op, size, count)), ends - 1)


def bounds(op: Builder, size: Dim, count: Dim) -> tuple[Any, Any]:
    """Where windows begin and end, as columns."""
    if isinstance(size, int) and isinstance(count, int):
        number = np.arange(count, dtype=np.int64)[:, None]
        return constant(op, number * size // count), constant(op, -(-(number + 1) * size // count))
    column, length = op.Unsqueeze(positions(op, count), [1]), op.size(size)
    windows = op.size(_at_least_one(op, count))
    return length * column / windows, (length * (column + 1) + (windows - 1)) / windows


def _longest(op: Builder, size: Dim, count: Dim) -> Dim:
    """The length of the longest window, or a little more."""
    if isinstance(size, int) and isinstance(count, int):
        return max((-(-(i + 1) * size // count) - i * size // count for i in range(count)), default=1)
    return ceil_divide(size, _at_least_one(op, count)) + 1


def _at_least_one(op: Builder, count: Dim) -> Dim:
    """A number of windows to divide by: of none nothing is computed, but the runtime refuses to divide by 0."""
    return maximum(count, 1) if may_be_zero(op, count) else count
