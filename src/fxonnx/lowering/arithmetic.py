"""Pointwise mathematics: sums and products, powers, rounding, trigonometry, bits and logic."""

from __future__ import annotations

import math
from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.promote import FLOAT, SAME, as_tensor, common_dtype
from fxonnx.lowering.registry import Body, Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of

# ── one operator of the same name ──

_FLOAT_FUNCTIONS = {
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "asin": "Asin",
    "acos": "Acos",
    "atan": "Atan",
    "sinh": "Sinh",
    "cosh": "Cosh",
    "tanh": "Tanh",
    "asinh": "Asinh",
    "acosh": "Acosh",
    "atanh": "Atanh",
    "erf": "Erf",
}

_ROUNDINGS = {"ceil": "Ceil", "floor": "Floor", "round": "Round"}


def _function(name: str, operator: str) -> Body:
    def body(op: Builder, self: Tensor) -> Tensor:
        return getattr(op, operator)(self)

    body.__name__, body.__doc__ = name, f"{name}(x), ONNX's {operator}; integers become floats first."
    return body


def _rounding(name: str, operator: str) -> Body:
    def body(op: Builder, self: Tensor) -> Tensor:
        return getattr(op, operator)(self) if dtype_of(self).is_float else self

    body.__name__, body.__doc__ = name, f"{name}(x), ONNX's {operator}; integers stay (round takes halves to even)."
    return body


for _name, _operator in _FLOAT_FUNCTIONS.items():
    lower(f"aten.{_name}", promote=FLOAT)(_function(_name, _operator))
for _name, _operator in _ROUNDINGS.items():
    lower(f"aten.{_name}.default")(_rounding(_name, _operator))


# ── sums and products ──


@lower("aten.add", promote=SAME)
def add(op: Builder, self: Tensor, other: Tensor, *, alpha: Any = 1) -> Tensor:
    """x + α·y; of bools, or."""
    if dtype_of(self) is dtypes.BOOL:
        return op.Or(self, other) if alpha else self
    return op.Add(self, _scaled(op, other, alpha))


@lower("aten.sub", promote=SAME)
def sub(op: Builder, self: Tensor, other: Tensor, *, alpha: Any = 1) -> Tensor:
    """x - α·y."""
    return op.Sub(self, _scaled(op, other, alpha))


@lower("aten.rsub", promote=SAME)
def rsub(op: Builder, self: Tensor, other: Tensor, alpha: Any = 1) -> Tensor:
    """y - α·x."""
    return op.Sub(other, _scaled(op, self, alpha))


@lower("aten.mul", promote=SAME)
def mul(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x·y; of bools, and."""
    return op.And(self, other) if dtype_of(self) is dtypes.BOOL else op.Mul(self, other)


@lower("aten.div.Tensor", "aten.div.Scalar", promote=FLOAT)
def div(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x / y; of integers, in floats."""
    return op.Div(self, other)


@lower("aten.neg")
def neg(op: Builder, self: Tensor) -> Tensor:
    """-x; unsigned integers wrap around."""
    return op.Sub(0, self) if dtype_of(self).kind == "uint" else op.Neg(self)


@lower("aten.square")
def square(op: Builder, self: Tensor) -> Tensor:
    """x·x."""
    return op.Mul(self, self)


@lower("aten.rsqrt", promote=FLOAT)
def rsqrt(op: Builder, self: Tensor) -> Tensor:
    """1 / √x."""
    return op.Reciprocal(op.Sqrt(self))


def _scaled(op: Builder, x: Tensor, alpha: Any) -> Tensor:
    return x if isinstance(alpha, (int, float)) and alpha == 1 else op.Mul(x, as_tensor(op, alpha, dtype_of(x)))


# ── powers ──

_POWERS = {
    2: lambda op, x: op.Mul(x, x),
    0.5: lambda op, x: op.Sqrt(x),
    -0.5: lambda op, x: op.Reciprocal(op.Sqrt(x)),
    -1: lambda op, x: op.Reciprocal(x),
    -2: lambda op, x: op.Reciprocal(op.Mul(x, x)),
}  # the exponents that torch treats apart as well (ATen/native/cpu/PowKernel.cpp)


@lower("aten.pow.Tensor_Scalar")
def pow_scalar(op: Builder, self: Tensor, exponent: Any) -> Tensor:
    """x to a constant power."""
    common = common_dtype([self, exponent])
    base = cast(op, self, common)
    if isinstance(exponent, (bool, int, float)):
        if exponent == 1:
            return base
        if exponent in _POWERS and (common.is_float or exponent == 2):
            return _POWERS[exponent](op, base)
    return op.Pow(base, as_tensor(op, exponent, common))


@lower("aten.pow.Tensor_Tensor", "aten.pow.Scalar", promote=SAME.of("self", "exponent"))
def pow(op: Builder, self: Tensor, exponent: Tensor) -> Tensor:
    """x to the power y."""
    return op.Pow(self, exponent)


# ── absolute value, clamping ──


@lower("aten.abs")
def abs(op: Builder, self: Tensor) -> Tensor:
    """|x|."""
    return op.Abs(self) if dtype_of(self).is_signed else self


@lower("aten.clamp", "aten.clamp_min", "aten.clamp_max", promote=SAME.of("self", "min", "max"))
def clamp(op: Builder, self: Tensor, min: Tensor | None = None, max: Tensor | None = None) -> Tensor:
    """x bounded from below, then from above; NaN stays. Bounds may be tensors that broadcast."""
    if not any(bound is not None and bound.shape for bound in (min, max)):
        return op.Clip(self, min, max)
    self = self if min is None else op.Max(self, min)
    return self if max is None else op.Min(self, max)


# ── bits and logic ──


@lower("aten.bitwise_and", "aten.__and__", promote=SAME)
def bitwise_and(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x & y of integers or bools."""
    return op.And(self, other) if dtype_of(self) is dtypes.BOOL else op.BitwiseAnd(self, other)


@lower("aten.bitwise_or", "aten.__or__", promote=SAME)
def bitwise_or(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x | y of integers or bools."""
    return op.Or(self, other) if dtype_of(self) is dtypes.BOOL else op.BitwiseOr(self, other)


@lower("aten.bitwise_xor", "aten.__xor__", promote=SAME)
def bitwise_xor(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x ^ y of integers or bools."""
    return op.Xor(self, other) if dtype_of(self) is dtypes.BOOL else op.BitwiseXor(self, other)


@lower("aten.bitwise_not")
def bitwise_not(op: Builder, self: Tensor) -> Tensor:
    """~x of integers or bools."""
    return op.Not(self) if dtype_of(self) is dtypes.BOOL else op.BitwiseNot(self)


@lower("aten.logical_and")
def logical_and(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """Whether both are not 0."""
    return op.And(cast(op, self, dtypes.BOOL), cast(op, other, dtypes.BOOL))


@lower("aten.logical_or")
def logical_or(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """Whether either is not 0."""
    return op.Or(cast(op, self, dtypes.BOOL), cast(op, other, dtypes.BOOL))


@lower("aten.logical_xor")
def logical_xor(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """Whether just one is not 0."""
    return op.Xor(cast(op, self, dtypes.BOOL), cast(op, other, dtypes.BOOL))


@lower("aten.logical_not")
def logical_not(op: Builder, self: Tensor) -> Tensor:
    """Whether x is 0."""
    return op.Not(cast(op, self, dtypes.BOOL))
