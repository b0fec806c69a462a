"""Running sums and products, step by step along their axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fxonnx.dtypes import INT64
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_scan
from fxonnx.ir.graph import constant_ints
from fxonnx.passes.legalize.registry import NoExpansion, expands


@expands("CumSum", opmath=True)
def running_sum(op: Builder, x: Tensor, axis: Tensor, *, exclusive: int, reverse: int) -> Tensor:
    """A Scan that adds: no product with a triangle, of which an infinity would make NaN elsewhere."""
    return _running(op, x, axis, 0, lambda inner, *pair: inner.Add(*pair), exclusive, reverse)


@expands("CumProd", opmath=True)
def running_product(op: Builder, x: Tensor, axis: Tensor, *, exclusive: int, reverse: int) -> Tensor:
    """A Scan that multiplies: no sum of logarithms, which zeros and what is negative have not."""
    return _running(op, x, axis, 1, lambda inner, *pair: inner.Mul(*pair), exclusive, reverse)


def _running(
    op: Builder, x: Tensor, axis: Tensor, neutral: int, join: Callable[..., Any], exclusive: int, reverse: int
) -> Tensor:
    """What `join` has made of the rows so far. A Scan needs a row: where there may be none, a neutral one stands at the
    end where it starts."""
    known = constant_ints(axis.value)
    if known is None:
        raise NoExpansion("a running sum or product along an axis that comes from data")
    order = [known[0] % x.rank, *(index for index in range(x.rank) if index != known[0] % x.rank)]
    rows = op.Transpose(x, perm=order)
    start = op.Expand(op.constant(neutral, x.dtype), rows.shape[1:])
    may_be_empty = op.may_be_zero(rows.shape[0])
    if may_be_empty:
        both = [rows, op.Unsqueeze(start, [0])]
        rows = op.Concat(*(both if reverse else both[::-1]), axis=0)

    def step(inner: Builder, so_far: Tensor, row: Tensor) -> list[Tensor]:
        after = join(inner, so_far, row)
        return [after, inner.Identity(so_far) if exclusive else inner.Identity(after)]

    _, made = record_scan(op, [start], [rows], step, reverse=bool(reverse))
    if may_be_empty:
        made = op.Slice(made, [0], [-1], [0]) if reverse else op.Slice(made, [1], [INT64.highest], [0])
    return op.Transpose(made, perm=sorted(range(x.rank), key=order.__getitem__))
