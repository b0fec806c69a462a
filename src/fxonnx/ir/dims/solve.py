"""Dims that are one size times a number, and a number more."""

from __future__ import annotations

from fxonnx.ir.dims.expression import Dim
from fxonnx.ir.dims.terms import Symbol


def linear(dim: Dim) -> tuple[str, int, int] | None:
    """(n, a, b) where the dim is a*n + b with a not 0; None where it is not of one size, or not so."""
    match () if isinstance(dim, int) else dim.terms:
        case (((Symbol(text=name),), slope),):
            return name, slope, 0
        case (((Symbol(text=name),), slope), ((), offset)):
            return name, slope, offset
    return None


def bound(relation: str, difference: Dim) -> tuple[str, int | None, int | None] | None:
    """(n, least, greatest) where `difference relation 0` bounds one size n, from below or from above.

    `relation` is one of <, <=, > and >=; what else it is bounds nothing.
    """
    found = linear(difference)
    if found is None or relation not in _AT_LEAST:
        return None
    name, slope, offset = found
    if not _AT_LEAST[relation]:
        slope, offset = -slope, -offset
    limit = (relation in ("<", ">")) - offset  # slope * n >= limit
    return (name, -(-limit // slope), None) if slope > 0 else (name, None, limit // slope)


_AT_LEAST = {">": True, ">=": True, "<": False, "<=": False}
