"""Hurwitz's zeta function and the polygamma functions, which are made of it.

Everything is computed in double, by a sum up to an argument above 9 and the Euler-Maclaurin formula from there on.
Sources: Abramowitz & Stegun 6.4.10 and 23.2; S. Moshier's Cephes library (zeta.c), which torch follows.
"""

from __future__ import annotations

import math

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_loop
from fxonnx.lowering.aten.math.special import digamma
from fxonnx.lowering.promote import FLOAT
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import cast, dtype_of, number

_SUMMED_UP_TO = 9.0
_PRECISION = 2.0**-56
# B₂ₖ / (2k)! for k = 1 … 8, the coefficients of the Euler-Maclaurin formula (A&S 23.1.30)
_EULER_MACLAURIN = tuple(
    bernoulli / math.factorial(2 * k)
    for k, bernoulli in enumerate((1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510), 1)
)


@lower("aten.special_zeta", promote=FLOAT)
def zeta(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """ζ(s, q) = Σ (q + k)⁻ˢ for k ≥ 0: ∞ for s = 1 and at the poles q = 0, -1, …, NaN for s < 1."""
    s, q = (op.Cast(item, to=dtypes.FLOAT64) for item in (self, other))
    pole = op.And(q <= 0.0, op.Equal(q, op.Floor(q)))
    result = op.Where(pole, math.inf, _hurwitz(op, s, op.Where(pole, 1.0, q)))
    fractional = op.And(q <= 0.0, op.Not(op.Equal(s, op.Floor(s))))  # roots of negative numbers
    result = op.Where(op.And(fractional, op.Not(pole)), math.nan, result)
    result = op.Where(op.Equal(s, 1.0), math.inf, op.Where(s < 1.0, math.nan, result))
    return cast(op, result, dtype_of(self))


@lower("aten.polygamma")
def polygamma(op: Builder, n: int, self: Tensor) -> Tensor:
    """The n-th derivative of digamma: (-1)ⁿ⁺¹ n! ζ(n + 1, x)."""
    x = cast(op, self, dtypes.to_float(dtype_of(self)))
    if n == 0:
        return digamma(op, x)
    wide = op.Cast(x, to=dtypes.FLOAT64)
    factor = math.factorial(n) * (1.0 if n % 2 else -1.0)
    result = zeta(op, number(op, n + 1, wide), wide) * factor
    if n == 1:
        at_infinity = op.Where(wide > 0.0, op.constant(0.0, dtypes.FLOAT64), op.constant(math.nan, dtypes.FLOAT64))
        result = op.Where(op.IsInf(wide), at_infinity, result)  # of the others torch says NaN at both
    return cast(op, result, dtype_of(x))


def _hurwitz(op: Builder, s: Tensor, q: Tensor) -> Tensor:
    """The sum for s > 1, q no pole."""
    blank = (s + q) * 0.0  # both loop variables have the shape of the result from the start
    start = op.Where(op.IsNaN(blank), q, q + blank)
    exponent = -s

    def step(inner: Builder, iteration: Tensor, going: Tensor, at: Tensor, total: Tensor) -> list[Tensor]:
        active = at <= _SUMMED_UP_TO
        term = inner.Where(active, at**exponent, 0.0)
        after = inner.Where(active, at + 1.0, at)
        return [_any_below(inner, after), after, total + term]

    zeros = op.Where(op.Equal(start, start), 0.0, start)
    at, total = record_loop(op, [start, zeros], step, condition=_any_below(op, start))
    negligible = at**exponent < total * _PRECISION  # for s = ∞ the corrections are NaN
    return op.Where(negligible, total, total + _tail(op, s, at))


def _tail(op: Builder, s: Tensor, at: Tensor) -> Tensor:
    """Σ (at + k)⁻ˢ for k ≥ 0 and at > 9, by the Euler-Maclaurin formula: the integral, half the first term, and
    corrections."""
    first = at ** (-s)
    total = first * at / (s - 1.0) + first * 0.5
    factor = first * s / at
    for k, coefficient in enumerate(_EULER_MACLAURIN):
        total = total + factor * coefficient
        rising = (s + (2.0 * k + 1)) * (s + (2.0 * k + 2))
        factor = factor * rising / (at * at)
    return total


def _any_below(op: Builder, x: Tensor) -> Tensor:
    left = op.Cast(x <= _SUMMED_UP_TO, to=dtypes.INT64)
    return op.ReduceSum(left, keepdims=0) > 0
