"""Functions that ONNX has no operator for: logarithms and exponentials that keep small arguments, error and gamma
functions, angles.

The formulas compute in the dtype of their argument and are as accurate as it is, unless a docstring says otherwise.
Source where none is named: Abramowitz & Stegun, "Handbook of Mathematical Functions" (1964).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_loop
from fxonnx.lowering.aten.math.arithmetic import direction, is_negative
from fxonnx.lowering.promote import FLOAT, SAME, in_opmath
from fxonnx.lowering.registry import lower
from fxonnx.lowering.vocabulary import cast, dtype_of, number

# ── exponentials and logarithms ──


@lower("aten.expm1", promote=FLOAT, opmath=True)
def expm1(op: Builder, self: Tensor) -> Tensor:
    """exp(x) - 1 = tanh(x/2)·(exp(x) + 1), which keeps small x."""
    return op.Tanh(self * 0.5) * (op.Exp(self) + 1.0)


@lower("aten.log1p", promote=FLOAT, opmath=True)
def log1p(op: Builder, self: Tensor) -> Tensor:
    """log(1 + x) + (x - ((1 + x) - 1)) / (1 + x): the second term is what rounding 1 + x lost.

    Where nothing was lost it is not added (it may be 0/0).
    """
    total = self + 1.0
    kept = total - 1.0
    logarithm = op.Log(total)
    return op.Where(op.Equal(kept, self), logarithm, logarithm + (self - kept) / total)


@lower("aten.exp2", promote=FLOAT, opmath=True)
def exp2(op: Builder, self: Tensor) -> Tensor:
    """2ˣ."""
    return number(op, 2, self) ** self


@lower("aten.log2", promote=FLOAT, given={"base": 2}, opmath=True)
@lower("aten.log10", promote=FLOAT, given={"base": 10}, opmath=True)
def log(op: Builder, self: Tensor, base: int) -> Tensor:
    """log(x) / log(base); a quotient, not a product, gives integers for powers of two."""
    return op.Log(self) / math.log(base)


@lower("aten.logaddexp", promote=FLOAT, given={"unit": 1.0}, opmath=True)
@lower("aten.logaddexp2", promote=FLOAT, given={"unit": math.log(2)}, opmath=True)
def logaddexp(op: Builder, self: Tensor, other: Tensor, unit: float) -> Tensor:
    """log(exp(x) + exp(y)) = max(x, y) + log(1 + exp(-|x - y|)); equal infinities stay. To base 2, by log 2 as unit."""
    difference = op.Where(op.Equal(self, other), 0.0, op.Abs(self - other))
    return op.Max(self, other) + log1p(op, op.Exp(difference * -unit)) / unit


@lower("aten.xlogy", promote=FLOAT, opmath=True)
def xlogy(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x·log(y), and 0 where x is 0 unless y is NaN."""
    return _times(op, self, op.Log(other), other)


