"""Forms of old operators that only newer opsets know: the same said without them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from fxonnx.dtypes import BFLOAT16, FLOAT32, FLOAT64
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, floor_divide
from fxonnx.ir.graph import Node, constant_ints, content, known_dims
from fxonnx.passes.legalize.expansions.indexing import counted
from fxonnx.passes.legalize.expansions.integers import complement
from fxonnx.passes.legalize.registry import NoExpansion, expands, form


@form("Shape", since=15, applies=lambda node: "start" in node.attributes or "end" in node.attributes)
def shape(op: Builder, x: Tensor, *, start: int, end: int | None) -> Tensor:
    """The whole shape, then a slice of it."""
    first, last, _ = slice(start, end).indices(x.rank)
    whole = op.Shape(x)
    return op.Slice(whole, [first], [last], [0])


def _is_of_bfloat16(node: Node) -> bool:
    return node.outputs[0].dtype is BFLOAT16


@form("ConstantOfShape", since=20, applies=_is_of_bfloat16)
def constant_of_shape(op: Builder, shape: Tensor, *, value: Any) -> Tensor:
    """Of float32, which holds the same number."""
    return op.Cast(op.ConstantOfShape(shape, value=np.asarray(value, np.float32)), to=BFLOAT16)


def _allows_zero(node: Node) -> bool:
    return bool(node.attributes.get("allowzero", 0))


@form("Reshape", since=14, applies=_allows_zero)
def reshape(op: Builder, x: Tensor, shape: Tensor, *, allowzero: int) -> Tensor:
    """Without the word that a 0 is no copy: where a size turns out to be 0 at a call, the runtime may stop. What has no
    elements anyway is made anew."""
    if 0 in x.shape:
        return op.ConstantOfShape(shape, value=np.zeros(1, x.dtype.numpy))
    return op.Reshape(x, shape)


@form("Split", since=18, applies=lambda node: "num_outputs" in node.attributes)
def split(op: Builder, x: Tensor, sizes: Tensor | None, *, axis: int, num_outputs: int) -> tuple[Tensor, ...]:
    """Explicit sizes: all alike but the last, which takes what is left."""
    part = -(-1 * x.shape[axis] // num_outputs)
    last = x.shape[axis] - part * (num_outputs - 1)
    return op.Split(x, [*[part] * (num_outputs - 1), last], axis=axis, _outputs=num_outputs)


def _is_computed(node: Node) -> bool:
    """Whether the sizes of a Split's parts are computed."""
    return len(node.inputs) > 1 and node.inputs[1] is not None and constant_ints(node.inputs[1]) is None


@form("Split", since=13, applies=_is_computed)
def computed_split(op: Builder, x: Tensor, sizes: Tensor, *, axis: int, num_outputs: None) -> tuple[Tensor, ...]:
    """Slices, one behind the other."""
    parts = known_dims(sizes.value)
    if parts is None:
        raise NoExpansion("a Split by numbers that come from data")
    ends = list(accumulate(parts))
    return tuple(op.Slice(x, [end - part], [end], [axis]) for part, end in zip(parts, ends, strict=True))


def has_axes(node: Node) -> bool:
    """Whether a Pad names the axes that it pads."""
    return len(node.inputs) > 3 and node.inputs[3] is not None


@form("Pad", since=18, applies=has_axes)
def pad(op: Builder, x: Tensor, pads: Tensor, value: Tensor | None, axes: Tensor, *, mode: str) -> Tensor:
    """Pads for every axis, zero where none was named."""
    named = constant_ints(axes.value)
    if named is None:
        raise NoExpansion("a Pad of axes that come from data")
    given = pads.value.known or constant_ints(pads.value)
    if given is None:
        return op.Pad(x, _pads_of_all(op, pads, named, x.rank), value, mode=mode)
    before: list[Dim] = [0] * x.rank
    after: list[Dim] = [0] * x.rank
    for index, axis in enumerate(named):
        before[axis], after[axis] = given[index], given[index + len(named)]
    return op.Pad(x, before + after, value, mode=mode)


def _pads_of_all(op: Builder, pads: Tensor, named: Sequence[int], rank: int) -> Tensor:
    """Pads that come from data, taken to their axes; those of the others are the 0 behind them."""
    places = {axis % rank: index for index, axis in enumerate(named)}
    none = 2 * len(named)
    begins = [places.get(axis, none) for axis in range(rank)]
    ends = [none if begin == none else begin + len(named) for begin in begins]
    every: Tensor = op.Gather(op.Concat(pads, [0], axis=0), op.constant(np.array(begins + ends)), axis=0)
    return every


