"""Pointwise mathematics: sums and products, division, powers, signs, rounding, bounds, trigonometry.

What needs a formula of its own (log1p, erfc, lgamma …) is in `special`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.control import record_loop
from fxonnx.ir.data import ArrayData
from fxonnx.ir.graph import content
from fxonnx.lowering.promote import FLOAT, PRODUCT, QUOTIENT, SAME, as_tensor, common_dtype
from fxonnx.lowering.registry import Body, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, expand, full, may_be_zero, number, truncated

# ── one operator of the same name ──

_FLOAT_FUNCTIONS = (
    "Exp", "Log", "Sqrt", "Reciprocal", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan",
    "Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh",
)  # fmt: skip
_ROUNDINGS = ("Ceil", "Floor", "Round")


def _function(operator: str) -> Body:
    def body(op: Builder, self: Tensor) -> Tensor:
        return getattr(op, operator)(self)

    name = operator.lower()
    body.__name__, body.__doc__ = name, f"{name}(x), ONNX's {operator}; integers become floats first."
    return body


def _rounding(operator: str) -> Body:
    def body(op: Builder, self: Tensor) -> Tensor:
        return getattr(op, operator)(self) if dtype_of(self).is_float else self

    name = operator.lower()
    body.__name__, body.__doc__ = name, f"{name}(x), ONNX's {operator}; integers stay (round takes halves to even)."
    return body


for _operator in _FLOAT_FUNCTIONS:
    lower(f"aten.{_operator.lower()}", promote=FLOAT)(_function(_operator))
for _operator in _ROUNDINGS:
    lower(f"aten.{_operator.lower()}.default")(_rounding(_operator))


# ── sums and products ──


@lower("aten.add", promote=SAME, runtime={"alpha"}, opmath="alpha")
def add(op: Builder, self: Tensor, other: Tensor, *, alpha: Any = 1) -> Tensor:
    """x + α·y; of bools, or."""
    if dtype_of(self) is dtypes.BOOL:
        return op.Or(self, other) if alpha else self
    return self + _scaled(op, other, alpha)


@lower("aten.sub", promote=SAME, runtime={"alpha"}, opmath="alpha")
@lower("aten.rsub", promote=SAME, runtime={"alpha"}, opmath="alpha",
       rename={"self": "other", "other": "self"}, computes="y - α·x.")  # fmt: skip
def sub(op: Builder, self: Tensor, other: Tensor, alpha: Any = 1) -> Tensor:
    """x - α·y."""
    return self - _scaled(op, other, alpha)


@lower("aten.mul", promote=PRODUCT)
def mul(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x·y; of bools, and."""
    return op.And(self, other) if dtype_of(self) is dtypes.BOOL else self * other


@lower("aten.neg")
def neg(op: Builder, self: Tensor) -> Tensor:
    """-x; unsigned integers wrap around."""
    return 0 - self if dtype_of(self).kind == "uint" else -self


@lower("aten.rsqrt", promote=FLOAT, opmath=True)
def rsqrt(op: Builder, self: Tensor) -> Tensor:
    """1 / √x."""
    return op.Reciprocal(op.Sqrt(self))


