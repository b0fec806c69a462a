"""Powers, exponentials and their kin of complex tensors, on pairs (see `complex`).

Source: Abramowitz & Stegun, Handbook of Mathematical Functions, §4.1-4.5.
"""

from __future__ import annotations

import math

from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.math.complex import direction, inverse, is_zero, length, pair, parts, phase, product
from fxonnx.lowering.complex_shape import whole
from fxonnx.lowering.promote import SAME, as_pair
from fxonnx.lowering.registry import COMPLEX, lower


@lower("aten.pow.Tensor_Scalar", promote=SAME.of("self"), when=COMPLEX)
def pow_number(op: Builder, self: Tensor, exponent: float | complex) -> Tensor:
    """self to a small whole power by products, to another by exp(exponent · log(self))."""
    base = whole(op, self)
    number = complex(exponent)
    if number == int(number.real) and abs(number) <= 8:
        return _power(op, base, int(number.real))
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


@lower("aten.exp", when=COMPLEX)
def exp(op: Builder, self: Tensor) -> Tensor:
    """exp(a) · (cos b, sin b)."""
    a, b = parts(op, self)
    return op.Exp(a) * direction(op, b)


@lower("aten.log", when=COMPLEX)
def log(op: Builder, self: Tensor) -> Tensor:
    """(log |x|, angle of x)."""
    return pair(op, op.Log(length(op, self)), phase(op, self))


@lower("aten.sqrt", when=COMPLEX)
def sqrt(op: Builder, self: Tensor) -> Tensor:
    """The root with a real part not below 0: half the angle, the root of the length."""
    return op.Sqrt(length(op, self)) * direction(op, phase(op, self) * 0.5)


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
    """(sinh 2a, sin 2b) / (cosh 2a + cos 2b)."""
    a, b = parts(op, self * 2)
    return pair(op, op.Sinh(a), op.Sin(b)) / (op.Cosh(a) + op.Cos(b))


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
