"""The bits of a value, which ONNX sees from opset 26 on, said by arithmetic.

The bits of a positive float, read as a whole number, have its exponent in the upper digits, and in the lower ones how
many units it is above the power of two, the unit being what the exponent says. Numbers below the least power have that
one's unit, so that one formula serves them all. Computed in double, exactly; every NaN is the quiet one that NumPy has.

Source: IEEE 754-2019, §3.4; ONNX operator BitCast.
"""

from __future__ import annotations

import math

import numpy as np

from fxonnx.dtypes import BOOL, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, DType, dtype
from fxonnx.ir.build import Builder, Tensor
from fxonnx.passes.legalize.registry import NoExpansion, expands

_SIGNED = {each.bits: each for each in (INT8, INT16, INT32, INT64)}
_BYTE = 8


@expands("BitCast")
def bit_cast(op: Builder, x: Tensor, *, to: int) -> Tensor:
    """The same bits as another dtype, by way of a signed integer."""
    wanted = dtype(to)
    if x.dtype.bits not in _SIGNED or BOOL in (x.dtype, wanted):
        raise NoExpansion(f"the bits of {x.dtype}")
    integer = _SIGNED[x.dtype.bits]
    bits = _bits(op, x, integer) if x.dtype.is_float else _as(op, x, integer)
    return _from_bits(op, bits, wanted) if wanted.is_float else _as(op, bits, wanted)


def _as(op: Builder, x: Tensor, wanted: DType) -> Tensor:
    """Of integers as wide as another, casts keep the bits."""
    return x if x.dtype is wanted else op.Cast(x, to=wanted)


def _bits(op: Builder, x: Tensor, integer: DType) -> Tensor:
    """The bits of a float: where its exponent stands among those there are, then as many units as it has."""
    if "-0" not in x.dtype.special:
        raise NoExpansion(f"the bits of {x.dtype}")
    behind, least = x.dtype.digits - 1, x.dtype.quantum + x.dtype.digits - 1
    wide = _as(op, x, FLOAT64) if x.dtype.bits > _BYTE else _as(op, _as(op, x, FLOAT32), FLOAT64)
    is_nan, is_infinite = op.IsNaN(wide), op.IsInf(wide)
    size = op.Abs(op.Where(op.Or(is_nan, is_infinite), 0.0, wide))
    guess = op.Max(op.Floor(op.Log(size) / math.log(2)), float(least))
    scaled = _times_power(op, size, op.Neg(guess))
    above, below = scaled >= 2.0, op.And(scaled < 1.0, guess > least)  # by one the logarithm may be off
    more, less = (op.Cast(each, to=FLOAT64) for each in (above, below))
    exponent = guess + more - less
    units = scaled * (1.0 - more * 0.5) * (less + 1.0) * 2.0**behind
    bits = op.Cast(exponent - least, to=INT64) * 2**behind + op.Cast(units, to=INT64)
    if "inf" in x.dtype.special:
        bits = op.Where(is_infinite, _bits_of(math.inf, x.dtype), bits)
    bits = op.Where(is_nan, _bits_of(math.nan, x.dtype), bits)
    is_negative = wide + op.Reciprocal(wide) < 0.0  # of -0, too, whose reciprocal is -inf
    return _as(op, op.Where(is_negative, bits + int(integer.lowest), bits), integer)


def _from_bits(op: Builder, bits: Tensor, wanted: DType) -> Tensor:
    """The float that has these bits: its units times what the exponent says, or one of all there are."""
    if wanted.bits == _BYTE:
        return _of_byte(op, bits, wanted)
    behind = wanted.digits - 1
    wide = _as(op, bits, INT64)
    is_negative = wide < 0
    rest = op.Where(is_negative, wide - int(bits.dtype.lowest), wide)
    place = rest / 2**behind
    units = rest - op.Max(place - 1, 0) * 2**behind
    power = op.Cast(op.Max(place - 1, 0) + wanted.quantum, to=FLOAT64)
    infinite = _bits_of(math.inf, wanted)
    is_finite = rest < infinite
    size = _times_power(op, op.Cast(units, to=FLOAT64), op.Where(is_finite, power, 0.0))
    size = op.Where(is_finite, size, op.Where(op.Equal(rest, infinite), op.constant(math.inf, FLOAT64), math.nan))
    sign = 1.0 - op.Cast(is_negative, to=FLOAT64) * 2.0  # of the runtime's Where -0 comes out as 0
    return _as(op, size * sign, wanted)


def _of_byte(op: Builder, bits: Tensor, wanted: DType) -> Tensor:
    """Looked up in float32, which has all of them; those below 0 lie at the end."""
    numbers = np.arange(2**_BYTE, dtype=np.uint8).view(wanted.numpy).astype(np.float32)
    found = op.Gather(op.constant(numbers), _as(op, bits, INT64))
    return op.Cast(found, to=wanted, saturate=0)


def _times_power(op: Builder, x: Tensor, exponent: Tensor) -> Tensor:
    """x·2ᵉ in two steps, of which none over- or underflows where the product does not."""
    half = op.Floor(exponent * 0.5)
    two = op.constant(2.0, FLOAT64)
    return x * op.Pow(two, half) * op.Pow(two, exponent - half)


def _bits_of(number: float, of: DType) -> int:
    return int(np.array([number]).astype(of.numpy).view(f"u{of.bits // 8}")[0]) % 2 ** (of.bits - 1)
