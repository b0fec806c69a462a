"""Powers, exponentials and their kin of complex tensors, on pairs (see `pairs`).

Source: Abramowitz & Stegun, Handbook of Mathematical Functions, §4.1-4.5.
"""

from __future__ import annotations

import math

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.dims import Dim
from fxonnx.lowering.aten.complex.pairs import (
    direction,
    inverse,
    is_zero,
    length,
    linspace,
    pair,
    parts,
    phase,
    product,
)
from fxonnx.lowering.aten.math.arithmetic import is_negative
from fxonnx.lowering.aten.math.special import expm1 as real_expm1
from fxonnx.lowering.aten.math.special import log1p as real_log1p
from fxonnx.lowering.complex_shape import whole
from fxonnx.lowering.promote import SAME, as_pair
from fxonnx.lowering.registry import COMPLEX, lower
from fxonnx.lowering.vocabulary import cast


@lower("aten.pow.Tensor_Scalar", promote=SAME.of("self"), when=COMPLEX)
def pow_number(op: Builder, self: Tensor, exponent: float | complex) -> Tensor:
    """self to a small whole power by products, in float64, where none of float32 leaves the range on its way; to
    another by exp(exponent · log(self))."""
    base = whole(op, self)
    number = complex(exponent)
    if number == int(number.real) and abs(number) <= 8:
        return cast(op, _power(op, cast(op, base, dtypes.FLOAT64), int(number.real)), base.dtype)
    return pow_(op, base, as_pair(op, exponent, base.dtype))


@lower("aten.pow.Tensor_Tensor", "aten.pow.Scalar", promote=SAME.of("self", "exponent"), when=COMPLEX)
def pow_(op: Builder, self: Tensor, exponent: Tensor) -> Tensor:
    """exp(exponent · log(self)); 0 to a power is 0, NaN or infinite, as the power's real part is above, at or below
    0."""
    base, wanted = whole(op, self), whole(op, exponent)
    sign, _ = parts(op, wanted)
    of_zero = op.Where(sign > 0, op.constant([0, 0], base.dtype), _power_of_zero(op, sign))
    return op.Where(is_zero(op, base), of_zero, exp(op, product(op, log(op, base), exponent)))


def _power_of_zero(op: Builder, sign: Tensor) -> Tensor:
    """0 to a power whose real part, `sign`, is not above 0."""
    nothing = op.constant([math.nan, math.nan], sign.dtype)
    return op.Where(sign < 0, op.constant([math.inf, math.nan], sign.dtype), nothing)


