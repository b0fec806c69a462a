"""Grouped matrix products: each group of rows, or of columns, times a matrix of its own, as a mixture of experts asks.

    rows ── Split at the offsets ─┬─ MatMul W0 ─┬─ Concat ─▶
                                  ├─ MatMul W1 ─┤
                                  └─ …          ┘

How many rows a group has is known when the model runs; none is fine. A product of each group reads each weight once
and multiplies nothing in vain: on ONNX Runtime all experts for all rows take 3 to 48 times as long, weights gathered
for each row up to 49 times, a Loop over the experts up to 8 times.

Sources: torch.nn.functional.grouped_mm; Gale et al. 2022 (MegaBlocks).
"""

from __future__ import annotations

from collections.abc import Sequence

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.lowering.aten.tensor import joining
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, full


@lower("aten._grouped_mm", rename={"self": "left", "mat2": "right"}, ignore={"out_dtype"})
@lower("transformers.grouped_mm_fallback", rename={"input": "left", "weight": "right"})
def grouped_mm(
    op: Builder, left: Tensor, right: Tensor, offs: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """A product for each group. A tensor of three axes has a matrix for each; one of two is cut at the ends `offs` of
    the groups: the rows on the left, the columns on the right, what is summed over where both have two. What is beyond
    the last end is left out, or zero in the result."""
    if bias is not None:
        raise Unsupported("a bias, for which torch has no kernel; add it to the result")
    ranks = left.rank, right.rank
    if offs is None or ranks == (3, 3):
        return left @ right
    if ranks == (2, 2):
        *parts, _ = _groups(op, left, 1, offs, offs.shape[0])
        others = _groups(op, right, 0, offs, offs.shape[0])
        return joining.stack(op, [a @ b for a, b in zip(parts, others, strict=False)])
    if ranks == (2, 3):
        *rows, rest = _groups(op, left, 0, offs, right.shape[0])
        products = [a @ b for a, b in zip(rows, joining.unbind(op, right), strict=True)]
        return op.Concat(*products, full(op, (rest.shape[0], right.shape[2]), 0, dtype_of(left)), axis=0)
    *columns, rest = _groups(op, right, 1, offs, left.shape[0])
    products = [a @ b for a, b in zip(joining.unbind(op, left), columns, strict=True)]
    return op.Concat(*products, full(op, (left.shape[1], rest.shape[1]), 0, dtype_of(left)), axis=1)


def _groups(op: Builder, x: Tensor, axis: int, ends: Tensor, count: Dim) -> Sequence[Tensor]:
    """The `count` parts of an axis that end there, and what is left of it."""
    if not isinstance(count, int):
        raise Unsupported(f"{count} groups: how many there are must be known when compiling")
    ends = op.Concat(cast(op, ends, dtypes.INT64), [x.shape[axis]], axis=0)
    starts = op.Concat([0], op.Slice(ends, [0], [-1], [0]), axis=0)
    return list(op.Split(x, ends - starts, axis=axis, _outputs=count + 1))
