"""Dimensions: integers, or integer expressions over named sizes.

An expression is kept in one normal form, a polynomial with integer coefficients over *atoms*: symbols (`n`) and the
calls that polynomials cannot say (`n // 2`, `n % 4`, `max(n, 8)`, `min(n, 8)`). Two dims are equal when their normal
forms are, so equality is a tuple comparison and a reshape from `[n, 4*m]` to `[n*m, 4]` is seen to keep its element
count without a solver. Symbols stand for sizes, which are never negative.
"""

from __future__ import annotations

from fxonnx.ir.dims.expression import (
    Atom,
    Call,
    Dim,
    Expr,
    Shape,
    Symbol,
    Terms,
    ceil_divide,
    evaluate,
    floor_divide,
    maximum,
    minimum,
    modulo,
    non_negative,
    product,
    substitute,
    symbol,
    symbols_of,
)
from fxonnx.ir.dims.parse import parse_dim, parse_shape

__all__ = [
    "Atom",
    "Call",
    "Dim",
    "Expr",
    "Shape",
    "Symbol",
    "Terms",
    "ceil_divide",
    "evaluate",
    "floor_divide",
    "maximum",
    "minimum",
    "modulo",
    "non_negative",
    "parse_dim",
    "parse_shape",
    "product",
    "substitute",
    "symbol",
    "symbols_of",
]
