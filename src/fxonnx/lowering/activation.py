"""Activations: elementwise functions that networks put between layers."""

from __future__ import annotations

import math

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.promote import FLOAT, SAME
from fxonnx.lowering.registry import lower


@lower("aten.gelu", promote=FLOAT)
def gelu(op: Builder, self: Tensor, *, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit, exact or tanh-approximated. Hendrycks & Gimpel 2016."""
    return op.Gelu(self, approximate=approximate)


@lower("aten.relu", promote=SAME)
def relu(op: Builder, self: Tensor) -> Tensor:
    """max(x, 0)."""
    return op.Relu(self)


@lower("aten.sigmoid", promote=FLOAT)
def sigmoid(op: Builder, self: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return op.Sigmoid(self)


@lower("aten.softmax.int", "aten._softmax", promote=None)
def softmax(op: Builder, self: Tensor, dim: int, dtype=None, half_to_float: bool = False) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`."""
    return op.Softmax(self, axis=dim)
