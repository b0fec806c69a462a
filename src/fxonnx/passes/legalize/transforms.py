"""Signal transforms and triangular masks in older operators."""

from __future__ import annotations

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
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
