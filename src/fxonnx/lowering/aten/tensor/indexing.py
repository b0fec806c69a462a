"""Indexing: what reads elements by position or by mask.

Index tensors may be negative where torch allows it, which ONNX's Gather and GatherND take as they are. How many
elements a mask selects is a size that only the running model knows. Source of the semantics: numpy's "Advanced
indexing", ATen/native/TensorAdvancedIndexing.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, Expr, Shape, minimum, product
from fxonnx.ir.infer.call import broadcast
from fxonnx.lowering.aten.tensor.joining import cut, parts
from fxonnx.lowering.aten.tensor.shape import without
from fxonnx.lowering.promote import SAME
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import (
    as_vector,
    axis_of,
    cast,
    dtype_of,
    expand,
    flat,
    full,
    like_self,
    number,
    positions,
    reshape,
    transpose,
)

MASKS = (dtypes.BOOL, dtypes.UINT8)
_STEPS = 48  # of a binary search, more than a tensor has room for


def int64(op: Any, index: Any) -> Any:
    """An index tensor in int64, which every ONNX operator takes."""
    return cast(op, index, dtypes.INT64)


# ── advanced indexing ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Index:
    """Index tensors of one shape for some axes of a tensor: what `x[:, i, :, j]` says once masks are positions and all
    is broadcast.
    """

    axes: tuple[int, ...]
    tensors: tuple[Any, ...]
    shape: Shape

    @property
    def adjacent(self) -> bool:
        """Whether the indexed axes lie side by side; then the result has the index's axes in their place, else in
        front.
        """
        return self.axes[-1] - self.axes[0] == len(self.axes) - 1

    def tuples(self, op: Any) -> Any:
        """The index as int64[*shape, len(axes)], as GatherND and ScatterND want it."""
        columns = [op.Unsqueeze(expand(op, tensor, self.shape), [-1]) for tensor in self.tensors]
        return columns[0] if len(columns) == 1 else op.Concat(*columns, axis=-1)

    def order(self, rank: int) -> list[int]:
        """The axes of the indexed tensor, indexed ones first."""
        return [*self.axes, *(axis for axis in range(rank) if axis not in self.axes)]


def index_of(op: Any, indices: Sequence[Any]) -> Index:
    """The index that a list of tensors, masks and None (a whole axis) means."""
    axes: list[int] = []
    tensors: list[Any] = []
    axis = 0
    for item in indices:
        if item is None:
            axis += 1
            continue
        found = _mask_positions(op, item) if dtype_of(item) in MASKS else [int64(op, item)]
        axes += range(axis, axis + len(found))
        tensors += found
        axis += len(found)
    return Index(tuple(axes), tuple(tensors), _together([tuple(tensor.shape) for tensor in tensors]))


def _together(shapes: Sequence[Shape]) -> Shape:
    """The shape of several indices together. Of counts that masks give one may be 0 where another is 1: then nothing is
    indexed, and not as much as the greatest says."""
    shape = broadcast(*shapes)
    counts: dict[Dim, None] = dict.fromkeys(each[0] for each in shapes if len(each) == 1 and isinstance(each[0], Expr))
    return (shape[0] * minimum(1, reduce(minimum, counts)),) if len(shape) == 1 and len(counts) > 1 else shape


def _mask_positions(op: Any, mask: Any) -> list[Any]:
    """Where a mask is true: a vector of positions per axis."""
    rank = len(mask.shape)
    rows = op.NonZero(cast(op, mask, dtypes.BOOL))
    return [without(op, row, [0]) for row in parts(op, rows, [1] * rank, 0)]


@lower("aten.index.Tensor", "aten._unsafe_index.Tensor")
def index(op: Builder, self: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """`self[indices]`, indexed by positions and masks, None being a whole axis."""
    given = [(axis, item) for axis, item in enumerate(indices) if item is not None]
    if not given:
        return self
    if len(given) == 1:
        return _by_one(op, self, *given[0])
    x, indices = without_scalar_masks(op, self, indices)
    return _gathered(op, x, index_of(op, indices))


def _by_one(op: Any, x: Any, axis: int, item: Any) -> Any:
    if dtype_of(item) in MASKS:
        return _masked(op, x, item, axis)
    return op.Gather(x, item if dtype_of(item) is dtypes.INT32 else int64(op, item), axis=axis)


def without_scalar_masks(op: Any, x: Any, indices: Sequence[Any]) -> tuple[Any, list[Any]]:
    """A mask without axes indexes none: `x` with an axis of size 1 for it, and indices with a mask of one element."""
    kept = list(indices)
    axis = 0
    for place, item in enumerate(indices):
        if item is not None and dtype_of(item) in MASKS and not item.shape:
            x, kept[place] = op.Unsqueeze(x, [axis]), as_vector(op, item)
        axis += 1 if item is None or dtype_of(item) not in MASKS else max(1, len(item.shape))
    return x, kept


def merged(op: Any, x: Any, axis: int, count: int) -> Any:
    """`x` with `count` axes from `axis` on as one (a new one of size 1 when `count` is 0)."""
    if count == 1:
        return x
    shape = tuple(x.shape)
    return reshape(op, x, (*shape[:axis], product(shape[axis : axis + count]), *shape[axis + count :]))


def _masked(op: Any, x: Any, mask: Any, axis: int) -> Any:
    """The elements where a mask over the axes from `axis` on is true."""
    condition = flat(op, cast(op, mask, dtypes.BOOL))
    return op.Compress(merged(op, x, axis, len(mask.shape)), condition, axis=axis)


def _gathered(op: Any, x: Any, index: Index) -> Any:
    """GatherND with the indexed axes in front; adjacent axes behind others are gathered in place, as one axis."""
    if index.adjacent and index.axes[0] > 0:
        return op.Gather(merged(op, x, index.axes[0], len(index.axes)), _flat_index(op, x, index), axis=index.axes[0])
    return op.GatherND(transpose(op, x, index.order(len(x.shape))), index.tuples(op))


def _flat_index(op: Any, x: Any, index: Index) -> Any:
    """Positions in the axis that the indexed ones form together."""
    total: Any = None
    for axis, tensor in zip(index.axes, index.tensors, strict=True):
        size = [x.shape[axis]]
        position = op.Mod(tensor, size)  # counts negative ones from the front
        total = position if total is None else total * size + position
    return total if tuple(total.shape) == index.shape else op.Reshape(total, index.shape)


@lower("aten._unsafe_masked_index")
def unsafe_masked_index(
    op: Builder, self: Tensor, mask: Tensor, indices: Sequence[Tensor | None], fill: float
) -> Tensor:
    """`where(mask, self[indices], fill)`, where indices outside the mask may be out of bounds."""
    return op.Where(mask, index(op, self, clamped(op, self, indices)), number(op, fill, self))


def clamped(op: Any, x: Any, indices: Sequence[Any]) -> list[Any]:
    """Index tensors, one per axis, with what is out of bounds brought to the nearest bound."""
    kept: list[Any] = []
    for axis, item in enumerate(indices):
        last = None if item is None else op.Sub([x.shape[axis]], [1])
        kept.append(None if item is None else op.Max(op.Min(int64(op, item), last), [0]))
    return kept


# ── along one axis ───────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.index_select")
def index_select(op: Builder, self: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices at `index` along `dim`."""
    found = op.Gather(as_vector(op, self), as_vector(op, index), axis=axis_of(dim, len(self.shape)))
    return like_self(op, found, self)


