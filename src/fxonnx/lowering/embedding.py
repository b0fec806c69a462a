"""Embeddings: rows of a table, taken one by one or summed in bags."""

from __future__ import annotations

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.registry import lower


@lower("aten.embedding")
def embedding(
    op: Builder, weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    """The table's row for every index; `padding_idx` concerns gradients only."""
    return op.Gather(weight, indices, axis=0)
