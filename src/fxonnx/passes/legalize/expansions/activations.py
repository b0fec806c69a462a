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


@expands("Elu")
def elu(op: Builder, x: Tensor, *, alpha: float) -> Tensor:
    """x, or α(eˣ - 1) below 0. Clevert et al. 2015."""
    return op.Where(op.Greater(x, 0.0), x, _exp_minus_1(op, x) * alpha)


@expands("Selu")
def selu(op: Builder, x: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """γ·elu(x). Klambauer et al. 2017."""
    return op.Elu(x, alpha=alpha) * gamma


@expands("HardSigmoid")
def hard_sigmoid(op: Builder, x: Tensor, *, alpha: float, beta: float) -> Tensor:
    """αx + β, cut to 0 … 1."""
    return op.Clip(x * alpha + beta, op.constant(0.0, x.dtype), op.constant(1.0, x.dtype))


@expands("LeakyRelu")
def leaky_relu(op: Builder, x: Tensor, *, alpha: float) -> Tensor:
    """x, or αx below 0."""
    return op.Where(op.Less(x, 0.0), x * alpha, x)


@expands("Tan")
def tan(op: Builder, x: Tensor) -> Tensor:
    """sin x / cos x."""
    return op.Sin(x) / op.Cos(x)


@expands("Cosh")
def cosh(op: Builder, x: Tensor) -> Tensor:
    """½(eˣ + e⁻ˣ)."""
    return op.Exp(x) * 0.5 + op.Exp(op.Neg(x)) * 0.5


@expands("Sinh")
def sinh(op: Builder, x: Tensor) -> Tensor:
    """½(eˣ - e⁻ˣ), of which both lose 1 first."""
    return (_exp_minus_1(op, x) - _exp_minus_1(op, op.Neg(x))) * 0.5


def _exp_minus_1(op: Builder, x: Tensor) -> Tensor:
    """eˣ - 1, by tanh near 0, where the difference would lose its digits: 2t / (1 - t) with t = tanh(x/2)."""
    t = op.Tanh(x * 0.5)
    return op.Where(op.Less(op.Abs(x), 1.0), t * 2.0 / (op.constant(1.0, x.dtype) - t), op.Exp(x) - 1.0)


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