@form("Resize", since=18, applies=lambda node: "axes" in node.attributes)
def resize(
    op: Builder, x: Tensor, roi: Tensor | None, scales: Tensor | None, sizes: Tensor | None, *, axes: Any, **rest: Any
) -> Tensor:
    """Scales or sizes for every axis, those of the others unchanged."""
    rest = {
        name: item
        for name, item in rest.items()
        if name not in ("antialias", "keep_aspect_ratio_policy") or item not in (0, "stretch")
    }
    known = content(scales.value) if scales is not None else None
    if known is not None:
        factors = np.ones(x.rank, np.float32)
        factors[list(axes)] = known
        return op.Resize(x, None, factors, **rest)
    assert sizes is not None
    every = list(x.shape)
    for axis, size in zip(axes, sizes.value.known or constant_ints(sizes.value) or (), strict=True):
        every[axis] = size
    return op.Resize(x, None, None, every, **rest)


@form("Pad", since=11, applies=lambda node: constant_ints(node.inputs[1]) is None)
def computed_pad(op: Builder, x: Tensor, pads: Tensor, value: Tensor | None, axes: None, *, mode: str) -> Tensor:
    """Axis by axis: blocks of the value joined on, or the elements gathered that stand at the new places."""
    known = pads.value.known
    if known is None:
        raise NoExpansion("a Pad by numbers that come from data")
    for axis in range(x.rank):
        before, after = known[axis], known[axis + x.rank]
        if (before, after) != (0, 0):
            x = _PADDED[mode](op, x, axis, before, after, value)
    return x


def _joined(op: Builder, x: Tensor, axis: int, before: Dim, after: Dim, value: Tensor | None) -> Tensor:
    fill = op.constant(0, x.dtype) if value is None else op.Reshape(value, [1] * x.rank)
    blocks = [op.Expand(fill, (*x.shape[:axis], size, *x.shape[axis + 1 :])) for size in (before, after)]
    return op.Concat(blocks[0], x, blocks[1], axis=axis)


def _edged(op: Builder, x: Tensor, axis: int, before: Dim, after: Dim, value: Tensor | None) -> Tensor:
    places = _new_places(op, x.shape[axis], before, after)
    return op.Gather(x, op.Min(op.Max(places, 0), op.size(x.shape[axis]) - 1), axis=axis)


def _reflected(op: Builder, x: Tensor, axis: int, before: Dim, after: Dim, value: Tensor | None) -> Tensor:
    last = op.size(x.shape[axis]) - 1
    places = op.Abs(_new_places(op, x.shape[axis], before, after))
    return op.Gather(x, last - op.Abs(last - places), axis=axis)


def _new_places(op: Builder, size: Dim, before: Dim, after: Dim) -> Tensor:
    """Where the elements of a padded axis would stand in the axis itself."""
    return op.Range(op.size(-1 * before), op.size(size + after), np.array(1))


_PADDED = {"constant": _joined, "edge": _edged, "reflect": _reflected}


@form("Gemm", since=11, applies=lambda node: len(node.inputs) < 3)
def gemm(op: Builder, a: Tensor, b: Tensor, c: Tensor | None, **attributes: Any) -> Tensor:
    """With a bias of 0."""
    return op.Gemm(a, b, op.constant(0, a.dtype), **attributes)


_BELOW_EVERY_FLOAT32 = -1e300  # but not below infinity


def _is_smallest_or_unsorted(node: Node) -> bool:
    return not node.attributes.get("largest", 1) or not node.attributes.get("sorted", 1)


@form("TopK", since=11, applies=_is_smallest_or_unsorted)
def top_k(op: Builder, x: Tensor, k: Tensor, *, axis: int, largest: int, sorted: int) -> tuple[Tensor, Tensor]:
    """Sorted always; the smallest as the largest of the negatives, NaN behind them all.

    In float64 there is room behind infinity for NaN; float64 itself has none, and NaN is as large as infinity.
    """
    if largest:
        return op.TopK(x, k, axis=axis)
    if not x.dtype.is_float:
        values, places = op.TopK(complement(op, x), k, axis=axis)
        return complement(op, values), places
    negative = op.Neg(x if x.dtype is FLOAT64 else op.Cast(x, to=FLOAT64))
    if x.dtype is not FLOAT64:
        negative = op.Max(negative, _BELOW_EVERY_FLOAT32)
    values, places = op.TopK(op.Where(op.IsNaN(negative), -np.inf, negative), k, axis=axis)
    found = op.Neg(op.Where(op.Equal(values, -np.inf), np.nan, values))
    return (found if x.dtype is FLOAT64 else op.Cast(found, to=x.dtype)), places


