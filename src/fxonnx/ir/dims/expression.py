"""The normal form of an integer expression, and arithmetic on it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache, reduce
from keyword import iskeyword
from typing import NamedTuple, TypeAlias

from fxonnx.ir.dims.algebra import fold
from fxonnx.ir.dims.halves import joined
from fxonnx.ir.dims.ranges import Ranges
from fxonnx.ir.dims.terms import (
    Atom,
    Call,
    Symbol,
    Term,
    Terms,
    collected,
    common_atoms,
    divide,
    floors,
    in_order,
    summed,
    text,
    times,
    without,
)

_ONE: Term = ((), 1)


class Undecided(TypeError):
    """Something depends on how great a dim is, and a graph holds for all sizes."""


class Expr:
    """An integer polynomial over atoms, in normal form: sorted terms, no zero coefficient, and no `%`, for n % 4 is
    n - 4*(n // 4). Never a bare constant, that is an `int`."""

    __slots__ = ("_hash", "_spelled", "_symbols", "terms")

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._hash = hash(terms)
        self._spelled: Terms | None = None
        self._symbols: frozenset[str] | None = None

    @property
    def spelled(self) -> Terms:
        """The terms as a person writes them: the same sum, with `%` and other floors where that is shorter."""
        if self._spelled is None:
            self._spelled = _spelled(self.terms)
        return self._spelled

    @property
    def symbols(self) -> frozenset[str]:
        """The names of all sizes that the expression reads."""
        if self._symbols is None:
            self._symbols = frozenset().union(*(_atom_symbols(atom) for monomial, _ in self.terms for atom in monomial))
        return self._symbols

    @property
    def name(self) -> str | None:
        """The symbol's name when the expression is one bare symbol, else None."""
        return atom.text if isinstance(atom := lone_atom(self), Symbol) else None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Expr) and self.terms == other.terms)

    def __lt__(self, other: object) -> bool:
        """Raises Undecided: see `Bounds` for what is known of a dim, `maximum` and `minimum` for the greater one."""
        raise Undecided(f"whether {self} or {other} is greater is known only when the model runs")

    __le__ = __gt__ = __ge__ = __lt__

    def __int__(self) -> int:
        """Raises Undecided: no plain number is all of a dim's sizes."""
        raise Undecided(f"a plain number is wanted of {self}, which is known only when the model runs")

    def __float__(self) -> float:
        """Raises Undecided, like `int()`."""
        return float(int(self))

    def __add__(self, other: Dim) -> Dim:
        return _sum(self, other)

    def __sub__(self, other: Dim) -> Dim:
        return _difference(self, other)

    def __rsub__(self, other: int) -> Dim:
        return _difference(other, self)

    def __neg__(self) -> Dim:
        return _product(self, -1)

    def __mul__(self, other: Dim) -> Dim:
        return _product(self, other)

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
        if isinstance(atom := lone_atom(self), Call):
            return atom.spelled
        return text(self.spelled)

    __repr__ = __str__


Dim: TypeAlias = int | Expr
Shape: TypeAlias = tuple[Dim, ...]
Comparison: TypeAlias = tuple[Dim, str, Dim]
"""what sizes have to be: left, relation, right"""


@cache
def symbol(name: str) -> Expr:
    """The size called `name`, an identifier."""
    if not name.isidentifier() or iskeyword(name):
        raise ValueError(f"a dim's name must be an identifier and no keyword of Python, not {name!r}")
    return of_atom(Symbol(name))


def of_atom(atom: Atom) -> Expr:
    """The dim that is one atom of a normal form."""
    return Expr((((atom,), 1),))


def lone_atom(dim: Dim) -> Atom | None:
    """The atom that the dim is spelled as, if it is one."""
    match dim.spelled if isinstance(dim, Expr) else ():
        case (((atom,), 1),):
            return atom
    return None


_remembered = lru_cache(maxsize=1 << 14)  # the same few sizes and strides are asked for with every tensor


@_remembered
def _sum(left: Dim, right: Dim) -> Dim:
    return _polynomial((*terms_of(left), *terms_of(right)))


@_remembered
def _difference(left: Dim, right: Dim) -> Dim:
    return _polynomial((*terms_of(left), *((monomial, -factor) for monomial, factor in terms_of(right))))


@_remembered
def _product(left: Dim, right: Dim) -> Dim:
    return _polynomial(times(terms_of(left), terms_of(right)))


