"""Shape: views, axes and repetition. Values move, none changes.

torch's views are values here, so `view` and `reshape` are one op. A size may be symbolic everywhere; ranks, axes and
the number of results are not.
Source of the semantics: torch's documentation of each function, and ATen/native/TensorShape.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import INT64, DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr, floor_divide, product, symbols_of
from fxonnx.ir.infer.call import broadcast
from fxonnx.ir.types import TensorType
from fxonnx.lowering.aten.tensor.creation import meshgrid
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import axes_of, axis_of, constant, dtype_of, expand, reshape, transpose

# ── the same elements under another shape ────────────────────────────────────────────────────────────────────────────


def resolved(shape: Sequence[Dim], size: Sequence[Dim]) -> tuple[Dim, ...]:
    """`size` with its -1, if any, replaced by what is left of the elements of `shape`."""
    if -1 not in size:
        return tuple(size)
    rest = product(dim for dim in size if dim != -1)
    missing = 0 if rest == 0 else floor_divide(product(shape), rest)
    return tuple(missing if dim == -1 else dim for dim in size)


@lower("aten.view", "aten._unsafe_view", "aten.view_copy", "aten._reshape_copy")
@lower("aten.reshape", rename={"shape": "size"})
@lower("aten._reshape_alias", ignore={"stride"})
def view(op: Builder, self: Tensor, size: Sequence[Dim]) -> Tensor:
    """The elements in row-major order under shape `size`, of which one dim may be -1."""
    return reshape(op, self, resolved(self.shape, size))


@lower("aten.resize")
def resize(op: Builder, self: Tensor, size: Sequence[Dim]) -> Tensor:
    """The first elements under shape `size`; what torch leaves uninitialized behind the last of them would be open."""
    before, after = product(self.shape), product(size)
    if before == after:
        return reshape(op, self, tuple(size))
    if isinstance(before, Expr) or isinstance(after, Expr) or after > before:
        raise Unsupported(f"a resize of {before} elements to {after}, of which some are uninitialized memory")
    return reshape(op, op.Slice(reshape(op, self, (before,)), [0], [after], [0]), tuple(size))


@lower("aten.view_as", "aten.reshape_as")
def view_as(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The elements under the shape of `other`."""
    return reshape(op, self, other.shape)


@lower("aten.view.dtype", "aten.view_copy.dtype")
def view_dtype(op: Builder, self: Tensor, dtype: DType) -> Tensor:
    """The same bits read as another dtype; the last axis has as many more or fewer elements as those have bits."""
    if self.dtype is dtype:
        return self
    if not {self.dtype.bits, dtype.bits} <= _WORDS.keys():
        raise Unsupported(f"a view of {self.dtype} as {dtype}")
    words = _bits_as(op, self, _WORDS[self.dtype.bits])
    if words.dtype.bits > dtype.bits:
        words = _parts_of_words(op, words, _WORDS[dtype.bits])
    elif words.dtype.bits < dtype.bits:
        words = _words_of_parts(op, words, _WORDS[dtype.bits])
    return _bits_as(op, words, dtype)


_WORDS = {each.bits: each for each in (dtypes.UINT8, dtypes.UINT16, dtypes.UINT32, dtypes.UINT64)}


def _bits_as(op: Builder, x: Tensor, dtype: DType) -> Tensor:
    """The bits in a dtype as wide. Truths are bytes of 0 and 1, and any other byte is true."""
    if x.dtype is dtype:
        return x
    return op.Cast(x, to=dtype) if dtypes.BOOL in (x.dtype, dtype) else op.BitCast(x, to=dtype.code)


