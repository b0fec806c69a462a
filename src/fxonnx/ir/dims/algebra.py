"""A dim computed in another algebra: as an integer, another dim, an interval, or nodes of a graph."""

from __future__ import annotations

import operator
from functools import reduce
from typing import TYPE_CHECKING, Generic, TypeVar

from fxonnx.ir.dims.terms import Atom, Call, Term

if TYPE_CHECKING:
    from fxonnx.ir.dims.expression import Dim, Expr

T = TypeVar("T")


class Algebra(Generic[T]):
    """What dims can be computed in. `known` has what was found of each expression and atom: sizes are made of sizes,
    and one may stand in many."""

    def __init__(self, known: dict[Expr | Atom, T] | None = None) -> None:
        self.known: dict[Expr | Atom, T] = {} if known is None else known

    def find(self, part: Expr | Atom) -> T | None:
        """What is known of an expression or an atom without computing it."""
        return self.known.get(part)

    def constant(self, value: int) -> T:
        """An integer."""
        raise NotImplementedError

    def symbol(self, name: str) -> T:
        """A size by its name."""
        raise NotImplementedError

    def call(self, atom: Call, left: T, right: T) -> T:
        """`//`, `%`, `max` or `min` of two."""
        raise NotImplementedError

    def add(self, left: T, right: T) -> T:
        """A sum."""
        return operator.add(left, right)  # type: ignore[no-any-return]

    def multiply(self, left: T, right: T) -> T:
        """A product."""
        return operator.mul(left, right)  # type: ignore[no-any-return]


def fold(dim: Dim, algebra: Algebra[T]) -> T:
    """The dim computed in an algebra, from its symbols and constants up, as it is spelled."""
    if isinstance(dim, int):
        return algebra.constant(dim)
    found = algebra.find(dim)
    if found is None:
        found = algebra.known[dim] = reduce(algebra.add, [_of_term(term, algebra) for term in dim.spelled])
    return found


def _of_term(term: Term, algebra: Algebra[T]) -> T:
    monomial, factor = term
    atoms = [_of_atom(atom, algebra) for atom in monomial]
    return reduce(algebra.multiply, atoms if monomial and factor == 1 else [algebra.constant(factor), *atoms])


def _of_atom(atom: Atom, algebra: Algebra[T]) -> T:
    found = algebra.find(atom)
    if found is None:
        if isinstance(atom, Call):
            found = algebra.call(atom, fold(atom.left, algebra), fold(atom.right, algebra))
        else:
            found = algebra.symbol(atom.text)
        algebra.known[atom] = found
    return found