# ── division ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@_remembered
def floor_divide(left: Dim, right: Dim) -> Dim:
    """⌊left / right⌋. What divides exactly leaves the brackets: (4n + m) // 4 is n + m // 4.

    A divisor that cannot be negative is taken to be 1 or more: division by 0 has no value.
    """
    if isinstance(left, int) and isinstance(right, int):
        return left // right
    if isinstance(right, int) and right < 0:
        return floor_divide(-left, -right)
    whole, rest = _divided(left, right)
    known = _certain_quotient(rest, right)
    if known is None and isinstance(right, Expr):
        whole, rest = _divided(with_joined_halves(left), with_joined_halves(right))
        known = None if rest else 0
    if known is not None:
        return whole + known
    whole, rest = _reduced(left, right)
    return whole + _reduced_quotient(rest, right)


@_remembered
def with_joined_halves(dim: Dim) -> Dim:
    """The same dim, said in fewer terms where it has both halves of something; see `halves`."""
    return _polynomial(joined(dim.terms, _halves)) if isinstance(dim, Expr) else dim


@_remembered
def _halves(floor: Call) -> Terms:
    """a // h - a // 2h - (a + h) // 2h, which is 0: the floor is one of the two, and a its dividend or h less."""
    half = floor.right // 2
    offset = dict(terms_of(floor.left)).get((), 0)
    low = floor.left - half if offset % floor.right >= half else floor.left
    halves = (*terms_of(floor_divide(low, floor.right)), *terms_of(floor_divide(low + half, floor.right)))
    return collected((*terms_of(floor_divide(low, half)), *((monomial, -factor) for monomial, factor in halves)))


def modulo(left: Dim, right: Dim) -> Dim:
    """left mod right, with the sign of `right` (Python's)."""
    return left - right * floor_divide(left, right)


def ceil_divide(left: Dim, right: Dim) -> Dim:
    """⌈left / right⌉."""
    return -1 * floor_divide(-1 * left, right)


def _divided(left: Dim, right: Dim) -> tuple[Dim, Dim]:
    quotient, rest = map(_polynomial, divide(terms_of(left), terms_of(right)))
    return quotient, rest


def _reduced(left: Dim, right: Dim) -> tuple[Dim, Dim]:
    """(quotient, rest), and not by a sum where it makes more of it: n*m // (n + 1) is not m + -m // (n + 1)."""
    whole, rest = _divided(left, right)
    reduces = isinstance(whole, int) or len(terms_of(right)) == 1 or len(terms_of(rest)) < len(terms_of(left))
    return (whole, rest) if reduces else (0, left)


