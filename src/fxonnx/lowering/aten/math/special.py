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
from fxonnx.lowering.promote import FLOAT, SAME
from fxonnx.lowering.registry import Unsupported, lower
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


@lower("aten.logit", promote=FLOAT.of("self"), opmath=True)
def logit(op: Builder, self: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), x first bounded to [eps, 1 - eps] when eps is given."""
    bounded = self if eps is None else op.Clip(self, float(eps), 1 - float(eps))
    return op.Log(bounded / (1.0 - bounded))


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


# ── error functions ──

_ERFC = (
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
)  # fmt: skip


@lower("aten.erfc", "aten.special_erfc", promote=FLOAT, opmath=True)
def erfc(op: Builder, self: Tensor) -> Tensor:
    """1 - erf(x); in float32 by a formula that keeps the tail, where the difference would be 0."""
    if dtype_of(self) is dtypes.FLOAT64:
        return 1.0 - op.Erf(self)
    tail = op.Exp(-(self * self)) * _scaled_tail(op, op.Abs(self))
    return op.Where(self < 0.0, 2.0 - tail, tail)


@lower("aten.special_erfcx", promote=FLOAT, opmath=True)
def erfcx(op: Builder, self: Tensor) -> Tensor:
    """exp(x²)·erfc(x)."""
    _needs_single(self, "erfcx")
    tail = _scaled_tail(op, op.Abs(self))
    return op.Where(self < 0.0, op.Exp(self * self) * 2.0 - tail, tail)


def _scaled_tail(op: Builder, x: Tensor) -> Tensor:
    """exp(x²)·erfc(x) for x ≥ 0, relative error below 1.2e-7. Press et al., "Numerical Recipes", erfcc."""
    t = op.Div(2.0, x + 2.0)
    return t * op.Exp(_polynomial(op, t, _ERFC))


# Coefficients in powers of w - 2.5 and of √w - 3, w = -log(1 - x²), single precision.
# Giles, "Approximating the erfinv function", GPU Computing Gems 2011.
_ERFINV_CENTRAL = (
    1.50140941, 0.246640727, -0.00417768164, -0.00125372503, 0.00021858087, -4.39150654e-06, -3.5233877e-06,
    3.43273939e-07, 2.81022636e-08,
)  # fmt: skip
_ERFINV_TAIL = (
    2.83297682, 1.00167406, 0.00943887047, -0.0076224613, 0.00573950773, -0.00367342844, 0.00134934322, 0.000100950558,
    -0.000200214257,
)  # fmt: skip


@lower("aten.erfinv", "aten.special_erfinv", promote=FLOAT, opmath=True)
def erfinv(op: Builder, self: Tensor) -> Tensor:
    """The inverse of erf, in float32."""
    _needs_single(self, "erfinv")
    w = -op.Log((1.0 - self) * (self + 1.0))
    central, tail = _polynomial(op, w - 2.5, _ERFINV_CENTRAL), _polynomial(op, op.Sqrt(w) - 3.0, _ERFINV_TAIL)
    inverse = op.Where(w < 5.0, central, tail) * self
    return op.Where(op.IsInf(w), self * math.inf, inverse)


# fmt: off
# Rational approximations, numerator and denominator, in powers of (p - ½)² and of √(-2·log p).
# Acklam 2003, relative error below 1.2e-9.
_NDTRI_CENTRAL = (
    (2.506628277459239, -30.66479806614716, 138.3577518672690, -275.9285104469687, 220.9460984245205,
     -39.69683028665376),
    (1.0, -13.28068155288572, 66.80131188771972, -155.6989798598866, 161.5858368580409, -54.47609879822406),
)
_NDTRI_TAIL = (
    (2.938163982698783, 4.374664141464968, -2.549732539343734, -2.400758277161838, -0.3223964580411365,
     -0.007784894002430293),
    (1.0, 3.754408661907416, 2.445134137142996, 0.3224671290700398, 0.007784695709041462),
)
# fmt: on


@lower("aten.special_ndtri", promote=FLOAT)
def ndtri(op: Builder, self: Tensor) -> Tensor:
    """The inverse of the normal distribution function; computed in double, for float32 and narrower."""
    _needs_single(self, "ndtri")
    p = op.Cast(self, to=dtypes.FLOAT64)
    shorter = op.Min(p, 1.0 - p)
    middle = p - 0.5
    central = middle * _ratio(op, middle * middle, _NDTRI_CENTRAL)
    tail = _ratio(op, op.Sqrt(op.Log(shorter) * -2.0), _NDTRI_TAIL)
    tail = op.Where(op.Equal(shorter, 0.0), -math.inf, tail)
    side = op.Where(middle < 0.0, tail, -tail)
    return cast(op, op.Where(shorter < 0.02425, side, central), dtype_of(self))


# ── parts of a number ──


@lower("aten.frexp.Tensor")
def frexp(op: Builder, self: Tensor) -> tuple[Tensor, Tensor]:
    """(m, e) with x = m·2ᵉ and ½ ≤ |m| < 1; what is 0, infinite or NaN is its own m, with e = 0.

    In double, where no power of two that a narrower number needs over- or underflows; the logarithm finds e but for
    one.
    """
    if dtype_of(self) is dtypes.FLOAT64:
        raise Unsupported("frexp of float64, which takes the number apart in a wider dtype; cast to float32")
    x = op.Cast(self, to=dtypes.FLOAT64)
    plain = op.Or(op.Or(op.IsInf(x), op.IsNaN(x)), op.Equal(x, 0.0))
    guess = op.Floor(op.Log(op.Abs(op.Where(plain, 1.0, x))) / math.log(2))
    ratio = op.Abs(op.Where(plain, 1.0, x)) / number(op, 2, x) ** guess
    below, above = (cast(op, each, dtypes.FLOAT64) for each in (ratio < 1.0, ratio >= 2.0))
    exponent = guess + above - below + 1.0
    mantissa = x / number(op, 2, x) ** exponent
    whole = cast(op, op.Where(plain, 0.0, exponent), dtypes.INT32)
    return op.Where(plain, self, cast(op, mantissa, dtype_of(self))), whole


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


# ── modified Bessel functions ──

# A&S 9.8.1 to 9.8.4, by order: up to 3.75 in powers of (x / 3.75)², beyond, times √x·exp(-x), of 3.75 / x.
# Relative errors below 2.2e-7.
_NEAR = 3.75
# fmt: off
_BESSEL = (
    ((1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813),
     (0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537, -0.01647633, 0.00392377)),
    ((0.5, 0.87890594, 0.51498869, 0.15084934, 0.02658733, 0.00301532, 0.00032411),
     (0.39894228, -0.03988024, -0.00362018, 0.00163801, -0.01031555, 0.02282967, -0.02895312, 0.01787654, -0.00420059)),
)
# fmt: on


@lower("aten.i0", "aten.special_i0", "aten.special_modified_bessel_i0", promote=FLOAT, given={"order": 0}, opmath=True)
@lower("aten.special_i0e", promote=FLOAT, given={"order": 0, "scaled": True}, opmath=True)
@lower("aten.special_i1", "aten.special_modified_bessel_i1", promote=FLOAT, given={"order": 1}, opmath=True)
@lower("aten.special_i1e", promote=FLOAT, given={"order": 1, "scaled": True}, opmath=True)
def bessel(op: Builder, self: Tensor, order: int, scaled: bool = False) -> Tensor:
    """The modified Bessel function of the first kind of an order, in float32; scaled, times exp(-|x|)."""
    _needs_single(self, "a modified Bessel function")
    x = op.Abs(self)
    for_near, for_far = _BESSEL[order]
    ratio = self / _NEAR
    near = _polynomial(op, ratio * ratio, for_near)
    far = _polynomial(op, op.Div(_NEAR, x), for_far) / op.Sqrt(x)
    near = self * near if order == 1 else near
    near, far = (op.Exp(-x) * near, far) if scaled else (near, op.Exp(x) * far)
    return op.Where(x < _NEAR, near, op.Sign(self) * far if order == 1 else far)


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


def _ratio(op: Builder, x: Tensor, polynomials: tuple[Sequence[float], Sequence[float]]) -> Tensor:
    """The quotient of two polynomials."""
    above, below = polynomials
    return _polynomial(op, x, above) / _polynomial(op, x, below)


def _needs_single(x: Tensor, name: str) -> None:
    if dtype_of(x) is dtypes.FLOAT64:
        raise Unsupported(
            f"{name} is written by a formula of single precision, which float64 does not deserve; cast to float32"
        )
