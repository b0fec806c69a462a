"""Exact division of dims by sums: (12*t*b - 12*b) // (t*b - b) is 12.

The normal form of dims divides by one term; reshapes with -1 divide a number of elements by the product of the other
sizes, and where one of those is a sum (t - 1 frames), the quotient is a sum times the rest.
"""

from __future__ import annotations

from fxonnx.ir.dims import Dim, Expr, floor_divide, modulo

_STEPS = 16


def quotient(left: Dim, right: Dim) -> Dim:
    """left // right."""
    exact = _exact(left, right)
    return floor_divide(left, right) if exact is None else exact


def remainder(left: Dim, right: Dim) -> Dim:
    """left % right."""
    return modulo(left, right) if _exact(left, right) is None else 0


def _exact(left: Dim, right: Dim) -> Dim | None:
    """The polynomial that times `right` is `left`, by long division; None where there is none."""
    if not isinstance(left, Expr) or not isinstance(right, Expr) or len(right.terms) < 2:
        return None
    found: Dim = 0
    (leading, factor), *_ = right.terms
    for _ in range(_STEPS):
        if not isinstance(left, Expr):
            return found if left == 0 else None
        (monomial, count), *_ = left.terms
        rest = list(monomial)
        if count % factor or any(rest.count(atom) < leading.count(atom) for atom in leading):
            return None
        for atom in leading:
            rest.remove(atom)
        term: Dim = Expr(((tuple(rest), count // factor),)) if rest else count // factor
        found, left = found + term, left - term * right
    return None