def _certain_quotient(left: Dim, right: Dim) -> int | None:
    """The quotient of what is surely not below 0 and less than `right`, or of what is one `right` less."""
    if left == 0:
        return 0
    if isinstance(right, int):
        low, high = fold(left, Ranges())
        return int(low // right) if low > -math.inf and low // right == high // right else None
    sizes = Ranges(common_atoms(terms_of(right)))  # that are not 0 where the divisor is not
    for quotient in (0, -1):
        least = left - quotient * right
        if fold(least, sizes)[0] >= 0 and fold(right - 1 - least, sizes)[0] >= 0:
            return quotient
    return None


def _reduced_quotient(left: Dim, right: Dim) -> Dim:
    """A quotient nothing divides out of.

    It has no common factors, (2n) // 4 is n // 2, and no nested floors. And ⌊a / d⌋ is -⌊(d - 1 - a) / d⌋, so that of
    the two, which are each other's, one is left: -(-n // 4) is (n + 3) // 4.
    """
    smaller = _without_common_factor(left, right)
    if smaller is not None:
        return floor_divide(*smaller)
    merged = _merged_floors(left, right) if isinstance(right, int) else None
    if merged is not None:
        return merged
    if non_negative(right):
        whole, rest = _reduced(right - 1 - left, right)
        known = _certain_quotient(rest, right)
        if known is not None:
            return -1 * (whole + known)
        if _sign_and_factors(rest) < _sign_and_factors(left):
            return -1 * (whole + _reduced_quotient(rest, right))
    return of_atom(Call("//", left, right))


def _sign_and_factors(dim: Dim) -> tuple[bool, tuple[int, ...], Terms]:
    """By what a quotient and its mirror image are told apart."""
    terms = terms_of(dim)
    return terms[0][1] < 0, tuple(factor for _, factor in terms), terms


def _without_common_factor(left: Dim, right: Dim) -> tuple[Dim, Dim] | None:
    """(2n + 1) // 4 as n // 2: both sides without what divides all terms, but for a constant that is rounded down."""
    varying = [term for term in terms_of(left) if term[0]]
    offset = left - _polynomial(varying)
    both = (*varying, *terms_of(right))
    number = math.gcd(*(factor for _, factor in both))
    for atoms in dict.fromkeys((common_atoms(both) if varying else (), ())):
        factor = _polynomial([(atoms, number)])
        if factor == 1:
            continue
        divisor = _divided(right, factor)[0]
        constant = floor_divide(offset, factor)
        if isinstance(constant, int) and (constant * factor == offset or non_negative(divisor)):
            return _divided(left - offset, factor)[0] + constant, divisor
    return None


def _merged_floors(left: Dim, right: int) -> Dim | None:
    """(a // b + c) // d as (a + b*c) // (b*d): two strided windows as one; and (c - a // b) // d as one, for -(a // b)
    is (b - 1 - a) // b. None where `left` has not one such floor."""
    inner = floors(terms_of(left))
    if len(inner) != 1:
        return None
    (floor,) = inner
    step, factor = floor.right, dict(terms_of(left)).get((floor,), 0)
    others = left - factor * of_atom(floor)
    if not isinstance(step, int) or floors(terms_of(others)):
        return None
    divisor, found = step * right, list[tuple[Dim, Dim]]()
    if factor == 1:
        found.append((0, step * others + floor.left))
    if factor == right - 1:
        found.append((of_atom(floor), step * others + step - 1 - floor.left))
    if not found:
        return None
    whole, merged = min(found, key=lambda each: _sign_and_factors(_divided(each[1], divisor)[1]))
    return whole + floor_divide(merged, divisor)


@_remembered
def non_negative(dim: Dim) -> bool:
    """Whether the dim is surely not below 0, because no term is: sizes are not, nor most that is made of them."""
    return fold(dim, Ranges())[0] >= 0


def product(dims: Iterable[Dim]) -> Dim:
    """The product of all dims; 1 when there are none."""
    return reduce(operator.mul, dims, 1)


# ── max and min ──────────────────────────────────────────────────────────────────────────────────────────────────────


def maximum(left: Dim, right: Dim) -> Dim:
    """max(left, right)."""
    return _extremum("max", left, right)


def minimum(left: Dim, right: Dim) -> Dim:
    """min(left, right)."""
    return _extremum("min", left, right)


@_remembered
def _extremum(name: str, left: Dim, right: Dim) -> Dim:
    """The largest or smallest of all dims on both sides, those under the same function in them included, each once."""
    kept: list[Dim] = []
    for dim in sorted({*_operands(name, left), *_operands(name, right)}, key=lambda each: in_order(str(each))):
        if not any(_beats(name, other, dim) for other in kept):
            kept = [*(other for other in kept if not _beats(name, dim, other)), dim]
    return reduce(lambda a, b: of_atom(Call(name, a, b)), kept)


def _operands(name: str, dim: Dim) -> tuple[Dim, ...]:
    atom = lone_atom(dim)
    if isinstance(atom, Call) and atom.function == name:
        return (*_operands(name, atom.left), *_operands(name, atom.right))
    return (dim,)


def _beats(name: str, dim: Dim, other: Dim) -> bool:
    """Whether `dim` is never less (max), never more (min) than `other`, whatever the sizes are."""
    return non_negative(dim - other if name == "max" else other - dim)


FUNCTIONS: dict[str, Callable[[Dim, Dim], Dim]] = {"//": floor_divide, "%": modulo, "max": maximum, "min": minimum}


# ── the normal form ──────────────────────────────────────────────────────────────────────────────────────────────────


def terms_of(dim: Dim) -> Terms:
    """The terms of a dim; a constant is one of no atoms."""
    return dim.terms if isinstance(dim, Expr) else (((), dim),)


def _polynomial(terms: Iterable[Term]) -> Dim:
    kept = collected(terms)
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    return Expr(kept)


def _atom_symbols(atom: Atom) -> frozenset[str]:
    return symbols_of((atom.left, atom.right)) if isinstance(atom, Call) else frozenset((atom.text,))


def symbols_of(dims: Iterable[Dim]) -> frozenset[str]:
    """The names of all symbols in `dims`."""
    return frozenset().union(*(dim.symbols for dim in dims if isinstance(dim, Expr)))


# ── how it is spelled ────────────────────────────────────────────────────────────────────────────────────────────────


class _Equation(NamedTuple):
    """factor * floor = offset + sign * function(left, right)."""

    factor: Term
    offset: Dim
    sign: int
    function: str
    left: Dim
    right: Dim

    def put_in(self, terms: Terms, floor: Call, call: Atom) -> list[Term]:
        """The terms, not yet collected, with every multiple of factor times the floor written by this, the call as the
        given atom."""
        (atoms, number), waiting = self.factor, list(terms)
        dim = self.offset + self.sign * of_atom(call)
        said: list[Term] = []
        while waiting:
            monomial, count = waiting.pop()
            part = without(monomial, (floor, *atoms))
            if part is None or count % number:
                said.append((monomial, count))
            else:
                waiting += times(((part, count // number),), terms_of(dim))
        return said


_UNNAMED = Atom("")
_TRIED = 8  # floors; what models compute of sizes has four at most


@_remembered
def _spelled(terms: Terms) -> Terms:
    """The sum with as few terms as it takes, where a floor may be said by a rest or by another floor: n - 4*(n // 4) is
    n % 4, n - (n + 3) // 4 is (3*n) // 4.

    A sum of many floors is spelled as it stands: every floor is tried with every other one.
    """
    shortest = terms
    if len(floors(terms)) > _TRIED:
        return terms
    while len(shortest) > 1:
        shorter = next((way for way in sorted(_shorter(shortest), key=len) if _is_read_as(way, terms)), None)
        if shorter is None:
            break
        shortest = shorter
    return shortest


def _shorter(terms: Terms) -> Iterator[Terms]:
    """The sum with one floor written in another way, where that is shorter."""
    inner = sorted(floors(terms), key=lambda atom: (-len(atom.text), atom))  # long ones have others in them
    for floor in inner:
        for each in _equations(floor, terms, inner):
            if len(summed(each.put_in(terms, floor, _UNNAMED))) < len(terms):  # a name and an order take time
                yield collected(each.put_in(terms, floor, Call(each.function, each.left, each.right)))


def _is_read_as(said: Terms, terms: Terms) -> bool:
    """Whether a spelling is read as these terms: there are floors of floors that are others, and nobody sees it."""
    read = ((product(map(_normal, monomial)), factor) for monomial, factor in said)
    return terms_of(sum(factor * dim for dim, factor in read)) == terms


def _normal(atom: Atom) -> Dim:
    return FUNCTIONS[atom.function](atom.left, atom.right) if isinstance(atom, Call) else of_atom(atom)


def _equations(floor: Call, terms: Terms, others: Iterable[Call]) -> Iterator[_Equation]:
    """What a floor is, times factors that are met in the terms."""
    met = [(part, factor) for monomial, factor in terms if (part := without(monomial, (floor,))) is not None]
    left, right = floor.left, floor.right
    leading, *smaller = terms_of(right)
    if _is_met(leading, met):
        yield from _by_rests(leading, left - of_atom(floor) * _polynomial(smaller), left, right)
    if isinstance(right, int):
        whole, rest = _reduced(right - 1 - left, right)
        yield _Equation(_ONE, -1 * whole, -1, "//", rest, right)
    elif terms_of(left)[-1] == ((), -1):
        yield _Equation(_ONE, -1, 1, "//", left + right, right)
    for inner in others:  # ⌊a / (c*d)⌋ is ⌊⌊a / c⌋ / d⌋
        steps, factor = _steps_of(inner, floor)
        if factor > 1 and _is_met(((), factor), met):
            yield from _by_rests(((), factor), of_atom(inner) + steps, _normal(inner) + steps, factor)


def _by_rests(factor: Term, offset: Dim, left: Dim, right: Dim) -> Iterator[_Equation]:
    """Two ways to say right * (left // right): a - a % d, and by the rest of (d - 1 - a), as -(a // d) is its floor."""
    yield _Equation(factor, offset, -1, "%", left, right)
    if non_negative(right):
        mirrored = (right if isinstance(right, int) else 0) - 1 - left
        yield _Equation(factor, offset - right + 1, 1, "%", mirrored, right)


def _is_met(factor: Term, terms: Iterable[Term]) -> bool:
    return any(without(monomial, factor[0]) is not None and count % factor[1] == 0 for monomial, count in terms)


def _steps_of(inner: Call, floor: Call) -> tuple[Dim, int]:
    """(c, d) where the floor is (inner + c) // d; d is 1 where it is not."""
    if isinstance(inner.right, int) and isinstance(floor.right, int) and floor.right % inner.right == 0:
        steps, fraction = _divided(floor.left - inner.left, inner.right)
        if fraction == 0:
            return steps, floor.right // inner.right
    return 0, 1
