"""Dims that are one size times a number, and a number more; and what an equality of dims says of those in it."""

from __future__ import annotations

import math

from fxonnx.ir.dims.expression import Dim, Expr, floor_divide, of_atom, product, terms_of
from fxonnx.ir.dims.terms import Atom, Call, Symbol, common_atoms


def linear(dim: Dim) -> tuple[str, int, int] | None:
    """(n, a, b) where the dim is a*n + b with a not 0; None where it is not of one size, or not so."""
    match () if isinstance(dim, int) else dim.terms:
        case (((Symbol(text=name),), slope),):
            return name, slope, 0
        case (((Symbol(text=name),), slope), ((), offset)):
            return name, slope, offset
    return None


def solved(difference: Dim) -> tuple[str, Dim] | None:
    """(n, rest) where `difference == 0` says that one size n is the rest, of other sizes: y == 32 - x of x + y - 32.

    Of several such sizes the last one by name; None where there is none, or no other size.
    """
    for monomial, factor in sorted(terms_of(difference), key=lambda term: str(term[0]), reverse=True):
        match monomial:
            case (Symbol() as atom,) if abs(factor) == 1:
                others = of_atom(atom) - factor * difference
                if isinstance(others, Expr) and atom.text not in others.symbols:
                    return atom.text, others
    return None


def bound(relation: str, difference: Dim) -> tuple[str, int | None, int | None] | None:
    """(n, least, greatest) where `difference relation 0` bounds one size n, from below or from above.

    `relation` is one of <, <=, > and >=; what else it is bounds nothing.
    """
    match terms_of(difference) if relation in _AT_LEAST else ():
        case (((atom,), slope),):
            offset = 0
        case (((atom,), slope), ((), offset)):
            pass
        case _:
            return None
    if not _AT_LEAST[relation]:
        slope, offset = -slope, -offset
    limit = (relation in ("<", ">")) - offset  # slope * atom >= limit
    return _bound_of(atom, -(-limit // slope), None) if slope > 0 else _bound_of(atom, None, limit // slope)


def _bound_of(atom: Atom, low: int | None, high: int | None) -> tuple[str, int | None, int | None] | None:
    """The same of an atom that is at least `low` or at most `high`: a size, or one divided by a number."""
    match atom:
        case Symbol(text=name):
            return name, low, high
        case Call(function="//", left=dividend, right=int() as divisor) if divisor > 0:
            if low is not None:
                return bound(">=", dividend - divisor * low)
            return bound("<", dividend - divisor * ((high or 0) + 1))
    return None


def without_common_factor(left: Dim, right: Dim) -> tuple[Dim, Dim]:
    """Both sides of an equality without the number and the sizes that multiply both, where no size is 0, nor a number
    added to both: of 4*n*m == 4*k*m, or n - 1 == k - 1, the sides of n == k."""
    if isinstance(left, int) and isinstance(right, int):
        return left, right
    added = [dict(terms_of(side)).get((), 0) for side in (left, right)]
    if added[0] == added[1]:
        left, right = left - added[0], right - added[0]
    terms = [term for side in (left, right) for term in terms_of(side) if term[1]]
    sizes = [of_atom(atom) for atom in common_atoms(terms) if isinstance(atom, Symbol)]
    factor = math.gcd(*(multiple for _, multiple in terms)) * product(sizes)
    return floor_divide(left, factor), floor_divide(right, factor)


_AT_LEAST = {">": True, ">=": True, "<": False, "<=": False}