_HALF = 2**32  # of an integer of 64 bits: what is below it, and how many times it is there, are exact in double


@expands("TopK")
def by_halves(op: Builder, x: Tensor, k: Tensor, *, axis: int, largest: int, sorted: int) -> tuple[Tensor, Tensor]:
    """Of integers that no float holds: one by ReduceMax; several in the order of their lower halves, and then, which
    keeps that one among equals, of their upper halves."""
    if not largest:
        return top_k(op, x, k, axis=axis, largest=largest, sorted=sorted)
    if constant_ints(k.value) == (1,):
        value = op.ReduceMax(x, [axis])
        return value, op.ArgMax(op.Cast(op.Equal(x, value), to=FLOAT32), axis=axis)
    lower = op.Mod(x, _HALF)
    upper = op.Cast((x - lower) / _HALF, to=FLOAT64)
    _, by_lower = op.TopK(op.Cast(lower, to=FLOAT64), op.sizes([x.shape[axis]]), axis=axis)
    _, by_upper = op.TopK(op.GatherElements(upper, by_lower, axis=axis), k, axis=axis)
    places = op.GatherElements(by_lower, by_upper, axis=axis)
    return op.GatherElements(x, places, axis=axis), places


def _takes_the_last(node: Node) -> bool:
    return bool(node.attributes.get("select_last_index", 0))


@form("ArgMax", since=12, applies=_takes_the_last)
def last_greatest(op: Builder, x: Tensor, *, axis: int, keepdims: int, select_last_index: int) -> Tensor:
    """The first place from the back."""
    return op.size(x.shape[axis]) - 1 - op.ArgMax(_backwards(op, x, axis), axis=axis, keepdims=keepdims)


@form("ArgMin", since=12, applies=_takes_the_last)
def last_least(op: Builder, x: Tensor, *, axis: int, keepdims: int, select_last_index: int) -> Tensor:
    """The first place from the back."""
    return op.size(x.shape[axis]) - 1 - op.ArgMin(_backwards(op, x, axis), axis=axis, keepdims=keepdims)


def _backwards(op: Builder, x: Tensor, axis: int) -> Tensor:
    return op.Slice(x, [-1], [-(2**31)], [axis], [-1])


@form("DepthToSpace", since=11, applies=lambda node: node.attributes.get("mode", "DCR") != "DCR")
def depth_to_space(op: Builder, x: Tensor, *, blocksize: int, mode: str) -> Tensor:
    """Channels, then block rows, then block columns, as a transpose."""
    batch, channels, height, width = x.shape
    parts = op.Reshape(x, [batch, floor_divide(channels, blocksize**2), blocksize, blocksize, height, width])
    moved = op.Transpose(parts, perm=[0, 1, 4, 2, 5, 3])
    return op.Reshape(moved, [batch, floor_divide(channels, blocksize**2), height * blocksize, width * blocksize])


@expands("Einsum")
def einsum(op: Builder, x: Tensor, *others: Tensor, equation: str) -> Tensor:
    """The diagonals of one tensor, pair by pair: each is every n + 1-th element where both axes are one."""
    term, _, wanted = equation.replace(" ", "").partition("->")
    letters = list(term)
    if others or "." in term or not wanted or set(wanted) != set(letters):
        raise NoExpansion(f"Einsum {equation!r}")
    while twice := next((letter for letter in letters if letters.count(letter) > 1), None):
        pair = [index for index, letter in enumerate(letters) if letter == twice][:2]
        rest = [index for index in range(len(letters)) if index not in pair]
        size, kept = x.shape[pair[0]], [x.shape[index] for index in rest]
        square = op.Reshape(op.Transpose(x, perm=[*rest, *pair]), [*kept, size * size])
        x = op.Gather(square, counted(op, size) * (op.size(size) + 1), axis=len(rest))
        letters = [letters[index] for index in rest] + [twice]
    return op.Transpose(x, perm=[letters.index(letter) for letter in wanted])
