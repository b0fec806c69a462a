"""Comparisons, tests of elements, choosing by a condition, logic and bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fxonnx import dtypes
from fxonnx.ir.build import Builder, Tensor
from fxonnx.lowering.aten.math.reduction import any_
from fxonnx.lowering.promote import SAME, as_tensor, common_dtype
from fxonnx.lowering.registry import Unsupported, lower
from fxonnx.lowering.vocabulary import cast, dtype_of, flat, full

INFINITY = float("inf")

# ── two operands ──


@lower("aten.eq", promote=SAME, given={"operator": "Equal"}, computes="x = y, in one dtype; NaN equals nothing.")
@lower("aten.lt", promote=SAME, given={"operator": "Less"}, computes="x < y.")
@lower("aten.le", promote=SAME, given={"operator": "LessOrEqual"}, computes="x ≤ y.")
@lower("aten.gt", promote=SAME, given={"operator": "Greater"}, computes="x > y.")
@lower("aten.ge", promote=SAME, given={"operator": "GreaterOrEqual"}, computes="x ≥ y.")
def compare(op: Builder, self: Tensor, other: Tensor, operator: str) -> Tensor:
    """Whether x is equal to, less or greater than y, in their common dtype; false where either is NaN."""
    return getattr(op, operator)(self, other)


@lower("aten.ne", promote=SAME)
def ne(op: Builder, self: Tensor, other: Tensor) -> Tensor:
    """x ≠ y; true where either is NaN."""
    return op.Not(op.Equal(self, other))


@lower("aten.isin", rename={"element": "elements", "test_element": "test_elements"}, ignore={"assume_unique"})
def isin(op: Builder, elements: Any, test_elements: Any, invert: bool = False) -> Tensor:
    """Whether each element is among others, each compared with each: NaN is among none."""
    given = (elements, test_elements)
    x, others = (as_tensor(op, each, common_dtype(given)) for each in given)
    found = any_(op, op.Equal(op.Unsqueeze(x, [len(x.shape)]), flat(op, others)), -1)
    return op.Not(found) if invert else found


# ── one operand ──


@lower("aten.isnan", given={"operator": "IsNaN"}, computes="Whether x is NaN; no integer is.")
@lower("aten.isinf", given={"operator": "IsInf"}, computes="Whether x is infinite; no integer is.")
@lower("aten.isposinf", given={"operator": "IsInf", "told": {"detect_negative": 0}}, computes="Whether x is +inf.")
@lower("aten.isneginf", given={"operator": "IsInf", "told": {"detect_positive": 0}}, computes="Whether x is -inf.")
def is_special(op: Builder, self: Tensor, operator: str, told: Mapping[str, int] | None = None) -> Tensor:
    """Whether x is NaN, or infinite with either sign or one; no integer is."""
    if not dtype_of(self).is_float:
        return full(op, self.shape, False, dtypes.BOOL)
    return getattr(op, operator)(self, **(told or {}))


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


_LEFT = "x·2ʸ in the bits of an integer; 0 when y is negative or not below their number."
_RIGHT = "⌊x / 2ʸ⌋ in the bits of an integer, the sign kept."
_AND, _OR, _XOR = ("And", "BitwiseAnd"), ("Or", "BitwiseOr"), ("Xor", "BitwiseXor")  # of bools, of integers


@lower("aten.bitwise_left_shift", "aten.__lshift__", promote=SAME, given={"direction": "LEFT"}, computes=_LEFT)
@lower("aten.bitwise_right_shift", "aten.__rshift__", promote=SAME, given={"direction": "RIGHT"}, computes=_RIGHT)
def shift(op: Builder, self: Tensor, other: Tensor, direction: str) -> Tensor:
    """The bits of an integer moved to the left or to the right."""
    if not dtype_of(self).is_integer:
        raise Unsupported("shifting the bits of floats is not defined")
    return op.BitShift(self, other, direction=direction)


@lower("aten.bitwise_and", "aten.__and__", promote=SAME, given={"operators": _AND}, computes="x & y, also of bools.")
@lower("aten.bitwise_or", "aten.__or__", promote=SAME, given={"operators": _OR}, computes="x | y, also of bools.")
@lower("aten.bitwise_xor", "aten.__xor__", promote=SAME, given={"operators": _XOR}, computes="x ^ y, also of bools.")
def bitwise(op: Builder, self: Tensor, other: Tensor, operators: tuple[str, str]) -> Tensor:
    """x & y, x | y or x ^ y."""
    of_bools, of_integers = operators
    return getattr(op, of_bools if dtype_of(self) is dtypes.BOOL else of_integers)(self, other)


@lower("aten.bitwise_not")
def bitwise_not(op: Builder, self: Tensor) -> Tensor:
    """~x of integers or bools."""
    return op.Not(self) if dtype_of(self) is dtypes.BOOL else op.BitwiseNot(self)


@lower("aten.logical_and", given={"operator": "And"}, computes="Whether both are not 0.")
@lower("aten.logical_or", given={"operator": "Or"}, computes="Whether either is not 0.")
@lower("aten.logical_xor", given={"operator": "Xor"}, computes="Whether just one is not 0.")
def logical(op: Builder, self: Tensor, other: Tensor, operator: str) -> Tensor:
    """Whether both, either or just one is not 0."""
    return getattr(op, operator)(cast(op, self, dtypes.BOOL), cast(op, other, dtypes.BOOL))


@lower("aten.logical_not")
def logical_not(op: Builder, self: Tensor) -> Tensor:
    """Whether x is 0."""
    return op.Not(cast(op, self, dtypes.BOOL))
