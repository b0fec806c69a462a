"""The normal form of an integer expression, and arithmetic on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache, reduce
from keyword import iskeyword
from typing import TypeAlias

Monomial: TypeAlias = "tuple[Symbol | Call, ...]"
Terms: TypeAlias = "tuple[tuple[Monomial, int], ...]"


class Atom:
    """What a polynomial is built of. Its text is its identity: equal text, equal atom."""

    __slots__ = ("_hash", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._hash = hash(text)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Atom) and self.text == other.text)

    def __lt__(self, other: Atom) -> bool:
        return self.text < other.text

    def __repr__(self) -> str:
        return self.text


class Symbol(Atom):
    """A named size."""

    __slots__ = ()


class Call(Atom):
    """`//`, `%`, `max` or `min` of two dims that do not reduce further."""

    __slots__ = ("function", "left", "right", "spelled")

    def __init__(self, function: str, left: Dim, right: Dim) -> None:
        infix = function in ("//", "%")
        self.spelled = f"{_wrap(left)} {function} {_wrap(right)}" if infix else f"{function}({left}, {right})"
        super().__init__(f"({self.spelled})" if infix else self.spelled)
        self.function, self.left, self.right = function, left, right


class Expr:
    """An integer polynomial over atoms, in normal form: sorted terms, no zero coefficient.

    Never a bare constant, that is an `int`.
    """

    __slots__ = ("_hash", "_symbols", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._hash = hash(terms)
        self._symbols: frozenset[str] | None = None

    @property
    def symbols(self) -> frozenset[str]:
        """The names of all sizes that the expression reads."""
        if self._symbols is None:
            self._symbols = frozenset().union(*(_atom_symbols(atom) for monomial, _ in self.terms for atom in monomial))
        return self._symbols

    @property
    def name(self) -> str | None:
        """The symbol's name when the expression is one bare symbol, else None."""
        atom = _lone_atom(self)
        return atom.text if isinstance(atom, Symbol) else None

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The expression's value where every symbol has the given size; KeyError names a symbol without one."""
        return _evaluate(self, sizes, {})

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Expr) and self.terms == other.terms)

    def __add__(self, other: Dim) -> Dim:
        return _polynomial((*self.terms, *_terms(other)))

    def __sub__(self, other: Dim) -> Dim:
        return self + (-1 * other)

    def __rsub__(self, other: int) -> Dim:
        return other + (-1 * self)

    def __neg__(self) -> Dim:
        return -1 * self

    def __mul__(self, other: Dim) -> Dim:
        return _polynomial((tuple(sorted((*a, *b))), x * y) for a, x in self.terms for b, y in _terms(other))

    def __floordiv__(self, other: Dim) -> Dim:
        return floor_divide(self, other)

    def __rfloordiv__(self, other: int) -> Dim:
        return floor_divide(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return modulo(self, other)

    def __rmod__(self, other: int) -> Dim:
        return modulo(other, self)

    __radd__ = __add__
    __rmul__ = __mul__

    def __str__(self) -> str:
        if isinstance(atom := _lone_atom(self), Call):
            return atom.spelled
        return " + ".join(_term_text(monomial, factor) for monomial, factor in self.terms).replace("+ -", "- ")

    __repr__ = __str__


Dim: TypeAlias = int | Expr
Shape: TypeAlias = tuple[Dim, ...]


@cache
def symbol(name: str) -> Expr:
    """The size called `name`, an identifier."""
    if not name.isidentifier() or iskeyword(name):
        raise ValueError(f"a dim's name must be an identifier and no keyword of Python, not {name!r}")
    return Expr((((Symbol(name),), 1),))


def floor_divide(left: Dim, right: Dim) -> Dim:
    """⌊left / right⌋. What divides exactly leaves the brackets: (4n + m) // 4 is n + m // 4."""
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    if isinstance(right, int) and right < 0:
        return floor_divide(-left, -right)
    if left == right:
        return 1
    exact, rest = _split_multiples(left, right)
    return exact if rest == 0 else exact + _reduced_quotient(rest, right)


def modulo(left: Dim, right: Dim) -> Dim:
    """left mod right, with the sign of `right` (Python's)."""
    if isinstance(left, int) and isinstance(right, int):
        return left % right
    if left == right:
        return 0
    _, rest = _split_multiples(left, right)
    if isinstance(rest, int) and (rest == 0 or isinstance(right, int)):
        return rest
    return _atom(Call("%", rest, right))


def maximum(left: Dim, right: Dim) -> Dim:
    """max(left, right)."""
    return _extremum("max", left, right)


def minimum(left: Dim, right: Dim) -> Dim:
    """min(left, right)."""
    return _extremum("min", left, right)


def ceil_divide(left: Dim, right: Dim) -> Dim:
    """⌈left / right⌉ for a `right` that is an int, or positive."""
    return ceil_divide(-left, -right) if isinstance(right, int) and right < 0 else floor_divide(left + right - 1, right)


def non_negative(dim: Dim) -> bool:
    """Whether the dim is surely not below 0, because no term is: sizes are not, nor most that is made of them."""
    if isinstance(dim, int):
        return dim >= 0
    return all(factor > 0 and all(map(_non_negative_atom, monomial)) for monomial, factor in dim.terms)


def product(dims: Iterable[Dim]) -> Dim:
    """The product of all dims; 1 when there are none."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return result


def symbols_of(dims: Iterable[Dim]) -> frozenset[str]:
    """The names of all symbols in `dims`."""
    return frozenset().union(*(dim.symbols for dim in dims if isinstance(dim, Expr)))


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The dim's size where every symbol has the given one."""
    return dim if isinstance(dim, int) else dim.evaluate(sizes)


def substitute(dim: Dim, replacements: Mapping[str, Dim]) -> Dim:
    """The dim with symbols replaced by other dims, in normal form again."""
    if isinstance(dim, int) or dim.symbols.isdisjoint(replacements):
        return dim
    total: Dim = 0
    for monomial, factor in dim.terms:
        total = total + factor * product(_substitute_atom(atom, replacements) for atom in monomial)
    return total


# ── the normal form ──────────────────────────────────────────────────────────────────────────────────────────────────


def _terms(dim: Dim) -> Terms:
    return dim.terms if isinstance(dim, Expr) else (((), dim),)


def _polynomial(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    total: dict[Monomial, int] = {}
    for monomial, factor in terms:
        total[monomial] = total.get(monomial, 0) + factor
    kept = sorted(((monomial, factor) for monomial, factor in total.items() if factor), key=_term_order)
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    return Expr(tuple(kept))


def _term_order(term: tuple[Monomial, int]) -> tuple[int, Monomial]:
    """Long products before short ones, constants last: `m*n + n + 1`."""
    monomial, _ = term
    return (-len(monomial), monomial)


def _atom(atom: Symbol | Call) -> Expr:
    return Expr((((atom,), 1),))


def _lone_atom(dim: Dim) -> Symbol | Call | None:
    """The atom that the dim is, if it is one."""
    match _terms(dim):
        case (((atom,), 1),):
            return atom
    return None


def _split_multiples(left: Dim, right: Dim) -> tuple[Dim, Dim]:
    """(quotient, rest) with left = quotient * right + rest.

    Each term leaves as many multiples of `right` as make its coefficient's rest one of Python's `%`: 5n - 1 by 4 is
    4(n - 1) + (n + 3). So dims that differ by a multiple have one form: (n - 1) // 4 + 1 is (n + 3) // 4.
    """
    if isinstance(right, Expr) and len(right.terms) > 1:
        return 0, left
    ((divisor, divisor_factor),) = _terms(right)
    exact: list[tuple[Monomial, int]] = []
    rest: list[tuple[Monomial, int]] = []
    for monomial, factor in _terms(left):
        quotient = _divide_monomial(monomial, divisor)
        if quotient is None:
            rest.append((monomial, factor))
            continue
        multiple, remainder = divmod(factor, divisor_factor)
        exact.append((quotient, multiple))
        rest.append((monomial, remainder))
    return _polynomial(exact), _polynomial(rest)


def _divide_monomial(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    rest = list(monomial)
    for atom in divisor:
        if atom not in rest:
            return None
        rest.remove(atom)
    return tuple(rest)


def _reduced_quotient(left: Dim, right: Dim) -> Dim:
    """A quotient nothing divides out of, without common factors: (2n) // 4 is n // 2; and without nested floors."""
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    common = math.gcd(*(factor for _, factor in (*_terms(left), *_terms(right))))
    if common > 1:
        return floor_divide(_scale_down(left, common), _scale_down(right, common))
    merged = _merged_floors(left, right) if isinstance(right, int) and right > 0 else None
    return _atom(Call("//", left, right)) if merged is None else merged


def _merged_floors(left: Dim, right: int) -> Dim | None:
    """(a // b + c) // d as (a + b*c) // (b*d): two strided windows as one. None where `left` has not one such floor."""
    floors = [
        atom for monomial, _ in _terms(left) for atom in monomial if isinstance(atom, Call) and atom.function == "//"
    ]
    if len(floors) != 1 or not isinstance(divisor := floors[0].right, int) or divisor <= 0:
        return None
    rest = left - _atom(floors[0])
    if any(floors[0] in monomial for monomial, _ in _terms(rest)):  # it stood in a product, or several times
        return None
    return floor_divide(floors[0].left + divisor * rest, divisor * right)


def _scale_down(dim: Dim, factor: int) -> Dim:
    return _polynomial((monomial, coefficient // factor) for monomial, coefficient in _terms(dim))


def _extremum(name: str, left: Dim, right: Dim) -> Dim:
    """The largest or smallest of all dims on both sides, those under the same function in them included, each once."""
    kept: list[Dim] = []
    for dim in sorted({*_operands(name, left), *_operands(name, right)}, key=str):
        if not any(_beats(name, other, dim) for other in kept):
            kept = [*(other for other in kept if not _beats(name, dim, other)), dim]
    return reduce(lambda a, b: _atom(Call(name, a, b)), kept)


def _operands(name: str, dim: Dim) -> tuple[Dim, ...]:
    atom = _lone_atom(dim)
    if isinstance(atom, Call) and atom.function == name:
        return (*_operands(name, atom.left), *_operands(name, atom.right))
    return (dim,)


def _beats(name: str, dim: Dim, other: Dim) -> bool:
    """Whether `dim` is never less (max), never more (min) than `other`, whatever the sizes are."""
    return non_negative(dim - other if name == "max" else other - dim)


# ── walking ──────────────────────────────────────────────────────────────────────────────────────────────────────────

FUNCTIONS: dict[str, Callable[[Dim, Dim], Dim]] = {"//": floor_divide, "%": modulo, "max": maximum, "min": minimum}


def _atom_symbols(atom: Symbol | Call) -> frozenset[str]:
    return symbols_of((atom.left, atom.right)) if isinstance(atom, Call) else frozenset((atom.text,))


def _non_negative_atom(atom: Symbol | Call) -> bool:
    if isinstance(atom, Symbol):
        return True
    left, right = non_negative(atom.left), non_negative(atom.right)
    return {"//": left and right, "%": right, "max": left or right, "min": left and right}[atom.function]


def _evaluate(dim: Dim, sizes: Mapping[str, int], known: dict[Atom, int]) -> int:
    """`known` has the values of calls that were met: sizes are made of sizes, and one may stand in many."""
    if isinstance(dim, int):
        return dim
    return sum(factor * math.prod(_evaluate_atom(a, sizes, known) for a in monomial) for monomial, factor in dim.terms)


def _evaluate_atom(atom: Symbol | Call, sizes: Mapping[str, int], known: dict[Atom, int]) -> int:
    if isinstance(atom, Symbol):
        return sizes[atom.text]
    if atom not in known:
        left, right = (_evaluate(each, sizes, known) for each in (atom.left, atom.right))
        result = FUNCTIONS[atom.function](left, right)
        assert isinstance(result, int)
        known[atom] = result
    return known[atom]


def _substitute_atom(atom: Symbol | Call, replacements: Mapping[str, Dim]) -> Dim:
    if isinstance(atom, Symbol):
        return replacements.get(atom.text, _atom(atom))
    return FUNCTIONS[atom.function](substitute(atom.left, replacements), substitute(atom.right, replacements))


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _term_text(monomial: Monomial, factor: int) -> str:
    if not monomial:
        return str(factor)
    body = "*".join(atom.text for atom in monomial)
    return {1: body, -1: f"-{body}"}.get(factor, f"{factor}*{body}")


def _wrap(dim: Dim) -> str:
    """The dim as an operand of `//` or `%`."""
    atom = _lone_atom(dim)
    return atom.text if atom else str(dim) if isinstance(dim, int) else f"({dim})"
