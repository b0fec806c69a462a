"""What is left of the error function, and the inverses of it and of the normal distribution, computed in double for
every dtype."""

from __future__ import annotations

import math

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.special.series import chebyshev, in_double, quotient
from fxonnx.lowering.promote import FLOAT
from fxonnx.lowering.registry import lower

# fmt: off
# (1 + 2x)·exp(x²)·erfc(x) for x ≥ 0 as a Chebyshev series in (x - 3.75) / (x + 3.75), from the last term down.
# Shepherd & Laframboise, "Chebyshev Approximation of (1 + 2x)exp(x²)erfc x in 0 ≤ x < ∞", Math. Comp. 36 (1981).
_SCALED = (
    -2.23705665892645138e-18, 5.06814890484807217e-17, 7.41823525667697474e-17, -1.25079505306832605e-15,
    -1.86456288041876548e-15, 3.34781194828686101e-14, 3.25254814814879629e-14, -9.65469674843343318e-13,
    1.94558685457774052e-13, 2.86879501093066996e-11, -6.31808834088668444e-11, -7.7544002088313511e-10,
    4.5219598112182869e-09, 1.07649994656709104e-08, -2.18864010492343957e-07, 7.74038306619849067e-07,
    4.13902798607301017e-06, -0.0000691697330250120637, 0.000490775836525808632, -0.00241316354041760819,
    0.00907499767070526509, -0.0266586684353057523, 0.0592099399981918905, -0.0842491333665179156,
    -0.00459005458064647733, 2.35515786913480351,
)
# fmt: on
_CENTRE = 3.75


@lower("aten.erfc", "aten.special_erfc", promote=FLOAT)
def erfc(op: Builder, self: Tensor) -> Tensor:
    """1 - erf(x), with all digits where that is small."""
    return in_double(op, self, lambda x: _complement(op, x))


@lower("aten.special_erfcx", promote=FLOAT)
def erfcx(op: Builder, self: Tensor) -> Tensor:
    """exp(x²)·erfc(x)."""

    def body(x: Tensor) -> Tensor:
        tail = _scaled(op, op.Abs(x))
        return op.Where(x < 0.0, op.Exp(x * x) * 2.0 - tail, tail)

    return in_double(op, self, body)


def _complement(op: Builder, x: Tensor) -> Tensor:
    tail = op.Exp(-(x * x)) * _scaled(op, op.Abs(x))
    return op.Where(x < 0.0, 2.0 - tail, tail)


def _scaled(op: Builder, x: Tensor) -> Tensor:
    """exp(x²)·erfc(x) for x ≥ 0."""
    bounded = op.Min(x, 1e100)
    return chebyshev(op, (bounded - _CENTRE) / (bounded + _CENTRE) * 2.0, _SCALED) / (x * 2.0 + 1.0)


# fmt: off
# Rational approximations, numerator and denominator, in powers of (p - ½)² and of √(-2·log p), from the highest down.
# Acklam 2003, relative error below 1.2e-9.
_NDTRI_CENTRAL = (
    (-39.69683028665376, 220.9460984245205, -275.9285104469687, 138.3577518672690, -30.66479806614716,
     2.506628277459239),
    (-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572, 1.0),
)
_NDTRI_TAIL = (
    (-0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734, 4.374664141464968,
     2.938163982698783),
    (0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1.0),
)
# fmt: on
_TAIL_BELOW, _SMALLEST = 0.02425, 2.3e-308


@lower("aten.special_ndtri", promote=FLOAT)
def ndtri(op: Builder, self: Tensor) -> Tensor:
    """The inverse of the normal distribution function."""

    def body(p: Tensor) -> Tensor:
        shorter = op.Min(p, 1.0 - p)
        x = _quantile(op, shorter, shorter - 0.5)
        return op.Where(p > 0.5, -x, x)

    return in_double(op, self, body)


@lower("aten.erfinv", "aten.special_erfinv", promote=FLOAT)
def erfinv(op: Builder, self: Tensor) -> Tensor:
    """The inverse of erf: a quantile of the normal distribution over √2."""

    def body(x: Tensor) -> Tensor:
        a = op.Abs(x)
        size = _quantile(op, (1.0 - a) * 0.5, a * -0.5) * -math.sqrt(0.5)
        return op.Where(op.Equal(x, 0.0), x, size * op.Sign(x))

    return in_double(op, self, body)


def _quantile(op: Builder, p: Tensor, middle: Tensor) -> Tensor:
    """x ≤ 0 with normal distribution p ≤ ½, `middle` being p - ½: an approximation, and one of Halley's steps.

    -∞ at 0, NaN below.
    """
    central = middle * quotient(middle * middle, *_NDTRI_CENTRAL)
    tail = quotient(op.Sqrt(op.Log(op.Max(p, _SMALLEST)) * -2.0), *_NDTRI_TAIL)
    x = op.Where(p < _TAIL_BELOW, tail, central)
    scaled = x * math.sqrt(0.5)
    excess = op.Where(p > 0.25, op.Erf(scaled) * 0.5 - middle, _complement(op, -scaled) * 0.5 - p)
    u = excess * math.sqrt(2 * math.pi) * op.Exp(x * x * 0.5)
    x = op.Where(p > _SMALLEST, x - u / (x * u * 0.5 + 1.0), x)
    return op.Where(op.Equal(p, 0.0), -math.inf, op.Where(p < 0.0, math.nan, x))
