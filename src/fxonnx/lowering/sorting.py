"""Sorting: TopK, which orders equal elements by position and takes NaN for the greatest, as torch does."""

from __future__ import annotations

from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import axis_of, vector


@lower("aten.topk")
def topk(op: Builder, self: Tensor, k: Dim, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """The `k` greatest (or least) elements along `dim` in order, and where they are."""
    return op.TopK(self, vector(op, [k]), axis=axis_of(dim, len(self.shape)), largest=int(largest), sorted=int(sorted))
