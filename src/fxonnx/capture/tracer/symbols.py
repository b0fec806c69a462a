"""Sizes that know their expression: the nodes behind the `torch.SymInt`s of a trace.

torch lets any object with SymNode's methods stand behind a SymInt, in Python and in C++. Its own one builds sympy
expressions and asks a solver, which is what makes symbolic capture slow; these hold one of our dims, and the size the
dim has in this run. Arithmetic computes both, a comparison answers by the run and notes what it assumed, and whatever
makes a plain number of a dim (`int(n)`, `range(n)`, an op without a symbolic form) is told of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch

from fxonnx.capture.tracer.decisions import RELATIONS, Decisions
from fxonnx.capture.tracer.division import quotient, remainder
from fxonnx.capture.tracer.layout import LAYOUTS
from fxonnx.ir.dims import Dim, ceil_divide, floor_divide, maximum, minimum, modulo, symbols_of


class Node:
    """What all nodes answer alike. `hint` is the value in this run."""

    __slots__ = ("decisions", "hint")

    shape_env: Any = None
    constant: Any = None
    pytype: type = int

    def __init__(self, hint: Any, decisions: Decisions) -> None:
        self.hint, self.decisions = hint, decisions

    @property
    def _hint(self) -> Any:
        return self.hint

    def has_hint(self) -> bool:
        """torch: whether the value in this run is known."""
        return True

    def is_int(self) -> bool:
        """torch: whether this stands for an int."""
        return self.pytype is int

    def is_float(self) -> bool:
        """torch: whether this stands for a float."""
        return self.pytype is float

    def is_bool(self) -> bool:
        """torch: whether this stands for a bool."""
        return self.pytype is bool

    def is_nested_int(self) -> bool:
        """torch: jagged tensors' own sizes; never ours."""
        return False

    def nested_int(self) -> None:
        """torch: see `is_nested_int`."""

    def is_constant(self) -> bool:
        """torch: whether this is a plain number after all."""
        return False

    def is_symbolic(self) -> bool:
        """torch: the opposite."""
        return not self.is_constant()

    def maybe_as_int(self) -> int | None:
        """torch: the plain number, where it is one."""
        return None

    def maybe_as_float(self) -> float | None:
        """torch: the plain number, where it is one."""
        return None

    def maybe_as_bool(self) -> bool | None:
        """torch: the plain truth, where it is one."""
        return None

    def clone(self) -> Node:
        """torch: nodes never change."""
        return self

    def str(self) -> str:
        """torch: how a SymInt prints."""
        return str(self)

    _graph_repr = str

    def wrap_int(self, value: int) -> Whole:
        """torch: a constant among the symbolic."""
        return Whole(value, value, self.decisions)

    def wrap_float(self, value: float) -> Real:
        """torch: a constant among the symbolic."""
        return Real(("number", value), value, self.decisions, Fraction(value) if math.isfinite(value) else None)

    def wrap_bool(self, value: bool) -> Truth:
        """torch: a constant among the symbolic."""
        return Truth(("number", value), value, self.decisions)


class Formula:
    """A dim as torch looks at expressions: equal to itself alone, with sympy symbols, which torch asks whether they
    come from data (those begin with u)."""

    __slots__ = ("dim",)

    is_Boolean = is_Symbol = False  # noqa: N815 (sympy's names)
    args = ()

    def __init__(self, dim: Dim) -> None:
        self.dim = dim

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and self.dim == other.dim

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

        return frozenset(sympy.Symbol(f"s_{name}") for name in symbols_of([self.dim]))


