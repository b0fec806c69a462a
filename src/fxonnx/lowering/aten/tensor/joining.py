"""Joining and cutting: cat, stack, slice, select, split, roll, flip and their relatives.

Sizes and bounds may be symbolic; how many results there are is not. Source of the semantics: torch's documentation of
each function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, ceil_divide, floor_divide, maximum, minimum, modulo, product
from fxonnx.lowering.aten.tensor.shape import atleast_3d, flatten, lifted, movedim, swap, without
from fxonnx.lowering.promote import SAME
from fxonnx.lowering.registry import COMPLEX, Unsupported, lower
from fxonnx.lowering.vocabulary import axes_of, axis_of, dtype_of, number, positions, reshape

LAST = 2**63 - 1  # an open end of a slice
FIRST = -(2**63) + 1  # the open end of a backward slice


# ── joining ──────────────────────────────────────────────────────────────────────────────────────────────────────────

_JOINED = SAME.of("tensors")
_LIFTED = replace(_JOINED, lifted=True)  # numbers of no dims get some first


def joined(op: Any, parts: Sequence[Any], axis: int) -> Any:
    """Concat, or the only part."""
    return parts[0] if len(parts) == 1 else op.Concat(*parts, axis=axis)


@lower("aten.cat", "aten.concat", "aten.concatenate", promote=_JOINED)
def cat(op: Builder, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors behind one another along `dim`. Those of shape [0] count for nothing, whatever the others' rank (a torch
    legacy).
    """
    kept = [tensor for tensor in tensors if tuple(tensor.shape) != (0,)] or tensors[:1]
    axis = axis_of(dim, len(kept[0].shape))
    return joined(op, [tensor for tensor in kept if tensor.shape[axis] != 0] or kept[:1], axis)


