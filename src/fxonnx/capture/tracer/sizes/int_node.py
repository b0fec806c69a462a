"""Whole numbers: a dim, and its value in this run."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

from fxonnx.capture.assumption import RELATIONS
from fxonnx.capture.tracer.sizes.guards import GuardLog
from fxonnx.capture.tracer.sizes.node import Node
from fxonnx.ir.dims import Dim, maximum, minimum, symbol, symbols_of


class SymExpr:
    """A dim as torch looks at expressions: equal to itself alone, with sympy symbols, which torch asks whether they
    come from data (those begin with u)."""

    __slots__ = ("_is_of_data", "dim")

    is_Boolean = is_Symbol = False  # noqa: N815 (sympy's names)
    args = ()

    def __init__(self, dim: Dim, is_of_data: Callable[[Dim], bool]) -> None:
        self.dim, self._is_of_data = dim, is_of_data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymExpr) and self.dim == other.dim

    def __hash__(self) -> int:
        return hash(self.dim)

    def __str__(self) -> str:
        return str(self.dim)

    __repr__ = __str__

    @property
    def is_number(self) -> bool:
        """sympy: whether it is a constant."""
        return isinstance(self.dim, int)

    @property
    def free_symbols(self) -> frozenset[Any]:
        """sympy: the symbols in it."""
        import sympy

        return frozenset(sympy.Symbol(f"{self._kind(name)}_{name}") for name in symbols_of([self.dim]))

    def _kind(self, name: str) -> str:
        return "u" if self._is_of_data(symbol(name)) else "s"


def _arithmetic(function: Callable[[Any, Any], Any]) -> Any:
    """The method that computes the dim and the value alike."""
    return lambda self, other: IntNode(function(self.dim, other.dim), function(self.hint, other.hint), self.guard_log)


MOST_NUMBERS = 16
"""How many numbers from data are told apart in Python: as many as a list of layers has."""
NEGATIVE = "a number from data that is negative, with which Python would count from the end"


class IntNode(Node):
    """A whole number: a dim, and its value in this run."""

    __slots__ = ("dim",)

    def __init__(self, dim: Dim, hint: int, guard_log: GuardLog) -> None:
        super().__init__(hint, guard_log)
        self.dim = dim

    def __str__(self) -> str:
        return str(self.dim)

    @property
    def expr(self) -> SymExpr:
        """torch and the passes of capture compare sizes by this."""
        return SymExpr(self.dim, self.guard_log.data.are_in)

    def is_constant(self) -> bool:
        """Whether the symbols cancelled out, and torch may make a plain number of it."""
        return isinstance(self.dim, int) and not self.guard_log.counts

    def maybe_as_int(self) -> int | None:
        """The number, if the symbols cancelled out."""
        return self.dim if isinstance(self.dim, int) else None

    def guard_int(self, file: str, line: int) -> int:
        """A plain number is wanted: fine for a constant. See `GuardLog.as_plain` for a dim that varies."""
        log = self.guard_log
        return self._decided() if log.decides_numbers(self.dim) else log.guard_int(self.dim, self.hint)

    def _decided(self) -> int:
        """A number from data, each that it may be on a way of its own; it is not negative, and on the first way beyond
        those, where the model is to raise: what takes any number is refused after one run."""
        zero = self._compare(">=", self.wrap_int(0))
        if zero.statically_known() is None:
            self.guard_log.check(zero, NEGATIVE)
        are = (self._compare("!=", self.wrap_int(number)).guard_bool() for number in range(MOST_NUMBERS))
        found = next((number for number, is_other in enumerate(are) if not is_other), MOST_NUMBERS)
        if found == MOST_NUMBERS:
            self.guard_log.beyond.append(self.dim)
        return found

    def int_(self) -> int:
        """`int(n)`, `range(n)`, `items[n]`."""
        self.guard_log.look_up(self.dim)
        return self.guard_int("", 0)

    def guard_bool(self, file: str, line: int) -> bool:
        """`if n:`"""
        return bool(self._compare("!=", self.wrap_int(0)).guard_bool(file, line))

    bool_ = guard_bool

    # ── arithmetic ──

    add, sub, mul = map(_arithmetic, (operator.add, operator.sub, operator.mul))
    _rest, _quotient = map(_arithmetic, (operator.mod, operator.floordiv))
    _maximum, _minimum = map(_arithmetic, (maximum, minimum))

    def mod(self, other: IntNode) -> IntNode:
        """n % 2"""
        self.floordiv(other)
        return self._rest(other)

    def floordiv(self, other: IntNode) -> IntNode:
        """n // 2"""
        found = self._quotient(other)
        self.guard_log.divided(self.dim, other.dim, found.dim)
        return found

    int_floordiv = floordiv

    def lshift(self, other: IntNode) -> IntNode:
        """n << 2, by a number"""
        return self.mul(self.wrap_int(1 << other.guard_int("", 0)))

    def rshift(self, other: IntNode) -> IntNode:
        """n >> 2, by a number"""
        return self.int_floordiv(self.wrap_int(1 << other.guard_int("", 0)))

    def any_dim(self) -> Dim:
        """The dim."""
        return self.dim

    def is_opaque(self) -> bool:
        """Whether no size of an input says it: it comes from data, or is a number that no dim says."""
        return self.guard_log.is_opaque(self.dim)

    @property
    def comes_from_data(self) -> bool:
        """Whether a size or a number that comes from data is in it."""
        return self.guard_log.data.are_in(self.dim)

    def sym_max(self, other: IntNode) -> IntNode:
        """max(n, m): the one that is larger for all sizes, where there is one."""
        return self._first_that_is(">=", other) or self._maximum(other)

    def sym_min(self, other: IntNode) -> IntNode:
        """min(n, m): the one that is smaller for all sizes, where there is one."""
        return self._first_that_is("<=", other) or self._minimum(other)

    def _first_that_is(self, relation: str, other: IntNode) -> IntNode | None:
        if isinstance(self.dim, int) and isinstance(other.dim, int):
            return self if self._compare(relation, other).guard_bool() else other
        pairs = ((self, other), (other, self))
        return next((a for a, b in pairs if self.guard_log.known_from_one(relation, a.dim, b.dim)), None)

    def sym_sum(self, terms: list[IntNode]) -> IntNode:
        """sum(terms)"""
        return reduce(IntNode.add, terms, self.wrap_int(0))

    def neg(self) -> IntNode:
        """-n"""
        return self.mul(self.wrap_int(-1))

    def pos(self) -> IntNode:
        """+n"""
        return self

    round = floor = ceil = trunc = pos

    def abs(self) -> IntNode:
        """abs(n)"""
        return self.sym_max(self.neg())

    def pow_by_natural(self, other: IntNode) -> IntNode:
        """n ** 2"""
        return reduce(IntNode.mul, [self] * other.guard_int("", 0), self.wrap_int(1))

    pow = pow_by_natural

    def sym_float(self) -> Any:
        """The size as a float."""
        return self.kinds.float_node(("float", self), float(self.hint), self.guard_log, (self.dim, 1))

    def int_truediv(self, other: IntNode) -> Any:
        """n / m"""
        return self.sym_float().float_truediv(other.sym_float())

    truediv = float_truediv = int_truediv

    # ── comparisons ──

    def _compare(self, relation: str, other: IntNode) -> Any:
        left, right = self.dim, other.dim
        return self.kinds.bool_node((relation, left, right), RELATIONS[relation](self.hint, other.hint), self.guard_log)
