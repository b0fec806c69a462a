"""Comparisons, tests of elements, choosing by a condition, logic and bits."""

from __future__ import annotations

from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.promote import SAME, as_tensor
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, full

INFINITY = float("inf")

# ── two operands ──


@lower("aten.eq", promote=SAME)
def eq(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x = y, in their common dtype; NaN equals nothing."""
    return op.Equal(self, other)


@lower("aten.ne", promote=SAME)
def ne(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x ≠ y; true where either is NaN."""
    return op.Not(op.Equal(self, other))


@lower("aten.lt", promote=SAME)
def lt(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x < y."""
    return self < other


@lower("aten.le", promote=SAME)
def le(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x ≤ y."""
    return self <= other


@lower("aten.gt", promote=SAME)
def gt(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x > y."""
    return self > other


@lower("aten.ge", promote=SAME)
def ge(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x ≥ y."""
    return self >= other


# ── one operand ──


@lower("aten.isnan")
def isnan(op: Builder, self: Tensor) -> Tensor:
    """Whether x is NaN; no integer is."""
    return op.IsNaN(self) if dtype_of(self).is_float else full(op, self.shape, False, dtypes.BOOL)


@lower("aten.isinf")
def isinf(op: Builder, self: Tensor) -> Tensor:
    """Whether x is infinite; no integer is."""
    return op.IsInf(self) if dtype_of(self).is_float else full(op, self.shape, False, dtypes.BOOL)


@lower("aten.isposinf")
def isposinf(op: Builder, self: Tensor) -> Tensor:
    """Whether x is +inf."""
    return op.IsInf(self, detect_negative=0) if dtype_of(self).is_float else full(op, self.shape, False, dtypes.BOOL)


@lower("aten.isneginf")
def isneginf(op: Builder, self: Tensor) -> Tensor:
    """Whether x is -inf."""
    return op.IsInf(self, detect_positive=0) if dtype_of(self).is_float else full(op, self.shape, False, dtypes.BOOL)


@lower("aten.isfinite")
def isfinite(op: Builder, self: Tensor) -> Tensor:
    """Whether x is neither infinite nor NaN: |x| < inf."""
    return op.Abs(self) < INFINITY if dtype_of(self).is_float else full(op, self.shape, True, dtypes.BOOL)


# ── choosing ──


@lower("aten.where", promote=SAME)
def where(op: Builder, condition: Tensor, self: Tensor, other: Tensor) -> Tensor:
    """self where the condition holds, else other; all three broadcast."""
    return op.Where(cast(op, condition, dtypes.BOOL), self, other)


@lower("aten.masked_fill", runtime={"value"})
def masked_fill(op: Builder, self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """value where the mask holds, else self; in self's dtype."""
    return op.Where(cast(op, mask, dtypes.BOOL), as_tensor(op, value, dtype_of(self)), self)


# ── bits and logic ──


@lower("aten.bitwise_left_shift", "aten.__lshift__", promote=SAME)
def bitwise_left_shift(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x·2ʸ in the bits of an integer; 0 when y is negative or not below their number."""
    return _shift(op, self, other, "LEFT")


@lower("aten.bitwise_right_shift", "aten.__rshift__", promote=SAME)
def bitwise_right_shift(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """⌊x / 2ʸ⌋ in the bits of an integer, the sign kept."""
    return _shift(op, self, other, "RIGHT")


def _shift(op: Builder, x: Tensor, y: Tensor, direction: str) -> Tensor:
    if not dtype_of(x).is_integer:
        raise Unsupported("shifting the bits of floats is not defined")
    return op.BitShift(x, y, direction=direction)


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
