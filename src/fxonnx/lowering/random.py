"""Random numbers: the same distributions as torch's, not the same draws."""

from __future__ import annotations

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.registry import lower


@lower("aten.dropout")
def dropout(op: Builder, input: Tensor, p: float, train: bool) -> Tensor:
    """The input itself outside training; in training each element is 0 with probability p, else divided by 1 - p. Srivastava et al. 2014."""
    if not train or p == 0:
        return input
    return op.Dropout(input, float(p), True)[0]
