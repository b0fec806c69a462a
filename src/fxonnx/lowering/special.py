"""Functions that ONNX has no operator for: logarithms and exponentials that keep small arguments, error and gamma functions, angles.

The formulas compute in the dtype of their argument and are as accurate as it is, unless a docstring says otherwise. Source where none is named:
Abramowitz & Stegun, "Handbook of Mathematical Functions" (1964).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.arithmetic import is_negative
from fxonnx.lowering.promote import FLOAT
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import cast, dtype_of, in_single, number

# ── exponentials and logarithms ──


@lower("aten.expm1", promote=FLOAT)
@in_single
def expm1(op: Builder, self: Tensor) -> Tensor:
    """exp(x) - 1 = tanh(x/2)·(exp(x) + 1), which keeps small x."""
    return op.Mul(op.Tanh(op.Mul(self, 0.5)), op.Add(op.Exp(self), 1))


@lower("aten.log1p", promote=FLOAT)
@in_single
def log1p(op: Builder, self: Tensor) -> Tensor:
    """log(1 + x) + (x - ((1 + x) - 1)) / (1 + x): the second term is what rounding 1 + x lost. Where nothing was lost it is not added (it may be 0/0)."""
    total = op.Add(self, 1)
    kept = op.Sub(total, 1)
    logarithm = op.Log(total)
    return op.Where(op.Equal(kept, self), logarithm, op.Add(logarithm, op.Div(op.Sub(self, kept), total)))


@lower("aten.exp2", promote=FLOAT)
def exp2(op: Builder, self: Tensor) -> Tensor:
    """2ˣ."""
    return op.Pow(number(op, 2, self), self)


@lower("aten.log2", promote=FLOAT)
@in_single
def log2(op: Builder, self: Tensor) -> Tensor:
    """log(x) / log(2); a quotient, not a product, gives integers for powers of two."""
    return op.Div(op.Log(self), math.log(2))


@lower("aten.log10", promote=FLOAT)
@in_single
def log10(op: Builder, self: Tensor) -> Tensor:
    """log(x) / log(10)."""
    return op.Div(op.Log(self), math.log(10))


@lower("aten.logaddexp", promote=FLOAT)
@in_single
def logaddexp(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """log(exp(x) + exp(y)) = max(x, y) + log(1 + exp(-|x - y|)); equal infinities stay."""
    return _log_of_sum(op, self, other, 1.0)


@lower("aten.logaddexp2", promote=FLOAT)
@in_single
def logaddexp2(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """log₂(2ˣ + 2ʸ), likewise."""
    return _log_of_sum(op, self, other, math.log(2))


def _log_of_sum(op: Builder, x: Tensor, y: Tensor, unit: float) -> Tensor:
    difference = op.Where(op.Equal(x, y), 0, op.Abs(op.Sub(x, y)))
    return op.Add(op.Max(x, y), op.Div(log1p(op, op.Exp(op.Mul(difference, -unit))), unit))


@lower("aten.xlogy", promote=FLOAT)
@in_single
def xlogy(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x·log(y), and 0 where x is 0 unless y is NaN."""
    return _times(op, self, op.Log(other), other)


@lower("aten.special_xlog1py", promote=FLOAT)
@in_single
def xlog1py(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x·log(1 + y), and 0 where x is 0 unless y is NaN."""
    return _times(op, self, log1p(op, other), other)


def _times(op: Builder, x: Tensor, logarithm: Tensor, y: Tensor) -> Tensor:
    return op.Where(op.And(op.Equal(x, 0), op.Not(op.IsNaN(y))), 0, op.Mul(x, logarithm))


@lower("aten.special_entr", promote=FLOAT)
@in_single
def entr(op: Builder, self: Tensor) -> Tensor:
    """-x·log(x); 0 at 0, -inf below."""
    return op.Where(op.Equal(self, 0), 0, op.Where(op.Less(self, 0), -math.inf, op.Neg(op.Mul(self, op.Log(self)))))


@lower("aten.logit", promote=FLOAT.of("self"))
@in_single
def logit(op: Builder, self: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), x first bounded to [eps, 1 - eps] when eps is given."""
    bounded = self if eps is None else op.Clip(self, float(eps), 1 - float(eps))
    return op.Log(op.Div(bounded, op.Sub(1, bounded)))


# ── lengths and angles ──


@lower("aten.hypot", promote=FLOAT)
@in_single
def hypot(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """√(x² + y²) without overflow: the longer side times √(1 + (shorter / longer)²). An infinite side wins over NaN, as in C."""
    x, y = op.Abs(self), op.Abs(other)
    longer, shorter = op.Max(x, y), op.Min(x, y)
    ratio = op.Where(op.Equal(longer, shorter), 1, op.Div(shorter, longer))
    length = op.Mul(longer, op.Sqrt(op.Add(op.Mul(ratio, ratio), 1)))
    return op.Where(op.Or(op.IsInf(self), op.IsInf(other)), math.inf, length)


@lower("aten.atan2", "aten.arctan2", promote=FLOAT)
@in_single
def atan2(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The angle of the point (other, self), from -π to π, in all quadrants: the signs of zeros count, and infinities have directions.

    The angle in the first quadrant is atan(|y| / |x|), the quotient being 1 on the diagonal and 0 at the origin; signs then unfold it.
    """
    y, x = op.Abs(self), op.Abs(other)
    angle = op.Atan(op.Where(op.Equal(x, y), op.Sign(y), op.Div(y, x)))
    angle = op.Where(is_negative(op, other), op.Sub(math.pi, angle), angle)
    return op.Where(is_negative(op, self), op.Neg(angle), angle)


@lower("aten.sinc", "aten.special_sinc", promote=FLOAT)
@in_single
def sinc(op: Builder, self: Tensor) -> Tensor:
    """sin(πx) / (πx), and 1 at 0."""
    angle = op.Mul(self, math.pi)
    return op.Where(op.Equal(self, 0), 1, op.Div(op.Sin(angle), angle))
