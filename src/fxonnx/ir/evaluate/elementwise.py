"""Operators that work element by element. Integer division rounds towards zero, as ONNX says; overflow wraps."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

import numpy as np

from fxonnx import dtypes
from fxonnx.dtypes import DType
from fxonnx.ir.evaluate.call import COMPUTE, Array, Computation, Operands, computes

_erf = np.vectorize(math.erf, otypes=[np.float64])


def erf(x: Array) -> Array:
    """The error function, computed in float64."""
    return np.asarray(_erf(x.astype(np.float64))).astype(x.dtype)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ); far below zero e⁻ˣ is infinite and the result 0."""
    one = x.dtype.type(1)
    return np.asarray(one / (one + np.exp(-x)))


def divide(x: Array, y: Array) -> Array:
    """x / y; integers rounded towards zero."""
    if not _is_integer(x):
        return np.asarray(np.divide(x, y))
    quotient = np.floor_divide(x, y)
    inexact_negative = (quotient * y != x) & ((x < 0) != (y < 0)) & (y != 0)
    return np.asarray(quotient + inexact_negative.astype(x.dtype))


def power(x: Array, y: Array) -> Array:
    """x to the y, in the dtype of x."""
    if _is_integer(x) and _is_integer(y) and not (y < 0).any():
        return np.asarray(np.power(x, y)).astype(x.dtype)
    if _is_integer(x):
        return np.asarray(np.power(x.astype(np.float64), y.astype(np.float64))).astype(x.dtype)
    return np.asarray(np.power(x, y.astype(x.dtype)))


_PLAIN: dict[str, Callable[..., object]] = {
    "Abs": np.abs, "Neg": np.negative, "Sign": np.sign, "Ceil": np.ceil, "Floor": np.floor, "Round": np.rint,
    "Sqrt": np.sqrt, "Exp": np.exp, "Log": np.log, "Reciprocal": lambda x: x.dtype.type(1) / x, "Erf": erf,
    "Sin": np.sin, "Cos": np.cos, "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan,
    "Sinh": np.sinh, "Cosh": np.cosh, "Tanh": np.tanh, "Asinh": np.arcsinh, "Acosh": np.arccosh, "Atanh": np.arctanh,
    "Sigmoid": sigmoid, "Relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "Not": np.logical_not, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
    "BitwiseNot": np.invert, "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
    "Equal": np.equal, "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal, "IsNaN": np.isnan,
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": divide, "Pow": power,
    "Identity": lambda x: x, "Where": np.where,
}  # fmt: skip


def _plain(function: Callable[..., object]) -> Computation:
    return lambda call: np.asarray(function(*call.arrays))


COMPUTE.update({op: _plain(function) for op, function in _PLAIN.items()})


@computes("Max")
def max_(call: Operands) -> Array:
    """The largest of all inputs, broadcast; NaN where one is."""
    return reduce(np.maximum, [call[i] for i in range(len(call.arrays))])


@computes("Min")
def min_(call: Operands) -> Array:
    """The smallest of all inputs, broadcast; NaN where one is."""
    return reduce(np.minimum, [call[i] for i in range(len(call.arrays))])


@computes("Sum")
def sum_(call: Operands) -> Array:
    """All inputs added up, broadcast."""
    return reduce(np.add, [call[i] for i in range(len(call.arrays))])


@computes("Mod")
def mod(call: Operands) -> Array:
    """The remainder with the sign of the divisor, or with `fmod` of the dividend (C's fmod)."""
    fmod = call.attribute("fmod", 0) or not _is_integer(call[0])
    return np.asarray(np.fmod(call[0], call[1]) if fmod else np.mod(call[0], call[1]))


@computes("BitShift")
def bit_shift(call: Operands) -> Array:
    """Bits moved LEFT or RIGHT."""
    shift = np.left_shift if call.attribute("direction") == "LEFT" else np.right_shift
    return np.asarray(shift(call[0], call[1]))


@computes("Clip")
def clip(call: Operands) -> Array:
    """Between two scalars, either of which may be absent; the upper one wins where they cross."""
    x = call[0]
    low = call[1] if call.has(1) else call.attribute("min")
    high = call[2] if call.has(2) else call.attribute("max")
    x = x if low is None else np.maximum(x, np.asarray(low, x.dtype).reshape(()))
    return x if high is None else np.minimum(x, np.asarray(high, x.dtype).reshape(()))


@computes("LeakyRelu")
def leaky_relu(call: Operands) -> Array:
    """x where it is not negative, else `alpha` x."""
    x = call[0]
    return np.where(x < 0, x * x.dtype.type(call.attribute("alpha", 0.01)), x)


@computes("Cast")
def cast(call: Operands) -> Array | None:
    """Another dtype; the rules of strings and of dtypes below 16 bits of float or 8 of int are the reference's."""
    return _cast(call[0], dtypes.dtype(call.attribute("to")))


@computes("CastLike")
def cast_like(call: Operands) -> Array | None:
    """The dtype of the second input."""
    return _cast(call[0], dtypes.dtype(call[1].dtype))


def _cast(x: Array, to: DType) -> Array | None:
    return x.astype(to.numpy) if _is_simple(to) and _is_simple(dtypes.dtype(x.dtype)) else None


def _is_simple(dtype: DType) -> bool:
    return dtype.bits >= (16 if dtype.is_float else 8)


def _is_integer(x: Array) -> bool:
    return x.dtype.kind in "iub"