@lower("aten.special_xlog1py", promote=FLOAT, opmath=True)
def xlog1py(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x·log(1 + y), and 0 where x is 0 unless y is NaN."""
    return _times(op, self, log1p(op, other), other)


def _times(op: Builder, x: Tensor, logarithm: Tensor, y: Tensor) -> Tensor:
    return op.Where(op.And(op.Equal(x, 0.0), op.Not(op.IsNaN(y))), 0.0, x * logarithm)


@lower("aten.special_entr", promote=FLOAT, opmath=True)
def entr(op: Builder, self: Tensor) -> Tensor:
    """-x·log(x); 0 at 0, -inf below."""
    return op.Where(op.Equal(self, 0.0), 0.0, op.Where(self < 0.0, -math.inf, -(self * op.Log(self))))


@lower("aten.logit", promote=FLOAT.of("self"))
def logit(op: Builder, self: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), x first bounded to [eps, 1 - eps] when eps is given; eps as the dtype has it, 0 in float16.

    Of bounds that cross the lower one wins where it is not met (ATen/native/cpu/UnaryOpsKernel.cpp, logit_kernel).
    """
    bounded = in_opmath(op, self)
    if eps is not None:
        least = in_opmath(op, number(op, float(eps), self))
        most = 1.0 - least
        is_crossed = eps > 1 - eps
        below = op.Where(bounded > most, most, bounded) if is_crossed else op.Clip(bounded, least, most)
        bounded = op.Where(bounded < least, least, below) if is_crossed else below
    return cast(op, op.Log(bounded / (1.0 - bounded)), dtype_of(self))


# ── lengths and angles ──


@lower("aten.hypot", promote=FLOAT, opmath=True)
def hypot(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """√(x² + y²) without overflow: the longer side times √(1 + (shorter / longer)²).

    An infinite side wins over NaN, as in C.
    """
    x, y = op.Abs(self), op.Abs(other)
    longer, shorter = op.Max(x, y), op.Min(x, y)
    ratio = op.Where(op.Equal(longer, shorter), 1.0, shorter / longer)
    length = longer * op.Sqrt(ratio * ratio + 1.0)
    return op.Where(op.Or(op.IsInf(self), op.IsInf(other)), math.inf, length)


@lower("aten.atan2", "aten.arctan2", promote=FLOAT, opmath=True)
def atan2(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The angle of the point (other, self), from -π to π, in all quadrants.

    Signs of zeros count, and infinities have directions. The angle in the first quadrant is atan(|y| / |x|), the
    quotient being 1 on the diagonal and 0 at the origin; signs then unfold it.
    """
    y, x = op.Abs(self), op.Abs(other)
    angle = op.Atan(op.Where(op.Equal(x, y), op.Sign(y), y / x))
    angle = op.Where(is_negative(op, other), math.pi - angle, angle)
    return angle * direction(op, self)


@lower("aten.sinc", "aten.special_sinc", promote=FLOAT, opmath=True)
def sinc(op: Builder, self: Tensor) -> Tensor:
    """sin(πx) / (πx), and 1 at 0."""
    angle = self * math.pi
    return op.Where(op.Equal(self, 0.0), 1.0, op.Sin(angle) / angle)


# ── parts of a number ──


@lower("aten.frexp.Tensor")
def frexp(op: Builder, self: Tensor) -> tuple[Tensor, Tensor]:
    """(m, e) with x = m·2ᵉ and ½ ≤ |m| < 1; what is 0, infinite or NaN is its own m, with e = 0.

    In double. The logarithm finds e but for one, and x is divided by 2ᵉ in two steps, of which none over- or
    underflows.
    """
    x = cast(op, self, dtypes.FLOAT64)
    plain = op.Or(op.Or(op.IsInf(x), op.IsNaN(x)), op.Equal(x, 0.0))
    guess = op.Floor(op.Log(op.Abs(op.Where(plain, 1.0, x))) / math.log(2)) + 1.0
    half = op.Floor(guess * 0.5)
    near = op.Where(plain, 0.75, x) / exp2(op, half) / exp2(op, guess - half)
    above, below = (cast(op, each, dtypes.FLOAT64) for each in (op.Abs(near) >= 1.0, op.Abs(near) < 0.5))
    mantissa = near * (1.0 - above * 0.5) * (below + 1.0)
    whole = cast(op, op.Where(plain, 0.0, guess + above - below), dtypes.INT32)
    return op.Where(plain, self, cast(op, mantissa, dtype_of(self))), whole


# By dtype: how many bits behind the first one a number has, and the exponents of the least and the greatest one.
_FORMATS = {
    dtypes.FLOAT16: (10, -24, 15),
    dtypes.BFLOAT16: (7, -133, 127),
    dtypes.FLOAT32: (23, -149, 127),
    dtypes.FLOAT64: (52, -1074, 1023),
}


@lower("aten.nextafter", promote=FLOAT)
def nextafter(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The number next to x in the direction of y, computed in double."""
    dtype = dtype_of(self)
    bits, _, greatest = _FORMATS[dtype]
    x, y = (cast(op, each, dtypes.FLOAT64) for each in (self, other))
    zero, infinite, size = op.Equal(x, 0.0), op.IsInf(x), op.Abs(x)
    sign = op.Where(zero, op.Sign(y), op.Sign(x))
    outwards = op.Or(zero, (y - x) * sign > 0.0)
    finite = op.Where(infinite, 1.0, size)
    next_to = _next_double(op, finite, outwards) if dtype is dtypes.FLOAT64 else _next(op, finite, outwards, dtype)
    moved = op.Where(op.And(infinite, op.Not(outwards)), (2.0 - 2.0**-bits) * 2.0**greatest, next_to) * sign
    result = op.Where(op.Equal(x, y), y, op.Where(op.IsNaN(y), y, moved))
    return cast(op, result, dtype)


def _next(op: Builder, size: Tensor, outwards: Tensor, dtype: dtypes.DType) -> Tensor:
    """The next number of a narrower dtype: a unit in the last place away, half as large below a power of two."""
    bits, least, _ = _FORMATS[dtype]
    mantissa, exponent = frexp(op, size)
    halved = op.And(op.Equal(mantissa, 0.5), op.Not(outwards))
    power = cast(op, exponent, dtypes.FLOAT64) - float(bits + 1) - cast(op, halved, dtypes.FLOAT64)
    unit = exp2(op, op.Where(op.Equal(size, 0.0), float(least), op.Max(power, float(least))))
    return op.Where(outwards, size + unit, size - unit)


def _next_double(op: Builder, size: Tensor, outwards: Tensor) -> Tensor:
    """The next double: what is a little more than half a unit away, rounded; below 2⁻¹⁰²¹ the unit is the least double.

    Rump, Zimmermann, Boldo & Melquiond 2009, "Computing predecessor and successor in rounding to nearest".
    """
    one = number(op, 1, size)
    scale = op.Where(size < 2.0**-900, 2.0**100, one)  # where half a unit would underflow
    scaled, sign = size * scale, op.Where(outwards, one, -1.0)
    rounded = (scaled + sign * scaled * (2.0**-53 * (1.0 + 2.0**-52))) / scale
    return op.Where(size < 2.0**-1021, size + sign * 2.0**-1074, rounded)


# ── gamma functions ──

_LANCZOS_SHIFT = 7.0
_LANCZOS = (
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
)  # fmt: skip


@lower("aten.lgamma", "aten.special_gammaln", "prims.lgamma", promote=FLOAT)
def lgamma(op: Builder, self: Tensor) -> Tensor:
    """log |Γ(x)|, in double: by Lanczos' approximation from ½ on, by reflection below. Lanczos 1964.

    Coefficients of Godfrey for g = 7.
    """
    x = op.Cast(self, to=dtypes.FLOAT64)
    reflected = x < 0.5
    z = op.Where(reflected, 1.0 - x, x) - 1.0
    series = number(op, _LANCZOS[0], x)
    for index, coefficient in enumerate(_LANCZOS[1:], 1):
        series = series + coefficient / (z + float(index))
    t = z + (_LANCZOS_SHIFT + 0.5)
    direct = (z + 0.5) * op.Log(t) - t + (op.Log(series) + math.log(2 * math.pi) / 2)
    sine = op.Abs(op.Sin((x - op.Round(x)) * math.pi))
    result = op.Where(reflected, math.log(math.pi) - (op.Log(sine) + direct), direct)
    poles = op.Or(op.IsInf(x), op.And(x <= 0.0, op.Equal(x, op.Floor(x))))
    return cast(op, op.Where(poles, math.inf, result), dtype_of(self))


# -B₂ₖ / 2k for k = 1 … 7, the coefficients of digamma's asymptotic series in 1/z² (A&S 6.3.18).
_DIGAMMA = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132, 691 / 32760, -1 / 12)


@lower("aten.digamma", "aten.special_digamma", "aten.special_psi", promote=FLOAT)
def digamma(op: Builder, self: Tensor) -> Tensor:
    """Γ'(x) / Γ(x), in double: by the asymptotic series ten steps up, by reflection below ½.

    -∞ at 0 (∞ at -0), NaN at the other poles.
    """
    x = op.Cast(self, to=dtypes.FLOAT64)
    reflected = x < 0.5
    y = op.Where(reflected, 1.0 - x, x)
    steps = op.constant([float(step) for step in range(10)], dtypes.FLOAT64)
    taken = op.ReduceSum(op.Reciprocal(op.Unsqueeze(y, [-1]) + steps), [-1], keepdims=0)
    z = y + 10.0
    square = op.Reciprocal(z * z)
    series = square * _polynomial(op, square, _DIGAMMA)
    direct = op.Log(z) - op.Div(0.5, z) + series - taken
    angle = (x - op.Round(x)) * math.pi
    reflection = direct - op.Cos(angle) / op.Sin(angle) * math.pi
    pole = op.And(x < 0.0, op.Equal(x, op.Floor(x)))
    result = op.Where(pole, math.nan, op.Where(reflected, reflection, direct))
    return cast(op, op.Where(op.Equal(x, 0.0), -op.Reciprocal(x), result), dtype_of(self))


# ── divisors ──


@lower("aten.gcd", promote=SAME)
def gcd(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor, by Euclid's algorithm, in a loop until every element is done.

    In torch's order, and with C's remainder: the least integer has no absolute value, and stays negative.
    """
    first, second = op.Abs(other), op.Abs(self)
    blank = (first + second) * 0
    carried = [first + blank, second + blank]
    return record_loop(op, carried, _euclid, condition=_any_left(op, carried[1]))[0]


def _euclid(inner: Builder, iteration: Tensor, going: Tensor, first: Tensor, second: Tensor) -> list[Tensor]:
    """One division: (a, b) becomes (b, a mod b), where b is not 0."""
    done = inner.Equal(second, 0)
    rest = inner.Where(done, 0, inner.Mod(first, inner.Where(done, 1, second), fmod=1))
    return [_any_left(inner, rest), inner.Where(done, first, second), rest]


def _any_left(op: Builder, x: Tensor) -> Tensor:
    left = op.Cast(op.Not(op.Equal(x, 0)), to=dtypes.INT64)
    return op.ReduceSum(left, keepdims=0) > 0


@lower("aten.lcm", promote=SAME)
def lcm(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """The least common multiple, |x / gcd(x, y)·y|; 0 beside 0. Of less than 32 bits, in C's int."""
    divisor, dtype = gcd(op, self, other), dtype_of(self)
    divisor = op.Where(op.Equal(divisor, 0), 1, divisor)
    if dtype.bits < 32:
        self, divisor, other = (cast(op, each, dtypes.INT32) for each in (self, divisor, other))
    return cast(op, op.Abs(self / divisor * other), dtype)


# ── what the formulas share ──


def _polynomial(op: Builder, x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Σ cᵢ·xⁱ by Horner's rule."""
    *lower_ones, highest = coefficients
    result: Tensor | float = highest
    for coefficient in reversed(lower_ones):
        result = x * result + coefficient
    return result  # type: ignore[return-value]
