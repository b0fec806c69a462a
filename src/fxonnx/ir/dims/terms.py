"""Sums of products of atoms as plain tuples: what the normal form of a dim is made of, and its division."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from fxonnx.ir.dims.expression import Dim

_NUMBER = re.compile(r"\d+")

Monomial: TypeAlias = "tuple[Atom, ...]"
Term: TypeAlias = "tuple[Monomial, int]"
Terms: TypeAlias = "tuple[Term, ...]"


def in_order(text: str) -> str:
    """What stands in the place of a text where texts are sorted: its numbers after shorter ones."""
    return _NUMBER.sub(lambda number: f"{len(number[0]):02}{number[0]}", text)


class Atom:
    """What a polynomial is built of. Its text is its identity: equal text, equal atom. Atoms are in the order of their
    text, and in that of the numbers in it: u9, u10. So symbols that are numbered alike stand in one order."""

    __slots__ = ("_hash", "_place", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._hash, self._place = hash(text), in_order(text)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Atom) and self.text == other.text)

    def __lt__(self, other: Atom) -> bool:
        return self._place < other._place

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
        self.spelled = f"{_operand(left)} {function} {_operand(right)}" if infix else f"{function}({left}, {right})"
        super().__init__(f"({self.spelled})" if infix else self.spelled)
        self.function, self.left, self.right = function, left, right


def collected(terms: Iterable[Term]) -> Terms:
    """The sum of terms: each product of atoms once, none with factor 0, sorted."""
    return tuple(sorted(summed(terms), key=_order))


def summed(terms: Iterable[Term]) -> list[Term]:
    """The sum of terms in no order, which costs more than the sum."""
    total: dict[Monomial, int] = {}
    for monomial, factor in terms:
        total[monomial] = total.get(monomial, 0) + factor
    return [(monomial, factor) for monomial, factor in total.items() if factor]


def times(left: Terms, right: Terms) -> Iterator[Term]:
    """The terms of a product, not yet collected."""
    return ((_joined(a, b), x * y) for a, x in left for b, y in right)


def divide(left: Terms, right: Terms) -> tuple[Terms, Terms]:
    """(quotient, rest) with left = quotient * right + rest, by long division.

    A term that the first one of `right` divides leaves a rest of Python's `%`: 5n - 1 by 4 is 4(n + (-1)) + (n + 3). So
    what differs by a multiple of a constant has one rest.
    """
    (leading, divisor), *others = right
    counts = dict(left)
    waiting = [(_order(term), term[0]) for term in left]  # sorted, so it is a heap
    quotient: list[Term] = []
    rest: list[Term] = []
    while waiting:
        _, monomial = heapq.heappop(waiting)
        part = without(monomial, leading)
        if part is None:
            rest.append((monomial, counts[monomial]))
            continue
        multiple, remainder = divmod(counts[monomial], divisor)
        quotient.append((part, multiple))
        rest.append((monomial, remainder))
        for other, factor in others if multiple else ():
            smaller = _joined(part, other)
            if smaller not in counts:
                heapq.heappush(waiting, (_order((smaller, 0)), smaller))
            counts[smaller] = counts.get(smaller, 0) - multiple * factor
    return collected(quotient), collected(rest)


def without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    """A product of atoms divided by another; None where that leaves a fraction."""
    rest = list(monomial)
    for atom in divisor:
        if atom not in rest:
            return None
        rest.remove(atom)
    return tuple(rest)


def common_atoms(terms: Iterable[Term]) -> Monomial:
    """The atoms that every term has, as often as every one has them."""
    first, *others = (Counter(monomial) for monomial, _ in terms)
    for each in others:
        first &= each
    return tuple(sorted(first.elements()))


def floors(terms: Iterable[Term]) -> set[Call]:
    """The `//` in a sum, but for those inside of others."""
    return {atom for monomial, _ in terms for atom in monomial if isinstance(atom, Call) and atom.function == "//"}


def text(terms: Terms) -> str:
    """The sum as Python writes it."""
    return " + ".join(_term_text(monomial, factor) for monomial, factor in terms).replace("+ -", "- ")


def _order(term: Term) -> tuple[int, Monomial]:
    """Long products before short ones, constants last: `m*n + n + 1`. Products of two terms keep their order, as long
    division wants it (Buchberger's graded lexicographic order)."""
    monomial, _ = term
    return (-len(monomial), monomial)


def _joined(left: Monomial, right: Monomial) -> Monomial:
    return tuple(sorted((*left, *right)))


def _term_text(monomial: Monomial, factor: int) -> str:
    if not monomial:
        return str(factor)
    body = "*".join(atom.text for atom in sorted(monomial, key=lambda atom: isinstance(atom, Call)))
    return {1: body, -1: f"-{body}"}.get(factor, f"{factor}*{body}")


def _operand(dim: Dim) -> str:
    """The dim as an operand of `//` or `%`: in brackets, but for an atom, and one with a minus, which binds closer."""
    if isinstance(dim, int):
        return str(dim)
    match dim.spelled:
        case (((atom,), 1 | -1 as factor),):
            return _term_text((atom,), factor)
    return f"({dim})"
