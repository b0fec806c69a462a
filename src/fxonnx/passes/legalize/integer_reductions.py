"""Sums and products of integers that wrap around. ONNX Runtime's kernels go through double, which loses what is above
2⁵³ and ends at the greatest integer (1.32)."""

from __future__ import annotations

import numpy as np

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_loop
from fxonnx.ir.graph import constant_ints


def exact_sum(
    op: Builder, x: Tensor, axes: Tensor | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """A product of matrices with one of ones, axis by axis: those are computed in integers."""
    for axis in reduced_axes(x, axes):
        x = _sum_over(op, x, axis)
    return x if keepdims else _squeezed(op, x, axes)


def exact_product(
    op: Builder, x: Tensor, axes: Tensor | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    """Half times the other half, axis by axis; element by element where their number is not known."""
    for axis in reduced_axes(x, axes):
        size = x.shape[axis]
        x = _halved(op, x, axis, size) if isinstance(size, int) and size else _one_by_one(op, x, axis)
    return x if keepdims else _squeezed(op, x, axes)


def reduced_axes(x: Tensor, axes: Tensor | None) -> list[int]:
    """The axes that a reduction is over, none of them negative."""
    rank = len(x.shape)
    named = range(rank) if axes is None else constant_ints(axes.value) or ()
    return sorted(axis % rank for axis in named)


def _squeezed(op: Builder, x: Tensor, axes: Tensor | None) -> Tensor:
    return op.Squeeze(x, reduced_axes(x, axes))


def _sum_over(op: Builder, x: Tensor, axis: int) -> Tensor:
    rank = len(x.shape)
    if rank == 1:
        return op.Squeeze(_sum_over(op, op.Unsqueeze(x, [0]), 1), [0])
    one, size = op.constant(np.ones(1, x.dtype.numpy)), x.shape[axis]
    if axis == rank - 2:
        return op.MatMul(op.Expand(one, [1, size]), x)
    column = op.Expand(one, [size, 1])
    if axis == rank - 1:
        return op.MatMul(x, column)
    order = [*range(axis), rank - 1, *range(axis + 1, rank - 1), axis]  # the last axis and this one exchanged
    return op.Transpose(op.MatMul(op.Transpose(x, perm=order), column), perm=order)


def _halved(op: Builder, x: Tensor, axis: int, size: int) -> Tensor:
    left = None
    while size > 1:
        half = size // 2
        if size % 2:
            last = _part(op, x, axis, size - 1, size)
            left = last if left is None else left * last
        x, size = _part(op, x, axis, 0, half) * _part(op, x, axis, half, 2 * half), half
    return x if left is None else x * left


def _part(op: Builder, x: Tensor, axis: int, start: int, end: int) -> Tensor:
    return op.Slice(x, [start], [end], [axis])


def _one_by_one(op: Builder, x: Tensor, axis: int) -> Tensor:
    size = op.size(x.shape[axis])
    first = op.Expand(op.constant(np.ones(1, x.dtype.numpy)), [*x.shape[:axis], 1, *x.shape[axis + 1 :]])

    def times_next(inner: Builder, iteration: Tensor, going: Tensor, product: Tensor) -> list[Tensor]:
        each = inner.Gather(x, inner.Unsqueeze(iteration, [0]), axis=axis)
        return [inner.Identity(going), product * each]

    return record_loop(op, [first], times_next, trips=size)[0]
