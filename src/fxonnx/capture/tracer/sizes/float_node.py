"""Floats computed from sizes: how, the value in this run, and where it is one, the quotient of two dims.

A quotient x = a / b stands for a float f that was computed of it so that

1. f is x wherever x is dyadic, a whole number over a power of 2;
2. else f has been rounded `roundings` times, to nearest, each time by 2**-53 of its value at most.

Sizes, constants such as 0.5, their sums and products are exact while they fit into 53 bits: roundings are 0. A division
rounds once, as IEEE 754 wants it: to x, where that is dyadic. Divided by an exact d, x / d is dyadic only where x is;
the same goes for x + e with an exact e; and a power of 2 rounds nothing: all of these keep 1. A product with anything
else does not: n / 100 * 100 is 28.999… for n = 29.

So floor, ceil, trunc, `is_integer` and comparisons with an exact number over c are those of x, for either sign of a.
Where x is dyadic, f is x. Else x is 1 / (b * c) or more away from all numbers over c, whole ones among them, and f is
nearer to x than that while roundings * c * |a| is below 2**53, a the greatest on the way: floor(n / m) is n // m for n
below 2**53, floor(n / m / k) is n // (m * k) for n below 2**52. Of two that were rounded, which may be equal, each must
have been so only once: then equal quotients are equal floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch

from fxonnx.capture.assumption import RELATIONS
from fxonnx.capture.tracer.sizes.data import ROUNDINGS
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.node import CONSTANT, DATA, PLAIN, Node
from fxonnx.capture.tracer.sizes.steps import passes, steps
from fxonnx.ir.dims import Dim, ceil_divide, floor_divide, maximum, minimum, modulo

FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt, "abs": abs, "exp": math.exp, "log": math.log, "log2": math.log2, "log10": math.log10,
    "sin": math.sin, "cos": math.cos,
}  # fmt: skip
_EXACT = frozenset({
    "float", CONSTANT, DATA, "neg", "add", "sub", "mul", "truediv", "pow", "sqrt", "abs", "max", "min",
})  # fmt: skip
_MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_SIGNS = frozenset({"add", "mul", "truediv", "pow", "max", "min"})  # of what is not negative they are not either
_SHORT = 2**20  # denominators of constants that stay exact: 0.5 and 0.125 are, 0.1 in binary is not


class FloatNode(Node):
    """A float computed from sizes: how (`tree`), its value in this run, and where it is one, the quotient of a dim by a
    positive dim, with how often that was rounded."""

    __slots__ = ("_is_of_data", "quotient", "roundings", "tree")

    pytype = float

    def __init__(
        self, tree: tuple[Any, ...], hint: float, guard_log: GuardLog, quotient: Any = None, roundings: int = 0
    ) -> None:
        super().__init__(hint, guard_log)
        self.tree = tree
        self._is_of_data = tree[0] == DATA or any(isinstance(each, Node) and each.comes_from_data for each in tree)
        if isinstance(quotient, Fraction):
            short = quotient.denominator <= _SHORT
            quotient = (quotient.numerator, quotient.denominator) if short else None
        if roundings and quotient is not None and modulo(*quotient) == 0:  # whole whatever the sizes are: see 1
            quotient, roundings = (floor_divide(*quotient), 1), 0
        self.quotient: tuple[Dim, Dim] | None = quotient
        self.roundings = roundings

    def __str__(self) -> str:
        return f"{self.tree[0]}({', '.join(map(str, self.tree[1:]))})"

    @property
    def expr(self) -> tuple[Any, ...]:
        """torch compares numbers by this."""
        return self.tree

    @property
    def comes_from_data(self) -> bool:
        """Whether a size or a number that comes from data is in it."""
        return self._is_of_data

    def is_constant(self) -> bool:
        """Whether it is a plain number."""
        return self.tree[0] == CONSTANT

    def maybe_as_float(self) -> float | None:
        """The number, where it is one."""
        return self.hint if self.is_constant() else None

    def guard_float(self, file: str, line: int) -> float:
        """A plain number is wanted: see `GuardLog.as_plain` where it comes from a dim."""
        return float(self.hint) if self.is_constant() else self.guard_log.as_plain(self.any_dim(), float(self.hint))

    def guard_int(self, file: str, line: int) -> int:
        """`int(f)`: as `guard_float`."""
        return int(self.guard_float(file, line))

    def bool_(self) -> bool:
        """Whether it is not 0: a comparison."""
        return bool(self._compare("!=", FloatNode((CONSTANT, 0.0), 0.0, self.guard_log, Fraction(0))).bool_())

    def int_(self) -> int:
        """`int(f)`."""
        return self.guard_int("", 0)

    def any_dim(self) -> Dim:
        """A dim that the float comes from."""
        if self.tree[0] in ("float", PLAIN):
            return self.tree[1].dim
        if self.tree[0] == DATA:
            return self.tree[1]
        return next(part.any_dim() for part in self.tree[1:] if isinstance(part, FloatNode) and not part.is_constant())

    def _whole(self, divide: Callable[[Dim, Dim], Dim], rounding: str, value: int) -> Any:
        if self.quotient is None and self.comes_from_data:
            return self._read_again(rounding)
        dim = self._opaque(rounding, value) if self.quotient is None else self._divided(divide)
        return self.kinds.int_node(dim, value, self.guard_log)

    def _divided(self, divide: Callable[[Dim, Dim], Dim]) -> Dim:
        """The quotient, rounded."""
        assert self.quotient is not None
        dividend, divisor = self.quotient
        dim = divide(dividend, divisor)
        sign = 1 if divide is floor_divide else -1
        self.guard_log.divided(sign * dividend, divisor, sign * dim)
        return dim

    def _read_again(self, rounding: str) -> Any:
        """A float that comes from data as a whole number, read from a tensor again; an op makes a size of it."""
        if self.guard_log.op:
            size = self.guard_log.data.new_size()
            return self.kinds.int_node(size, self.guard_log.data.value(size), self.guard_log)
        number = torch.scalar_tensor(torch.SymFloat(self), dtype=torch.float64)
        whole = getattr(torch, rounding)(number).to(torch.int64).item()
        return whole.node if isinstance(whole, torch.SymInt) else self.wrap_int(whole)

    def _opaque(self, rounding: str, value: int) -> Dim:
        """A symbol for this, rounded; where a runtime may compute another one, its steps, or a plain number."""
        if self.guard_log.follows and isinstance(self.any_dim(), int):
            self.guard_log.as_truth(0, True)
        if not self._is_reproducible():
            found = steps(self, ROUNDINGS[rounding], FUNCTIONS)
            return self.guard_log.as_plain(self.any_dim(), value) if found is None else self.guard_log.stepped(found)
        return self.guard_log.opaque_symbol((rounding, str(self)), self.any_dim(), self)

    def is_non_negative(self) -> bool:
        """Whether it is not below 0, whatever the sizes are; a dim that is not in this run, n - 8 in 0.7 * (n - 8), is
        not below 0 wherever the run holds."""
        name, *parts = self.tree
        if name == CONSTANT:
            return bool(self.hint >= 0)
        if name == "float":
            return self.guard_log.is_agreed_non_negative(parts[0].dim, self.hint)
        return name in ("sqrt", "abs") or (name in _SIGNS and all(each.is_non_negative() for each in parts))

    def _is_reproducible(self) -> bool:
        """Whether every runtime computes this float to the last bit."""
        return self.tree[0] in _EXACT and all(
            each._is_reproducible() for each in self.tree[1:] if isinstance(each, FloatNode)
        )

    def floor(self) -> Any:
        """math.floor(f)"""
        return self._whole(floor_divide, "floor", math.floor(self.hint))

    def ceil(self) -> Any:
        """math.ceil(f)"""
        return self._whole(ceil_divide, "ceil", math.ceil(self.hint))

    def trunc(self) -> Any:
        """math.trunc(f): the floor of what is not negative, else the ceiling."""
        if self.quotient is None:
            return self._whole(floor_divide, "trunc", math.trunc(self.hint))
        positive = self.kinds.bool_node((">=", self.quotient[0], 0), self.hint >= 0, self.guard_log)
        return self.floor() if positive.guard_bool() else self.ceil()

    sym_int = trunc

    def round(self, digits: int | None = None) -> Any:
        """round(f): no dim says what happens at halves."""
        if digits is not None:
            value = self.guard_log.as_plain(self.any_dim(), round(self.hint, digits))
            return FloatNode((PLAIN, self.kinds.int_node(self.any_dim(), 0, self.guard_log)), value, self.guard_log)
        if self.comes_from_data:
            return self._read_again("round")
        value = round(self.hint)
        return self.kinds.int_node(self._opaque("round", value), value, self.guard_log)

    def sym_float(self) -> FloatNode:
        """Itself."""
        return self

    def _made(self, operator: str, other: FloatNode, hint: float, quotient: Any, roundings: int = 0) -> FloatNode:
        return FloatNode((operator, self, other), hint, self.guard_log, quotient, roundings)

    def _scales(self) -> bool:
        """Whether this is a plain number, of ints or of floats, by which floats are multiplied and divided without
        rounding."""
        is_plain = self.quotient is not None and all(isinstance(each, int) for each in self.quotient)
        return is_plain and math.frexp(abs(self.hint))[0] == 0.5  # a power of 2

    def add(self, other: FloatNode) -> FloatNode:
        """f + g"""
        return self._made("add", other, self.hint + other.hint, *self._summed(other, 1))

    def sub(self, other: FloatNode) -> FloatNode:
        """f - g"""
        return self._made("sub", other, self.hint - other.hint, *self._summed(other, -1))

    def _summed(self, other: FloatNode, sign: int) -> tuple[tuple[Dim, Dim] | None, int]:
        """The quotient of f ± g and its roundings: one of the two may have been rounded."""
        roundings = self.roundings + other.roundings
        if not self.quotient or not other.quotient or (self.roundings and other.roundings):
            return None, 0
        (a, b), (c, d) = self.quotient, other.quotient
        return (a * d + sign * c * b, b * d), roundings and roundings + 1

    def mul(self, other: FloatNode) -> FloatNode:
        """f * g"""
        roundings = self.roundings + other.roundings
        known = self.quotient and other.quotient and (not roundings or self._scales() or other._scales())
        quotient = _product(self.quotient, other.quotient) if known else None
        return self._made("mul", other, self.hint * other.hint, quotient, roundings)

    def float_truediv(self, other: FloatNode) -> FloatNode:
        """f / g"""
        quotient = None
        if self.quotient and other.quotient and not other.roundings and self._divides(other):
            quotient = _product(self.quotient, other.quotient[::-1])
        roundings = self.roundings + (not other._scales())
        return self._made("truediv", other, self.hint / other.hint, quotient, roundings)

    def _divides(self, other: FloatNode) -> bool:
        """Whether what is divided by is above 0: a size is, or Python raises."""
        assert other.quotient is not None
        divisor = other.quotient[0]
        known = self.guard_log.statically_known(">", divisor, 0)
        if known is None and other.hint > 0 and self.guard_log.statically_known(">=", divisor, 0):
            self.guard_log.add(">", divisor, 0, True)
            return True
        return known is True

    truediv = float_truediv

    def float_pow(self, other: FloatNode) -> FloatNode:
        """f ** g"""
        return self._made("pow", other, self.hint**other.hint, None)

    pow = float_pow

    def neg(self) -> FloatNode:
        """-f"""
        quotient = self.quotient and (-1 * self.quotient[0], self.quotient[1])
        return FloatNode(("neg", self), -self.hint, self.guard_log, quotient, self.roundings)

    def function(self, name: str) -> FloatNode:
        """A function of this, by its name in `math`."""
        return FloatNode((name, self), FUNCTIONS[name](self.hint), self.guard_log)

    def sym_sqrt(self) -> FloatNode:
        """torch.sym_sqrt(f)"""
        return self.function("sqrt")

    sqrt = sym_sqrt

    def abs(self) -> FloatNode:
        """abs(f)"""
        return self.function("abs")

    def sym_max(self, other: FloatNode) -> FloatNode:
        """max(f, g)"""
        return self._extremum("max", other, maximum)

    def sym_min(self, other: FloatNode) -> FloatNode:
        """min(f, g)"""
        return self._extremum("min", other, minimum)

    def _extremum(self, name: str, other: FloatNode, choose: Callable[[Dim, Dim], Dim]) -> FloatNode:
        """The greater or the lesser; of quotients that were rounded once at most, which rounding leaves in order."""
        value, quotient = (max if name == "max" else min)(self.hint, other.hint), None
        if self.quotient and other.quotient and max(self.roundings, other.roundings) <= 1:
            (a, b), (c, d) = self.quotient, other.quotient
            quotient = choose(a * d, c * b), b * d
        return self._made(name, other, value, quotient, max(self.roundings, other.roundings))

    def is_integer(self) -> Any:
        """f.is_integer()"""
        if self.quotient is None:
            return self.wrap_bool(self.guard_log.as_truth(self.any_dim(), self.hint.is_integer()))
        return self.kinds.bool_node(("==", modulo(*self.quotient), 0), self.hint.is_integer(), self.guard_log)

    def _compare(self, relation: str, other: FloatNode) -> Any:
        both = self.roundings and other.roundings and self.roundings + other.roundings > 2
        value = RELATIONS[relation](self.hint, other.hint)
        is_of_data = self.comes_from_data or other.comes_from_data
        if self.guard_log.counts and not self.guard_log.op and not is_of_data:
            return self.wrap_bool(self.guard_log.as_truth(0, value))
        if self.quotient is None or other.quotient is None or both:
            if self.guard_log.op:  # an op chooses a kernel: x ** 2.0 is a product
                return self.wrap_bool(value)
            if is_of_data or (self._is_reproducible() and other._is_reproducible()):
                return self.kinds.bool_node((relation, self, other), value, self.guard_log)
            return self._compare_where_it_passes(relation, other, value)
        (a, b), (c, d) = self.quotient, other.quotient
        return self.kinds.bool_node((relation, a * d, c * b), value, self.guard_log)

    def _compare_where_it_passes(self, relation: str, other: FloatNode, value: bool) -> Any:
        """A comparison of a float that a runtime may compute otherwise, as one of the size that it grows with."""
        if self.is_constant():
            return other._compare_where_it_passes(_MIRRORED.get(relation, relation), self, value)
        found = passes(self, relation, other.hint, FUNCTIONS) if other.is_constant() else None
        if found is None:
            return self.wrap_bool(self.guard_log.as_truth(self.any_dim(), value))
        return self.kinds.bool_node(found, value, self.guard_log)


def _product(left: Any, right: Any) -> tuple[Dim, Dim]:
    return left[0] * right[0], left[1] * right[1]
