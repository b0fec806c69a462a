"""Activations and small functions in the operators they were written with before they had one of their own."""

from __future__ import annotations

import math
from typing import Any

from fxonnx.ir.build import Builder, Tensor
from fxonnx.passes.legalize.registry import expands


@expands("Gelu", opmath=True)
def gelu(op: Builder, x: Tensor, *, approximate: str) -> Tensor:
    """½x(1 + erf(x/√2)), or ½x(1 + tanh(√(2/π)(x + 0.044715x³))). Hendrycks & Gimpel 2016."""
    if approximate == "tanh":
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return x * 0.5 * (op.Tanh(inner) + 1.0)
    return x * 0.5 * (op.Erf(x / math.sqrt(2)) + 1.0)


@expands("Swish", opmath=True)
def swish(op: Builder, x: Tensor, *, alpha: float) -> Tensor:
    """x · sigmoid(αx)."""
    return x * op.Sigmoid(x if alpha == 1.0 else x * alpha)


@expands("HardSwish", opmath=True)
def hard_swish(op: Builder, x: Tensor) -> Tensor:
    """x · hard_sigmoid(x)."""
    return x * op.HardSigmoid(x, alpha=1 / 6, beta=0.5)


@expands("Mish", opmath=True)
def mish(op: Builder, x: Tensor) -> Tensor:
    """x · tanh(softplus(x)) = x·n/(n + 2) with n = eˣ(eˣ + 2); beyond 20 the quotient is 1 in every float dtype up to
    64 bits."""
    e = op.Exp(op.Min(x, 20.0))
    n = e * (e + 2.0)
    return x * (n / (n + 2.0))


@expands("Celu", opmath=True)
def celu(op: Builder, x: Tensor, *, alpha: float) -> Tensor:
    """α·elu(x/α)."""
    return op.Elu(x / alpha, alpha=1.0) * alpha if alpha != 1.0 else op.Elu(x, alpha=1.0)


@expands("CastLike")
def cast_like(op: Builder, x: Tensor, like: Tensor, **_: Any) -> Tensor:
    """Cast to the dtype that is known by now."""
    return op.Cast(x, to=like.dtype)


@expands("GreaterOrEqual")
def greater_or_equal(op: Builder, a: Tensor, b: Tensor) -> Tensor:
    """a > b or a = b: false beside NaN, which `not a < b` would not be."""
    return op.Or(op.Greater(a, b), op.Equal(a, b))


@expands("LessOrEqual")
def less_or_equal(op: Builder, a: Tensor, b: Tensor) -> Tensor:
    """a < b or a = b."""
    return op.Or(op.Less(a, b), op.Equal(a, b))
