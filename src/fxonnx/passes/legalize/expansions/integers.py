"""Remainders and shifts: of floats that round down and of signed integers (new in opset 28), and before there were any
(opsets 10 and 11). What is done to bits one by one, before opset 18."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from fxonnx.dtypes import FLOAT64, INT64, DType
from fxonnx.ir.build import Builder, Tensor
from fxonnx.ir.graph import Node, constant_ints
from fxonnx.passes.legalize.registry import NoExpansion, expands, form


def _is_floored_float(node: Node) -> bool:
    return node.output.dtype.is_float and not node.attributes.get("fmod", 0)


@form("Mod", since=28, applies=_is_floored_float)
def floored_remainder(op: Builder, x: Tensor, y: Tensor, *, fmod: int) -> Tensor:
    """C's fmod, and y added where its sign is not y's. NaN and infinities as Mod-28 has them."""
    remainder = op.Mod(x, y, fmod=1)
    return op.Where(op.Less(op.Sign(remainder) * op.Sign(y), 0), remainder + y, remainder)


@expands("Mod")
def remainder(op: Builder, x: Tensor, y: Tensor, *, fmod: int) -> Tensor:
    """What division leaves, with the sign of the divisor (of the dividend where `fmod` is set)."""
    if x.dtype.is_float:
        return _float_remainder(op, x, y)
    rest = x - x / y * y
    if fmod or not x.dtype.is_signed:
        return rest
    return op.Where(op.Less(op.Sign(rest) * op.Sign(y), 0), rest + y, rest)


_QUOTIENT = 28  # bits of a quotient whose product with a float32 is exact in double
_ALL_BITS = 280  # of the quotient of the greatest float32 and the least


def _float_remainder(op: Builder, x: Tensor, y: Tensor) -> Tensor:
    """C's fmod, exactly: in double, what is left of |x| is divided by |y| times powers of two, from the greatest on. A
    quotient that was rounded up to a whole one takes one time too many, which is given back."""
    if x.dtype is FLOAT64:
        raise NoExpansion("the remainder of float64, exactly")
    rest, divisor = (op.Abs(op.Cast(each, to=FLOAT64)) for each in (x, y))
    is_less = op.Less(rest, divisor)
    for power in range(_ALL_BITS - _QUOTIENT, -1, -_QUOTIENT):
        times = divisor * 2.0**power
        rest = rest - op.Floor(rest / times) * times
        rest = op.Where(op.Less(rest, 0.0), rest + times, rest)
    rest = op.Cast(rest, to=x.dtype)
    return op.Where(is_less, x, op.Where(op.Less(x, 0.0), op.Neg(rest), rest))


def _is_signed(node: Node) -> bool:
    return node.output.dtype.is_signed


@expands("BitShift")
@form("BitShift", since=28, applies=_is_signed)
def shift(op: Builder, x: Tensor, y: Tensor, *, direction: str) -> Tensor:
    """A product or a floored quotient with a power of two, looked up.

    Shifts by no bit of the dtype leave 0, or the sign to the right.
    """
    bits, powers = x.dtype.bits, op.constant(_powers(x.dtype))
    known = constant_ints(y.value)
    if known is not None and all(0 <= distance < bits - 1 for distance in known):
        power = op.Gather(powers, _index(op, y))
        return x * power if direction == "LEFT" else (x - op.Mod(x, power)) / power
    out_of_range = op.Or(op.Less(y, 0), op.GreaterOrEqual(y, bits))
    if direction == "LEFT":
        return x * op.Gather(powers, _index(op, op.Where(out_of_range, bits, y)))
    distance = _index(op, op.Where(out_of_range, bits - 1, y))
    first = op.Min(distance, bits - 2)  # the power of the last bit is no positive number: the last step is taken apart
    for step in (first, op.Sub(distance, first)):
        power = op.Gather(powers, step)
        x = (x - op.Mod(x, power)) / power
    return x


def _index(op: Builder, y: Tensor) -> Tensor:
    return y if y.dtype is INT64 else op.Cast(y, to=INT64)


def _powers(dtype: DType) -> np.ndarray:
    """2⁰ … 2ᵇ⁻¹ with the last one negative, as two's complement has it, and 0 for all beyond."""
    return np.array([*(1 << bit for bit in range(dtype.bits)), 0], np.uint64).astype(dtype.numpy)


# ── bits ──


def _always(node: Node) -> bool:
    return True


_DIGIT = 16  # looked up at once are 4 bits of each operand


def _bitwise(op: Builder, x: Tensor, y: Tensor, *, combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Tensor:
    """What a table says of each pair of hexadecimal digits, put together again; in int64, whose multiples of the
    highest digit wrap round to the sign, as casts to narrower dtypes do."""
    digits = np.arange(_DIGIT)
    table = op.constant(combine(digits[:, None], digits).reshape(-1).astype(np.int64))
    scales = op.constant(np.array([_DIGIT**place for place in range(x.dtype.bits // 4)], np.int64))
    pairs = _digits(op, x, scales) * _DIGIT + _digits(op, y, scales)
    found = op.ReduceSum(op.Gather(table, pairs) * scales, [-1], keepdims=0)
    return found if x.dtype is INT64 else op.Cast(found, to=x.dtype)


def _digits(op: Builder, x: Tensor, scales: Tensor) -> Tensor:
    """The hexadecimal digits of two's complement along a new last axis, the lowest first."""
    x = op.Unsqueeze(_index(op, x), [-1])
    return op.Mod((x - op.Mod(x, scales)) / scales, _DIGIT)


for _name, _combine in (("And", np.bitwise_and), ("Or", np.bitwise_or), ("Xor", np.bitwise_xor)):
    form(f"Bitwise{_name}", since=18, applies=_always)(partial(_bitwise, combine=_combine))


@form("BitwiseNot", since=18, applies=_always)
def complement(op: Builder, x: Tensor) -> Tensor:
    """-1 - x, or the highest number less x."""
    return op.constant(-1 if x.dtype.is_signed else x.dtype.highest, x.dtype) - x
