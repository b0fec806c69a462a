"""Floats computed from sizes: how, the value in this run, and where it is one, the exact quotient of two dims."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from fxonnx.capture.tracer.decisions import RELATIONS, Decisions
from fxonnx.capture.tracer.node import CONSTANT, Node
from fxonnx.ir.dims import Dim, ceil_divide, floor_divide, modulo

_SHORT = 2**20  # denominators of constants that stay exact: 0.5 and 0.125 are, 0.1 in binary is not


class Real(Node):
    """A float computed from sizes: how (`tree`), its value in this run, and where it is one, the exact quotient of a
    dim by a positive dim."""

    __slots__ = ("quotient", "tree")

    pytype = float

    def __init__(self, tree: tuple[Any, ...], hint: float, decisions: Decisions, exact: Any = None) -> None:
        super().__init__(hint, decisions)
        self.tree = tree
        if isinstance(exact, Fraction):
            exact = (exact.numerator, exact.denominator) if exact.denominator <= _SHORT else None
        self.quotient: tuple[Dim, Dim] | None = exact

    def __str__(self) -> str:
        return f"{self.tree[0]}({', '.join(map(str, self.tree[1:]))})"

    @property
    def expr(self) -> tuple[Any, ...]:
        """torch compares numbers by this."""
        return self.tree

    def is_constant(self) -> bool:
        """Whether it is a plain number."""
        return self.tree[0] == CONSTANT

    def maybe_as_float(self) -> float | None:
        """The number, where it is one."""
        return self.hint if self.is_constant() else None

    def guard_float(self, file: str, line: int) -> float:
        """A plain number is wanted. Raises Frozen where it comes from a dim."""
        if self.is_constant():
            return float(self.hint)
        raise self.decisions.lose(self._any_dim())

    def guard_int(self, file: str, line: int) -> int:
        """`int(f)`: as `guard_float`."""
        return int(self.guard_float(file, line))

    def int_(self) -> int:
        """`int(f)`."""
        return self.guard_int("", 0)

    def _any_dim(self) -> Dim:
        if self.tree[0] == "float":
            return self.tree[1].dim
        return next(part._any_dim() for part in self.tree[1:] if isinstance(part, Real) and not part.is_constant())

    def _rounded(self, divide: Callable[[Dim, Dim], Dim], rounding: str, value: int) -> Any:
        if self.quotient is None:
            dim = self.decisions.stand_in((rounding, str(self)))
        else:
            dim = divide(*self.quotient)
        return self.kinds.whole(dim, value, self.decisions)

    def floor(self) -> Any:
        """math.floor(f)"""
        return self._rounded(floor_divide, "floor", math.floor(self.hint))

    trunc = sym_int = floor  # what is computed from sizes is not negative

    def ceil(self) -> Any:
        """math.ceil(f)"""
        return self._rounded(ceil_divide, "ceil", math.ceil(self.hint))

    def round(self, digits: int | None = None) -> Any:
        """round(f): no dim says what happens at halves."""
        return self.kinds.whole(self.decisions.stand_in(("round", str(self))), round(self.hint), self.decisions)

    def sym_float(self) -> Real:
        """Itself."""
        return self

    def _made(self, operator: str, other: Real, hint: float, exact: Any) -> Real:
        return Real((operator, self, other), hint, self.decisions, exact)

    def add(self, other: Real) -> Real:
        """f + g"""
        return self._made("add", other, self.hint + other.hint, self._summed(other, 1))

    def sub(self, other: Real) -> Real:
        """f - g"""
        return self._made("sub", other, self.hint - other.hint, self._summed(other, -1))

    def _summed(self, other: Real, sign: int) -> Any:
        if self.quotient is None or other.quotient is None:
            return None
        (a, b), (c, d) = self.quotient, other.quotient
        return (a * d + sign * c * b, b * d)

    def mul(self, other: Real) -> Real:
        """f * g"""
        exact = self.quotient and other.quotient and _product(self.quotient, other.quotient)
        return self._made("mul", other, self.hint * other.hint, exact)

    def float_truediv(self, other: Real) -> Real:
        """f / g"""
        positive = other.quotient is not None and self.decisions.known(">", other.quotient[0], 0)
        exact = self.quotient and other.quotient and positive and _product(self.quotient, other.quotient[::-1])
        return self._made("truediv", other, self.hint / other.hint, exact or None)

    truediv = float_truediv

    def float_pow(self, other: Real) -> Real:
        """f ** g"""
        return self._made("pow", other, self.hint**other.hint, None)

    pow = float_pow

    def neg(self) -> Real:
        """-f"""
        exact = self.quotient and (-1 * self.quotient[0], self.quotient[1])
        return Real(("neg", self), -self.hint, self.decisions, exact)

    def sym_sqrt(self) -> Real:
        """torch.sym_sqrt(f)"""
        return Real(("sqrt", self), math.sqrt(self.hint), self.decisions)

    sqrt = sym_sqrt

    def is_integer(self) -> Any:
        """f.is_integer()"""
        if self.quotient is None:
            raise self.decisions.lose(self._any_dim())
        return self.kinds.truth(("==", modulo(*self.quotient), 0), self.hint.is_integer(), self.decisions)

    def _compare(self, relation: str, other: Real) -> Any:
        if self.quotient is None or other.quotient is None:
            raise self.decisions.lose((other if self.is_constant() else self)._any_dim())
        (a, b), (c, d) = self.quotient, other.quotient
        return self.kinds.truth((relation, a * d, c * b), RELATIONS[relation](self.hint, other.hint), self.decisions)


def _product(left: tuple[Dim, Dim], right: tuple[Dim, Dim]) -> tuple[Dim, Dim]:
    return left[0] * right[0], left[1] * right[1]