class Whole(Node):
    """A whole number: a dim, and its value in this run."""

    __slots__ = ("dim",)

    def __init__(self, dim: Dim, hint: int, decisions: Decisions) -> None:
        super().__init__(hint, decisions)
        self.dim = dim

    def __str__(self) -> str:
        return str(self.dim)

    @property
    def expr(self) -> Formula:
        """torch and the passes of capture compare sizes by this."""
        return Formula(self.dim)

    def is_constant(self) -> bool:
        """Whether the symbols cancelled out."""
        return isinstance(self.dim, int)

    def maybe_as_int(self) -> int | None:
        """The number, if the symbols cancelled out."""
        return self.dim if isinstance(self.dim, int) else None

    def guard_int(self, file: str, line: int) -> int:
        """A plain number is wanted: fine for a constant. Raises Frozen for a dim that varies."""
        return self.decisions.settled(self.dim, self.hint)

    def int_(self) -> int:
        """`int(n)`, `range(n)`, `items[n]`."""
        return self.guard_int("", 0)

    def guard_bool(self, file: str, line: int) -> bool:
        """`if n:`"""
        return bool(self._compare("!=", self.wrap_int(0)).guard_bool(file, line))

    bool_ = guard_bool

    # ── arithmetic ──

    def _made(self, dim: Dim, hint: int) -> Whole:
        return Whole(dim, hint, self.decisions)

    def add(self, other: Whole) -> Whole:
        """n + m"""
        return self._made(self.dim + other.dim, self.hint + other.hint)

    def sub(self, other: Whole) -> Whole:
        """n - m"""
        return self._made(self.dim - other.dim, self.hint - other.hint)

    def mul(self, other: Whole) -> Whole:
        """n * m"""
        return self._made(self.dim * other.dim, self.hint * other.hint)

    def mod(self, other: Whole) -> Whole:
        """n % m"""
        return self._made(remainder(self.dim, other.dim), self.hint % other.hint)

    def int_floordiv(self, other: Whole) -> Whole:
        """n // m"""
        return self._made(quotient(self.dim, other.dim), self.hint // other.hint)

    floordiv = int_floordiv

    def sym_max(self, other: Whole) -> Whole:
        """max(n, m): the one that is larger for all sizes, where there is one."""
        if self.decisions.known(">=", self.dim, other.dim):
            return self
        if self.decisions.known("<=", self.dim, other.dim):
            return other
        return self._made(maximum(self.dim, other.dim), max(self.hint, other.hint))

    def sym_min(self, other: Whole) -> Whole:
        """min(n, m): the one that is smaller for all sizes, where there is one."""
        if self.decisions.known("<=", self.dim, other.dim):
            return self
        if self.decisions.known(">=", self.dim, other.dim):
            return other
        return self._made(minimum(self.dim, other.dim), min(self.hint, other.hint))

    def sym_sum(self, terms: list[Whole]) -> Whole:
        """sum(terms)"""
        total = self.wrap_int(0)
        for term in terms:
            total = total.add(term)
        return total

    def neg(self) -> Whole:
        """-n"""
        return self._made(-1 * self.dim, -self.hint)

    def pos(self) -> Whole:
        """+n"""
        return self

    round = floor = ceil = trunc = pos

    def abs(self) -> Whole:
        """abs(n)"""
        known = self.decisions.known(">=", self.dim, 0)
        return self if known else self.neg() if known is False else self._made(maximum(self.dim, -1 * self.dim), abs(self.hint))

    def pow_by_natural(self, other: Whole) -> Whole:
        """n ** 2"""
        exponent = other.guard_int("", 0)
        dim: Dim = 1
        for _ in range(exponent):
            dim = dim * self.dim
        return self._made(dim, self.hint**exponent)

    pow = pow_by_natural

    def sym_float(self) -> Real:
        """The size as a float."""
        return Real(("float", self), float(self.hint), self.decisions, (self.dim, 1))

    def int_truediv(self, other: Whole) -> Real:
        """n / m"""
        return self.sym_float().float_truediv(other.sym_float())

    truediv = float_truediv = int_truediv

    # ── comparisons ──

    def _compare(self, relation: str, other: Whole) -> Truth:
        left, right = self.dim, other.dim
        return Truth((relation, left, right), RELATIONS[relation](self.hint, other.hint), self.decisions)


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
        return self.tree[0] == "number"

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

    def _rounded(self, divide: Callable[[Dim, Dim], Dim], rounding: str, value: int) -> Whole:
        if self.quotient is None:
            dim = self.decisions.stand_in((rounding, str(self)))
        else:
            dim = divide(*self.quotient)
        return Whole(dim, value, self.decisions)

    def floor(self) -> Whole:
        """math.floor(f)"""
        return self._rounded(floor_divide, "floor", math.floor(self.hint))

    trunc = sym_int = floor  # what is computed from sizes is not negative

    def ceil(self) -> Whole:
        """math.ceil(f)"""
        return self._rounded(ceil_divide, "ceil", math.ceil(self.hint))

    def round(self, digits: int | None = None) -> Whole:
        """round(f): no dim says what happens at halves."""
        return Whole(self.decisions.stand_in(("round", str(self))), round(self.hint), self.decisions)

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

    def is_integer(self) -> Truth:
        """f.is_integer()"""
        if self.quotient is None:
            raise self.decisions.lose(self._any_dim())
        return Truth(("==", modulo(*self.quotient), 0), self.hint.is_integer(), self.decisions)

    def _compare(self, relation: str, other: Real) -> Truth:
        if self.quotient is None or other.quotient is None:
            raise self.decisions.lose((other if self.is_constant() else self)._any_dim())
        (a, b), (c, d) = self.quotient, other.quotient
        return Truth((relation, a * d, c * b), RELATIONS[relation](self.hint, other.hint), self.decisions)


_SHORT = 2**20  # denominators of constants that stay exact: 0.5 and 0.125 are, 0.1 in binary is not


def _product(left: tuple[Dim, Dim], right: tuple[Dim, Dim]) -> tuple[Dim, Dim]:
    return left[0] * right[0], left[1] * right[1]


class Truth(Node):
    """A comparison that nobody has acted on yet: (relation, left, right), or "and", "or", "not" of others."""

    __slots__ = ("tree",)

    pytype = bool

    def __init__(self, tree: tuple[Any, ...], hint: bool, decisions: Decisions) -> None:
        super().__init__(hint, decisions)
        self.tree = tree

    def __str__(self) -> str:
        return f"{self.tree[0]}({', '.join(map(str, self.tree[1:]))})"

    @property
    def expr(self) -> Truth:
        """What torch hands to `shape_env`."""
        return self

    @property
    def shape_env(self) -> Decisions:  # type: ignore[override]
        """Whom torch's guards ask."""
        return self.decisions

    def is_constant(self) -> bool:
        """Whether it is a plain truth."""
        return self.tree[0] == "number"

    def maybe_as_bool(self) -> bool | None:
        """The truth, where it is the same for all sizes."""
        return self.known()

    def known(self) -> bool | None:
        """What it is for all sizes alike, or None."""
        match self.tree:
            case ("number", value):
                return bool(value)
            case ("not", part):
                return None if (found := part.known()) is None else not found
            case ("and" | "or" as word, left, right):
                parts = left.known(), right.known()
                absorbing = word == "or"
                return absorbing if absorbing in parts else None if None in parts else not absorbing
        return self.decisions.known(*self.tree)

    def decide(self) -> bool:
        """The answer of this run, which is noted where it is not the same for all sizes."""
        known = self.known()
        if known is not None:
            return known
        match self.tree:
            case ("not", part):
                return not part.decide()
            case ("and", left, right):
                return left.decide() and right.decide()
            case ("or", left, right):
                return left.decide() or right.decide()
        self.decisions.note(*self.tree, bool(self.hint))
        return bool(self.hint)

    def guard_bool(self, file: str, line: int) -> bool:
        """`if n > 4:`"""
        return self.decide()

    def bool_(self) -> bool:
        """`bool(n > 4)`"""
        return self.decide()

    def expect_true(self, file: str, line: int) -> bool:
        """`torch._check(n > 4)`"""
        return self.decide()

    guard_size_oblivious = expect_true

    def statically_known_true(self, file: str, line: int) -> bool:
        """Whether it holds for all sizes."""
        return self.known() is True

    guard_or_false = statically_known_true

    def guard_or_true(self, file: str, line: int) -> bool:
        """Whether it fails for no size we know of."""
        return self.known() is not False

    def guard_int(self, file: str, line: int) -> int:
        """`int(n > 4)`"""
        return int(self.decide())

    int_ = bool_

    def _made(self, word: str, other: Truth, hint: bool) -> Truth:
        return Truth((word, self, other), hint, self.decisions)

    def and_(self, other: Truth) -> Truth:
        """a and b"""
        return self._made("and", other, self.hint and other.hint)

    def or_(self, other: Truth) -> Truth:
        """a or b"""
        return self._made("or", other, self.hint or other.hint)

    sym_and = bitwise_and = and_
    sym_or = bitwise_or = or_

    def sym_not(self) -> Truth:
        """not a"""
        return Truth(("not", self), not self.hint, self.decisions)

    def sym_ite(self, yes: Node, no: Node) -> Node:
        """torch.sym_ite: the branch of this run."""
        return yes if self.decide() else no

    def eq(self, other: Truth) -> Truth:
        """a == b of truths."""
        value = self.decide() == other.decide()
        return Truth(("number", value), value, self.decisions)


def _install() -> None:
    """Methods that differ only in their name."""
    for name, relation in {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
        for kind in (Whole, Real):
            setattr(kind, name, _comparison(kind, relation))
    for layout in LAYOUTS:
        setattr(Whole, layout.__name__, _layout(layout))
    Whole.is_non_overlapping_and_dense_indicator = _indicator  # type: ignore[attr-defined]


def _comparison(kind: Any, relation: str) -> Callable[[Any, Any], Truth]:
    return lambda self, other: kind._compare(self, relation, other)


def _layout(ask: Callable[[list[int], list[int]], bool]) -> Callable[..., Truth]:
    def answer(self: Whole, sizes: list[Whole], strides: list[Whole]) -> Truth:
        value = ask([size.hint for size in sizes], [stride.hint for stride in strides])
        return Truth(("number", value), value, self.decisions)

    return answer


def _indicator(self: Whole, sizes: list[Whole], strides: list[Whole]) -> Whole:
    dense = self.is_non_overlapping_and_dense(sizes, strides)  # type: ignore[attr-defined]
    return self.wrap_int(int(dense.hint))


_install()


def size(dim: Dim, hint: int, decisions: Decisions) -> int | torch.SymInt:
    """A size for a tensor's shape: a plain int for a constant."""
    return dim if isinstance(dim, int) else torch.SymInt(Whole(dim, hint, decisions))


def dim_of(number: int | torch.SymInt) -> Dim:
    """The dim of a size."""
    return number if isinstance(number, int) else number.node.dim