@lower("aten.addcmul", promote=SAME.of("self", "tensor1", "tensor2"), runtime={"value"}, opmath=True)
def addcmul(op: Builder, self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """x + value·y·z."""
    return self + _scaled(op, tensor1, value) * tensor2


@lower("aten.addcdiv", promote=FLOAT.of("self", "tensor1", "tensor2"), runtime={"value"}, opmath=True)
def addcdiv(op: Builder, self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """x + value·y/z."""
    return self + _scaled(op, tensor1, value) / tensor2


@lower("aten.lerp", promote=SAME.of("self", "end"), runtime={"weight"}, opmath=True)
def lerp(op: Builder, self: Tensor, end: Tensor, weight: Any) -> Tensor:
    """self + w·(end - self), computed from the nearer end, so that it is exact at both (ATen/native/Lerp.h)."""
    way = end - self
    if isinstance(weight, (int, float)):
        near_start = -0.5 < weight < 0.5
        return self + way * weight if near_start else end - way * (1 - weight)
    weight = as_tensor(op, weight, dtype_of(self))
    from_start, from_end = self + way * weight, end - way * (number(op, 1, self) - weight)
    return op.Where(op.Abs(weight) < 0.5, from_start, from_end)


@lower("aten.deg2rad", promote=FLOAT, given={"factor": math.pi / 180}, computes="x·π/180.")
@lower("aten.rad2deg", promote=FLOAT, given={"factor": 180 / math.pi}, computes="x·180/π.")
def scale(op: Builder, self: Tensor, factor: float) -> Tensor:
    """x·factor."""
    return self * factor


def _scaled(op: Builder, x: Tensor, factor: Any) -> Tensor:
    if isinstance(factor, (int, float)):
        return x if factor == 1 else x * number(op, factor, x)
    return x * as_tensor(op, factor, dtype_of(x))


# ── division ──


@lower("aten.div.Tensor", "aten.div.Scalar", "aten.true_divide", promote=QUOTIENT)
def div(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x / y; of integers, in floats."""
    return self / other


@lower("aten.div.Tensor_mode", "aten.div.Scalar_mode", runtime={"other"}, opmath=True)
def div_rounded(op: Builder, self: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """x / y, rounded towards zero ("trunc") or down ("floor"); not rounded, integers divide as floats."""
    operands = {"self": self, "other": other}
    (QUOTIENT if rounding_mode is None else PRODUCT).apply(op, operands)
    body = {None: div, "trunc": divide_to_zero, "floor": floor_divide}[rounding_mode]
    return body(op, **operands)


def _divisor(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """What integers are divided by. The runtime refuses a lone 0 even where there is nothing to divide: then it is as
    many as the dividend."""
    if not isinstance(op, Builder) or not other.dtype.is_integer or any(dim != 1 for dim in other.shape):
        return other
    literal = other.value.data
    if isinstance(literal, ArrayData) and literal.array().all():
        return other
    if not any(may_be_zero(op, dim) for dim in self.shape):
        return other
    return expand(op, other, (*other.shape[: -len(self.shape)], *self.shape))


def divide_to_zero(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x / y rounded towards zero: what ONNX's Div does to integers."""
    quotient = self / _divisor(op, self, other)
    return trunc(op, quotient) if dtype_of(self).is_float else quotient


@lower("aten.floor_divide", promote=PRODUCT, opmath=True)
def floor_divide(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x / y rounded down.

    Floats as Python does it, by the remainder (1.0 // 0.1 is 9: the rounded quotient would be 10), and x / 0 is not
    rounded (div_floor_floating, c10/util/BFloat16-math.h).
    """
    other = _divisor(op, self, other)
    if dtype_of(self).kind == "uint":
        return self / other
    rest = op.Mod(self, other, fmod=1)
    below = cast(op, op.Sign(rest) * op.Sign(other) < 0, dtype_of(self))
    if dtype_of(self).is_integer:
        return self / other - below
    floored = op.Round((self - rest) / other - below)
    return op.Where(op.Equal(other, 0), self / other, floored)


@lower("aten.remainder", promote=SAME, given={"fmod": None}, computes="x - y·⌊x / y⌋, with the sign of y: Python's %.")
@lower("aten.fmod", promote=SAME, given={"fmod": 1}, computes="x - y·trunc(x / y), with the sign of x: C's fmod.")
def remainder(op: Builder, self: Tensor, other: Tensor, fmod: int | None) -> Tensor:
    """What dividing leaves, with the sign of the divisor or of the dividend."""
    return op.Mod(self, _divisor(op, self, other), fmod=fmod)


# ── powers ──

_POWERS = {
    2: lambda op, x: x * x,
    0.5: lambda op, x: op.Sqrt(x),
    -0.5: lambda op, x: op.Reciprocal(op.Sqrt(x)),
    -1: lambda op, x: op.Reciprocal(x),
    -2: lambda op, x: op.Reciprocal(x * x),
}  # the exponents that torch treats apart as well (ATen/native/cpu/PowKernel.cpp)


@lower("aten.pow.Tensor_Scalar", runtime={"exponent"})
@lower("aten.square", given={"exponent": 2}, computes="x·x; of bools, as integers.")
def pow_scalar(op: Builder, self: Tensor, exponent: Any) -> Tensor:
    """x to a constant power."""
    common = common_dtype([self, exponent])
    base = cast(op, self, common)
    if isinstance(exponent, (bool, int, float)):
        if exponent == 1:
            return base
        if exponent in _POWERS and (common.is_float or exponent == 2):
            return _POWERS[exponent](op, base)
        if common.is_integer and exponent > 2:
            return _integer_power(op, base, int(exponent))
    return base ** as_tensor(op, exponent, common)


def _integer_power(op: Builder, x: Tensor, exponent: int) -> Tensor:
    """By squaring, which wraps around as torch's does; runtimes go through double in Pow and lose what is above 2⁵³."""
    if exponent == 1:
        return x
    half = _integer_power(op, x, exponent // 2)
    square_of_half = half * half
    return square_of_half * x if exponent % 2 else square_of_half


@lower("aten.pow.Tensor_Tensor", "aten.pow.Scalar", promote=SAME.of("self", "exponent"))
def pow(op: Builder, self: Tensor, exponent: Tensor) -> Tensor:
    """x to the power y; of bools, x or not y."""
    dtype = dtype_of(self)
    if dtype is dtypes.BOOL:
        return op.Or(self, op.Not(exponent))
    return _integer_powers(op, self, exponent) if dtype.is_integer else self**exponent


def _integer_powers(op: Builder, x: Tensor, y: Tensor) -> Tensor:
    """Integers to integer powers, bit by bit of the exponents in a loop as long as one has any, wrapping around; a
    negative one leaves 0, but of 1 and -1."""
    blank = (x + y) * 0
    left = op.Where(y < 0, op.Mod(y, 2), y) if dtype_of(y).is_signed else y
    carried = [blank + 1, x + blank, left + blank]
    result = record_loop(op, carried, _square_and_multiply, condition=_any_above_zero(op, carried[2]))[0]
    if not dtype_of(y).is_signed:
        return result
    return op.Where(op.And(y < 0, op.Not(op.Equal(op.Abs(x), 1))), 0, result)


def _square_and_multiply(
    inner: Builder, iteration: Tensor, going: Tensor, result: Tensor, square: Tensor, left: Tensor
) -> list[Tensor]:
    """The lowest bit of the exponents that are left."""
    taken = inner.Cast(inner.Mod(left, 2), to=dtypes.BOOL.code)
    rest = left / 2
    return [_any_above_zero(inner, rest), result * inner.Where(taken, square, 1), square * square, rest]


def _any_above_zero(op: Builder, x: Tensor) -> Tensor:
    return op.ReduceMax(op.Cast(x > 0, to=dtypes.INT32.code), keepdims=0) > 0


@lower("aten.ldexp", promote=FLOAT, opmath=True)
def ldexp(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x·2ʸ."""
    return self * number(op, 2, self) ** other


# ── signs and rounding ──


@lower("aten.abs")
def abs(op: Builder, self: Tensor) -> Tensor:
    """|x|."""
    return op.Abs(self) if dtype_of(self).is_signed else self


@lower("aten.sign", "aten.sgn")
def sign(op: Builder, self: Tensor) -> Tensor:
    """-1, 0 or 1; 0 for NaN, where ONNX's Sign says NaN."""
    dtype = dtype_of(self)
    if dtype is dtypes.BOOL:
        return self
    return op.Where(op.IsNaN(self), 0, op.Sign(self)) if dtype.is_float else op.Sign(self)


@lower("aten.signbit")
def signbit(op: Builder, self: Tensor) -> Tensor:
    """Whether x is negative, -0 included."""
    if not dtype_of(self).is_float:
        return self < 0 if dtype_of(self).is_signed else full(op, self.shape, False, dtypes.BOOL)
    return is_negative(op, self)


def is_negative(op: Builder, x: Tensor) -> Tensor:
    """Whether the sign bit of a float is set: x + 1/x is below 0 for every such x, also for -0 (-inf) and -inf.

    False for NaN. Of a sum that is zero it is not, as torch adds up from 0: the runtime, which does not, returns -0 for
    nothing but -0, of which the angle between a vector of zeros and another would be π.
    """
    return x < 0 if _is_sum(op, x) else x + op.Reciprocal(x) < 0


_SUMS = ("ReduceSum", "ReduceMean")
_KEEP_SIGNS = ("Reshape", "Squeeze", "Unsqueeze", "Cast", "Expand", "Transpose", "Slice", "Gather")


def _is_sum(op: Builder, x: Tensor) -> bool:
    """Whether the elements of a tensor are sums, by the nodes that have been written."""
    value = getattr(x, "value", None)
    for node in reversed(getattr(op, "nodes", ())):
        if any(output is value for output in node.outputs):
            if node.op not in _KEEP_SIGNS:
                return node.op in _SUMS
            value = node.inputs[0]
    return False


@lower("aten.copysign", promote=FLOAT)
def copysign(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """|x| with the sign of y."""
    return op.Abs(self) * direction(op, other)


def direction(op: Builder, x: Tensor) -> Tensor:
    """-1.0 where the sign bit is set, else 1.0.

    A factor, because runtimes lose the sign of a zero that they choose by Where.
    """
    return op.Where(is_negative(op, x), number(op, -1, x), number(op, 1, x))


@lower("aten.angle", promote=FLOAT)
def angle(op: Builder, self: Tensor) -> Tensor:
    """The angle of a real number: π below 0, else 0; NaN stays."""
    return op.Where(op.IsNaN(self), self, cast(op, self < 0, dtype_of(self)) * math.pi)


@lower("aten.trunc", "aten.fix")
def trunc(op: Builder, self: Tensor) -> Tensor:
    """x rounded towards zero; integers stay."""
    return truncated(op, self) if dtype_of(self).is_float else self


@lower("aten.frac")
def frac(op: Builder, self: Tensor) -> Tensor:
    """x - trunc(x): the remainder of dividing by 1, with the sign of x."""
    return op.Mod(self, 1, fmod=1)


@lower("aten.round.decimals", opmath=True)
def round_decimals(op: Builder, self: Tensor, *, decimals: int = 0) -> Tensor:
    """x rounded to so many decimals, halves to even: scaled, rounded and scaled back, as torch does. Integers stay."""
    if not dtype_of(self).is_float:
        return self
    if decimals == 0:
        return op.Round(self)
    scale = 10.0 ** math.fabs(decimals)
    if decimals > 0:
        return op.Round(self * scale) / scale
    return op.Round(self / scale) * scale


@lower("aten.heaviside", promote=SAME.of("self", "values"))
def heaviside(op: Builder, self: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above, `values` at 0."""
    return op.Where(op.Equal(self, 0), values, cast(op, self > 0, dtype_of(self)))


@lower("aten.nan_to_num")
def nan_to_num(
    op: Builder, self: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN and infinities replaced by numbers.

    By default 0, the largest and the lowest of the dtype, which bounding says. Integers stay.
    """
    dtype = dtype_of(self)
    if not dtype.is_float:
        return self
    numbers = op.Where(op.IsNaN(self), as_tensor(op, nan or 0, dtype), self)
    if posinf is None and neginf is None and dtype.lowest <= (nan or 0) <= dtype.highest:
        return op.Clip(numbers, dtype.lowest, dtype.highest)
    above, below = (dtype.highest if posinf is None else posinf), (dtype.lowest if neginf is None else neginf)
    numbers = op.Where(op.IsInf(self, detect_negative=0), as_tensor(op, above, dtype), numbers)
    return op.Where(op.IsInf(self, detect_positive=0), as_tensor(op, below, dtype), numbers)


# ── bounds ──


@lower("aten.maximum", "aten.max.other", promote=SAME, given={"operators": ("Max", "Or")})
@lower("aten.minimum", "aten.min.other", promote=SAME, given={"operators": ("Min", "And")})
def extremum(op: Builder, self: Tensor, other: Tensor, operators: tuple[str, str]) -> Tensor:
    """The greater or the lesser of both; NaN where either is."""
    of_numbers, of_bools = operators
    return getattr(op, of_bools if dtype_of(self) is dtypes.BOOL else of_numbers)(self, other)


@lower("aten.fmax", promote=SAME, given={"operators": ("Max", "Or")})
@lower("aten.fmin", promote=SAME, given={"operators": ("Min", "And")})
def extremum_of_numbers(op: Builder, self: Tensor, other: Tensor, operators: tuple[str, str]) -> Tensor:
    """The greater or the lesser of both; the number where one is NaN."""
    result = extremum(op, self, other, operators)
    if not dtype_of(self).is_float:
        return result
    return op.Where(op.IsNaN(self), other, op.Where(op.IsNaN(other), self, result))


@lower("aten.clamp", "aten.clip", "aten.clamp_min", "aten.clamp_max", promote=SAME.of("self", "min", "max"))
def clamp(op: Builder, self: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    """x bounded from below, then from above; NaN stays. Bounds may be tensors that broadcast.

    A single bound is no Clip, whose other one would be the dtype's largest number, not infinity; nor is one that may be
    NaN, which Clip would take for none.
    """
    if min is not None and max is not None and _is_number(op, min) and _is_number(op, max):
        return op.Clip(self, min, max)
    self = self if min is None else op.Max(self, min)
    return self if max is None else op.Min(self, max)


def _is_number(op: Builder, bound: Tensor) -> bool:
    """Whether a bound is of no dims, and known not to be NaN."""
    if bound.shape or not dtype_of(bound).is_float or not isinstance(op, Builder):
        return not bound.shape
    found = content(bound.value)
    return found is not None and not np.isnan(found)