def _power(op: Builder, base: Tensor, exponent: int) -> Tensor:
    if exponent < 0:
        return inverse(op, _power(op, base, -exponent))
    if exponent == 0:
        return op.Expand(op.constant([1, 0], base.dtype), base.shape)
    if exponent == 1:
        return base
    half = _power(op, base, exponent // 2)
    squared = product(op, half, half)
    return product(op, squared, base) if exponent % 2 else squared


@lower("aten.logspace", promote=SAME.of("start", "end"), runtime={"start", "end"}, when=COMPLEX)
def logspace(
    op: Builder, start: Tensor, end: Tensor, steps: Dim, base: float = 10.0, dtype: DType | None = None
) -> Tensor:
    """`base` to the powers of linspace."""
    exponents = linspace(op, start, end, steps)
    return pow_(op, as_pair(op, base, exponents.dtype), exponents)


@lower("aten.exp", when=COMPLEX)
def exp(op: Builder, self: Tensor) -> Tensor:
    """exp(a) · (cos b, sin b)."""
    a, b = parts(op, self)
    return op.Exp(a) * direction(op, b)


@lower("aten.log", when=COMPLEX)
def log(op: Builder, self: Tensor) -> Tensor:
    """(log |x|, angle of x); |x| in float64, of which float32 lets the logarithm of lengths near 1 lose digits."""
    size = op.Log(length(op, cast(op, self, dtypes.FLOAT64)))
    return pair(op, cast(op, size, self.dtype), phase(op, self))


@lower("aten.log2", given={"base": 2}, when=COMPLEX, computes="log(x) / log 2.")
@lower("aten.log10", given={"base": 10}, when=COMPLEX, computes="log(x) / log 10.")
def log_to_base(op: Builder, self: Tensor, base: float) -> Tensor:
    """log(x) / log(base)."""
    return log(op, self) / math.log(base)


@lower("aten.log1p", when=COMPLEX)
def log1p(op: Builder, self: Tensor) -> Tensor:
    """log(1 + x): near 0 its real part is log1p(a (2 + a) + b²) / 2."""
    wide = cast(op, self, dtypes.FLOAT64)
    a, b = parts(op, wide)
    moved = pair(op, a + 1.0, b)
    near = real_log1p(op, a * (a + 2.0) + b * b) * 0.5
    size = op.Where(op.And(op.Abs(a) < 0.5, op.Abs(b) < 0.5), near, op.Log(length(op, moved)))
    return pair(op, cast(op, size, self.dtype), phase(op, cast(op, moved, self.dtype)))


@lower("aten.exp2", when=COMPLEX)
def exp2(op: Builder, self: Tensor) -> Tensor:
    """exp(x · log 2)."""
    return exp(op, self * math.log(2))


@lower("aten.expm1", "aten.special_expm1", when=COMPLEX)
def expm1(op: Builder, self: Tensor) -> Tensor:
    """(expm1(a) cos b - 2 sin²(b/2), exp(a) sin b)."""
    a, b = parts(op, self)
    half = op.Sin(b * 0.5)
    return pair(op, real_expm1(op, a) * op.Cos(b) - half * half * 2.0, op.Exp(a) * op.Sin(b))


@lower("aten.sqrt", when=COMPLEX)
def sqrt(op: Builder, self: Tensor) -> Tensor:
    """The root with a real part not below 0: t = √((|a| + |x|) / 2) and b / 2t, the larger of both first.

    Kahan, Branch Cuts for Complex Elementary Functions, 1987.
    """
    a, b = parts(op, self)
    larger = op.Sqrt(op.Abs(a) * 0.5 + length(op, self) * 0.5)
    zero = op.constant([0.0], self.dtype)
    smaller = op.Where(op.Equal(b, zero), b, b / (larger * 2.0))
    signed = op.Where(is_negative(op, b), -larger, larger)
    is_left = a < 0.0
    return pair(op, op.Where(is_left, op.Abs(smaller), larger), op.Where(is_left, signed, smaller))


@lower("aten.rsqrt", when=COMPLEX)
def rsqrt(op: Builder, self: Tensor) -> Tensor:
    """1 / √self."""
    return inverse(op, sqrt(op, self))


@lower("aten.sinh", when=COMPLEX)
def sinh(op: Builder, self: Tensor) -> Tensor:
    """(sinh a · cos b, cosh a · sin b)."""
    a, b = parts(op, self)
    return pair(op, op.Sinh(a) * op.Cos(b), op.Cosh(a) * op.Sin(b))


@lower("aten.cosh", when=COMPLEX)
def cosh(op: Builder, self: Tensor) -> Tensor:
    """(cosh a · cos b, sinh a · sin b)."""
    a, b = parts(op, self)
    return pair(op, op.Cosh(a) * op.Cos(b), op.Sinh(a) * op.Sin(b))


@lower("aten.tanh", when=COMPLEX)
def tanh(op: Builder, self: Tensor) -> Tensor:
    """(t, sin b cos b / cosh² a) / (cos² b + t² sin² b) with t = tanh a, which no large a lets overflow."""
    a, b = parts(op, self)
    t, sine, cosine = op.Tanh(a), op.Sin(b), op.Cos(b)
    decay = op.Exp(op.Abs(a) * -2.0)
    flatness = decay * 4.0 / ((decay + 1.0) * (decay + 1.0))
    return pair(op, t, sine * cosine * flatness) / (cosine * cosine + t * t * sine * sine)


@lower("aten.tan", when=COMPLEX)
def tan(op: Builder, self: Tensor) -> Tensor:
    """-i tanh(i x)."""
    return out_of_turn(op, tanh(op, turned(op, self)))


def turned(op: Builder, x: Tensor) -> Tensor:
    """i x."""
    return op.Gather(x, [1, 0], axis=-1) * [-1, 1]


def out_of_turn(op: Builder, x: Tensor) -> Tensor:
    """-i x."""
    return op.Gather(x, [1, 0], axis=-1) * [1, -1]


@lower("aten.sin", when=COMPLEX)
def sin(op: Builder, self: Tensor) -> Tensor:
    """(sin a · cosh b, cos a · sinh b)."""
    a, b = parts(op, self)
    return pair(op, op.Sin(a) * op.Cosh(b), op.Cos(a) * op.Sinh(b))


@lower("aten.cos", when=COMPLEX)
def cos(op: Builder, self: Tensor) -> Tensor:
    """(cos a · cosh b, -sin a · sinh b)."""
    a, b = parts(op, self)
    return pair(op, op.Cos(a) * op.Cosh(b), -(op.Sin(a) * op.Sinh(b)))


@lower("aten.sigmoid", when=COMPLEX)
def sigmoid(op: Builder, self: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return inverse(op, op.Add(exp(op, -self), [1, 0]))