def _parts_of_words(op: Builder, words: Tensor, part: DType) -> Tensor:
    """Each word as parts in order, the lowest bits first, as in the memory of all that runs models."""
    places = op.constant(range(0, words.dtype.bits, part.bits), words.dtype)
    shifted = op.BitShift(op.Unsqueeze(words, [-1]), places, direction="RIGHT")
    parts = op.Cast(op.BitwiseAnd(shifted, 2**part.bits - 1), to=part.code)
    *shape, last = words.shape
    return reshape(op, parts, (*shape, last * (words.dtype.bits // part.bits)))


def _words_of_parts(op: Builder, parts: Tensor, word: DType) -> Tensor:
    """The reverse of `_parts_of_words`."""
    count = word.bits // parts.dtype.bits
    *shape, last = parts.shape
    each = op.Cast(reshape(op, parts, (*shape, floor_divide(last, count), count)), to=word.code)
    places = op.constant(range(0, word.bits, parts.dtype.bits), word)
    shifted = op.BitShift(each, places, direction="LEFT")
    return reduce(op.BitwiseOr, (op.Gather(shifted, place, axis=-1) for place in range(count)))


@lower("aten.flatten.using_ints", "aten.ravel")
def flatten(op: Builder, self: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from `start_dim` to `end_dim` as one; a scalar becomes a vector of one element."""
    shape = tuple(self.shape)
    if not shape:
        return op.Reshape(self, [1])
    start, end = axis_of(start_dim, len(shape)), axis_of(end_dim, len(shape))
    return reshape(op, self, (*shape[:start], product(shape[start : end + 1]), *shape[end + 1 :]))


@lower("aten.unflatten.int")
def unflatten(op: Builder, self: Tensor, dim: int, sizes: Sequence[Dim]) -> Tensor:
    """One axis as several; one of `sizes` may be -1."""
    axis = axis_of(dim, len(self.shape))
    inner = resolved(self.shape[axis : axis + 1], sizes)
    return reshape(op, self, (*self.shape[:axis], *inner, *self.shape[axis + 1 :]))


# ── axes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.permute", "aten.permute_copy")
def permute(op: Builder, self: Tensor, dims: Sequence[int]) -> Tensor:
    """Axis `dims[i]` becomes axis i."""
    return transpose(op, self, [axis_of(dim, len(self.shape)) for dim in dims])


def _swapped(rank: int, first: int, second: int) -> list[int]:
    order = list(range(rank))
    first, second = axis_of(first, rank), axis_of(second, rank)
    if rank:
        order[first], order[second] = second, first
    return order


@lower("aten.transpose.int", "aten.transpose_copy.int", "aten.swapdims")
@lower("aten.swapaxes", rename={"axis0": "dim0", "axis1": "dim1"})
def swap(op: Builder, self: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    return transpose(op, self, _swapped(len(self.shape), dim0, dim1))


@lower("aten.t", "aten.t_copy", "aten.mT", "aten.mH", "aten.matrix_H", "aten.adjoint")
def matrix_transpose(op: Builder, self: Tensor) -> Tensor:
    """The last two axes exchanged; a scalar or vector as it is."""
    return self if len(self.shape) < 2 else swap(op, self, -1, -2)


@lower("aten.numpy_T")
def numpy_t(op: Builder, self: Tensor) -> Tensor:
    """All axes in reverse order."""
    return transpose(op, self, list(reversed(range(len(self.shape)))))


@lower("aten.movedim", "aten.moveaxis")
def movedim(op: Builder, self: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Axes `source` moved to the places `destination`; the others keep their order."""
    rank = len(self.shape)
    placed = dict(zip(axes_of(destination, rank), axes_of(source, rank), strict=True)) if source != [] else {}
    others = iter(axis for axis in range(rank) if axis not in placed.values())
    return transpose(op, self, [placed[axis] if axis in placed else next(others) for axis in range(rank)])


def without(op: Any, x: Any, axes: Sequence[int]) -> Any:
    """`x` without the given axes, each of size 1."""
    return op.Squeeze(x, axes) if axes else x


@lower("aten.squeeze", "aten.squeeze_copy")
def squeeze(op: Builder, self: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without the axes of size 1, all of them or those in `dim`. A symbolic size is not 1: torch's guard said so.

    One that no input has may be: the runtime finds out, where capture has left those to it.
    """
    rank = len(self.shape)
    axes = list(range(rank)) if dim is None else axes_of(dim, rank) if dim != [] else []
    axes = [axis for axis in axes if axis < rank]
    found_out = [axis for axis in axes if _comes_from_data(op, self.shape[axis])]
    gone = [axis for axis in axes if self.shape[axis] == 1]
    return _without_those_of_one(op, self, gone, found_out) if found_out else without(op, self, gone)


def _without_those_of_one(op: Builder, x: Tensor, gone: Sequence[int], found_out: Sequence[int]) -> Tensor:
    """Without some axes, and without those among others that turn out to be of size 1. The rank is called that of a
    result which keeps the latter."""
    stays = [axis for axis in range(x.rank) if axis not in gone and axis not in found_out]
    if all(isinstance(size := x.shape[axis], int) and size != 1 for axis in stays):
        return op.Squeeze(x)
    sizes = op.Shape(x)
    kept = op.Or(op.Not(op.Equal(sizes, 1)), constant(op, np.isin(np.arange(x.rank), stays)))
    shape = op.Compress(sizes, kept)
    length = x.rank - len(gone)
    return op.Reshape(x, op.refine(shape, TensorType(INT64, (length,))), allowzero=1)


def _comes_from_data(op: Builder, size: Dim) -> bool:
    """Whether a size is none that the inputs have."""
    while op.parent is not None:
        op = op.parent
    given = symbols_of(dim for value in op.inputs for dim in value.shape)
    return not symbols_of([size]) <= given


@lower("aten.unsqueeze", "aten.unsqueeze_copy")
def unsqueeze(op: Builder, self: Tensor, dim: int) -> Tensor:
    """With a new axis of size 1 at `dim`."""
    return op.Unsqueeze(self, [axis_of(dim, len(self.shape) + 1)])


@lower("aten.atleast_1d", given={"rank": 1})
@lower("aten.atleast_2d", given={"rank": 2})
def lifted(op: Any, self: Any, rank: int) -> Any:
    """The tensor with axes of size 1 in front, up to `rank`: a scalar as a vector, a vector as a matrix of one row."""
    missing = rank - len(self.shape)
    return op.Unsqueeze(self, list(range(missing))) if missing > 0 else self


@lower("aten.atleast_3d")
def atleast_3d(op: Builder, self: Tensor) -> Tensor:
    """Up to three axes: a vector is put in the middle, a matrix in front."""
    match len(self.shape):
        case 0:
            return op.Reshape(self, [1, 1, 1])
        case 1:
            return op.Unsqueeze(self, [0, 2])
        case 2:
            return op.Unsqueeze(self, [2])
    return self


@lower("aten.atleast_1d.Sequence", given={"rank": 1})
@lower("aten.atleast_2d.Sequence", given={"rank": 2})
@lower("aten.atleast_3d.Sequence", given={"rank": 3})
def each_at_least(op: Builder, tensors: Sequence[Tensor], rank: int) -> list[Tensor]:
    """Each tensor with at least one, two or three axes."""
    return [atleast_3d(op, tensor) if rank == 3 else lifted(op, tensor, rank) for tensor in tensors]


# ── repetition ───────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.expand", "aten.expand_copy", "aten.broadcast_to", ignore={"implicit"})
def expand_to(op: Builder, self: Tensor, size: Sequence[Dim]) -> Tensor:
    """Axes of size 1 repeated to `size`; -1 leaves an axis alone, new axes come in front."""
    offset = len(size) - len(self.shape)
    return expand(op, self, [self.shape[axis - offset] if dim == -1 else dim for axis, dim in enumerate(size)])


@lower("aten.expand_as")
def expand_as(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """Axes of size 1 repeated to the shape of `other`."""
    return expand(op, self, other.shape)


@lower("aten.broadcast_tensors")
def broadcast_tensors(op: Builder, tensors: Sequence[Tensor]) -> list[Tensor]:
    """All tensors expanded to their common shape."""
    shape = broadcast(*(tuple(tensor.shape) for tensor in tensors))
    return [expand(op, tensor, shape) for tensor in tensors]


@lower("aten.repeat")
def repeat(op: Builder, self: Tensor, repeats: Sequence[Dim]) -> Tensor:
    """The whole tensor `repeats[i]` times along axis i; new axes come in front."""
    lifted_self = lifted(op, self, len(repeats))
    return lifted_self if all(count == 1 for count in repeats) else op.Tile(lifted_self, repeats)


@lower("aten.tile")
def tile(op: Builder, self: Tensor, dims: Sequence[Dim]) -> Tensor:
    """As `repeat`, where missing leading repeats are 1."""
    return repeat(op, self, (*(1,) * (len(self.shape) - len(dims)), *dims))


@lower("aten.repeat_interleave.self_int")
def repeat_interleave(
    op: Builder, self: Tensor, repeats: Dim, dim: int | None = None, output_size: Dim | None = None
) -> Tensor:
    """Each slice along `dim` `repeats` times in a row; of the flat tensor when `dim` is None."""
    x = flatten(op, self) if dim is None or not self.shape else self
    axis = axis_of(dim or 0, len(x.shape))
    before, size, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    repeated = expand(op, op.Unsqueeze(x, [axis + 1]), (*before, size, repeats, *after))
    return reshape(op, repeated, (*before, size * repeats, *after))


# ── grids and pixels ──────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.cartesian_prod")
def cartesian_prod(op: Builder, tensors: Sequence[Tensor]) -> Tensor:
    """All combinations of one element each, a row per combination; a single vector as it is."""
    if len(tensors) == 1:
        return tensors[0]
    columns = [op.Reshape(grid, [-1, 1]) for grid in meshgrid(op, tensors)]
    return op.Concat(*columns, axis=-1)


@lower("aten.pixel_shuffle")
def pixel_shuffle(op: Builder, self: Tensor, upscale_factor: int) -> Tensor:
    """[…, C*r², H, W] to […, C, H*r, W*r]. Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution"."""
    *batch, channels, height, width = self.shape
    r = upscale_factor
    rest = floor_divide(channels, r * r)
    if dtype_of(self).is_float:
        x = op.DepthToSpace(reshape(op, self, (product(batch), channels, height, width)), blocksize=r, mode="CRD")
    else:
        x = transpose(op, reshape(op, self, (product(batch), rest, r, r, height, width)), [0, 1, 4, 2, 5, 3])
    return reshape(op, x, (*batch, rest, height * r, width * r))


@lower("aten.pixel_unshuffle")
def pixel_unshuffle(op: Builder, self: Tensor, downscale_factor: int) -> Tensor:
    """[…, C, H*r, W*r] to […, C*r², H, W]; not SpaceToDepth, which puts the channels last among the new ones."""
    if 0 in self.shape:
        return self  # as torch's kernel does on the CPU
    *batch, channels, height, width = self.shape
    r = downscale_factor
    low, narrow = floor_divide(height, r), floor_divide(width, r)
    x = reshape(op, self, (product(batch), channels, low, r, narrow, r))
    return reshape(op, transpose(op, x, [0, 1, 3, 5, 2, 4]), (*batch, channels * r * r, low, narrow))
