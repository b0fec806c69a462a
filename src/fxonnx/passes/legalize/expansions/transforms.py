"""Signal transforms and triangular masks in older operators."""

from __future__ import annotations

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, InvalidCall, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.ir.graph import known_dims
from fxonnx.passes.legalize.registry import expands


@expands("Trilu")
def trilu(op: Builder, x: Tensor, k: Tensor | None, *, upper: int) -> Tensor:
    """x where the column is on the wanted side of the k-th diagonal, zero elsewhere."""
    rows, columns = x.shape[-2:]
    row = op.Unsqueeze(op.Range(np.array(0), op.size(rows), np.array(1)), [1])
    column = op.Unsqueeze(op.Range(np.array(0), op.size(columns), np.array(1)), [0])
    diagonal = row if k is None else row + k
    keep = op.GreaterOrEqual(column, diagonal) if upper else op.LessOrEqual(column, diagonal)
    return op.And(x, keep) if x.dtype is dtypes.BOOL else op.Where(keep, x, op.constant(0, x.dtype))


@expands("AffineGrid", opmath=True)
def affine_grid(op: Builder, theta: Tensor, size: Tensor, *, align_corners: int) -> Tensor:
    """The grid of [-1, 1] coordinates, last axis x before y (before z), times each affine matrix. Jaderberg et al.
    2015.

    Without `align_corners` the ends of the interval are the borders of the outer pixels, with it their centers.
    """
    batch, _, *spatial = known_dims(size.value) or (None, None)
    if batch is None:
        raise InvalidCall("AffineGrid with a size that comes from data has no expansion")
    rank = len(spatial)
    axes = [_coordinates(op, dim, bool(align_corners), theta.dtype) for dim in spatial]
    shaped = [op.Reshape(axis, [-1 if i == index else 1 for i in range(rank)]) for index, axis in enumerate(axes)]
    planes = [op.Unsqueeze(op.Expand(plane, spatial), [-1]) for plane in reversed(shaped)]
    ones = op.Expand(op.constant([1.0], theta.dtype), [*spatial, 1])
    points = op.Reshape(op.Concat(*planes, ones, axis=-1), [-1, rank + 1])
    moved = op.MatMul(points, op.Transpose(theta, perm=[0, 2, 1]))
    return op.Reshape(moved, [batch, *spatial, rank])


def _coordinates(op: Builder, dim: Dim, align_corners: bool, dtype: DType) -> Tensor:
    """`dim` coordinates from -1 to 1; a lone one is 0 when corners are aligned, as torch has it (ONNX leaves it
    open)."""
    steps = op.Cast(op.Range(np.array(0), op.size(dim), np.array(1)), to=dtype)
    count = op.Cast(op.size(dim), to=dtype)
    if not align_corners:
        return (steps * 2.0 + 1.0) / count - 1.0
    return op.Where(op.Equal(count, 1.0), steps, steps * 2.0 / op.Max(count - 1.0, 1.0) - 1.0)
