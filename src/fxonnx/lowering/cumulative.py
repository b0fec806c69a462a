"""Running sums, products and extrema along an axis."""

from __future__ import annotations

from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.reduction import summable
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import axis_of, vector


@lower("aten.cumsum")
def cumsum(op: Builder, self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """Running sums along `dim`."""
    x = summable(op, self, dtype)
    return op.CumSum(x, vector(op, [axis_of(dim, len(x.shape))])) if x.shape else x