@lower("aten.stack", "aten._stack", promote=_JOINED)
def stack(op: Builder, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    axis = axis_of(dim, len(tensors[0].shape) + 1)
    return joined(op, [op.Unsqueeze(tensor, [axis]) for tensor in tensors], axis)


@lower("aten.hstack", promote=_LIFTED)
def hstack(op: Builder, tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the second axis, vectors along their only one."""
    parts = [lifted(op, tensor, 1) for tensor in tensors]
    return joined(op, parts, min(1, len(parts[0].shape) - 1))


@lower("aten.vstack", "aten.row_stack", promote=_LIFTED)
def vstack(op: Builder, tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the first axis; vectors are rows."""
    return joined(op, [lifted(op, tensor, 2) for tensor in tensors], 0)


@lower("aten.dstack", promote=_LIFTED)
def dstack(op: Builder, tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the third axis."""
    return joined(op, [atleast_3d(op, tensor) for tensor in tensors], 2)


@lower("aten.column_stack", promote=_LIFTED)
def column_stack(op: Builder, tensors: Sequence[Tensor]) -> Tensor:
    """Joined along the second axis; scalars and vectors are columns."""
    return joined(op, [x if len(x.shape) > 1 else reshape(op, x, (product(x.shape), 1)) for x in tensors], 1)


@lower("aten._chunk_cat")
def chunk_cat(op: Builder, tensors: Sequence[Tensor], dim: int, num_chunks: int) -> Tensor:
    """Each tensor in chunks of one size along `dim`, the last filled up with zeros, what is behind `dim` flat; joined
    chunk by chunk."""
    axis, parts = axis_of(dim, len(tensors[0].shape)), []
    for x in tensors:
        size = x.shape[axis]
        length = ceil_divide(size, num_chunks)
        missing = num_chunks * length - size
        filled = x if missing == 0 else op.Pad(x, [0, missing], number(op, 0, x), [axis])
        parts.append(reshape(op, filled, (*x.shape[:axis], num_chunks, length * product(x.shape[axis + 1 :]))))
    return joined(op, parts, axis + 1)


@lower("aten._chunk_cat", when=COMPLEX)
def chunk_cat_of_complex(op: Builder, tensors: Sequence[Tensor], dim: int, num_chunks: int) -> Tensor:
    """The same of pairs."""
    flat = chunk_cat(op, tensors, axis_of(dim, len(tensors[0].shape) - 1), num_chunks)
    return reshape(op, flat, (*flat.shape[:-1], floor_divide(flat.shape[-1], 2), 2))


# ── cutting ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def cut(op: Any, x: Any, axis: int, start: Dim, end: Dim, step: int = 1) -> Any:
    """`x[start:end:step]` along one axis; `x` itself where that is all of it. Bounds count from the back when negative,
    and are clamped.
    """
    size = x.shape[axis]
    if all(isinstance(bound, int) for bound in (size, start, end, step)) and step > 0:
        start, end, step = slice(start, end, step).indices(size)
    if step == 1 and start == 0 and (end == size or (isinstance(end, int) and end >= LAST)):
        return x
    bounds = ([start], [end], [axis])
    return op.Slice(x, *bounds) if step == 1 else op.Slice(x, *bounds, [step])


def from_front(index: Dim, size: Dim) -> Dim:
    """An index along an axis as it counts from the front: a negative one counts from the back."""
    is_negative = minimum(maximum(-1 * index, 0), 1)
    return index + size * is_negative


@lower("aten.slice.Tensor", "aten.slice_copy.Tensor")
def slice_(
    op: Builder, self: Tensor, dim: int = 0, start: Dim | None = None, end: Dim | None = None, step: int = 1
) -> Tensor:
    """`self[start:end:step]` along `dim`, by Python's rules."""
    axis = axis_of(dim, len(self.shape))
    return cut(op, self, axis, 0 if start is None else start, LAST if end is None else end, step)


@lower("aten.narrow", "aten.narrow_copy")
def narrow(op: Builder, self: Tensor, dim: int, start: Dim | Tensor, length: Dim) -> Tensor:
    """`length` elements from `start` on along `dim`."""
    axis = axis_of(dim, len(self.shape))
    if isinstance(start, Tensor):
        first = op.Reshape(start, [1])
        return op.Slice(self, first, op.Add(first, [length]), [axis])
    first = from_front(start, self.shape[axis])
    return cut(op, self, axis, first, first + length)


@lower("aten.select.int", "aten.select_copy.int")
def select(op: Builder, self: Tensor, dim: int, index: Dim) -> Tensor:
    """The slice at `index` along `dim`, without that axis."""
    axis = axis_of(dim, len(self.shape))
    size = self.shape[axis]
    position = index + size if isinstance(index, int) and index < 0 and isinstance(size, int) else index
    return op.Gather(self, position, axis=axis)


def parts(op: Any, x: Any, sizes: Sequence[Dim], axis: int) -> list[Any]:
    """`x` cut along an axis into parts of the given sizes."""
    if len(sizes) == 1:
        return [x]
    return list(op.Split(x, sizes, axis=axis))


def even_parts(op: Any, x: Any, count: int, axis: int) -> list[Any]:
    """`x` cut along an axis into `count` parts of one size, the last one smaller where it does not divide."""
    return [x] if count == 1 else list(op.Split(x, axis=axis, num_outputs=count))


@lower("aten.split.Tensor", "aten.split_copy.Tensor", "aten.unsafe_split.Tensor")
def split(op: Builder, self: Tensor, split_size: Dim, dim: int = 0) -> list[Tensor]:
    """Parts of `split_size` along `dim`, the last one smaller."""
    axis = axis_of(dim, len(self.shape))
    size = self.shape[axis]
    count = 1 if size == split_size or size == 0 else ceil_divide(size, split_size)
    if not isinstance(count, int):
        raise Unsupported(f"a split into {count} parts: how many results there are must be known when compiling")
    return parts(op, self, [*[split_size] * (count - 1), size - split_size * (count - 1)], axis)


@lower("aten.split_with_sizes", "aten.split_with_sizes_copy", "aten.unsafe_split_with_sizes")
@lower("aten.split.sizes", rename={"split_size": "split_sizes"})
def split_with_sizes(op: Builder, self: Tensor, split_sizes: Sequence[Dim], dim: int = 0) -> list[Tensor]:
    """Parts of the given sizes along `dim`."""
    return parts(op, self, split_sizes, axis_of(dim, len(self.shape)))


@lower("aten.chunk", "aten.unsafe_chunk")
def chunk(op: Builder, self: Tensor, chunks: int, dim: int = 0) -> list[Tensor]:
    """At most `chunks` parts of one size along `dim`, the last one smaller."""
    axis = axis_of(dim, len(self.shape))
    size = self.shape[axis]
    if size == 0:
        return [self] * chunks
    if isinstance(size, int):
        return split(op, self, ceil_divide(size, chunks), axis)
    return even_parts(op, self, chunks, axis)


def _sections(size: Dim, count: int) -> list[Dim]:
    """Sizes of `count` parts, the first ones larger by one where it does not divide."""
    rest = modulo(size, count)
    return [
        floor_divide(size, count)
        + (int(index < rest) if isinstance(rest, int) else floor_divide(rest + count - 1 - index, count))
        for index in range(count)
    ]


@lower("aten.tensor_split.sections")
def tensor_split(op: Builder, self: Tensor, sections: int, dim: int = 0) -> list[Tensor]:
    """`sections` parts along `dim`, the first ones larger by one where it does not divide."""
    axis = axis_of(dim, len(self.shape))
    return parts(op, self, _sections(self.shape[axis], sections), axis)


@lower("aten.tensor_split.indices")
def tensor_split_at(op: Builder, self: Tensor, indices: Sequence[Dim], dim: int = 0) -> list[Tensor]:
    """Parts along `dim` between the cutting points `indices`."""
    axis = axis_of(dim, len(self.shape))
    return [cut(op, self, axis, start, end) for start, end in zip([0, *indices], [*indices, LAST], strict=True)]


_CUT = "Cut along the {} axis (a vector along its only one), into equal sections or between indices."


@lower("aten.hsplit.int", "aten.hsplit.array", given={"axis": 1}, computes=_CUT.format("second"))
@lower("aten.vsplit.int", "aten.vsplit.array", given={"axis": 0}, computes=_CUT.format("first"))
@lower("aten.dsplit.int", "aten.dsplit.array", given={"axis": 2}, computes=_CUT.format("third"))
def split_along(
    op: Builder, self: Tensor, sections: int = 0, indices: Sequence[Dim] = (), *, axis: int
) -> list[Tensor]:
    """Cut along an axis, at most the last one."""
    axis = min(axis, len(self.shape) - 1)
    return even_parts(op, self, sections, axis) if sections else tensor_split_at(op, self, indices, axis)


@lower("aten.unbind.int", "aten.unbind_copy.int")
def unbind(op: Builder, self: Tensor, dim: int = 0) -> list[Tensor]:
    """The slices along `dim`, without that axis."""
    axis = axis_of(dim, len(self.shape))
    count = self.shape[axis]
    if not isinstance(count, int):
        raise Unsupported(f"unbinding an axis of size {count}: how many results there are must be known when compiling")
    return [without(op, part, [axis]) for part in even_parts(op, self, count, axis)] if count else []


# ── windows and differences ──────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.unfold", "aten.unfold_copy")
def unfold(op: Builder, self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` elements along an axis, one every `step`; the elements of a window are a new last axis."""
    if not self.shape:
        return op.Reshape(self, [size])
    axis = axis_of(dimension, len(self.shape))
    starts = positions(op, floor_divide(self.shape[axis] - size, step) + 1) * step
    places = op.Unsqueeze(starts, [1]) + np.arange(size, dtype=np.int64)
    return movedim(op, op.Gather(self, places, axis=axis), axis + 1, -1)


@lower("aten.diff", promote=SAME.of("self", "prepend", "append"))
def diff(
    op: Builder, self: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Differences of neighbours along `dim`, `n` times over; of bools, whether they differ."""
    if n == 0:
        return self
    axis = axis_of(dim, len(self.shape))
    x = joined(op, [part for part in (prepend, self, append) if part is not None], axis)
    difference = op.Xor if dtype_of(x) is dtypes.BOOL else op.Sub
    for _ in range(n):
        x = difference(cut(op, x, axis, 1, LAST), cut(op, x, axis, 0, -1 if x.shape[axis] != 0 else 0))
    return x


# ── rolling and turning ──────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.roll")
def roll(op: Builder, self: Tensor, shifts: Sequence[Dim], dims: Sequence[int] = ()) -> Tensor:
    """Elements moved by `shifts` along `dims`, those that fall off put in front; of the flat tensor when no `dims` are
    given.
    """
    if not dims:
        return reshape(op, roll(op, flatten(op, self), shifts, [0]), self.shape)
    x = self
    for shift, dim in zip(shifts, axes_of(dims, len(self.shape)), strict=True):
        x = _rolled(op, x, shift, dim)
    return x


def _rolled(op: Any, x: Any, shift: Dim, axis: int) -> Any:
    size = x.shape[axis]
    moved = modulo(shift, maximum(size, 1))
    if moved == 0:
        return x
    stay, wrap = parts(op, x, [size - moved, moved], axis)
    return op.Concat(wrap, stay, axis=axis)


@lower("aten.flip")
@lower("aten.fliplr", given={"dims": (1,)}, computes="Columns in reverse order.")
@lower("aten.flipud", given={"dims": (0,)}, computes="Rows in reverse order.")
def flip(op: Builder, self: Tensor, dims: Sequence[int]) -> Tensor:
    """The order of elements along `dims` reversed."""
    axes = axes_of(dims, len(self.shape)) if dims and self.shape else []
    if not axes:
        return self
    backwards = [-1] * len(axes)
    return op.Slice(self, backwards, [FIRST] * len(axes), axes, backwards)


@lower("aten.rot90")
def rot90(op: Builder, self: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A quarter turn from the first towards the second of `dims`, `k` times."""
    first, second = dims
    match k % 4:
        case 0:
            return self
        case 1:
            return swap(op, flip(op, self, [second]), first, second)
        case 2:
            return flip(op, self, [first, second])
    return flip(op, swap(op, self, first, second), [second])
