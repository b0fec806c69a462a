"""Embeddings: rows of a table, taken one by one or reduced in bags."""

from __future__ import annotations

from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim, product
from fxonnx.ir.graph import constant_ints
from fxonnx.lowering.aten.math.vectors import norm_along
from fxonnx.lowering.aten.tensor.joining import cut
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import cast, dtype_of, full, positions, reshape

_OF_GRADIENTS = ("scale_grad_by_freq", "sparse")
_SUM, _MEAN, _MAX = range(3)  # torch.nn.functional.embedding_bag's modes as aten numbers them
_REDUCE = {_SUM: "ReduceSum", _MEAN: "ReduceMean"}


@lower("aten.embedding", ignore={"padding_idx", "scale_grad_by_freq", "sparse"})
def embedding(op: Builder, weight: Tensor, indices: Tensor) -> Tensor:
    """The table's row for every index."""
    return op.Gather(weight, indices, axis=0)


@lower("aten.embedding_renorm")
def embedding_renorm(op: Builder, self: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """The table with every row that is read scaled down to `max_norm` where its norm is greater."""
    norms = norm_along(op, self, norm_type, [1], keepdim=True)
    rows = cast(op, reshape(op, indices, (product(indices.shape),)), dtypes.INT64)
    unread = full(op, (self.shape[0],), False, dtypes.BOOL)
    read = op.ScatterElements(unread, rows, full(op, rows.shape, True, dtypes.BOOL), axis=0)
    longer = op.And(op.Unsqueeze(read, [1]), norms > max_norm)
    return op.Where(longer, self * (max_norm / (norms + 1e-7)), self)  # torch's ε


@lower("aten.embedding_bag", given={"counts_from_end": True}, ignore=_OF_GRADIENTS, opmath=True)
@lower("aten._embedding_bag", "aten._embedding_bag_forward_only", ignore=_OF_GRADIENTS, opmath=True)
def embedding_bag(
    op: Builder, weight: Tensor, indices: Tensor, offsets: Tensor, mode: int = _SUM,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False, padding_idx: Dim | None = None,
    *, counts_from_end: bool = False,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Rows summed, averaged or their maxima taken in bags; bag `b` holds the indices from `offsets[b]` on.

    An empty bag is zeros. Only the first result exists: the others serve gradients. A negative padding index is none,
    or one counted from the table's end.
    """
    padding = padding_idx
    if isinstance(padding, int) and padding < 0:
        padding = weight.shape[0] + padding if counts_from_end else None
    rows = op.Gather(weight, indices, axis=0)
    if per_sample_weights is not None:
        rows = rows * op.Unsqueeze(per_sample_weights, [1])
    length = None if padding is not None or include_last_offset else _length_of_equal_bags(op, indices, offsets)
    if length is not None:
        bags = reshape(op, rows, (offsets.shape[0], length, weight.shape[1]))
        if mode == _MAX:
            first = op.Gather(bags, 0, axis=1)
            bags = op.Where(op.IsNaN(bags), -np.inf, bags)
            return op.Where(op.IsNaN(first), first, op.ReduceMax(bags, [1], keepdims=0)), None, None, None
        return getattr(op, _REDUCE[mode])(bags, [1], keepdims=0), None, None, None
    # The rows of one more bag are dropped at the end: those behind the last offset, and those at the padding index.
    count = offsets.shape[0] - 1 if include_last_offset else offsets.shape[0]
    bag = _bag_of_each_index(op, indices, offsets)
    if padding is not None:
        bag = op.Where(op.Equal(indices, cast(op, op.size(padding), dtype_of(indices))), op.size(count), bag)
    return _reduced(op, rows, bag, count, mode), None, None, None


def _length_of_equal_bags(op: Builder, indices: Tensor, offsets: Tensor) -> int | None:
    """How many indices every bag has where the offsets are a Range that says so, else None.

    torch makes such offsets for a matrix of indices.
    """
    made_by = [node for node in getattr(op, "nodes", ()) if node.op == "Range" and node.output is offsets.value]
    start, step = (constant_ints(made_by[0].inputs[index]) if made_by else None for index in (0, 2))
    if start != (0,) or step is None or offsets.shape[0] * step[0] != indices.shape[0]:
        return None
    return step[0]


def _bag_of_each_index(op: Builder, indices: Tensor, offsets: Tensor) -> Tensor:
    """[indices]: how many offsets are not behind each position, less one."""
    starts = cast(op, offsets, dtypes.INT64)
    zeros = full(op, [indices.shape[0] + 1], 0, dtypes.INT64)
    marks = op.ScatterElements(zeros, starts, full(op, [offsets.shape[0]], 1, dtypes.INT64), axis=0, reduction="add")
    return cut(op, op.CumSum(marks, 0), 0, 0, -1) - 1


def _reduced(op: Builder, rows: Tensor, bag: Tensor, count: Dim, mode: int) -> Tensor:
    """[count, features]: the rows of each bag reduced; bag number `count` is dropped.

    For a maximum torch compares each row with the greatest yet, the first to begin with: only a NaN of that one stays.
    """
    dtype, where = dtype_of(rows), op.Unsqueeze(bag, [1])
    shape = (count + 1, rows.shape[1])
    if mode != _MAX:
        sums = cut(op, op.ScatterND(full(op, shape, 0, dtype), where, rows, reduction="add"), 0, 0, -1)
        return sums if mode == _SUM else sums / op.Max(_lengths(op, where, rows, count), 1)
    order, is_nan = positions(op, rows.shape[0]), op.IsNaN(rows)
    first = op.ScatterElements(full(op, (count + 1,), 2**62, dtypes.INT64), bag, order, axis=0, reduction="min")
    is_first = op.Unsqueeze(op.Equal(op.Gather(first, bag, axis=0), order), [1])
    stays = op.ScatterND(full(op, shape, 0, dtype), where, cast(op, op.And(is_nan, is_first), dtype), reduction="max")
    numbers = op.Where(is_nan, -np.inf, rows)
    greatest = op.ScatterND(full(op, shape, -np.inf, dtype), where, numbers, reduction="max")
    greatest = cut(op, op.Where(stays > 0, np.nan, greatest), 0, 0, -1)
    return op.Where(op.Equal(_lengths(op, where, rows, count), 0), 0, greatest)


def _lengths(op: Builder, where: Tensor, rows: Tensor, count: Dim) -> Any:
    """[count, 1]: how many rows each bag has, in their dtype."""
    dtype = dtype_of(rows)
    ones = full(op, (rows.shape[0], 1), 1, dtype)
    sums = op.ScatterND(full(op, (count + 1, 1), 0, dtype), where, ones, reduction="add")
    return cut(op, sums, 0, 0, -1)
