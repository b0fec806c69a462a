"""Activations written out, in one operator."""

from __future__ import annotations

import math

from fxonnx.passes.rewriting.rewrite import rule

ROOT2 = math.sqrt(2)
ROOT2_OVER_PI = math.sqrt(2 / math.pi)


def _is_at_most_float32(x):
    """Whether ONNX's attributes, which are float32, are precise enough for x."""
    return x.dtype.is_float and x.dtype.bits <= 32


def _half_of_product(op, x, gate):
    """½ · x · gate, the factors in any order."""
    return op.any_of((x * 0.5) * gate, x * (gate * 0.5), (x * gate) * 0.5)


@rule
class erf_gelu:
    """x ─┬─ ÷√2 ── Erf ── +1 ─┐
          └─ ×½ ───────────────┴─ × ─▶        becomes        x ── Gelu ─▶

    Hendrycks & Gimpel 2016."""
    def before(op, x): return _half_of_product(op, x, op.Erf(op.any_of(x / ROOT2, x * (1 / ROOT2))) + 1)
    def after(op, x): return op.Gelu(x)


@rule
class tanh_gelu:
    """x ─┬─ x + 0.044715x³ ── ×√(2/π) ── Tanh ── +1 ─┐
          └─ ×½ ──────────────────────────────────────┴─ × ─▶        becomes        x ── Gelu tanh ─▶

    Hendrycks & Gimpel 2016."""
    def before(op, x):
        cube = op.any_of(op.Pow(x, 3), (x * x) * x)
        inner = op.any_of(
            (x + cube * 0.044715) * ROOT2_OVER_PI,
            (x * ROOT2_OVER_PI) * ((x * 0.044715) * x + 1),
            (x * ROOT2_OVER_PI) * ((x * x) * 0.044715 + 1),
        )  # fmt: skip
        return _half_of_product(op, x, op.Tanh(inner) + 1)
    def after(op, x): return op.Gelu(x, approximate="tanh")


@rule
class hard_sigmoid:
    """x ── +3 ── Clip 0 6 ── ÷6 ─▶        becomes        x ── HardSigmoid ─▶"""
    def before(op, x):
        clipped = op.any_of(op.Clip(x + 3, 0, 6), op.Min(op.Relu(x + 3), 6))
        return op.any_of(clipped / 6, clipped * (1 / 6))
    def after(op, x): return op.HardSigmoid(x, alpha=1 / 6, beta=0.5)
    def where(x): return _is_at_most_float32(x)


@rule
class hard_swish:
    """x ─┬─ +3 ── Clip 0 6 ─┐
          └──────────────────┴─ × ── ÷6 ─▶        becomes        x ─┬─ HardSigmoid ─┐
                                                                   └───────────────┴─ × ─▶

    The product of two: ONNX Runtime has no kernel for HardSwish. Howard et al. 2019."""
    def before(op, x):
        product = x * op.any_of(op.Clip(x + 3, 0, 6), op.Min(op.Relu(x + 3), 6))
        return op.any_of(product / 6, product * (1 / 6))
    def after(op, x): return x * op.HardSigmoid(x, alpha=1 / 6, beta=0.5)
    def where(x): return _is_at_most_float32(x)


@rule
class mish:
    """x ─┬─ Softplus ── Tanh ─┐
          └────────────────────┴─ × ─▶        becomes        x ── Mish ─▶

    Misra 2019."""
    def before(op, x): return x * op.Tanh(op.Softplus(x))
    def after(op, x): return op.Mish(x)