@lower("aten.gather", ignore={"sparse_grad"})
def gather(op: Builder, self: Tensor, dim: int, index: Tensor) -> Tensor:
    """`self[i][index[i, j]]` along `dim`: one element per element of `index`, which may be smaller than `self`."""
    if index.shape and len(index.shape) != len(self.shape):  # torch lets an empty index have any rank
        return op.Gather(flat(op, self), index, axis=0)
    found = op.GatherElements(as_vector(op, self), as_vector(op, index), axis=axis_of(dim, len(self.shape)))
    return like_self(op, found, index)


@lower("aten.take")
def take(op: Builder, self: Tensor, index: Tensor) -> Tensor:
    """Elements by their position in the flat tensor."""
    return op.Gather(flat(op, self), index, axis=0)


@lower("aten.take_along_dim")
def take_along_dim(op: Builder, self: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As `gather`, with `self` and `indices` broadcast against each other off `dim`; over the flat tensors when `dim`
    is None.
    """
    if dim is None:
        return op.Gather(flat(op, self), flat(op, indices), axis=0)
    axis = axis_of(dim, len(self.shape))
    common = list(broadcast(*((*x.shape[:axis], 1, *x.shape[axis + 1 :]) for x in (self, indices))))
    source, wanted = (expand(op, x, (*common[:axis], x.shape[axis], *common[axis + 1 :])) for x in (self, indices))
    return op.GatherElements(source, int64(op, wanted), axis=axis)


@lower("aten.repeat_interleave.Tensor")
def repeat_interleave_indices(op: Builder, repeats: Tensor, output_size: Dim | None = None) -> Tensor:
    """0, 1, … each as often as `repeats` says: where one begins is marked by 1, and the marks are summed up."""
    times = int64(op, repeats)
    begins = op.CumSum(times, 0, exclusive=1)
    total = [output_size] if output_size is not None else op.ReduceSum(times, [0])
    room = op.ConstantOfShape(op.Add(total, [1]), value=np.array([0], np.int64))  # the last may begin at the end
    marks = op.ScatterElements(room, begins, full(op, repeats.shape, 1, dtypes.INT64), reduction="add")
    which = op.CumSum(op.Slice(marks, [0], total), 0) - 1
    return cast(op, which, dtype_of(repeats))


@lower("aten.repeat_interleave.self_Tensor")
def repeat_interleave_of_each(
    op: Builder, self: Tensor, repeats: Tensor, dim: int | None = None, output_size: Dim | None = None
) -> Tensor:
    """Each slice along `dim` as often in a row as `repeats` says of it; of the flat tensor when `dim` is None."""
    x = flat(op, self) if dim is None else as_vector(op, self)
    axis = axis_of(dim or 0, len(x.shape))
    times = expand(op, as_vector(op, repeats), (x.shape[axis],))
    return op.Gather(x, repeat_interleave_indices(op, times, output_size), axis=axis)


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _memory_order(op: Any, x: Any, layout: tuple[Sequence[Any], Dim] | None) -> tuple[Any, list[int]]:
    """The elements in the order of memory, and the order of axes that gave it. Raises Unsupported where memory holds
    more than `x` shows."""
    rest = list(range(len(x.shape)))
    if layout is None:
        return x, rest
    (strides, offset), order, expected = layout, list[int](), 1
    while rest:
        inner = next((axis for axis in reversed(rest) if x.shape[axis] == 1 or strides[axis] == expected), None)
        if inner is None:
            raise Unsupported(f"as_strided of a view with strides {tuple(strides)} reads what the value does not hold")
        rest.remove(inner)
        order.insert(0, inner)
        expected = expected * x.shape[inner]
    if offset != 0:
        raise Unsupported(f"as_strided of a view that begins at element {offset} may read what is before")
    return transpose(op, x, order), order


def _memory_places(op: Any, size: Sequence[Dim], stride: Sequence[Dim], offset: Dim) -> Any:
    """Where in memory the elements of a strided view lie."""
    total = op.Reshape([offset], [1] * len(size))
    for axis, (count, step) in enumerate(zip(size, stride, strict=True)):
        places = positions(op, count) * [step]
        total = total + op.Reshape(places, [-1 if other == axis else 1 for other in range(len(size))])
    return total


@lower("aten.as_strided", "aten.as_strided_copy", layout=True)
def as_strided(
    op: Builder,
    self: Tensor,
    size: Sequence[Dim],
    stride: Sequence[Dim],
    storage_offset: Dim | None = None,
    layout: tuple[Sequence[Dim], Dim] | None = None,
) -> Tensor:
    """The elements at `storage_offset + Σ index * stride` of the memory of `self`, whose own strides and offset are
    `layout`.
    """
    x, _ = _memory_order(op, self, layout)
    return op.Gather(flat(op, x), _memory_places(op, size, stride, storage_offset or 0), axis=0)


@lower("aten.as_strided_scatter", layout=True)
def as_strided_scatter(
    op: Builder,
    self: Tensor,
    src: Tensor,
    size: Sequence[Dim],
    stride: Sequence[Dim],
    storage_offset: Dim | None = None,
    layout: tuple[Sequence[Dim], Dim] | None = None,
) -> Tensor:
    """`self` with the elements that `as_strided` would read replaced."""
    x, order = _memory_order(op, self, layout)
    places = flat(op, _memory_places(op, size, stride, storage_offset or 0))
    written = op.ScatterElements(flat(op, x), places, flat(op, cast(op, src, dtype_of(self))))
    return transpose(op, reshape(op, written, x.shape), np.argsort(order).tolist())


# ── masks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@lower("aten.masked_select")
def masked_select(op: Builder, self: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask is true, both broadcast against each other, as a vector."""
    shape = broadcast(tuple(self.shape), tuple(mask.shape))
    return op.Compress(flat(op, expand(op, self, shape)), flat(op, expand(op, mask, shape)), axis=0)


@lower("aten.nonzero", "aten.argwhere")
def nonzero(op: Builder, self: Tensor) -> Tensor:
    """The positions of elements that are not zero, a row each."""
    rows = op.Transpose(op.NonZero(cast(op, as_vector(op, self), dtypes.BOOL)), perm=[1, 0])
    return rows if self.shape else cut(op, rows, 1, 0, 0)


@lower("aten.nonzero_numpy")
def nonzero_numpy(op: Builder, self: Tensor) -> list[Tensor]:
    """The positions of elements that are not zero, a vector per axis."""
    return _mask_positions(op, as_vector(op, self))


@lower("aten.nonzero_static")
def nonzero_static(op: Builder, self: Tensor, size: Dim, fill_value: int = -1) -> Tensor:
    """The first `size` rows of `nonzero`, filled up with `fill_value`."""
    rank = len(self.shape)
    filler = op.Expand([[fill_value]], [size, rank])
    return cut(op, op.Concat(nonzero(op, self), filler, axis=0), 0, 0, size)


# ── positions in sorted sequences ────────────────────────────────────────────────────────────────────────────────────


def _counted(op: Any, boundaries: Any, values: Any, right: bool, out_int32: bool) -> Any:
    """How many boundaries along the last axis lie before each value; all of them before NaN."""
    size, values = boundaries.shape[-1], op.Unsqueeze(values, [-1])
    before = op.Not((op.Greater if right else op.GreaterOrEqual)(boundaries, values))
    if _may_be_nan(boundaries):
        before = op.And(before, op.Or(op.Not(op.IsNaN(boundaries)), op.IsNaN(values)))
    found = op.ReduceSum(cast(op, before, dtypes.INT64), [-1], keepdims=0)
    if _may_be_nan(boundaries):
        numbers = op.ReduceSum(cast(op, op.Not(op.IsNaN(boundaries)), dtypes.INT64), [-1], keepdims=0)
        found = op.Where(_is_met(op, found, numbers, size), found, op.size(size))
    return cast(op, found, dtypes.INT32 if out_int32 else dtypes.INT64)


def _may_be_nan(boundaries: Tensor) -> bool:
    data = boundaries.value.data
    return dtype_of(boundaries).is_float and (data is None or bool(np.isnan(data.array().astype(np.float64)).any()))


def _is_met(op: Any, found: Any, numbers: Any, size: Dim) -> Any:
    """Whether torch's binary search looks at a boundary from the place found on that is a number. From NaN, which come
    last, it goes on to the end; so it does from what lies before, and looks at what halves the places left."""
    steps = op.constant([2**step for step in range(size.bit_length() if isinstance(size, int) else _STEPS)])
    left = (op.size(size) + 1) / steps - 1
    middles = op.size(size) - left + left / 2
    looked = op.Where(left > 0, middles, op.size(size))
    looked = op.Where(looked >= op.Unsqueeze(found, [-1]), looked, op.size(size))
    return op.ReduceMin(looked, [-1], keepdims=0) < numbers


@lower("aten.bucketize", promote=SAME.of("self", "boundaries"))
def bucketize(op: Builder, self: Tensor, boundaries: Tensor, out_int32: bool = False, right: bool = False) -> Tensor:
    """The bucket of each element between sorted `boundaries`; a value on a boundary is in the lower bucket unless
    `right`.
    """
    return _counted(op, boundaries, self, right, out_int32)


@lower("aten.searchsorted", promote=SAME.of("sorted_sequence", "self"))
def searchsorted(
    op: Builder,
    sorted_sequence: Tensor,
    self: Tensor,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where to insert each element of `self` into the last axis of `sorted_sequence` to keep it sorted."""
    sequence = sorted_sequence if sorter is None else op.GatherElements(sorted_sequence, sorter, axis=-1)
    if len(sequence.shape) > 1:
        sequence = op.Unsqueeze(sequence, [-2])
    return _counted(op, sequence, self, right or side == "right", out_int32)
