"""Dimensions: integers, or integer expressions over named sizes, and all algebra on them.

An expression is kept in one normal form, a polynomial with integer coefficients over *atoms*: symbols (`n`) and the
calls that polynomials cannot say (`n // 2`, `max(n, 8)`, `min(n, 8)`; `n % 4` is `n - 4*(n // 4)`). Two dims are equal
when their normal forms are, so equality is a tuple comparison and a reshape from `[n, 4*m]` to `[n*m, 4]` is seen to
keep its element count without a solver. Symbols stand for sizes, which are never negative. What two floors together
say in one is found where it is asked for, in divisions and bounds: n // 4 - (n + 4) // 8 is n // 8 (`halves`).

How a dim reads is found from its normal form, with as few terms as it takes: `(4 - n % 4) % 4 + n` as
`4*((n + 3) // 4)`, and `n % 4` as itself. `fold` computes it, so spelled, in another algebra.
"""

from __future__ import annotations

from fxonnx.ir.dims.algebra import Algebra, fold
from fxonnx.ir.dims.bounds import Bounds, certain
from fxonnx.ir.dims.expression import (
    FUNCTIONS,
    Comparison,
    Dim,
    Expr,
    Shape,
    Undecided,
    ceil_divide,
    floor_divide,
    lone_atom,
    maximum,
    minimum,
    modulo,
    non_negative,
    of_atom,
    product,
    symbol,
    symbols_of,
)
from fxonnx.ir.dims.parse import parse_dim, parse_shape
from fxonnx.ir.dims.solve import bound, linear, solved, without_common_factor
from fxonnx.ir.dims.substitute import Substitution, at_sizes, evaluate, substitute
from fxonnx.ir.dims.terms import Atom, Call

__all__ = [
    "FUNCTIONS",
    "Algebra",
    "Atom",
    "Bounds",
    "Call",
    "Comparison",
    "Dim",
    "Expr",
    "Shape",
    "Substitution",
    "Undecided",
    "at_sizes",
    "bound",
    "ceil_divide",
    "certain",
    "evaluate",
    "floor_divide",
    "fold",
    "linear",
    "lone_atom",
    "maximum",
    "minimum",
    "modulo",
    "non_negative",
    "of_atom",
    "parse_dim",
    "parse_shape",
    "product",
    "solved",
    "substitute",
    "symbol",
    "symbols_of",
    "without_common_factor",
]
