"""Interval arithmetic on dims (Moore 1966): the least and the greatest value, from those of each part."""

from __future__ import annotations

import math
from typing import TypeAlias

from fxonnx.ir.dims.algebra import Algebra
from fxonnx.ir.dims.terms import Call, Monomial, Symbol

Interval: TypeAlias = "tuple[float, float]"  # whole numbers, or an infinity


class Ranges(Algebra[Interval]):
    """Dims as intervals. Sizes are 0 or more, and the atoms of `positive` 1 or more."""

    def __init__(self, positive: Monomial = ()) -> None:
        super().__init__()
        self._positive = positive

    def constant(self, value: int) -> Interval:
        """That alone."""
        return value, value

    def symbol(self, name: str) -> Interval:
        """From 0, or 1, on."""
        return int(Symbol(name) in self._positive), math.inf

    def call(self, atom: Call, left: Interval, right: Interval) -> Interval:
        """From the ends of both sides."""
        low, high = _interval_of(atom.function, left, right)
        return max(low, 1) if low == 0 and atom in self._positive else low, high

    def add(self, left: Interval, right: Interval) -> Interval:
        """End to end."""
        return left[0] + right[0], left[1] + right[1]

    def multiply(self, left: Interval, right: Interval) -> Interval:
        """From the least to the greatest product of two ends."""
        products = [0.0 if 0 in (a, b) else a * b for a in left for b in right]
        return min(products), max(products)


def _interval_of(function: str, left: Interval, right: Interval) -> Interval:
    match function:
        case "max":
            return max(left[0], right[0]), max(left[1], right[1])
        case "min":
            return min(left[0], right[0]), min(left[1], right[1])
        case "%" if right[0] >= 0:
            return 0, min(right[1] - 1, left[1]) if left[0] >= 0 else right[1] - 1
        case "//" if right[0] >= 0:
            divisors = max(right[0], 1), right[1]
            return _quotient(left[0], divisors), _quotient(left[1], divisors[::-1])
    return -math.inf, math.inf


def _quotient(value: float, divisors: Interval) -> float:
    """The value's floor by the divisor that makes it smaller: the large one of `divisors` for what is not negative.

    `divisors` is (low, high) for a lower bound, (high, low) for an upper one.
    """
    divisor = divisors[1] if value >= 0 else divisors[0]
    if math.isinf(value):
        return value
    return value // divisor
